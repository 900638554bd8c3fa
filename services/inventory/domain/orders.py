"""What an order takes.

An order is decided afresh for its newest version, as if what it holds lay in stock again; only the difference between
the two is written. So created, amended and cancelled are one decision, and end the same in whatever order they came.

Lines that were parked are decided by themselves when their product comes: what the order's other lines took stays
taken, even where `deny` then leaves nothing for the late ones. It may be on its way already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from services.inventory.domain.reservations import convert
from services.inventory.domain.stock import (
    LEVEL_LIMIT,
    TOO_MUCH,
    Cause,
    Location,
    OrderEffect,
    Reserved,
    Stock,
    default_location,
)

Outcome = Literal["allocated", "short", "parked", "untracked", "refused"]


@dataclass(frozen=True, slots=True)
class Connection:
    """A dropship connection of the seller with a supplier."""

    active: bool
    default_location: str | None = None


class Line(NamedTuple):
    """A line of an order or return whose link has been looked up.

    `quantity` counts the units that are neither completed nor failed yet; a line without any takes nothing more.
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
    """`quantity` units of a base stock product that a line holds at a location, `per_unit` for each unit of the line.

    `effect` is what the location's `order_effect` was when they were taken: lowered on hand, or allocated.
    """

    line_id: int
    product_id: int
    location_id: int
    quantity: int
    effect: OrderEffect = "decrement"
    per_unit: int = 1


class Order(NamedTuple):
    """The lines of an order's newest version (none when it was cancelled), and what it took so far (`held`).

    When only some lines are decided, because their products have come, `held` is what these lines hold, and
    `short_suppliers` are those of whom the order got nothing before, `drawn_suppliers` those of whom it holds stock.
    `connections` are the seller's, by supplier id. `reserved` is what was reserved for the order: it is there for it.
    """

    seller_id: int
    lines: Sequence[Line]
    cause: Cause
    connections: Mapping[int, Connection]
    held: Sequence[Taking] = ()
    short_suppliers: frozenset[int] = frozenset()
    drawn_suppliers: frozenset[int] = frozenset()
    reserved: Sequence[Reserved] = ()


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


def find_places(order: Order, stock: Stock) -> list[Decided]:
    """Where each line of an order would draw, one after the other, and how many units are not there; changes nothing.

    The lines have components, and their suppliers the locations that they name.
    """
    draft = _Draft(stock, order)
    return [draft.draw_line(line.supplier_id, line)[0] for line in order.lines]


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
    if not line.quantity:
        return Decided(line.line_id, "allocated")
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
        # By line: where it holds stock, and by which effect.
        self.held_at = {taking.line_id: (taking.location_id, taking.effect) for taking in order.held}
        self.takings: list[Taking] = []
        # By (product id, location id): what the order draws beyond what it holds there.
        self.drawn: dict[tuple[int, int], int] = {}
        for taking in order.held:
            self._add(taking, -1)
        for _, _, product_id, location_id, quantity in order.reserved:
            self.drawn[product_id, location_id] = self.drawn.get((product_id, location_id), 0) - quantity

    def draw(self, supplier_id: int, lines: Sequence[Line]) -> list[Decided]:
        """Draw these lines, all of one supplier, one after the other; none of them when `deny` forbids one."""
        takings_before = len(self.takings)
        outcomes = [self.draw_line(supplier_id, line) for line in lines]
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
        """Make the difference between what is drawn now and what is held, line by line, each by its effect.

        What was reserved for the order is so no more, whether it is taken or not.
        """
        cause, move = self.order.cause, self.stock.move
        convert(self.stock, self.order.reserved, cause)
        taken = [(taking, taking.quantity) for taking in self.takings] if not self.order.held else self._difference()
        for (line_id, product_id, location_id, _, effect, _), quantity in taken:
            if effect == "decrement":
                move(product_id, location_id, cause, -quantity, 0, line_id)
            else:
                move(product_id, location_id, cause, 0, quantity, line_id)

    def _difference(self) -> list[tuple[Taking, int]]:
        """What each line takes more than it holds (or less, when negative), of each product at each location."""
        change: dict[Taking, int] = {}
        for sign, takings in ((-1, self.order.held), (1, self.takings)):
            for taking in takings:
                key = taking._replace(quantity=0, per_unit=0)
                change[key] = change.get(key, 0) + sign * taking.quantity
        return sorted(change.items())

    def _add(self, taking: Taking, sign: int) -> None:
        key = (taking.product_id, taking.location_id)
        self.drawn[key] = self.drawn.get(key, 0) + sign * taking.quantity

    def _free(self, product_id: int, location_id: int) -> int:
        level = self.stock.items[product_id].levels.get(location_id)
        available = level.available if level else 0
        return available - self.drawn.get((product_id, location_id), 0)

    def draw_line(self, supplier_id: int, line: Line) -> tuple[Decided, list[int]]:
        """Draw a line from one location; returns its outcome, and the products that `deny` forbids it."""
        location = self._location(supplier_id, line)
        location_id, effect = location.location_id, location.order_effect
        if line.line_id in self.held_at:
            held_at, held_effect = self.held_at[line.line_id]
            effect = held_effect if held_at == location_id else effect
        takes = [
            Taking(line.line_id, one, location_id, line.quantity * per_unit, effect, per_unit)
            for one, per_unit in line.components
        ]
        # A product stands in a line once, so what is left of one does not depend on the others.
        left = [self._free(taking.product_id, location_id) - taking.quantity for taking in takes]
        if min(left) < -LEVEL_LIMIT:
            return Decided(line.line_id, "refused", reason=TOO_MUCH), []
        denied, shortfall = [], 0
        for taking, free in zip(takes, left, strict=True):
            self._add(taking, 1)
            product_id, quantity = taking.product_id, taking.quantity
            if free < 0:
                shortfall += min(quantity, -free)
                if self.stock.items[product_id].policy == "deny" and self.drawn[product_id, location_id] > 0:
                    denied.append(product_id)
        self.takings.extend(takes)
        return Decided(line.line_id, "allocated", tuple(takes), shortfall), denied

    def _location(self, supplier_id: int, line: Line) -> Location:
        """Where a line draws from: one location, never split (rule 11 and section 7 of the design)."""
        stock = self.stock
        locations = stock.locations[supplier_id]
        if len(locations) == 1:
            return locations[0]
        if line.location is None and line.line_id in self.held_at:
            held_at, _ = self.held_at[line.line_id]
            return next(location for location in locations if location.location_id == held_at)
        if line.location is None and self.order.reserved:
            kept = next((location for location in locations if self._is_kept_at(location, line)), None)
            if kept is not None:
                return kept
        connection = self.order.connections.get(supplier_id)
        for code in (line.location, connection.default_location if connection else None):
            named = stock.location(supplier_id, code) if code else None
            if named:
                return named
        enough = (location for location in locations if location.salable and self._has_enough(location, line))
        return next(enough, default_location(locations))

    def _has_enough(self, location: Location, line: Line) -> bool:
        """Whether a line that names no location may draw from this one without overdrawing it."""
        for product_id, per_unit in line.components:
            level = self.stock.items[product_id].levels.get(location.location_id)
            if (
                level is None
                or level.removed
                or self._free(product_id, location.location_id) < line.quantity * per_unit
            ):
                return False
        return True

    def _is_kept_at(self, location: Location, line: Line) -> bool:
        """Whether units for this line are reserved at a location, and with what is free there it has enough."""
        needs = [((one, location.location_id), line.quantity * per_unit) for one, per_unit in line.components]
        kept = [(-self.drawn.get(key, 0), units) for key, units in needs]
        if all(there >= units for there, units in kept):
            return True
        return any(there > 0 for there, _ in kept) and self._has_enough(location, line)
