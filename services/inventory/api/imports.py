"""Imports of stock as jobs: the file flows in, and what comes of it is told by the import."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated, Self

import structlog
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping

from services.inventory.api.requests import ID_LIMIT, Calling, Cursor, Here, Limit, SupplierId
from services.inventory.as_of import Moment
from services.inventory.domain.imports import Writes
from services.inventory.domain.stock import DEFAULT_LOCATION
from services.inventory.stock_files.rows import Row, StockReader
from services.inventory.store import imports as store
from services.inventory.store import ledger
from services.inventory.store import locations as location_store
from services.inventory.tables.imports import ImportState, Mode, RowStatus
from services.inventory.writing import Text
from shared import clock
from shared.access import Caller
from shared.csv_files import MEDIA_TYPE, FileError
from shared.database import Database, Session
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceUploadRoute, Upload
from shared.import_jobs import receiving
from shared.logs import current_traceparent

log = structlog.get_logger()

router = APIRouter(prefix="/v1", route_class=OnceUploadRoute)

IMPORTS_PATH = "/v1/stock/imports"
FILE_LIMIT_BYTES = 256 * 1024 * 1024
# Carried out by one transaction: so long nobody else may write these items, and nothing else runs in this process.
CHUNK_ROWS = 2_000
OPEN_IMPORTS_LIMIT = 20

NOT_OF_ADJUSTMENTS = (
    "as_of is for files of quantity_available and on_hand; an adjustment is the same whenever it comes. Nothing was "
    "changed."
)
BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}

ImportId = Annotated[int, Path(gt=0, lt=ID_LIMIT)]


class StockImport(BaseModel):
    """An import: `rows` of the file, of them `rows_done`; `writes` is the column of quantities that it has.

    What is `pending` was sent to `/imports/stock` for products that are not there yet, and is written when they come.
    With `dry_run` nothing was changed. Where `state` is `failed`, `reason` says why: with mode `all` nothing was
    changed; with mode `rows` what was done until then stays.
    """

    id: int
    supplier_id: int
    source: str
    mode: Mode
    dry_run: bool
    writes: Writes | None
    location: str
    as_of: datetime | None
    state: ImportState
    reason: str | None
    rows: int
    rows_done: int
    progress: float = Field(description="0 to 1")
    changed: int
    unchanged: int
    refused: int
    pending: int
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """As it is shown."""
        done = 1.0 if row["state"] == "done" else row["rows_done"] / (row["rows"] or 1)
        return cls.model_validate({**row, "id": row["import_id"], "progress": round(min(done, 1.0), 4)})


class StockImportPage(BaseModel):
    """Imports, newest first; `next_cursor` is null on the last page."""

    items: list[StockImport]
    next_cursor: int | None


class StockImportRow(BaseModel):
    """What came of a row: `row` counts rows from 1, `line` is where in the file it begins, from 1; units elsewhere.

    Of what was sent to `/imports/stock` `sku` is the SKU or id as it was sent, with its variant's; in JSON `line` is
    the row again.
    """

    row: int
    line: int
    sku: str | None
    variant_sku: str | None
    barcode: str | None
    location: str | None
    status: RowStatus
    product_id: int | None
    on_hand_before: int | None
    on_hand_after: int | None
    available_before: int | None
    available_after: int | None
    errors: list[FieldError]


class StockImportRowPage(BaseModel):
    """A page of rows; `next_cursor` is null on the last page."""

    items: list[StockImportRow]
    next_cursor: int | None


@router.post("/stock/imports", status_code=202, openapi_extra=BODY)
async def import_stock(  # noqa: PLR0913 - each says how
    *,
    request: Request,
    response: Response,
    caller: Calling,
    context: Here,
    mode: Annotated[Mode, Query(description="`rows`: good rows go in; `all`: nothing unless all are good.")] = "rows",
    dry_run: Annotated[bool, Query(description="Change nothing, only say what would come of each row.")] = False,
    location: Annotated[Text, Query(description="Of rows that name none.")] = DEFAULT_LOCATION,
    as_of: Annotated[
        Moment | None, Query(description="When that many were there: what moved since is added; now when left out.")
    ] = None,
    supplier_id: SupplierId = None,
) -> StockImport:
    """Take a CSV file of stock: `sku`, `barcode` or `id`; `quantity_available`, `on_hand` or `adjustment`.

    Columns in any order; `location` and `reason` may stand beside them. Rows are written in the order of the file.
    """
    caller.require("supplier")
    supplier, database = caller.company(supplier_id), context.database
    import_id = await _add(database, caller, supplier, mode=mode, dry_run=dry_run, location=location, as_of=as_of)
    response.headers["Location"] = f"{IMPORTS_PATH}/{import_id}"
    return await _receive(database, import_id, Upload(request), response, as_of)


@router.get("/stock/imports")
async def list_stock_imports(
    caller: Calling, context: Here, supplier_id: SupplierId = None, cursor: Cursor = None, limit: Limit = 50
) -> StockImportPage:
    """The caller's imports, newest first; the platform admin sees those of all suppliers, or of `supplier_id`."""
    caller.require("supplier")
    supplier = supplier_id if caller.is_admin else caller.company(supplier_id)
    async with context.database.transaction() as session:
        rows = await store.list_imports(session, supplier, cursor, limit + 1)
    items = [StockImport.of(row) for row in rows[:limit]]
    return StockImportPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)


@router.get("/stock/imports/{stock_import_id}")
async def show_stock_import(stock_import_id: ImportId, caller: Calling, context: Here) -> StockImport:
    """How far an import is, and what came of it."""
    caller.require("supplier")
    return await _show(context.database, stock_import_id, caller.company_id)


@router.get("/stock/imports/{stock_import_id}/rows")
async def list_stock_import_rows(
    *,
    stock_import_id: ImportId,
    caller: Calling,
    context: Here,
    status: Annotated[RowStatus | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> StockImportRowPage:
    """The rows that were refused, and of a dry run those that would change something; the ledger tells the others.

    Of what was sent to `/imports/stock`, all.
    """
    caller.require("supplier")
    await _show(context.database, stock_import_id, caller.company_id)
    async with context.database.transaction() as session:
        rows = await store.list_rows(session, stock_import_id, status, cursor or 0, limit + 1)
    items = [
        StockImportRow.model_validate(
            {**row, "row": row["row_number"], "line": row["line_number"], "errors": row["errors"] or []}
        )
        for row in rows[:limit]
    ]
    return StockImportRowPage(items=items, next_cursor=items[-1].row if len(rows) > limit else None)


async def _add(  # noqa: PLR0913 - each says how
    database: Database,
    caller: Caller,
    supplier_id: int,
    *,
    mode: Mode,
    dry_run: bool,
    location: str,
    as_of: datetime | None,
) -> int:
    async with database.transaction() as session:
        await _check_as_of(session, as_of)
        if await location_store.find_id(session, supplier_id, location) is None:
            detail = f"The supplier has no location {location!r}."
            raise ProblemError(422, "unknown_location", detail, errors=[FieldError(field="location", detail=detail)])
        if await store.count_open(session, supplier_id) >= OPEN_IMPORTS_LIMIT:
            detail = f"{OPEN_IMPORTS_LIMIT} imports are under way. Wait until one is done, and send the file again."
            raise ProblemError(429, "too_many_imports", detail, headers={"Retry-After": "5"})
        return await store.add_import(
            session,
            supplier_id=supplier_id,
            kind="csv_import",
            source="csv",
            actor=caller.actor,
            mode=mode,
            dry_run=dry_run,
            writes=None,
            location=location,
            as_of=as_of,
            traceparent=current_traceparent(),
        )


async def _check_as_of(session: Session, as_of: datetime | None) -> None:
    now = None if as_of is None else await ledger.now(session)
    if as_of is not None and now is not None and as_of > now:
        detail = f"{as_of.isoformat()} is in the future: it is {now.isoformat()} here."
        raise ProblemError(422, "as_of_to_come", detail, errors=[FieldError(field="as_of", detail=detail)])


async def _receive(
    database: Database, import_id: int, upload: Upload, response: Response, as_of: datetime | None
) -> StockImport:
    """Keep the rows of the body; what breaks off leaves a failed import, and ends the request."""
    async with receiving(partial(_give_up, database, import_id), partial(_forget, database, import_id)):
        reader, rest = await _stage(database, import_id, upload.pieces(), as_of)
        return await _finish(database, import_id, upload, response, reader, rest)


async def _stage(
    database: Database, import_id: int, pieces: AsyncIterator[bytes], as_of: datetime | None
) -> tuple[StockReader, list[Row]]:
    """Keep the rows in chunks as they come; returns the reader at the end of the file, and the rows that are left."""
    reader = StockReader()
    waiting: list[Row] = []
    staged_at = clock.monotonic()
    async for piece in pieces:
        waiting += reader.feed(piece)
        if as_of is not None and reader.writes == "adjustment":
            raise FileError(NOT_OF_ADJUSTMENTS, (FieldError(field="as_of", detail=NOT_OF_ADJUSTMENTS),))
        # Also where a slow sender's lease would end.
        while len(waiting) >= CHUNK_ROWS or clock.monotonic() - staged_at > store.LEASE_SECONDS / 3:
            async with database.transaction() as session:
                await store.add_chunk(session, import_id, waiting[:CHUNK_ROWS])
            waiting, staged_at = waiting[CHUNK_ROWS:], clock.monotonic()
    return reader, waiting + reader.end()


async def _finish(
    database: Database, import_id: int, upload: Upload, response: Response, reader: StockReader, rest: list[Row]
) -> StockImport:
    """The file is there: its last rows, its key and the answer are one transaction."""
    assert reader.writes is not None  # noqa: S101 - the header has been read
    async with database.transaction() as session:
        await upload.enter(session)
        while rest:
            await store.add_chunk(session, import_id, rest[:CHUNK_ROWS])
            rest = rest[CHUNK_ROWS:]
        await store.finish_receiving(session, import_id, reader.rows, reader.writes)
        answer = await _find(session, import_id, None)
        await upload.keep(session, response, answer)
    return answer


async def _give_up(database: Database, import_id: int, reason: str) -> None:
    log.info("stock_import_given_up", import_id=import_id, reason=reason)
    async with database.transaction() as session:
        await store.finish(session, import_id, 0, "failed", reason)


async def _forget(database: Database, import_id: int) -> None:
    async with database.transaction() as session:
        await store.forget_upload(session, import_id)


async def _show(database: Database, import_id: int, supplier_id: int | None) -> StockImport:
    async with database.transaction() as session:
        return await _find(session, import_id, supplier_id)


async def _find(session: Session, import_id: int, supplier_id: int | None) -> StockImport:
    found = await store.find_import(session, import_id, supplier_id)
    if found is None:
        raise ProblemError(404, "import_not_found", f"You have no import {import_id}.")
    return StockImport.of(found)
