"""The life of an order and of each of its lines: quantities, and how they stand. No I/O.

A line's units are wanted (`quantity` without those that were `cancelled`), then `assigned` to a fulfillment request,
then `fulfilled` or `failed`; what came back is `returned`. Everything else that is told of a line or order follows from
these numbers and from inventory's newest decision.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from shared.events.inventory import LineDecision, LineOutcome, OrderAllocated, OrderShort
from shared.events.orders import OrderSource, OrderState

Status = Literal[
    "received",
    "allocated",
    "short",
    "parked",
    "untracked",
    "partly_fulfilled",
    "fulfilled",
    "failed",
    "cancelled",
    "returned",
]

# Of several lines the first of these tells how the whole stands: somebody has to act on it, or it is still to come.
_BEFORE_THE_REST: tuple[Status, ...] = ("received", "short", "parked", "failed", "partly_fulfilled")
_THE_REST: tuple[Status, ...] = ("allocated", "fulfilled", "returned", "untracked")


class UnknownOrderError(LookupError):
    """Inventory decided on an order or line that is not here: they are made here, so something is badly wrong."""


class StoredLine(NamedTuple):
    """A line of an order as it stands.

    `outcome`, `takes` (`{product_id, location, quantity}`), `shortfall`, `reason` and `waits_for` are inventory's
    newest decision, `outcome` is `None` before the first. `supplier_id` keeps the stock, once that is known.
    `checked` says that orders has found that the seller may sell the product.
    """

    line_id: int
    product_id: int
    variant_sku: str | None
    quantity: int
    location: str | None
    checked: bool = False
    supplier_id: int | None = None
    outcome: LineOutcome | None = None
    takes: tuple[dict[str, Any], ...] = ()
    shortfall: int = 0
    reason: str | None = None
    waits_for: int | None = None
    cancelled: int = 0
    assigned: int = 0
    fulfilled: int = 0
    failed: int = 0
    returned: int = 0

    @property
    def wanted(self) -> int:
        """Units that the seller still wants, or has got."""
        return self.quantity - self.cancelled

    @property
    def open(self) -> int:
        """Units that nobody was asked to send yet, and that did not come back without that."""
        return self.wanted - self.assigned - self.failed - max(self.fulfilled, self.returned)

    @property
    def status(self) -> Status:
        """How the line stands."""
        to_come = self.wanted - self.failed
        if not self.wanted:
            return "cancelled"
        if not to_come:
            return "failed"
        if self.returned >= to_come:
            return "returned"
        if self.fulfilled:
            return "fulfilled" if self.fulfilled >= to_come else "partly_fulfilled"
        if self.outcome is None:
            return "received"
        return "short" if self.outcome == "refused" else self.outcome


class StoredOrder(NamedTuple):
    """An order as it stands, whole.

    `decision` counts inventory's decisions on it, `decided_version` is the version that the newest was about; both are
    0 before the first.
    """

    order_id: UUID
    seller_id: int
    external_ref: str
    source: OrderSource
    state: OrderState
    placed_at: datetime
    version: int
    decision: int
    decided_version: int
    lines: tuple[StoredLine, ...]

    @property
    def status(self) -> Status:
        """How the order stands as a whole."""
        return status_of([line.status for line in self.lines])

    def parts(self) -> dict[int, Status]:
        """How it stands at each supplier that is known, by the supplier's id."""
        statuses: dict[int, list[Status]] = {}
        for line in self.lines:
            if line.supplier_id is not None:
                statuses.setdefault(line.supplier_id, []).append(line.status)
        return {supplier_id: status_of(some) for supplier_id, some in statuses.items()}


def actor_of(company_id: int | None) -> str:
    """Who does something to an order, as its history says it; `None` is the platform admin."""
    return "platform admin" if company_id is None else f"company {company_id}"


def decided(order: StoredOrder, event: OrderAllocated | OrderShort) -> StoredOrder:
    """The order with a decision that is newer than its own; `UnknownOrderError` names lines that it never had.

    A line that the decision does not name was cancelled in the version that it is about, or added since: it holds
    nothing.
    """
    news = {line.line_id: line for line in event.lines}
    strange = news.keys() - {line.line_id for line in order.lines}
    if strange:
        listed = ", ".join(f"{line_id} of {order.order_id}" for line_id in sorted(strange))
        message = f"inventory decided on order lines that are not known here: {listed}"
        raise UnknownOrderError(message)
    lines = tuple(_decided_line(line, news.get(line.line_id)) for line in order.lines)
    return order._replace(decision=event.decision, decided_version=event.order_version, lines=lines)


def _decided_line(line: StoredLine, news: LineDecision | None) -> StoredLine:
    if news is None:
        return line._replace(outcome=None, takes=(), shortfall=0, reason=None, waits_for=None)
    return line._replace(
        outcome=news.outcome,
        takes=tuple(take.model_dump() for take in news.takes),
        shortfall=news.shortfall,
        reason=news.reason,
        waits_for=news.waits_for,
        supplier_id=line.supplier_id if news.supplier_id is None else news.supplier_id,
    )


def status_of(lines: Collection[Status]) -> Status:
    """How several lines stand as a whole: the worst of them, as somebody has to act on that one."""
    for status in _BEFORE_THE_REST:
        if status in lines:
            return status
    if "allocated" in lines and ("fulfilled" in lines or "returned" in lines):
        return "partly_fulfilled"
    for status in _THE_REST:
        if status in lines:
            return status
    return "cancelled"
