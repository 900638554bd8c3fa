"""Locked items with their running levels, and the changes made to them: each is entered as it is made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from shared.events.catalog import OversellPolicy
from shared.events.inventory import Crossing

# What an order does at a location: lower on hand itself, or allocate until the goods leave (rule 13).
OrderEffect = Literal["decrement", "allocate"]
# Who counts what is on hand there: we do, or a system outside that imports it.
OnHandOwner = Literal["internal", "external"]

DEFAULT_LOCATION = "main"

# No level goes beyond it, up or down: far above any real stock, and sums of levels stay within PostgreSQL's bigint.
LEVEL_LIMIT = 10**15
TOO_MUCH = f"that many units would take a stock level beyond {LEVEL_LIMIT:,} units"


@dataclass(frozen=True, slots=True)
class Location:
    """A supplier's location; an order that names none may draw from it when it is `salable`."""

    location_id: int
    code: str
    salable: bool = True
    order_effect: OrderEffect = "decrement"
    on_hand_owner: OnHandOwner = "internal"


@dataclass(slots=True)
class Level:
    """The running stock of an item at a location, in units; `stored` says whether it has a row yet.

    What is `removed` is not stocked there any more: it is not counted, and drawn from only by who has no choice.
    `stated_as_of` is the latest moment of which it was stated what is there. `moved_...` are the units that have come
    since the item was locked otherwise than by a statement.
    """

    on_hand: int = 0
    allocated: int = 0
    reserved: int = 0
    safety_stock: int = 0
    removed: bool = False
    stored: bool = True
    stated_as_of: datetime | None = None
    moved_on_hand: int = 0
    moved_available: int = 0

    @property
    def available(self) -> int:
        """What can still be sold (rule 12)."""
        return self.on_hand - self.allocated - self.reserved - self.safety_stock


class Totals(NamedTuple):
    """The sums over the levels of an item that count, in units, and how many levels these are."""

    on_hand: int = 0
    allocated: int = 0
    reserved: int = 0
    safety_stock: int = 0
    stocked_locations: int = 0


@dataclass(slots=True)
class Item:
    """A base stock product as it was locked, and its levels by location id, which change.

    `own_policy` is null where the supplier's `default_policy` holds. `previous_available` and `previous_threshold` are
    those before any change.
    """

    product_id: int
    supplier_id: int
    sku: str
    version: int
    default_policy: OversellPolicy
    own_policy: OversellPolicy | None = None
    low_stock_threshold: int | None = None
    lead_time_days: int | None = None
    daily_capacity: int | None = None
    previous_threshold: int | None = None
    levels: dict[int, Level] = field(default_factory=dict)
    previous_available: int = 0

    @property
    def policy(self) -> OversellPolicy:
        """What happens when an order wants more than there is (rule 14)."""
        return self.own_policy or self.default_policy

    @property
    def is_removed(self) -> bool:
        """Whether no location stocks it any more."""
        return all(level.removed for level in self.levels.values())

    def totals(self) -> Totals:
        """What its levels come to as they are now; a removed one is not counted (rule 16)."""
        on_hand = allocated = reserved = safety_stock = counted = 0
        for level in self.levels.values():
            if not level.removed:
                on_hand += level.on_hand
                allocated += level.allocated
                reserved += level.reserved
                safety_stock += level.safety_stock
                counted += 1
        return Totals(on_hand, allocated, reserved, safety_stock, counted)


class Cause(NamedTuple):
    """What the ledger says of a change: kind, who, through which door, under which reference, why."""

    kind: str
    actor: str
    source: str
    reference: str
    reason: str | None = None


class Entry(NamedTuple):
    """A ledger entry: three deltas of a level, and its three values after them.

    `stated_as_of` says of what moment the level was stated, where it was.
    """

    product_id: int
    location_id: int
    cause: Cause
    line_id: int | None
    on_hand_delta: int
    allocated_delta: int
    reserved_delta: int
    on_hand: int
    allocated: int
    reserved: int
    stated_as_of: datetime | None = None


class Reserved(NamedTuple):
    """`quantity` units of a base stock product that a line of a reservation keeps out of what can be sold there."""

    reservation_id: UUID
    line_id: int
    product_id: int
    location_id: int
    quantity: int


@dataclass(slots=True)
class Stock:
    """The locked items, their suppliers' locations (in the order to draw from), and the changes made so far.

    `restated` are the levels, as `(product id, location id)`, of which more than the three quantities has changed.
    """

    items: dict[int, Item]
    locations: Mapping[int, Sequence[Location]]
    entries: list[Entry] = field(default_factory=list)
    restated: set[tuple[int, int]] = field(default_factory=set)

    def location(self, supplier_id: int, code: str) -> Location | None:
        """The supplier's location of this code, if there is one."""
        return next((location for location in self.locations[supplier_id] if location.code == code), None)

    def location_codes(self) -> dict[int, str]:
        """The codes of all these locations by their ids."""
        return {location.location_id: location.code for some in self.locations.values() for location in some}

    def level(self, product_id: int, location_id: int) -> Level:
        """The level of an item at a location, made (not stored yet) where there is none."""
        levels = self.items[product_id].levels
        level = levels.get(location_id)
        if level is None:
            level = levels[location_id] = Level(stored=False)
        return level

    def on_hand(self, product_id: int, location_id: int) -> int:
        """What is on hand of an item at a location: none where it has no level, and it is given none by this."""
        level = self.items[product_id].levels.get(location_id)
        return 0 if level is None else level.on_hand

    def move(  # noqa: PLR0913 - a level has three quantities
        self,
        product_id: int,
        location_id: int,
        cause: Cause,
        on_hand: int = 0,
        allocated: int = 0,
        line_id: int | None = None,
        *,
        reserved: int = 0,
        stated_as_of: datetime | None = None,
    ) -> None:
        """Change what is on hand, allocated, reserved by so many units and enter it; a change by nothing is none.

        With `stated_as_of` it is the difference that a statement makes, as of then; else units have moved.
        """
        if not on_hand and not allocated and not reserved:
            return
        level = self.level(product_id, location_id)
        level.on_hand += on_hand
        level.allocated += allocated
        level.reserved += reserved
        if stated_as_of is None:
            level.moved_on_hand += on_hand
            level.moved_available += on_hand - allocated - reserved
        after = (level.on_hand, level.allocated, level.reserved)
        deltas = (on_hand, allocated, reserved)
        self.entries.append(Entry(product_id, location_id, cause, line_id, *deltas, *after, stated_as_of))

    def restate(self, product_id: int, location_id: int, cause: Cause) -> None:
        """Enter that more than the three quantities of a level, or something of the item, has changed just now."""
        level = self.level(product_id, location_id)
        self.restated.add((product_id, location_id))
        after = (level.on_hand, level.allocated, level.reserved)
        self.entries.append(Entry(product_id, location_id, cause, None, 0, 0, 0, *after))


def default_location(locations: Iterable[Location]) -> Location:
    """The location that stock goes to, or comes from, when nothing names one."""
    return next(location for location in locations if location.code == DEFAULT_LOCATION)


def owner_violation(order_effect: OrderEffect, on_hand_owner: OnHandOwner) -> str | None:
    """Why a location cannot be so, or `None`."""
    if on_hand_owner == "external" and order_effect != "allocate":
        return (
            "on_hand_owner can be external only with order_effect allocate: where orders lower on hand themselves, "
            "nobody outside can say what it is"
        )
    return None


def crossings(item: Item, available: int) -> tuple[Crossing, ...]:
    """What the item passed on its way from what was available (under the threshold of then) to what is now."""
    found: list[Crossing] = []
    was_out, is_out = item.previous_available <= 0, available <= 0
    if was_out != is_out:
        found.append("out" if is_out else "back_in_stock")
    was_low = _is_low(item.previous_available, item.previous_threshold)
    is_low = _is_low(available, item.low_stock_threshold)
    if was_low != is_low:
        found.append("low" if is_low else "recovered")
    return tuple(found)


def _is_low(available: int, threshold: int | None) -> bool:
    return threshold is not None and available <= threshold
