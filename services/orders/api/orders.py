"""Orders over HTTP: submit, amend and cancel them."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from services.orders import changing
from services.orders.accept import UnknownCompanyError, accept_orders
from services.orders.api.requests import Calling, Here, raise_unless_accepted, unknown_company
from services.orders.api.shown import Order, when_decided
from services.orders.changing import Amendment, Cancellation
from services.orders.submissions import OrderRequest
from shared.entity_tags import VERSION_CHANGED, IfMatch, etag_of
from shared.idempotency import OnceRoute, commit_with_answer
from shared.service_context import Context

router = APIRouter(prefix="/v1", route_class=OnceRoute)

WAIT_LIMIT_SECONDS = 10
Wait = Annotated[
    float,
    Query(ge=0, le=WAIT_LIMIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for inventory's decision"),
]


@dataclass(frozen=True, slots=True)
class Answering:
    """How a call is answered that changed an order: with the order, after waiting for inventory if that is wanted."""

    request: Request
    response: Response
    context: Context
    wait_seconds: float

    async def with_order(self, order_id: UUID) -> Order:
        """The order as it is; inventory only hears of what is committed."""
        order = await when_decided(self.context, order_id, 0)
        self.response.headers["ETag"] = etag_of(order.version)
        if self.wait_seconds:
            await commit_with_answer(self.request, self.response, order)
            return await when_decided(self.context, order_id, self.wait_seconds)
        return order


def answering(request: Request, response: Response, context: Here, wait: Wait = 0) -> Answering:
    """What routes need to answer."""
    return Answering(request, response, context, wait)


Answer = Annotated[Answering, Depends(answering)]


@router.post("/orders", status_code=201, responses={200: {"model": Order, "description": "It was here already"}})
async def submit_order(body: OrderRequest, response: Response, caller: Calling, answer: Answer) -> Order:
    """Submit an order. The same order again answers 200 with that order as it is now."""
    order = body.submitted(caller.company(body.seller_id), body.source)
    async with answer.context.database.transaction() as session:
        try:
            (verdict,) = await accept_orders(session, [order])
        except UnknownCompanyError as error:
            raise unknown_company(error) from error
    raise_unless_accepted(verdict, "order")
    response.status_code = 201 if verdict.kind == "created" else 200
    response.headers["Location"] = f"{router.prefix}/orders/{verdict.id}"
    return await answer.with_order(verdict.id)


@router.patch("/orders/{order_id}", responses=VERSION_CHANGED)
async def amend_order(order_id: UUID, body: Amendment, if_match: IfMatch, caller: Calling, answer: Answer) -> Order:
    """Amend one of the caller's orders: quantities and locations of lines, and new lines.

    Inventory applies the difference. 409 for units that are in a fulfillment request, or settled.
    """
    async with answer.context.database.transaction() as session:
        await changing.amend(session, order_id, body, caller, if_match)
    return await answer.with_order(order_id)


@router.post("/orders/{order_id}/cancel", responses=VERSION_CHANGED)
async def cancel_order(
    order_id: UUID, if_match: IfMatch, caller: Calling, answer: Answer, body: Cancellation | None = None
) -> Order:
    """Cancel one of the caller's orders, or lines of it: what is still taken for them is given back.

    A cancelled order stays cancelled; to cancel it again changes nothing.
    """
    async with answer.context.database.transaction() as session:
        await changing.cancel(session, order_id, body or Cancellation(), caller, if_match)
    return await answer.with_order(order_id)
