"""Which orders hold stock of an item."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.inventory.api.requests import Calling, Here, Limit, ProductId
from services.inventory.api.stock import own_item
from services.inventory.domain.stock import OrderEffect
from services.inventory.store import takings as store
from shared.events.orders import OrderSource, OrderState
from shared.list_positions import NO_CURSOR, cursor_behind, position_in, refused_cursor

router = APIRouter(prefix="/v1")

LINE_LIMIT = 2**31


class Taking(BaseModel):
    """Units of an item that a line of an order holds at a location: what cancelling it would give back.

    With the effect `decrement` they are off on hand already, with `allocate` they are allocated. `state` is that of
    the order.
    """

    order_id: UUID
    line_id: int
    seller_id: int
    external_ref: str
    source: OrderSource
    location: str
    quantity: int
    effect: OrderEffect
    state: OrderState


class TakingPage(BaseModel):
    """Takings, those of the newest orders first; `next_cursor` is null on the last page."""

    items: list[Taking]
    next_cursor: str | None


@router.get("/stock/{product_id}/takings")
async def list_takings(
    product_id: ProductId,
    caller: Calling,
    context: Here,
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 50,
) -> TakingPage:
    """The order lines that hold stock of the item, those of the newest orders first.

    Units that have left with a completed item are held no more; what is sent by nobody who reports it stays.
    """
    async with context.database.transaction() as session:
        await own_item(session, product_id, caller)
        rows = await store.find_page(session, product_id, _position(cursor, product_id), limit + 1)
    items = [Taking.model_validate(row) for row in rows[:limit]]
    more = len(rows) > limit
    behind = cursor_behind(_list_of(product_id), str(items[-1].order_id), items[-1].line_id) if more else None
    return TakingPage(items=items, next_cursor=behind)


def _list_of(product_id: int) -> str:
    return f"takings of {product_id}"


def _position(cursor: str | None, product_id: int) -> store.Position | None:
    if cursor is None:
        return None
    order_id, line_id = position_in(cursor, _list_of(product_id))
    try:
        position = store.Position(UUID(str(order_id)), line_id)
    except ValueError as error:
        raise refused_cursor(NO_CURSOR) from error
    if not 0 <= line_id < LINE_LIMIT:
        raise refused_cursor(NO_CURSOR)
    return position
