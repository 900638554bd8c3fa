"""Availability as KornitX's API has it: suppliers' systems set it, retailers' systems poll it.

Callers may authenticate as there, `Authorization: Basic REF:KEY`.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Depends, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.inventory import stock_feed
from services.inventory.api.requests import ID_LIMIT, Cursor, Here, SupplierId
from services.inventory.stock_feed import Wanted
from services.inventory.stock_sync import AvailabilityRow, RefusedRow, sync_availability
from services.inventory.store import stock_feed as feed_store
from services.inventory.writing import NO_NUL
from shared.access import Caller, caller_of
from shared.database import Session
from shared.errors import FieldError, Problem, ProblemError, field_errors
from shared.idempotency import OnceRoute

ROWS_LIMIT = 10_000
NAME_LIMIT_CHARACTERS = 200
PAGE_LIMIT = 1_000
BASIC_PATHS = frozenset({"/stock", "/stock/availability"})
CHANGED_SINCE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?", re.ASCII)

router = APIRouter(route_class=OnceRoute)

Calling = Annotated[Caller, Depends(caller_of("inventory", takes_basic=True))]
ROW = TypeAdapter(AvailabilityRow)


class AvailabilityResults(BaseModel):
    """What became of each row, in the order of the rows: `status` is `updated` or `error`, with `code` and `detail`."""

    results: list[dict[str, Any]]


class AvailabilityProblem(Problem, AvailabilityResults):
    """The problem that no row could be set, with the results all the same."""


class PolledStock(BaseModel):
    """Base stock products of connected suppliers; `linked` names it first, then what draws on it."""

    stock: list[dict[str, Any]]


@router.put(
    "/stock/availability",
    responses={207: {"model": AvailabilityResults, "description": "Some rows were refused"}},
    response_model=AvailabilityResults,
)
async def put_availability(
    body: Annotated[list[Any], Body(min_length=1, max_length=ROWS_LIMIT)],
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
) -> Response:
    """Set what is available at the supplier's location `main`, lead time and capacity, by `sku` or `barcode`.

    Each row by itself; items that no row names stay as they are. 200 when all rows were set, 207 when some were, 422
    when none was: each with the results.
    """
    caller.require("supplier")
    async with context.database.transaction() as session:
        rows = [_row(item) for item in body]
        results = await sync_availability(session, caller.company(supplier_id), rows, caller)
    refused = sum(result["status"] == "error" for result in results)
    if refused < len(results):
        return JSONResponse({"results": results}, 207 if refused else 200)
    detail = "None of the rows could be set; see results."
    problem = AvailabilityProblem(
        title="Unprocessable Entity", status=422, detail=detail, code="no_row_written", results=results
    )
    return JSONResponse(problem.model_dump(), 422, media_type="application/problem+json")


@router.get("/stock", response_model=PolledStock)
async def poll_stock(  # noqa: PLR0913 - each says how
    *,
    caller: Calling,
    context: Here,
    dropship_ref: Annotated[
        str | None, Query(min_length=1, max_length=200, pattern=NO_NUL, description="A connection's external ref or id")
    ] = None,
    changed_since: Annotated[
        str | None,
        Query(description="UTC, YYYY-MM-DD HH:MM:SS, or an answer's Basestock-Read-At"),
    ] = None,
    q: Annotated[
        str | None,
        Query(
            min_length=1, max_length=200, pattern=NO_NUL, description="A part of the stock product's SKU, in any case"
        ),
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=PAGE_LIMIT, description="All of it when left out")] = None,
    cursor: Cursor = None,
    retailer_id: Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="For the platform admin")] = None,
) -> Response:
    """The stock of connected suppliers, and what draws on it that the retailer owns or may see.

    `Link` leads to the next page; `Basestock-Read-At`, on the first page alone, is what to send as `changed_since` the
    next time. A change may be told twice, and none is left out; what is not stocked any more has 0 then.
    """
    caller.require("retailer")
    since = None if changed_since is None else _time(changed_since)
    async with context.database.transaction() as session:
        read_at = await feed_store.read_clock(session)
        wanted = (await _wanted(session, caller.company(retailer_id), dropship_ref, since))._replace(q=q)
        if limit is not None:
            items, after = await stock_feed.read_page(session, wanted, cursor or 0, limit)
    # Whoever asked next for changes since a later page was read would miss those of the pages before it.
    headers = {"Basestock-Read-At": read_at.strftime("%Y-%m-%d %H:%M:%S")} if cursor is None else {}
    if limit is None:
        everything = stock_feed.read_all(context.database, wanted)
        return StreamingResponse(everything, media_type="application/json", headers=headers)
    answer = JSONResponse({"stock": items}, headers=headers)
    if after is not None:
        query = {"dropship_ref": dropship_ref, "changed_since": changed_since, "retailer_id": retailer_id}
        query |= {"q": q, "limit": limit, "cursor": after}
        stated = {name: value for name, value in query.items() if value is not None}
        answer.headers["Link"] = f'</stock?{urlencode(stated)}>; rel="next"'
    return answer


async def _wanted(session: Session, retailer_id: int, dropship_ref: str | None, since: datetime | None) -> Wanted:
    connection_id = None
    if dropship_ref is not None:
        connection_id = await feed_store.find_connection(session, retailer_id, dropship_ref)
        if connection_id is None:
            raise ProblemError(404, "connection_not_found", f"You have no connection {dropship_ref!r}.")
    open_since = None if since is None else await feed_store.find_open_since(session, since)
    return Wanted(retailer_id, connection_id, open_since)


def _time(text: str) -> datetime:
    if CHANGED_SINCE.fullmatch(text) is not None:
        with suppress(ValueError):  # the 31st of February
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    detail = "changed_since is a time in UTC like 2026-01-31 09:30:00."
    error = FieldError(field="changed_since", detail=detail)
    raise ProblemError(422, "invalid_request", detail, errors=[error])


def _row(item: object) -> AvailabilityRow | RefusedRow:
    try:
        return ROW.validate_python(item)
    except ValidationError as error:
        detail = "; ".join(f"{one.field}: {one.detail}" for one in field_errors(error.errors()))
        return RefusedRow(name=_named(item), code="invalid_row", detail=detail)


def _named(item: object) -> dict[str, str]:
    """How a row that is refused names its item, as far as it can be said again."""
    if not isinstance(item, dict):
        return {}
    names = {field: item.get(field) for field in ("sku", "barcode")}
    return {
        field: name[:NAME_LIMIT_CHARACTERS].encode(errors="replace").decode()
        for field, name in names.items()
        if isinstance(name, str)
    }
