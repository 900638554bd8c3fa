"""`POST /v1/orders/bulk`: up to a thousand orders as one JSON array, or as many as there are as NDJSON."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from services.orders.bulk import OrderResult, accept_rows, parse_line
from shared.access import Caller, caller_of
from shared.errors import FieldError, ProblemError
from shared.http import BODY_LIMIT_BYTES, too_large
from shared.idempotency import HEADER, OnceRoute
from shared.service_context import Context, context_of

router = APIRouter(prefix="/v1", route_class=OnceRoute)

PATH = "/v1/orders/bulk"
NDJSON = "application/x-ndjson"
ROWS_LIMIT = 1_000
STREAM_ROWS_LIMIT = 100_000
STREAM_LIMIT_BYTES = 256 * 1024 * 1024
# As long as the longest order over `POST /v1/orders`.
LINE_LIMIT_BYTES = BODY_LIMIT_BYTES
# Of a stream, accepted by one transaction.
ROWS_AT_ONCE = 500


class BulkOrdersAnswer(BaseModel):
    """How many rows were accepted (new orders and such that were there already), how many refused, and each one."""

    accepted: int
    refused: int
    rows: list[OrderResult]


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": ROWS_LIMIT,
                    "items": {"$ref": "#/components/schemas/OrderRequest"},
                }
            },
            NDJSON: {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    "/orders/bulk", responses={207: {"model": BulkOrdersAnswer, "description": "Some were refused"}}, openapi_extra=BODY
)
async def submit_orders(
    request: Request,
    response: Response,
    caller: Annotated[Caller, Depends(caller_of("orders"))],
    context: Annotated[Context, Depends(context_of("orders"))],
) -> BulkOrdersAnswer:
    """Submit many orders, each by itself; one that is here already counts as accepted.

    Answers 200 when all were accepted, 207 when some were, and a 422 problem that names each row when none was. As
    NDJSON (an order a line, up to 100,000) they are accepted 500 at a time while they come in: what breaks off is sent
    again whole.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == NDJSON:
        if HEADER in request.headers:
            detail = f"A stream takes no {HEADER}: each order's external_ref keeps it from counting twice."
            raise ProblemError(422, "key_not_taken", detail, errors=[FieldError(field=HEADER, detail=detail)])
        results = await _accept_stream(request, caller, context)
    else:
        rows = await _array(request)
        async with context.database.transaction() as session:
            results = await accept_rows(session, rows, caller)
    refused = [one for one in results if one.result == "refused"]
    if len(refused) == len(results):
        errors = [error for one in refused for error in one.errors]
        raise ProblemError(422, "no_order_accepted", "None of the orders was accepted; see errors.", errors=errors)
    response.status_code = 207 if refused else 200
    return BulkOrdersAnswer(accepted=len(results) - len(refused), refused=len(refused), rows=results)


async def _array(request: Request) -> list[object]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT_BYTES:
            raise too_large(BODY_LIMIT_BYTES)
    try:
        rows = from_json(body)
    except ValueError as error:
        detail = f"The body is no JSON: {error}"
        raise ProblemError(422, "invalid_request", detail, errors=[FieldError(field="body", detail=detail)]) from error
    if not isinstance(rows, list) or not 1 <= len(rows) <= ROWS_LIMIT:
        detail = f"Send an array of 1 to {ROWS_LIMIT:,} orders, or more of them as {NDJSON}, one a line."
        raise ProblemError(422, "invalid_request", detail, errors=[FieldError(field="body", detail=detail)])
    return rows


async def _accept_stream(request: Request, caller: Caller, context: Context) -> list[OrderResult]:
    results: list[OrderResult] = []
    rows: list[object] = []
    async for line in _lines(request):
        rows.append(parse_line(line))
        if len(rows) == ROWS_AT_ONCE:
            results += await _accept(rows, caller, context, len(results))
            rows = []
    if rows:
        results += await _accept(rows, caller, context, len(results))
    if not results:
        detail = "The stream holds no order."
        raise ProblemError(422, "invalid_request", detail, errors=[FieldError(field="body", detail=detail)])
    return results


async def _accept(rows: list[object], caller: Caller, context: Context, first: int) -> list[OrderResult]:
    if first + len(rows) > STREAM_ROWS_LIMIT:
        detail = f"A stream may have {STREAM_ROWS_LIMIT:,} orders; the first {first:,} were looked at, the others not."
        raise ProblemError(413, "too_many_orders", detail)
    async with context.database.transaction() as session:
        return await accept_rows(session, rows, caller, first)


async def _lines(request: Request) -> AsyncIterator[bytes]:
    """The lines of the body that are not empty, as they come in."""
    rest = b""
    try:
        async for piece in request.stream():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
            if len(rest) > LINE_LIMIT_BYTES:
                raise too_large(LINE_LIMIT_BYTES)
    except ClientDisconnect as error:
        detail = "The stream broke off; the orders that were accepted before are in. Send all of them again."
        raise ProblemError(400, "broken_off", detail) from error
    if rest.strip():
        yield rest
