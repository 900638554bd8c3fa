"""Returns over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from services.orders.accept import UnknownCompanyError, accept_return
from services.orders.api.requests import Calling, Here, raise_unless_accepted, unknown_company
from services.orders.store import returns as store
from services.orders.submissions import NamedSource, ReturnBody
from shared.events.orders import OrderSource
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)


class ReturnRequest(ReturnBody):
    """A return to submit; only the platform admin needs to say whose (`seller_id`)."""

    source: NamedSource = "api"


class ReturnLine(BaseModel):
    """A line of a return."""

    line_id: int
    product_id: int
    variant_sku: str | None
    quantity: int
    restock: bool
    location: str | None


class Return(BaseModel):
    """A return as it was accepted."""

    return_id: UUID
    seller_id: int
    external_ref: str
    source: OrderSource
    order_id: UUID | None
    returned_at: datetime
    received_at: datetime
    lines: list[ReturnLine]


class ReturnPage(BaseModel):
    """Returns, newest first; `next_cursor` is null on the last page."""

    items: list[Return]
    next_cursor: UUID | None


@router.get("/returns")
async def list_returns(
    caller: Calling,
    context: Here,
    order_id: Annotated[UUID, Query(description="What came back of this order")],
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ReturnPage:
    """What came back of one of the caller's orders, newest first; none for an order that is not its own."""
    async with context.database.transaction() as session:
        rows = await store.find_returns_of_order(session, order_id, caller.company_id, cursor, limit + 1)
    items = [Return.model_validate(row) for row in rows[:limit]]
    return ReturnPage(items=items, next_cursor=items[-1].return_id if len(rows) > limit else None)


@router.post("/returns", status_code=201, responses={200: {"model": Return, "description": "It was here already"}})
async def submit_return(body: ReturnRequest, response: Response, caller: Calling, context: Here) -> Return:
    """State that items came back, with or without a known order. The same return again answers 200."""
    returned = body.submitted(caller.company(body.seller_id), body.source)
    async with context.database.transaction() as session:
        try:
            verdict = await accept_return(session, returned)
        except UnknownCompanyError as error:
            raise unknown_company(error) from error
        raise_unless_accepted(verdict, "return")
        row = await store.find_return(session, verdict.id)
    response.status_code = 201 if verdict.kind == "created" else 200
    return Return.model_validate(row)
