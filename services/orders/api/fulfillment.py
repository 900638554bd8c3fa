"""Fulfillment over HTTP: suppliers assign, complete and fail, one by one or many at once, and read what happened."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.orders.api.requests import Calling, Here
from services.orders.domain.fulfillment import RefusalCode, RefusedError, RequestState
from services.orders.fulfilling import (
    Action,
    AssignAction,
    Assignment,
    CompleteAction,
    Completion,
    FailAction,
    Failure,
    Outcome,
    RefTakenError,
    carry_out,
)
from services.orders.store import fulfillment as store
from services.orders.submissions import storable
from shared.access import Caller
from shared.database import Session
from shared.errors import FieldError, ProblemError, field_errors
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)

ACTIONS_LIMIT = 1_000
# Of all actions of a call: a transaction of more would hold its orders, and this process, for seconds.
ITEMS_LIMIT = 10_000
ID_LIMIT = 2**63
NOT_FOUND: set[RefusalCode] = {"order_not_found", "request_not_found"}
INVALID: set[RefusalCode] = {"unknown_line", "too_many_units", "several_suppliers", "several_locations"}
DISCRIMINATED = Annotated[Action, Field(discriminator="action")]
ACTION: TypeAdapter[Action] = TypeAdapter(DISCRIMINATED)

SupplierId = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="For the platform admin")]


class RequestQuery(BaseModel):
    """Which requests to list."""

    supplier_id: Annotated[int | None, Field(gt=0, lt=ID_LIMIT, description="For the platform admin")] = None
    order_id: UUID | None = None
    state: RequestState | None = None
    location: Annotated[str | None, AfterValidator(storable)] = None
    external_ref: Annotated[str | None, AfterValidator(storable)] = None
    cursor: Annotated[UUID | None, Field(description="next_cursor of the page before")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class FulfillmentRequestItem(BaseModel):
    """Units of an order's line: how many were asked for, and how many of them are still `assigned`."""

    line_id: int
    product_id: int
    variant_sku: str | None
    quantity: int
    assigned: int
    completed: int
    failed: int


class FulfillmentRequest(BaseModel):
    """What a supplier is to send of an order; `external_ref` is its own reference, `order_ref` the seller's.

    `state` is `open` while anything is assigned, then `completed`, `failed`, or `partly_completed`.
    """

    request_id: UUID
    supplier_id: int
    external_ref: str | None
    order_id: UUID
    order_ref: str
    seller_id: int
    location: str
    state: RequestState
    created_at: datetime
    items: list[FulfillmentRequestItem]


class FulfillmentRequestPage(BaseModel):
    """Fulfillment requests, newest first; `next_cursor` is null on the last page."""

    items: list[FulfillmentRequest]
    next_cursor: UUID | None


class BulkActions(BaseModel):
    """Actions, carried out one after the other in one transaction, each accepted or refused by itself."""

    model_config = ConfigDict(extra="forbid")

    actions: Annotated[
        list[Annotated[DISCRIMINATED | Any, Field(union_mode="left_to_right")]],
        Field(min_length=1, max_length=ACTIONS_LIMIT),
    ]


class ActionResult(BaseModel):
    """What became of action `row` (from 0), and the request that it made or was about; or why it is refused."""

    row: int
    result: Literal["created", "existing", "completed", "failed", "refused"]
    request_id: UUID | None
    code: str | None = None
    errors: list[FieldError] = []


class BulkActionsAnswer(BaseModel):
    """How many actions were carried out (or had been before), how many refused, and each one."""

    accepted: int
    refused: int
    rows: list[ActionResult]


class FulfillmentEvent(BaseModel):
    """What happened to units of a line; `request_ref` is the supplier's reference, `external_ref` the order's.

    `logical_timestamp` counts the supplier's events from 1 without a gap, in the order in which they were committed.
    """

    type: Literal["fulfillment_request_assigned", "fulfillment_request_completed", "fulfillment_request_failed"]
    logical_timestamp: int
    occurred_at: datetime
    supplier_id: int
    request_id: UUID
    request_ref: str | None
    line_id: int
    quantity: int
    location: str
    reason: str | None
    order_id: UUID
    external_ref: str
    seller_id: int
    product_id: int
    variant_sku: str | None


class FulfillmentFeed(BaseModel):
    """Events in the order of their logical timestamps; ask next for those `after=last`."""

    items: list[FulfillmentEvent]
    last: int


@router.post(
    "/fulfillment-requests",
    status_code=201,
    responses={200: {"model": FulfillmentRequest, "description": "It was made before, under this reference"}},
)
async def assign_items(body: Assignment, response: Response, caller: Calling, context: Here) -> FulfillmentRequest:
    """Assign units of an order to be sent; without `items` all that is open of your lines.

    409 before inventory has decided the lines, and for lines that it has not given stock to; 422 for more units than
    are open. The same again under the same `external_ref` answers 200 with that request.
    """
    action = AssignAction.model_construct(action="assign", **dict(body))
    async with context.database.transaction() as session:
        outcome = await _one(session, action, caller)
        response.status_code = 201 if outcome.result == "created" else 200
        response.headers["Location"] = f"{router.prefix}/fulfillment-requests/{outcome.request_id}"
        return await _shown(session, outcome.request_id)


@router.post(
    "/fulfillment-requests/bulk",
    responses={207: {"model": BulkActionsAnswer, "description": "Some were refused"}},
)
async def do_many(body: BulkActions, response: Response, caller: Calling, context: Here) -> BulkActionsAnswer:
    """Assign, complete and fail, up to 1,000 times: one transaction, in which a refused action changes nothing.

    Answers 200 when all were carried out, 207 when some were, and a 422 problem that names each row when none was.
    """
    rows = [_read(number, row) for number, row in enumerate(body.actions)]
    actions = [row for row in rows if not isinstance(row, ActionResult)]
    items = sum(len(action.items or ()) for action in actions)
    if items > ITEMS_LIMIT:
        detail = f"These actions name {items:,} items; a call may name {ITEMS_LIMIT:,}: others wait for it."
        raise ProblemError(422, "too_many_items", detail, errors=[FieldError(field="actions", detail=detail)])
    async with context.database.transaction() as session:
        outcomes = iter(await _carry_out(session, actions, caller) if actions else [])
    results = [
        row if isinstance(row, ActionResult) else _result(number, next(outcomes)) for number, row in enumerate(rows)
    ]
    refused = [one for one in results if one.result == "refused"]
    if len(refused) == len(results):
        errors = [error for one in refused for error in one.errors]
        raise ProblemError(422, "no_action_accepted", "None of the actions was accepted; see errors.", errors=errors)
    response.status_code = 207 if refused else 200
    return BulkActionsAnswer(accepted=len(results) - len(refused), refused=len(refused), rows=results)


@router.post("/fulfillment-requests/{request_id}/complete")
async def complete_items(
    request_id: UUID, caller: Calling, context: Here, body: Completion | None = None
) -> FulfillmentRequest:
    """Say that units have left; without `items` all that is still assigned. Again, until nothing is left: then 409."""
    given = dict(body or Completion())
    action = CompleteAction.model_construct(action="complete", request_id=request_id, **given)
    async with context.database.transaction() as session:
        await _one(session, action, caller)
        return await _shown(session, request_id)


@router.post("/fulfillment-requests/{request_id}/fail")
async def fail_items(
    request_id: UUID, caller: Calling, context: Here, body: Failure | None = None
) -> FulfillmentRequest:
    """Say that units will not be sent; without `items` all that is still assigned.

    The order has no claim on them any more, and inventory gives them back.
    """
    action = FailAction.model_construct(action="fail", request_id=request_id, **dict(body or Failure()))
    async with context.database.transaction() as session:
        await _one(session, action, caller)
        return await _shown(session, request_id)


@router.get("/fulfillment-requests")
async def list_requests(
    query: Annotated[RequestQuery, Query()], caller: Calling, context: Here
) -> FulfillmentRequestPage:
    """The supplier's requests, newest first; the platform admin sees those of all suppliers, or of `supplier_id`."""
    caller.require("supplier")
    given = query.model_dump(exclude={"cursor", "limit"}) | {"before": query.cursor}
    if not caller.is_admin:
        given["supplier_id"] = caller.company(query.supplier_id)
    filters: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    async with context.database.transaction() as session:
        rows = await store.find_requests(session, filters, query.limit + 1)
    items = [FulfillmentRequest.model_validate(row) for row in rows[: query.limit]]
    return FulfillmentRequestPage(items=items, next_cursor=items[-1].request_id if len(rows) > query.limit else None)


@router.get("/fulfillment-requests/{request_id}")
async def show_request(request_id: UUID, caller: Calling, context: Here) -> FulfillmentRequest:
    """One of the supplier's requests."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        if not await store.find_orders(session, [request_id], caller.company_id):
            raise ProblemError(404, "request_not_found", f"You have no fulfillment request {request_id}.")
        return await _shown(session, request_id)


@router.get("/fulfillment-events")
async def read_feed(
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
    after: Annotated[int, Query(ge=0, lt=ID_LIMIT, description="The logical timestamp to go on from")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
) -> FulfillmentFeed:
    """What happened to the supplier's items after this logical timestamp: none is missing, and none comes late."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        rows = await store.find_events(session, caller.company(supplier_id), after, limit)
    items = [FulfillmentEvent.model_validate(row) for row in rows]
    return FulfillmentFeed(items=items, last=items[-1].logical_timestamp if items else after)


async def _carry_out(session: Session, actions: list[Action], caller: Caller) -> list[Outcome | RefusedError]:
    caller.require("supplier")
    try:
        return await carry_out(session, actions, caller.company_id)
    except RefTakenError as error:
        detail = "Another request has taken the same external_ref at this moment; nothing was done. Send it again."
        raise ProblemError(409, "fulfillment_ref_conflict", detail) from error


async def _one(session: Session, action: Action, caller: Caller) -> Outcome:
    """Carry out one action; raises the problem that says why it is refused."""
    (outcome,) = await _carry_out(session, [action], caller)
    if isinstance(outcome, RefusedError):
        status = 404 if outcome.code in NOT_FOUND else 422 if outcome.code in INVALID else 409
        errors = [FieldError(field=one.field, detail=one.detail) for one in outcome.refusals]
        raise ProblemError(status, outcome.code, f"{outcome}.", errors=errors) from outcome
    return outcome


async def _shown(session: Session, request_id: UUID) -> FulfillmentRequest:
    (row,) = await store.find_requests(session, {"request_id": request_id}, limit=1)
    return FulfillmentRequest.model_validate(row)


def _read(number: int, row: object) -> Action | ActionResult:
    """The action in a row, or that it is refused for what is wrong with it."""
    if isinstance(row, Action):
        return row
    try:
        return ACTION.validate_python(row)
    except ValidationError as error:
        # Without the name of the action that the row says it is.
        errors = field_errors([{**one, "loc": ("actions", number, *one["loc"][1:])} for one in error.errors()])
        return ActionResult(row=number, result="refused", request_id=None, code="invalid_action", errors=errors)


def _result(number: int, outcome: Outcome | RefusedError) -> ActionResult:
    if isinstance(outcome, RefusedError):
        errors = [FieldError(field=f"actions[{number}].{one.field}", detail=one.detail) for one in outcome.refusals]
        return ActionResult(row=number, result="refused", request_id=None, code=outcome.code, errors=errors)
    return ActionResult(row=number, result=outcome.result, request_id=outcome.request_id)
