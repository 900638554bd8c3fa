"""Values that another system sends: which base stock each one means, which contradict one another, what each does."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from services.inventory.domain.stock import LEVEL_LIMIT, TOO_MUCH, Cause, Stock
from services.inventory.domain.writing import Since, adjust, remove, state

# What a value does: it says how many are on hand, or how many came or went; or what it names is stocked no more.
HeldOperation = Literal["reset", "adjust"]
Operation = Literal[HeldOperation, "remove"]
KINDS: Mapping[Operation, str] = {"reset": "external_reset", "adjust": "external_adjustment", "remove": "removed"}

# A product's key and its variant's, or "".
Key = tuple[str, str]
# A product id and a location id.
Level = tuple[int, int]

REPLACED = "a newer value took its place before the product was there"
SUPERSEDED = "what is there is known as of later than this value"


class Value(NamedTuple):
    """A value as it was sent: its number, and the line in which it stands (or its number again), both from 1."""

    number: int
    line: int
    location: str
    product: str
    variant: str
    operation: Operation
    quantity: int

    @property
    def key(self) -> Key:
        """What names its product."""
        return self.product, self.variant


class Candidate(NamedTuple):
    """A product of the supplier that a key may mean, and where it leads with the value's variant.

    `components` are `(base stock product id, quantity per unit)`; `end_id` and its `supplier_id` are those of the last
    of its virtual bases. `waits_for` is the product whose event is missing, or that has no such variant yet;
    `lacks_variant` says which of the two.
    """

    supplier_id: int | None
    end_id: int | None
    components: Sequence[tuple[int, int]]
    removed: bool
    waits_for: int | None
    lacks_variant: bool
    has_no_variants: bool


class Found(NamedTuple):
    """The base stock product that a key leads to, or the one it waits for, or why it can never be written as it is.

    None of the three: the supplier has no such product.
    """

    product_id: int | None = None
    waits_for: int | None = None
    problem: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the value has to wait."""
        return self.product_id is None and self.problem is None


class Outcome(NamedTuple):
    """What came of a value: `note` says why it changed nothing, as (field, words); units before and after."""

    status: Literal["changed", "unchanged", "refused", "pending"]
    product_id: int | None = None
    on_hand_before: int | None = None
    on_hand_after: int | None = None
    available_before: int | None = None
    available_after: int | None = None
    note: tuple[str, str] | None = None


def choose(candidates: Sequence[Candidate], supplier_id: int, variant: str) -> Found:
    """What is meant: the first that can be written; else the first that has to wait; else why the first cannot."""
    found = [_found(one, supplier_id, variant) for one in candidates]
    first = next((one for one in found if one.product_id is not None), None)
    return first or next((one for one in found if one.is_open), None) or next(iter(found), Found())


def _found(one: Candidate, supplier_id: int, variant: str) -> Found:
    problem = _problem_of(one, supplier_id, variant)
    if problem is not None:
        return Found(problem=problem)
    if one.waits_for is not None or not one.components:  # what draws on no stock may be linked later
        return Found(waits_for=one.waits_for or one.end_id)
    return Found(one.components[0][0])


def _problem_of(one: Candidate, supplier_id: int, variant: str) -> str | None:
    problem = None
    if one.lacks_variant and not variant:
        problem = "has variants: give a number for each of them"
    elif one.lacks_variant and one.has_no_variants:
        problem = "has no variants: give a number for the product itself"
    elif one.waits_for is None and one.components:
        if one.supplier_id != supplier_id:
            problem = "draws on stock that is not yours"
        elif one.removed:
            problem = "draws on a product that is removed"
        elif [quantity for _, quantity in one.components] != [1]:
            problem = "is made of several units: give numbers for what it is made of"
    return problem


def contradictions(values: Sequence[Value], found: Mapping[Key, Found]) -> set[int]:
    """The numbers of values that say different things of what is on hand of one product at one location."""
    said: dict[tuple[str, int | Key], list[Value]] = {}
    for value in values:
        if value.operation == "reset":
            product_id = found[value.key].product_id
            said.setdefault((value.location, value.key if product_id is None else product_id), []).append(value)
    groups = (some for some in said.values() if len({value.quantity for value in some}) > 1)
    return {value.number for some in groups for value in some}


def replaced(values: Sequence[tuple[Level, HeldOperation]]) -> set[int]:
    """The positions of values, in the order in which they were sent, that a later one of their level makes void."""
    void: set[int] = set()
    open_at: dict[Level, list[int]] = {}
    for position, (level, operation) in enumerate(values):
        before = open_at.setdefault(level, [])
        if operation == "reset":
            void.update(before)
            before.clear()
        before.append(position)
    return void


def write_value(
    stock: Stock, level: Level, operation: Operation, quantity: int, *, since: Since, cause: Cause
) -> Outcome:
    """Write a value to a locked item at a location; anything but a removal stocks it there again."""
    product_id, location_id = level
    known = stock.items[product_id].levels.get(location_id)
    on_hand, available, was_removed = (known.on_hand, known.available, known.removed) if known else (0, 0, False)
    if operation == "remove":
        if known is None or was_removed:
            return Outcome("unchanged", product_id)
        remove(stock, product_id, location_id, cause)
        return Outcome("changed", product_id, on_hand, on_hand, available, available)
    note = None
    if operation == "adjust":
        if abs(on_hand + quantity) > LEVEL_LIMIT:
            return Outcome("refused", product_id, note=("adjustment", TOO_MUCH))
        adjust(stock, product_id, location_id, quantity, cause)
    elif state(stock, product_id, location_id, since, cause, on_hand=quantity) is not None:
        note = ("on_hand", SUPERSEDED)
    now = stock.level(product_id, location_id)
    is_changed = now.on_hand != on_hand or now.removed != was_removed
    status: Literal["changed", "unchanged"] = "changed" if is_changed else "unchanged"
    return Outcome(status, product_id, on_hand, now.on_hand, available, now.available, note)
