"""Import of products as a job, and their export: files that flow through, never held whole."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Self

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping

from services.catalog.api.requests import Calling, Cursor, Here, IdInPath, Limit, after, next_cursor
from services.catalog.domain import Product
from services.catalog.fields import Id
from services.catalog.product_files import csv_format, ndjson
from services.catalog.product_files.rows import Count, Format, ReadRow
from services.catalog.store import imports as store
from services.catalog.store.companies import find_roles
from services.catalog.store.directory import find_names
from services.catalog.store.imports import Mode, Status
from services.catalog.store.product_lists import ProductFilter, list_products
from shared import clock
from shared.csv_files import MEDIA_TYPE as CSV
from shared.database import Database, Session
from shared.errors import FieldError, ProblemError
from shared.events.catalog import ProductType
from shared.idempotency import OnceUploadRoute, Upload
from shared.import_jobs import receiving
from shared.logs import current_traceparent

log = structlog.get_logger()

router = APIRouter(prefix="/v1", route_class=OnceUploadRoute)

IMPORT_PATH = "/v1/products/import"
FILE_LIMIT_BYTES = 256 * 1024 * 1024
# Staged by one transaction.
BYTES_AT_ONCE = 256 * 1024
# Exported by one transaction.
PRODUCTS_AT_ONCE = 500

UPLOADED_BEFORE = "The same file was received before, under the same key; nothing was changed by this one."
MEDIA_TYPES: dict[str, Format] = {
    CSV: "csv",
    ndjson.MEDIA_TYPE: "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {name: {"schema": {"type": "string"}} for name in (CSV, ndjson.MEDIA_TYPE)},
    }
}
FILE: dict[int | str, dict[str, object]] = {200: {"content": {CSV: {}, ndjson.MEDIA_TYPE: {}}}}


class Import(BaseModel):
    """An import: `rows` of the file, of them `rows_done`; the other counts are of products.

    With `dry_run` nothing was changed. Where `state` is `failed`, `reason` says why: with mode `all` nothing was
    changed, and rows are refused or still pending; with mode `rows` what was saved until then stays.
    """

    id: int
    owner_id: int
    format: Format
    mode: Mode
    dry_run: bool
    state: Literal["receiving", "received", "running", "done", "failed"]
    reason: str | None
    rows: int
    rows_done: int
    progress: float = Field(description="0 to 1")
    created: int
    changed: int
    unchanged: int
    refused: int
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """As it is shown."""
        done = 1.0 if row["state"] == "done" else row["rows_done"] / (row["rows"] or 1)
        return cls.model_validate({**row, "id": row["import_id"], "progress": round(min(done, 1.0), 4)})


class ImportRow(BaseModel):
    """What came of a row: `row` counts rows from 1, `line` is where in the file it begins, from 1."""

    row: int
    line: int
    type: ProductType | None
    sku: str | None
    status: Status
    product_id: int | None
    errors: list[FieldError]


class ImportRows(BaseModel):
    """A page of rows."""

    items: list[ImportRow]
    next_cursor: str | None


@router.post("/products/import", status_code=202, openapi_extra=BODY)
async def import_products(  # noqa: PLR0913 - each says how
    *,
    request: Request,
    response: Response,
    caller: Calling,
    context: Here,
    format: Annotated[Format | None, Query(description="By Content-Type when left out.")] = None,  # noqa: A002 - its name
    mode: Annotated[Mode, Query(description="`rows`: good rows go in; `all`: nothing unless all are good.")] = "rows",
    dry_run: Annotated[bool, Query(description="Change nothing, only say what would come of each row.")] = False,
    owner_id: Annotated[Id | None, Query(description="For the platform admin: whose products these are.")] = None,
) -> Import:
    """Take a file of products, to be created or changed by type and SKU; what comes of it is told by the import."""
    owner, database = caller.company(owner_id), context.database
    file_format = format or _format_of(request)
    async with database.transaction() as session:
        if not await find_roles(session, [owner]):
            detail = f"There is no company {owner}."
            error = FieldError(field="owner_id", detail=detail)
            raise ProblemError(422, "unknown_company", detail, errors=[error])
        import_id = await store.add_import(
            session,
            caller.actor,
            owner,
            format=file_format,
            mode=mode,
            dry_run=dry_run,
            ids_allowed=caller.is_admin,
            traceparent=current_traceparent(),
        )
    response.headers["Location"] = f"/v1/products/imports/{import_id}"
    return await _receive(database, import_id, file_format, Upload(request), response)


@router.get("/products/imports/{import_id}")
async def show_import(import_id: IdInPath, caller: Calling, context: Here) -> Import:
    """How far an import is, and what came of it."""
    return await _show(context.database, import_id, caller.company_id)


@router.get("/products/imports/{import_id}/rows")
async def list_import_rows(
    *,
    import_id: IdInPath,
    caller: Calling,
    context: Here,
    status: Annotated[Status | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ImportRows:
    """What came of each row of an import."""
    await _show(context.database, import_id, caller.company_id)
    async with context.database.transaction() as session:
        rows = await store.list_rows(session, import_id, status, after(cursor), limit + 1)
    return ImportRows(
        items=[
            ImportRow.model_validate(
                {**row, "row": row["row_number"], "line": row["line_number"], "errors": row["errors"] or []}
            )
            for row in rows[:limit]
        ],
        next_cursor=next_cursor((row["row_number"] for row in rows), limit),
    )


@router.get("/products/export", responses=FILE, response_class=StreamingResponse)
async def export_products(
    caller: Calling,
    context: Here,
    format: Annotated[Format, Query()] = "csv",  # noqa: A002 - the parameter's name
    owner_id: Annotated[Id | None, Query(description="For the platform admin: whose products.")] = None,
) -> StreamingResponse:
    """All products of the caller's company, as a file that can be imported again."""
    owner = caller.company(owner_id)
    media_type = CSV if format == "csv" else ndjson.MEDIA_TYPE
    disposition = f'attachment; filename="products.{format}"'
    return StreamingResponse(
        _exported(context.database, owner, format),
        media_type=media_type,
        headers={"Content-Disposition": disposition},
    )


def _format_of(request: Request) -> Format:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        detail = f"Send {' or '.join(MEDIA_TYPES)} as Content-Type, or name the format: ?format=csv or ?format=ndjson."
        raise ProblemError(422, "unknown_format", detail, errors=[FieldError(field="format", detail=detail)])
    return MEDIA_TYPES[media_type]


async def _receive(
    database: Database, import_id: int, file_format: Format, upload: Upload, response: Response
) -> Import:
    """Stage the body row by row; what breaks off leaves a failed import, and ends the request."""
    give_up = partial(_give_up, database, import_id)
    async with receiving(give_up, partial(give_up, UPLOADED_BEFORE)):
        count, rest = await _stage(database, import_id, file_format, upload.pieces())
        return await _finish(database, import_id, upload, response, count, rest)


async def _stage(
    database: Database, import_id: int, file_format: Format, pieces: AsyncIterator[bytes]
) -> tuple[Count, list[ReadRow]]:
    """Stage the rows as they come; returns their count at the end of the file, and those that are left."""
    reader = csv_format.CsvReader() if file_format == "csv" else ndjson.NdjsonReader()
    waiting: list[ReadRow] = []
    count, waiting_bytes = Count(), 0
    staged_at = clock.monotonic()
    async for piece in pieces:
        rows = reader.feed(piece)
        count.add(rows)
        waiting += rows
        waiting_bytes += len(piece)
        # Also where a slow sender's lease would end.
        if waiting_bytes >= BYTES_AT_ONCE or clock.monotonic() - staged_at > store.LEASE_SECONDS / 3:
            async with database.transaction() as session:
                await store.add_rows(session, import_id, waiting)
            waiting, waiting_bytes, staged_at = [], 0, clock.monotonic()
    rows = reader.end()
    count.add(rows)
    return count, [*waiting, *rows]


async def _finish(
    database: Database, import_id: int, upload: Upload, response: Response, count: Count, rest: list[ReadRow]
) -> Import:
    """The file is there: its last rows, its key and the answer are one transaction."""
    async with database.transaction() as session:
        await upload.enter(session)
        await store.add_rows(session, import_id, rest)
        await store.finish_receiving(session, import_id, count.rows, count.without_product)
        answer = await _find(session, import_id, None)
        await upload.keep(session, response, answer)
    return answer


async def _give_up(database: Database, import_id: int, reason: str) -> None:
    log.info("import_given_up", import_id=import_id, reason=reason)
    async with database.transaction() as session:
        await store.finish(session, import_id, 0, "failed", reason)


async def _show(database: Database, import_id: int, company_id: int | None) -> Import:
    async with database.transaction() as session:
        return await _find(session, import_id, company_id)


async def _find(session: Session, import_id: int, company_id: int | None) -> Import:
    found = await store.find_import(session, import_id, company_id)
    if found is None:
        raise ProblemError(404, "import_not_found", f"You have no import {import_id}.")
    return Import.of(found)


async def _exported(database: Database, owner_id: int, file_format: Format) -> AsyncIterator[bytes]:
    """The file, so many products at a time; each page is as it was when it was read."""
    own, position, is_first = ProductFilter(owner_id=owner_id), None, True
    while True:
        async with database.transaction() as session:
            page = await list_products(session, owner_id, own, after=position, limit=PRODUCTS_AT_ONCE)
            products = page.products
            names = await find_names(session, {id_ for product in products for id_ in _referred(product)})
        if file_format == "ndjson":
            yield ndjson.ndjson_of(products, names)
        else:
            yield csv_format.csv_of(products, names, with_header=is_first)
        if page.end is None:
            return
        position, is_first = page.end, False


def _referred(product: Product) -> set[int]:
    return product.target_ids | ({product.base_product_id} if product.base_product_id is not None else set())
