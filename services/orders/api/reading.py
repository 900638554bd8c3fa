"""Looking orders up over HTTP: the seller's own, whole, and what a supplier has to send of those of others."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from services.orders.api.requests import Calling, Here
from services.orders.api.shown import Order, OrderPage
from services.orders.domain.life import Status, actor_of
from services.orders.store import reading as store
from services.orders.submissions import in_utc, storable
from shared import clock
from shared.access import Caller
from shared.database import Session
from shared.entity_tags import etag_of
from shared.errors import ProblemError

router = APIRouter(prefix="/v1")

# An order's id is made before it is accepted; so much later at most, also where a clock was set back in between.
ID_SLACK = timedelta(hours=1)

Id = Annotated[int | None, Field(gt=0, lt=2**63)]
Moment = Annotated[datetime | None, AfterValidator(in_utc)]


class ChangedLine(BaseModel):
    """Units of a line that a change concerned, and how the line stood afterwards."""

    line_id: int
    quantity: int
    status: Status


class OrderChange(BaseModel):
    """Something that happened to an order: who did it, what brought it (an id), why, and at which version."""

    kind: Literal[
        "received",
        "decided",
        "amended",
        "cancelled",
        "fulfillment_assigned",
        "fulfillment_failed",
        "fulfillment_completed",
        "returned",
    ]
    changed_at: datetime
    version: int
    actor: str
    cause: str | None
    reason: str | None
    lines: list[ChangedLine]


class OrderHistory(BaseModel):
    """What happened to an order, oldest first; `next_cursor` is null on the last page."""

    items: list[OrderChange]
    next_cursor: UUID | None


class OrderFilters(BaseModel):
    """Which orders are asked for; but for whose they are, filters are about what the caller sees of them."""

    seller_id: Id = None
    supplier_id: Id = None
    q: Annotated[str | None, AfterValidator(storable)] = Field(
        None, max_length=200, description="Is part of external_ref, or begins order_id, in any case"
    )
    status: list[Status] = Field([], description="One of these; may be given several times")
    waiting: bool = Field(default=False, description="Only orders with a line that is parked or short")
    product_id: Id = None
    external_ref: Annotated[str | None, AfterValidator(storable)] = None
    received_from: Moment = None
    received_before: Moment = None
    cursor: UUID | None = Field(None, description="next_cursor of the page before")
    limit: int = Field(50, ge=1, le=200)

    def conditions(self, caller: Caller) -> dict[str, object]:
        """As `find_orders` takes them, with what the caller may see."""
        given = {
            **_seen_by(caller, self.seller_id, self.supplier_id),
            "q": self.q or None,
            # By one status alone an index leads.
            "status": self.status[0] if len(self.status) == 1 else None,
            "statuses": self.status if len(self.status) > 1 else None,
            "waiting": self.waiting or None,
            "product_id": self.product_id,
            "external_ref": self.external_ref,
            "received_from": self.received_from,
            "received_before": self.received_before,
            "from_id": self.received_from and clock.lowest_uuid7(self.received_from - ID_SLACK),
            "below_id": self.received_before and clock.lowest_uuid7(self.received_before + ID_SLACK),
            "before": self.cursor,
        }
        return {name: value for name, value in given.items() if value is not None}


@router.get("/orders")
async def list_orders(caller: Calling, context: Here, filters: Annotated[OrderFilters, Query()]) -> OrderPage:
    """Orders, newest first.

    Those that the caller sold. With `supplier_id` of the caller's own those that it has to send something of, of each
    its own lines; `status` is then how these stand. The platform admin sees all.
    """
    async with context.database.transaction() as session:
        rows = await store.find_orders(session, filters.conditions(caller), filters.limit + 1)
    items = [Order.model_validate(row) for row in rows[: filters.limit]]
    return OrderPage(items=items, next_cursor=items[-1].order_id if len(rows) > filters.limit else None)


@router.get("/orders/{order_id}")
async def show_order(order_id: UUID, caller: Calling, context: Here, response: Response) -> Order:
    """One of the caller's orders, or what the caller has to send of one."""
    async with context.database.transaction() as session:
        row = await _find(session, order_id, caller)
    order = Order.model_validate(row)
    response.headers["ETag"] = etag_of(order.version)
    return order


@router.get("/orders/{order_id}/history")
async def show_history(
    order_id: UUID,
    caller: Calling,
    context: Here,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> OrderHistory:
    """What happened to an order, oldest first; to a supplier what happened to its own lines.

    Of a cancellation `quantity` counts the units that are not wanted any more, of an amendment those that are wanted
    more, or less when it is negative.
    """
    async with context.database.transaction() as session:
        order = await _find(session, order_id, caller)
        changes = await store.find_changes(session, order_id, cursor, limit + 1)
    own = {line["line_id"] for line in order["lines"]}
    shown = [] if cursor else [_received(order)]
    for change in changes[:limit]:
        lines = [line for line in change["lines"] if line["line_id"] in own]
        if lines or not change["lines"]:
            shown.append(change | {"lines": lines})
    next_cursor = changes[limit - 1]["change_id"] if len(changes) > limit else None
    return OrderHistory.model_validate({"items": shown, "next_cursor": next_cursor})


def _received(order: dict[str, Any]) -> dict[str, Any]:
    """How the history of an order begins."""
    return {
        "kind": "received",
        "changed_at": order["received_at"],
        "version": 1,
        "actor": actor_of(order["seller_id"]),
        "cause": order["source"],
        "reason": None,
        "lines": [],
    }


def _seen_by(caller: Caller, seller_id: int | None, supplier_id: int | None) -> dict[str, object]:
    """Which orders the caller may see of those that it asks for, as filters."""
    if caller.is_admin:
        return {"seller_id": seller_id, "supplier_id": supplier_id}
    if supplier_id is not None and supplier_id == caller.company():
        return {"part_of": supplier_id, "seller_id": seller_id}
    return {"seller_id": caller.company(seller_id), "supplier_id": supplier_id}


async def _find(session: Session, order_id: UUID, caller: Caller) -> dict[str, Any]:
    """The order as the caller sees it; raises a 404 problem when it sees nothing of it."""
    ways: list[dict[str, object]] = [{}]
    if not caller.is_admin:
        ways = [{"seller_id": caller.company()}, {"part_of": caller.company()}]
    for way in ways:
        rows = await store.find_orders(session, {"order_id": order_id} | way, limit=1)
        if rows:
            return rows[0]
    raise ProblemError(404, "order_not_found", f"You have no order {order_id}.")
