"""Orders over HTTP: submit them, see what became of them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, computed_field

from services.orders.accept import UnknownCompanyError, accept_orders
from services.orders.api.requests import Calling, Here, raise_unless_accepted, unknown_company
from services.orders.domain.life import Status, StoredLine
from services.orders.store import reading as store
from services.orders.submissions import OrderRequest, storable
from shared import clock
from shared.errors import ProblemError
from shared.events.inventory import LineOutcome, Take
from shared.events.orders import OrderSource, OrderState
from shared.idempotency import OnceRoute, commit_with_answer
from shared.service_context import Context

router = APIRouter(prefix="/v1", route_class=OnceRoute)

WAIT_LIMIT_SECONDS = 10
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


@router.post("/orders", status_code=201, responses={200: {"model": Order, "description": "It was here already"}})
async def submit_order(
    body: OrderRequest,
    request: Request,
    response: Response,
    caller: Calling,
    context: Here,
    wait: Annotated[
        float,
        Query(ge=0, le=WAIT_LIMIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for inventory's decision"),
    ] = 0,
) -> Order:
    """Submit an order. The same order again answers 200 with that order as it is now."""
    order = body.submitted(caller.company(body.seller_id), body.source)
    async with context.database.transaction() as session:
        try:
            (verdict,) = await accept_orders(session, [order])
        except UnknownCompanyError as error:
            raise unknown_company(error) from error
    raise_unless_accepted(verdict, "order")
    response.status_code = 201 if verdict.kind == "created" else 200
    response.headers["Location"] = f"{router.prefix}/orders/{verdict.id}"
    if wait:  # inventory only hears of what is committed
        await commit_with_answer(request, response, await _when_decided(context, verdict.id, 0))
    return await _when_decided(context, verdict.id, wait)


@router.get("/orders")
async def list_orders(
    caller: Calling,
    context: Here,
    seller_id: Annotated[int | None, Query(gt=0, lt=2**63, description="For the platform admin")] = None,
    external_ref: Annotated[str | None, AfterValidator(storable)] = None,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> OrderPage:
    """The caller's orders, newest first; the platform admin sees those of all companies, or of `seller_id`."""
    seller = seller_id if caller.is_admin else caller.company(seller_id)
    given = {"seller_id": seller, "external_ref": external_ref, "before": cursor}
    filters: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    async with context.database.transaction() as session:
        rows = await store.find_orders(session, filters, limit + 1)
    items = [Order.model_validate(row) for row in rows[:limit]]
    return OrderPage(items=items, next_cursor=items[-1].order_id if len(rows) > limit else None)


@router.get("/orders/{order_id}")
async def show_order(order_id: UUID, caller: Calling, context: Here) -> Order:
    """One of the caller's orders."""
    filters: dict[str, object] = {"order_id": order_id}
    if not caller.is_admin:
        filters["seller_id"] = caller.company()
    async with context.database.transaction() as session:
        rows = await store.find_orders(session, filters, limit=1)
    if not rows:
        raise ProblemError(404, "order_not_found", f"You have no order {order_id}.")
    return Order.model_validate(rows[0])


async def _when_decided(context: Context, order_id: UUID, wait_seconds: float) -> Order:
    """The order as soon as inventory has decided, or as it is after `wait_seconds`, or when the process is to end."""
    deadline = clock.monotonic() + wait_seconds
    pause_seconds = FIRST_POLL_SECONDS
    while True:
        # A transaction for each look: a connection that waits along would be missing elsewhere.
        async with context.database.transaction() as session:
            (row,) = await store.find_orders(session, {"order_id": order_id}, limit=1)
        order = Order.model_validate(row)
        left_seconds = deadline - clock.monotonic()
        if order.decision > 0 or left_seconds <= 0 or context.draining.is_set():
            return order
        await clock.sleep(min(pause_seconds, left_seconds))
        pause_seconds = min(2 * pause_seconds, LONGEST_POLL_SECONDS)
