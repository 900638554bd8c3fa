"""Imports of orders as jobs: the file flows in, and what comes of it is told by the import."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping

from services.orders.api.requests import Calling, Here
from services.orders.domain.imports import FileLine
from services.orders.order_files import OrderReader
from services.orders.store import imports as store
from services.orders.store.companies import find_unknown_companies
from services.orders.tables.imports import ImportState, Outcome
from shared import clock
from shared.csv_files import MEDIA_TYPE
from shared.database import Database, Session
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceUploadRoute, Upload
from shared.import_jobs import receiving
from shared.logs import current_traceparent

log = structlog.get_logger()

router = APIRouter(prefix="/v1", route_class=OnceUploadRoute)

IMPORTS_PATH = "/v1/orders/imports"
FILE_LIMIT_BYTES = 256 * 1024 * 1024
# Staged by one transaction.
ROWS_AT_ONCE = 2_000
OPEN_IMPORTS_LIMIT = 20
ID_LIMIT = 2**63

BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}

ImportId = Annotated[int, Path(gt=0, lt=ID_LIMIT)]
SellerId = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="For the platform admin: whose orders")]
Cursor = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="next_cursor of the page before")]
Limit = Annotated[int, Query(ge=1, le=200)]


class OrderImport(BaseModel):
    """An import: `rows` of the file, of them `rows_done`; `orders` is how many they are, null until that is known.

    `created`, `existing` and `refused` count orders; `refused` also rows that are of none. With `dry_run` nothing was
    changed. Where `state` is `failed`, `reason` says why; orders that were created until then stay.
    """

    id: int
    seller_id: int
    dry_run: bool
    state: ImportState
    reason: str | None
    rows: int
    rows_done: int
    progress: float = Field(description="0 to 1")
    orders: int | None
    created: int
    existing: int
    refused: int
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """As it is shown."""
        done = 1.0 if row["state"] == "done" else row["rows_done"] / (row["rows"] or 1)
        return cls.model_validate({**row, "id": row["import_id"], "progress": round(min(done, 1.0), 4)})


class OrderImportPage(BaseModel):
    """Imports, newest first; `next_cursor` is null on the last page."""

    items: list[OrderImport]
    next_cursor: int | None


class OrderImportRow(BaseModel):
    """What came of a row: `row` counts rows from 1, `line` is where in the file it begins, from 1.

    A row has the status of its order, whose id is `order_id`; `errors` says of each row of a refused one why.
    """

    row: int
    line: int
    external_ref: str | None
    placed_at: datetime | None
    product_id: int | None
    variant_sku: str | None
    quantity: int | None
    location: str | None
    status: Outcome
    order_id: UUID | None
    errors: list[FieldError]


class OrderImportRowPage(BaseModel):
    """A page of rows; `next_cursor` is null on the last page."""

    items: list[OrderImportRow]
    next_cursor: int | None


@router.post("/orders/imports", status_code=202, openapi_extra=BODY)
async def import_orders(
    *,
    request: Request,
    response: Response,
    caller: Calling,
    context: Here,
    dry_run: Annotated[bool, Query(description="Change nothing, only say what would come of each order.")] = False,
    seller_id: SellerId = None,
) -> OrderImport:
    """Take a CSV file of orders: `external_ref`, `product_id`, `quantity`, a row for each line of an order.

    Columns in any order; `placed_at`, `variant_sku` and `location` may stand beside them. Rows with the same
    `external_ref` are one order, wherever they stand. Each order is accepted whole or refused whole.
    """
    seller, database = caller.company(seller_id), context.database
    import_id = await _add(database, seller, dry_run=dry_run)
    response.headers["Location"] = f"{IMPORTS_PATH}/{import_id}"
    return await _receive(database, import_id, Upload(request), response)


@router.get("/orders/imports")
async def list_order_imports(
    caller: Calling, context: Here, seller_id: SellerId = None, cursor: Cursor = None, limit: Limit = 50
) -> OrderImportPage:
    """The caller's imports, newest first; the platform admin sees those of all companies, or of `seller_id`."""
    seller = seller_id if caller.is_admin else caller.company(seller_id)
    async with context.database.transaction() as session:
        rows = await store.list_imports(session, seller, cursor, limit + 1)
    items = [OrderImport.of(row) for row in rows[:limit]]
    return OrderImportPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)


@router.get("/orders/imports/{order_import_id}")
async def show_order_import(order_import_id: ImportId, caller: Calling, context: Here) -> OrderImport:
    """How far an import is, and what came of it."""
    return await _show(context.database, order_import_id, caller.company_id)


@router.get("/orders/imports/{order_import_id}/rows")
async def list_order_import_rows(
    *,
    order_import_id: ImportId,
    caller: Calling,
    context: Here,
    status: Annotated[Outcome | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> OrderImportRowPage:
    """What came of each row; `?status=refused` lists those that are refused, and why."""
    await _show(context.database, order_import_id, caller.company_id)
    async with context.database.transaction() as session:
        rows = await store.list_rows(session, order_import_id, status, cursor or 0, limit + 1)
    items = [
        OrderImportRow.model_validate(
            {**row, "row": row["row_number"], "line": row["line_number"], "errors": row["errors"] or []}
        )
        for row in rows[:limit]
    ]
    return OrderImportRowPage(items=items, next_cursor=items[-1].row if len(rows) > limit else None)


async def _add(database: Database, seller_id: int, *, dry_run: bool) -> int:
    async with database.transaction() as session:
        if await find_unknown_companies(session, [seller_id]):
            detail = f"No company {seller_id} is known to orders: create it in catalog."
            error = FieldError(field="seller_id", detail=detail)
            raise ProblemError(422, "unknown_company", detail, errors=[error])
        if await store.count_open(session, seller_id) >= OPEN_IMPORTS_LIMIT:
            detail = f"{OPEN_IMPORTS_LIMIT} imports are under way. Wait until one is done, and send the file again."
            raise ProblemError(429, "too_many_imports", detail, headers={"Retry-After": "5"})
        traceparent = current_traceparent()
        return await store.add_import(session, seller_id=seller_id, dry_run=dry_run, traceparent=traceparent)


async def _receive(database: Database, import_id: int, upload: Upload, response: Response) -> OrderImport:
    """Keep the rows of the body; what breaks off leaves a failed import, and ends the request."""
    async with receiving(partial(_give_up, database, import_id), partial(_forget, database, import_id)):
        reader, rest = await _stage(database, import_id, upload.pieces())
        return await _finish(database, import_id, upload, response, reader, rest)


async def _stage(
    database: Database, import_id: int, pieces: AsyncIterator[bytes]
) -> tuple[OrderReader, list[FileLine]]:
    """Keep the rows as they come; returns the reader at the end of the file, and the rows that are left."""
    reader = OrderReader()
    waiting: list[FileLine] = []
    staged_at = clock.monotonic()
    async for piece in pieces:
        waiting += reader.feed(piece)
        # Also where a slow sender's lease would end.
        if len(waiting) >= ROWS_AT_ONCE or clock.monotonic() - staged_at > store.LEASE_SECONDS / 3:
            async with database.transaction() as session:
                await store.add_rows(session, import_id, waiting)
            waiting, staged_at = [], clock.monotonic()
    return reader, waiting + reader.end()


async def _finish(
    database: Database, import_id: int, upload: Upload, response: Response, reader: OrderReader, rest: list[FileLine]
) -> OrderImport:
    """The file is there: its last rows, its key and the answer are one transaction."""
    async with database.transaction() as session:
        await upload.enter(session)
        await store.add_rows(session, import_id, rest)
        await store.finish_receiving(session, import_id, reader.rows)
        answer = await _find(session, import_id, None)
        await upload.keep(session, response, answer)
    return answer


async def _give_up(database: Database, import_id: int, reason: str) -> None:
    log.info("order_import_given_up", import_id=import_id, reason=reason)
    async with database.transaction() as session:
        await store.give_up_upload(session, import_id, reason)


async def _forget(database: Database, import_id: int) -> None:
    async with database.transaction() as session:
        await store.forget_upload(session, import_id)


async def _show(database: Database, import_id: int, seller_id: int | None) -> OrderImport:
    async with database.transaction() as session:
        return await _find(session, import_id, seller_id)


async def _find(session: Session, import_id: int, seller_id: int | None) -> OrderImport:
    found = await store.find_import(session, import_id, seller_id)
    if found is None:
        raise ProblemError(404, "import_not_found", f"You have no import {import_id}.")
    return OrderImport.of(found)
