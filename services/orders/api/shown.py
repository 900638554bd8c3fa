"""Orders as the routes show them: whole to their seller, its own lines to a supplier."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, computed_field

from services.orders.domain.life import Status, StoredLine
from services.orders.store import reading as store
from shared import clock
from shared.events.inventory import LineOutcome, Take
from shared.events.orders import OrderSource, OrderState
from shared.service_context import Context

# Inventory mostly answers within tens of milliseconds; who waits for longer asks rarely.
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.01, 0.25


class OrderLine(BaseModel):
    """A line and what inventory decided: `takes` is what it drew, `shortfall` the units that are missing."""

    line_id: int
    product_id: int
    variant_sku: str | None
    quantity: int
    location: str | None
    supplier_id: int | None
    outcome: LineOutcome | None
    takes: list[Take]
    shortfall: int
    reason: str | None
    waits_for: int | None
    cancelled: int
    assigned: int
    fulfilled: int
    failed: int
    returned: int

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorators above property; pydantic documents this
    @property
    def status(self) -> Status:
        """How the line stands."""
        fields = {name: getattr(self, name) for name in StoredLine._fields if name in type(self).model_fields}
        return StoredLine(**fields).status


class SupplierPart(BaseModel):
    """How the lines stand that one supplier keeps the stock of."""

    supplier_id: int
    status: Status


class Order(BaseModel):
    """An order as it stands; `status` is the worst of its lines.

    `decision` counts inventory's decisions on it; 0 means that it has not decided yet. `decided_version` is the version
    of the order that the newest was about.
    """

    order_id: UUID
    seller_id: int
    external_ref: str
    source: OrderSource
    state: OrderState
    placed_at: datetime
    received_at: datetime
    version: int
    decision: int
    decided_version: int
    status: Status
    suppliers: list[SupplierPart]
    lines: list[OrderLine]


class OrderPage(BaseModel):
    """Orders, newest first; `next_cursor` is null on the last page."""

    items: list[Order]
    next_cursor: UUID | None


async def when_decided(context: Context, order_id: UUID, wait_seconds: float) -> Order:
    """The order as soon as inventory has decided on it as it is now.

    Or as it is after `wait_seconds`, or when the process is to end.
    """
    deadline = clock.monotonic() + wait_seconds
    pause_seconds = FIRST_POLL_SECONDS
    while True:
        # A transaction for each look: a connection that waits along would be missing elsewhere.
        async with context.database.transaction() as session:
            (row,) = await store.find_orders(session, {"order_id": order_id}, limit=1)
        order = Order.model_validate(row)
        left_seconds = deadline - clock.monotonic()
        if order.decided_version == order.version or left_seconds <= 0 or context.draining.is_set():
            return order
        await clock.sleep(min(pause_seconds, left_seconds))
        pause_seconds = min(2 * pause_seconds, LONGEST_POLL_SECONDS)
