"""All of a supplier's stock as a file that flows through."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from services.inventory.api.requests import Calling, Here
from services.inventory.api.stock_lists import StockSearch
from services.inventory.stock_files.exported import columns_of, csv_of, header_of
from services.inventory.store.export import stream_stock
from services.inventory.store.stock_lists import StockFilter
from shared.access import Caller
from shared.csv_files import MEDIA_TYPE
from shared.database import Database
from shared.errors import FieldError, ProblemError

router = APIRouter(prefix="/v1")

# Each holds a connection to the database for as long as its client reads; others need some as well.
EXPORTS_AT_ONCE = 3
COLUMNS_LIMIT_CHARACTERS = 200
FILE: dict[int | str, dict[str, object]] = {200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}


class ExportQuery(StockSearch):
    """Which items, and what of them."""

    state: Literal["low", "out", "backordered", "unlinked"] | None = Field(None, description="As in the list of stock.")
    columns: str = Field(
        "",
        max_length=COLUMNS_LIMIT_CHARACTERS,
        description="More columns, separated by commas: location, barcode, name, on_hand, allocated, id.",
    )

    def wanted(self, caller: Caller) -> StockFilter:
        """The stock of one supplier, whoever asks: a file is imported for one."""
        wanted = super().wanted(caller)
        return replace(wanted, supplier_id=caller.company(self.supplier_id), state=self.state)


_running = asyncio.Semaphore(EXPORTS_AT_ONCE)


@router.get("/stock/export", responses=FILE, response_class=StreamingResponse)
async def export_stock(
    query: Annotated[ExportQuery, Query()],
    caller: Calling,
    context: Here,
) -> StreamingResponse:
    """The caller's stock as CSV, as it is at this moment: `sku,quantity_available` at `main`, ready to be imported.

    With `location` among `columns` a row for each location that stocks an item. Where a `location` is asked for, the
    rows are of that one and name it: without it they would be imported to `main`.
    """
    wanted = query.wanted(caller)
    try:
        names = columns_of(query.columns if query.location is None else f"{query.columns},location")
    except ValueError as error:
        detail = str(error)
        raise ProblemError(
            422, "unknown_column", detail, errors=[FieldError(field="columns", detail=detail)]
        ) from error
    if _running.locked():
        detail = "Too many exports are under way. Send the same request again shortly."
        raise ProblemError(503, "busy", detail, headers={"Retry-After": "5"})
    return StreamingResponse(
        _exported(context.database, wanted, names),
        media_type=MEDIA_TYPE,
        headers={"Content-Disposition": 'attachment; filename="stock.csv"'},
    )


async def _exported(database: Database, wanted: StockFilter, columns: Sequence[str]) -> AsyncIterator[bytes]:
    async with _running, database.transaction() as session:
        yield header_of(columns)
        async with aclosing(stream_stock(session, wanted, columns)) as pages:
            async for rows in pages:
                yield csv_of(columns, rows)
