"""Stock as it is, and writing it: one item, its settings and removal, or many items at once."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.inventory import writing
from services.inventory.api.requests import Calling, Here, ProductId, SupplierId
from services.inventory.store import reading
from services.inventory.writing import BulkRow, Settings, Write
from shared.access import Caller
from shared.database import Session
from shared.entity_tags import VERSION_CHANGED, IfMatch, etag_of
from shared.errors import FieldError, ProblemError, field_errors
from shared.events.catalog import OversellPolicy
from shared.idempotency import OnceRoute

BULK_ROWS_LIMIT = 10_000

router = APIRouter(prefix="/v1", route_class=OnceRoute)

BULK_ROW = TypeAdapter(BulkRow)


class Level(BaseModel):
    """The stock of an item at a location: `available = on_hand - allocated - reserved - safety_stock`.

    With `removed_at` the location stocks the item no more: it is shown, but not counted.
    """

    location: str
    on_hand: int
    allocated: int
    reserved: int
    safety_stock: int
    available: int
    removed_at: datetime | None


class StockItem(BaseModel):
    """A base stock product, its levels and the totals of those that count; `version` rises with each change.

    `policy` is the one that holds, the item's own or the company's default. `removed_at` is set when no location stocks
    the item any more.
    """

    product_id: int
    supplier_id: int
    sku: str
    title: str
    barcode: str | None
    policy: OversellPolicy
    low_stock_threshold: int | None
    lead_time_days: int | None
    daily_capacity: int | None
    on_hand: int
    allocated: int
    reserved: int
    safety_stock: int
    available: int
    version: int
    removed_at: datetime | None
    levels: list[Level]


class WrittenStock(StockItem):
    """The item after a write; with `superseded_by` that changed nothing: what is there is known as of later."""

    superseded_by: writing.Superseded | None


class BulkAnswer(BaseModel):
    """What became of each row, in the order of the rows."""

    written: int
    refused: int
    rows: list[writing.RowResult]


@router.get("/stock/{product_id}")
async def show_stock(product_id: ProductId, response: Response, caller: Calling, context: Here) -> StockItem:
    """One item: its levels per location, their totals, its version, which is its `ETag` too."""
    async with context.database.transaction() as session:
        return _tagged(response, await own_item(session, product_id, caller))


@router.post("/stock/{product_id}/adjustments", responses=VERSION_CHANGED)
async def adjust_stock(
    product_id: ProductId, body: Write, response: Response, if_match: IfMatch, caller: Calling, context: Here
) -> WrittenStock:
    """Set on hand or what is available, or adjust it, at one location; answers with the item as it is then."""
    async with context.database.transaction() as session:
        await own_item(session, product_id, caller)
        superseded = await writing.write(session, product_id, body, caller, if_match)
        item = _tagged(response, await own_item(session, product_id, caller))
    return WrittenStock(**item.model_dump(), superseded_by=superseded)


@router.patch("/stock/{product_id}", responses=VERSION_CHANGED)
async def change_settings(
    product_id: ProductId, body: Settings, response: Response, if_match: IfMatch, caller: Calling, context: Here
) -> StockItem:
    """Set the item's policy, threshold, lead time and capacity, and its safety stock at a location; answers with it."""
    async with context.database.transaction() as session:
        await own_item(session, product_id, caller)
        await writing.change_settings(session, product_id, body, caller, if_match)
        return _tagged(response, await own_item(session, product_id, caller))


@router.delete("/stock/{product_id}", responses=VERSION_CHANGED)
async def remove_stock(  # noqa: PLR0913 - each is a part of the request
    *,
    product_id: ProductId,
    response: Response,
    if_match: IfMatch,
    caller: Calling,
    context: Here,
    location: Annotated[str | None, Query(min_length=1, max_length=200, pattern=writing.NO_NUL)] = None,
    reason: Annotated[str | None, Query(min_length=1, max_length=200, pattern=writing.NO_NUL)] = None,
) -> StockItem:
    """Stock the item no more at a location, or anywhere. That is not setting it to zero: its units stay.

    Orders that were taken keep theirs and late ones still take; the next write lists the item again.
    """
    async with context.database.transaction() as session:
        await own_item(session, product_id, caller)
        await writing.remove(session, product_id, location, reason, caller, if_match)
        return _tagged(response, await own_item(session, product_id, caller))


@router.post("/stock/bulk", responses={207: {"model": BulkAnswer, "description": "Some rows were refused"}})
async def write_bulk(
    body: Annotated[list[Any], Body(min_length=1, max_length=BULK_ROWS_LIMIT)],
    response: Response,
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
) -> BulkAnswer:
    """Write many items, each row by itself; rows name their item by `sku`, `barcode` or `id`.

    Answers 200 when all rows were written, 207 when some were, and a 422 problem that names each row when none was.
    """
    caller.require("supplier")
    rows = [_bulk_row(number, item) for number, item in enumerate(body)]
    async with context.database.transaction() as session:
        results = await writing.write_rows(session, caller.company(supplier_id), rows, caller)
    refused = [result for result in results if result.errors]
    if len(refused) == len(results):
        errors = [error for result in refused for error in result.errors]
        raise ProblemError(422, "no_row_written", "None of the rows could be written; see errors.", errors=errors)
    response.status_code = 207 if refused else 200
    return BulkAnswer(written=len(results) - len(refused), refused=len(refused), rows=results)


def _tagged(response: Response, item: StockItem) -> StockItem:
    response.headers["ETag"] = etag_of(item.version)
    return item


def _bulk_row(number: int, item: object) -> BulkRow | list[FieldError]:
    try:
        return BULK_ROW.validate_python(item)
    except ValidationError as error:
        return field_errors([{**one, "loc": (number, *one["loc"])} for one in error.errors()])


async def own_item(session: Session, product_id: int, caller: Caller) -> StockItem:
    """The item as it is; a 404 problem unless it is the caller's (or the caller is the platform admin)."""
    caller.require("supplier")
    supplier_id = None if caller.is_admin else caller.company()
    item = await reading.find_item(session, product_id, supplier_id)
    if item is None:
        raise ProblemError(404, "stock_not_found", f"You keep no stock of a product {product_id}.")
    return stock_item(item)


def stock_item(row: dict[str, Any]) -> StockItem:
    """An item as it is shown, from a row with its `levels`."""
    counted = [level for level in row["levels"] if level["removed_at"] is None]
    totals: dict[str, Any] = {
        name: sum(level[name] for level in counted)
        for name in ("on_hand", "allocated", "reserved", "safety_stock", "available")
    }
    totals["removed_at"] = None if counted else max(level["removed_at"] for level in row["levels"])
    return StockItem.model_validate(row | totals)
