"""All of a supplier's stock as a file that flows through."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from services.inventory.api.requests import Calling, Here, SupplierId
from services.inventory.stock_files.exported import columns_of, csv_of, header_of
from services.inventory.store.export import stream_stock
from shared.csv_files import MEDIA_TYPE
from shared.database import Database
from shared.errors import FieldError, ProblemError

router = APIRouter(prefix="/v1")

# Each holds a connection to the database for as long as its client reads; others need some as well.
EXPORTS_AT_ONCE = 3
COLUMNS_LIMIT_CHARACTERS = 200
FILE: dict[int | str, dict[str, object]] = {200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}

_running = asyncio.Semaphore(EXPORTS_AT_ONCE)


@router.get("/stock/export", responses=FILE, response_class=StreamingResponse)
async def export_stock(
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
    columns: Annotated[
        str,
        Query(
            max_length=COLUMNS_LIMIT_CHARACTERS,
            description="More columns, separated by commas: location, barcode, name, on_hand, allocated, id.",
        ),
    ] = "",
) -> StreamingResponse:
    """The caller's stock as CSV, as it is at this moment: `sku,quantity_available` at `main`, ready to be imported.

    With `location` among `columns` a row for each location that stocks an item.
    """
    caller.require("supplier")
    supplier = caller.company(supplier_id)
    try:
        names = columns_of(columns)
    except ValueError as error:
        detail = str(error)
        raise ProblemError(
            422, "unknown_column", detail, errors=[FieldError(field="columns", detail=detail)]
        ) from error
    if _running.locked():
        detail = "Too many exports are under way. Send the same request again shortly."
        raise ProblemError(503, "busy", detail, headers={"Retry-After": "5"})
    return StreamingResponse(
        _exported(context.database, supplier, names),
        media_type=MEDIA_TYPE,
        headers={"Content-Disposition": 'attachment; filename="stock.csv"'},
    )


async def _exported(database: Database, supplier_id: int, columns: Sequence[str]) -> AsyncIterator[bytes]:
    async with _running, database.transaction() as session:
        yield header_of(columns)
        async with aclosing(stream_stock(session, supplier_id, columns)) as pages:
            async for rows in pages:
                yield csv_of(columns, rows)
