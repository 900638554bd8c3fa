"""What orders, returns and people do to stock: decisions only, on rows that the caller has locked.

An order is decided afresh for its newest version, as if what it holds lay in stock again; only the difference between
the two is written. So created, amended and cancelled are one decision, and end the same in whatever order they came.

Lines that were parked are decided by themselves when their product comes: what the order's other lines took stays
taken, even where `deny` then leaves nothing for the late ones. It may be on its way already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Outcome = Literal["allocated", "short", "parked", "untracked", "refused"]

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


@dataclass(slots=True)
class Level:
    """The running stock of an item at a location; `stored` says whether it has a row yet."""

    on_hand: int = 0
    allocated: int = 0
    reserved: int = 0
    safety_stock: int = 0
    stored: bool = True

    @property
    def available(self) -> int:
        """What can still be sold (rule 12)."""
        return self.on_hand - self.allocated - self.reserved - self.safety_stock


@dataclass(slots=True)
class Item:
    """A base stock product: its levels by location id; its version and what was available before any change."""

    product_id: int
    supplier_id: int
    sku: str
    policy: str
    version: int
    levels: dict[int, Level] = field(default_factory=dict)
    previous_available: int = 0


class Cause(NamedTuple):
    """What the ledger says of a change: kind, who, through which door, under which reference, why."""

    kind: str
    actor: str
    source: str
    reference: str
    reason: str | None = None


class Entry(NamedTuple):
    """A ledger entry: three deltas of a level, and its three values after them."""

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


@dataclass(slots=True)
class Stock:
    """The locked items, their suppliers' locations (in the order to draw from), and the changes made so far."""

    items: dict[int, Item]
    locations: Mapping[int, Sequence[Location]]
    entries: list[Entry] = field(default_factory=list)

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

    def move_on_hand(self, product_id: int, location_id: int, delta: int, cause: Cause, line_id: int | None) -> None:
        """Change on hand by `delta` units and enter it in the ledger; a change by nothing is none."""
        if not delta:
            return
        level = self.level(product_id, location_id)
        level.on_hand += delta
        after = (level.on_hand, level.allocated, level.reserved)
        self.entries.append(Entry(product_id, location_id, cause, line_id, delta, 0, 0, *after))


@dataclass(frozen=True, slots=True)
class Connection:
    """A dropship connection of the seller with a supplier."""

    active: bool
    default_location: str | None = None


class Line(NamedTuple):
    """A line of an order or return whose link has been looked up.

    `supplier_id` owns the base stock products in `components` (`(product id, quantity per unit)`), `owner_id` the
    product that was ordered; both are 0 while the line is `parked`, which says in words what it waits for. `checked`
    says that orders has found that the seller may sell `product_id`.
    """

    line_id: int
    quantity: int
    location: str | None = None
    owner_id: int = 0
    supplier_id: int = 0
    components: tuple[tuple[int, int], ...] = ()
    parked: str | None = None
    product_id: int = 0
    checked: bool = False


class Taking(NamedTuple):
    """`quantity` units of a base stock product that a line took from a location."""

    line_id: int
    product_id: int
    location_id: int
    quantity: int


class Order(NamedTuple):
    """The lines of an order's newest version (none when it was cancelled), and what it took so far (`held`).

    When only some lines are decided, because their products have come, `held` is what these lines hold, and
    `short_suppliers` are those of whom the order got nothing before, `drawn_suppliers` those of whom it holds stock.
    `connections` are the seller's, by supplier id.
    """

    seller_id: int
    lines: Sequence[Line]
    cause: Cause
    connections: Mapping[int, Connection]
    held: Sequence[Taking] = ()
    short_suppliers: frozenset[int] = frozenset()
    drawn_suppliers: frozenset[int] = frozenset()


class Decided(NamedTuple):
    """What became of a line; `shortfall` counts the units of base stock that were not there."""

    line_id: int
    outcome: Outcome
    takes: tuple[Taking, ...] = ()
    shortfall: int = 0
    reason: str | None = None


def decide(order: Order, stock: Stock) -> list[Decided]:
    """Decide an order against the running levels and make its changes there; returns its lines' outcomes in order.

    Decided per supplier, all or nothing where a base stock product says `deny` (rules 11 and 14). A line that holds
    stock, or that orders has checked, is not asked again whether it may be sold, and a level that others overdrew is
    not held against it. A line that would take a level beyond `LEVEL_LIMIT` is refused.
    """
    draft = _Draft(stock, order)
    decided: dict[int, Decided] = {}
    groups: dict[int, list[Line]] = {}
    for line in order.lines:
        known = _without_stock(line, order, draft)
        if known is not None:
            decided[line.line_id] = known
        else:
            groups.setdefault(line.supplier_id, []).append(line)
    for supplier_id, lines in groups.items():
        for outcome in draft.draw(supplier_id, lines):
            decided[outcome.line_id] = outcome
    draft.carry_out()
    return [decided[line.line_id] for line in order.lines]


def refusal(seller_id: int, line: Line, connections: Mapping[int, Connection]) -> str | None:
    """Why the seller may not order this product (rule 10), or `None`.

    It must own the product or be connected with its owner, and likewise for the supplier at the end of the chain. Who
    these are is not told: the seller may have nothing to do with them.
    """
    for company_id in (line.owner_id, line.supplier_id):
        if company_id == seller_id:
            continue
        connection = connections.get(company_id)
        if connection is None or not connection.active:
            return f"product {line.product_id} is not yours, nor of a supplier you have an active connection with"
    return None


def _without_stock(line: Line, order: Order, draft: "_Draft") -> Decided | None:
    """The outcome of a line that draws nothing; `None` for one that has to be drawn."""
    if line.parked is not None:
        return Decided(line.line_id, "parked", draft.keep(line.line_id), reason=line.parked)
    if not line.checked and line.line_id not in draft.held_at:
        reason = refusal(order.seller_id, line, order.connections)
        if reason is not None:
            return Decided(line.line_id, "refused", reason=reason)
    if not line.components:
        return Decided(line.line_id, "untracked")
    if line.location is not None and draft.stock.location(line.supplier_id, line.location) is None:
        return Decided(line.line_id, "refused", reason=f"the supplier has no location {line.location!r}")
    return None


class _Draft:
    """One order's draws, before they are made: what it holds counts as given back."""

    def __init__(self, stock: Stock, order: Order) -> None:
        self.stock, self.order = stock, order
        self.held_at = {taking.line_id: taking.location_id for taking in order.held}
        self.takings: list[Taking] = []
        # By (product id, location id): what the order draws beyond what it holds there.
        self.drawn: dict[tuple[int, int], int] = {}
        for taking in order.held:
            self._add(taking, -1)

    def draw(self, supplier_id: int, lines: Sequence[Line]) -> list[Decided]:
        """Draw these lines, all of one supplier, one after the other; none of them when `deny` forbids one."""
        takings_before = len(self.takings)
        outcomes = [self._draw_line(supplier_id, line) for line in lines]
        short = sorted({product_id for _, denied in outcomes for product_id in denied})
        if not short and supplier_id not in self.order.short_suppliers:
            return [outcome for outcome, _ in outcomes]
        for taking in self.takings[takings_before:]:
            self._add(taking, -1)
        del self.takings[takings_before:]
        names = ", ".join(f"{self.stock.items[product_id].sku} ({product_id})" for product_id in short)
        reason = f"not enough of {names or 'another line'}: nothing is taken from supplier {supplier_id}"
        if supplier_id in self.order.drawn_suppliers:
            reason += " for this line; the lines decided before keep what they took"
        return [
            outcome
            if outcome.outcome == "refused"
            else Decided(outcome.line_id, "short", shortfall=outcome.shortfall, reason=reason)
            for outcome, _ in outcomes
        ]

    def keep(self, line_id: int) -> tuple[Taking, ...]:
        """Leave to a line what it holds."""
        kept = tuple(taking for taking in self.order.held if taking.line_id == line_id)
        for taking in kept:
            self._add(taking, 1)
        self.takings.extend(kept)
        return kept

    def carry_out(self) -> None:
        """Make the difference between what is drawn now and what is held, line by line."""
        cause, move = self.order.cause, self.stock.move_on_hand
        if not self.order.held:
            for taking in self.takings:
                move(taking.product_id, taking.location_id, -taking.quantity, cause, taking.line_id)
            return
        change: dict[tuple[int, int, int], int] = {}
        for sign, takings in ((1, self.order.held), (-1, self.takings)):
            for taking in takings:
                key = (taking.line_id, taking.product_id, taking.location_id)
                change[key] = change.get(key, 0) + sign * taking.quantity
        for (line_id, product_id, location_id), delta in sorted(change.items()):
            move(product_id, location_id, delta, cause, line_id)

    def _add(self, taking: Taking, sign: int) -> None:
        key = (taking.product_id, taking.location_id)
        self.drawn[key] = self.drawn.get(key, 0) + sign * taking.quantity

    def _free(self, product_id: int, location_id: int) -> int:
        level = self.stock.items[product_id].levels.get(location_id)
        available = level.available if level else 0
        return available - self.drawn.get((product_id, location_id), 0)

    def _fits(self, taking: Taking) -> bool:
        """Whether the level stays within `LEVEL_LIMIT` when this is drawn as well."""
        level = self.stock.items[taking.product_id].levels.get(taking.location_id)
        on_hand = level.on_hand if level else 0
        drawn = self.drawn.get((taking.product_id, taking.location_id), 0) + taking.quantity
        return on_hand - drawn >= -LEVEL_LIMIT

    def _draw_line(self, supplier_id: int, line: Line) -> tuple[Decided, list[int]]:
        """Draw a line from one location; returns its outcome, and the products that `deny` forbids it."""
        location_id = self._location(supplier_id, line)
        takes = [Taking(line.line_id, one, location_id, line.quantity * per_unit) for one, per_unit in line.components]
        if not all(self._fits(taking) for taking in takes):
            return Decided(line.line_id, "refused", reason=TOO_MUCH), []
        denied, shortfall = [], 0
        for taking in takes:
            self._add(taking, 1)
            product_id, quantity = taking.product_id, taking.quantity
            free = self._free(product_id, location_id)
            if free < 0:
                shortfall += min(quantity, -free)
                if self.stock.items[product_id].policy == "deny" and self.drawn[product_id, location_id] > 0:
                    denied.append(product_id)
        self.takings.extend(takes)
        return Decided(line.line_id, "allocated", tuple(takes), shortfall), denied

    def _location(self, supplier_id: int, line: Line) -> int:
        """Where a line draws from: one location, never split (rule 11 and section 7 of the design)."""
        stock = self.stock
        locations = stock.locations[supplier_id]
        if len(locations) == 1:
            return locations[0].location_id
        if line.location is None and line.line_id in self.held_at:
            return self.held_at[line.line_id]
        connection = self.order.connections.get(supplier_id)
        for code in (line.location, connection.default_location if connection else None):
            named = stock.location(supplier_id, code) if code else None
            if named:
                return named.location_id
        for location in locations:
            if location.salable and all(
                self._free(product_id, location.location_id) >= line.quantity * quantity_per_unit
                for product_id, quantity_per_unit in line.components
            ):
                return location.location_id
        return default_location(locations).location_id


def default_location(locations: Iterable[Location]) -> Location:
    """The location that stock goes to, or comes from, when nothing names one."""
    return next(location for location in locations if location.code == DEFAULT_LOCATION)


def restock(
    seller_id: int, line: Line, connections: Mapping[int, Connection], stock: Stock, cause: Cause
) -> str | None:
    """Put a returned line back into stock, at its location or `main`; returns why it cannot be, or `None`.

    The seller must own the stock or be, or once have been, connected with its supplier: goods may come back late.
    """
    if not line.components:
        return None
    if line.supplier_id != seller_id and line.supplier_id not in connections:
        return f"product {line.product_id} is not yours, nor of a supplier you ever had a connection with"
    code = line.location or DEFAULT_LOCATION
    location = stock.location(line.supplier_id, code)
    if location is None:
        return f"the supplier has no location {code!r}"
    back = [(product_id, line.quantity * quantity_per_unit) for product_id, quantity_per_unit in line.components]
    if any(stock.level(product_id, location.location_id).on_hand + units > LEVEL_LIMIT for product_id, units in back):
        return TOO_MUCH
    for product_id, units in back:
        stock.move_on_hand(product_id, location.location_id, units, cause, line.line_id)
    return None


def delta_of(level: Level, *, on_hand: int | None, available: int | None, adjustment: int | None) -> int:
    """By how much on hand changes when exactly one of the three is stated (rule 12)."""
    if on_hand is not None:
        return on_hand - level.on_hand
    if available is not None:
        return available - level.available
    if adjustment is not None:
        return adjustment
    message = "one of on_hand, available and adjustment must be stated"
    raise ValueError(message)
