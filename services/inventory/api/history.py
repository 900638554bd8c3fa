"""What changed stock: ledger entries of one item or of all of a supplier's, and an item day by day."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel

from services.inventory.api.requests import Calling, Cursor, Here, Limit, ProductId, SupplierId
from services.inventory.store import history, reading
from services.inventory.store.history import Filters
from services.inventory.tables import LedgerKind
from services.inventory.writing import NO_NUL
from shared.access import Caller
from shared.database import Session
from shared.errors import ProblemError

router = APIRouter(prefix="/v1")

YEARS = (1970, 9000)
DAYS_LIMIT = 366


def storable_moment(moment: dt.datetime) -> dt.datetime:
    """The same moment in UTC; `ValueError` when it does not say its time zone, or is in no year that has a ledger."""
    if moment.tzinfo is None:
        message = "needs a time zone, like 2026-01-31T12:00:00Z"
        raise ValueError(message)
    if not YEARS[0] < moment.year < YEARS[1]:
        message = f"must be after the year {YEARS[0]} and before {YEARS[1]}"
        raise ValueError(message)
    return moment.astimezone(dt.UTC)


Moment = Annotated[dt.datetime | None, AfterValidator(lambda moment: moment and storable_moment(moment))]
Name = Annotated[str | None, Query(min_length=1, max_length=200, pattern=NO_NUL)]


class LedgerEntry(BaseModel):
    """One change of one level: by how much, and what it came to.

    With `stated_as_of` it is the difference that somebody made who stated what was there then; else units moved.
    """

    entry_id: int
    product_id: int
    item_version: int
    location: str
    kind: LedgerKind
    on_hand_delta: int
    allocated_delta: int
    reserved_delta: int
    on_hand_after: int
    allocated_after: int
    reserved_after: int
    reason: str | None
    actor: str
    source: str
    reference: str
    line_id: int | None
    stated_as_of: dt.datetime | None
    occurred_at: dt.datetime


class LedgerPage(BaseModel):
    """Ledger entries, newest first; `next_cursor` is null on the last page."""

    items: list[LedgerEntry]
    next_cursor: int | None


class Day(BaseModel):
    """A day (UTC) of an item: what it began and ended with, the lowest between, and what moved.

    `available` is worked out with the safety stock of today. `units_sold` is what orders took, less what they gave
    back; `units_received` is what came on hand otherwise, returns among it.
    """

    day: dt.date
    opening_on_hand: int
    closing_on_hand: int
    lowest_on_hand: int
    opening_available: int
    closing_available: int
    lowest_available: int
    units_sold: int
    units_received: int


class Series(BaseModel):
    """The days of an item, oldest first; the last one is today, as far as it has come."""

    product_id: int
    location: str | None
    days: list[Day]


def filters_of(
    location: Name = None,
    kind: Annotated[list[LedgerKind] | None, Query(description="Any of these")] = None,
    reference: Annotated[
        str | None,
        Query(min_length=1, max_length=200, pattern=NO_NUL, description="Of an order, a return, a reservation, a key"),
    ] = None,
    since: Annotated[Moment, Query(description="From this moment on, RFC 3339")] = None,
    until: Annotated[Moment, Query(description="Before this moment, RFC 3339")] = None,
) -> Filters:
    """Which entries are asked for; what is left out filters nothing."""
    return Filters(location, kind, reference, since, until)


Filtered = Annotated[Filters, Depends(filters_of)]


@router.get("/stock/ledger")
async def list_ledger(
    caller: Calling,
    context: Here,
    filters: Filtered,
    supplier_id: SupplierId = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> LedgerPage:
    """What changed the caller's stock, newest first; the platform admin sees all suppliers', or `supplier_id`'s."""
    caller.require("supplier")
    supplier = supplier_id if caller.is_admin else caller.company(supplier_id)
    async with context.database.transaction() as session:
        rows = await history.list_all_entries(session, supplier, filters, before=cursor, limit=limit + 1)
    return _page(rows, limit)


@router.get("/stock/{product_id}/ledger")
async def show_ledger(
    product_id: ProductId, caller: Calling, context: Here, filters: Filtered, cursor: Cursor = None, limit: Limit = 50
) -> LedgerPage:
    """What changed the item's stock, newest first."""
    async with context.database.transaction() as session:
        await _require_own(session, product_id, caller)
        rows = await history.list_entries(session, product_id, filters, before=cursor, limit=limit + 1)
    return _page(rows, limit)


@router.get("/stock/{product_id}/series")
async def show_series(
    product_id: ProductId,
    caller: Calling,
    context: Here,
    days: Annotated[int, Query(ge=1, le=DAYS_LIMIT, description="How many, today included")] = 90,
    location: Name = None,
) -> Series:
    """The item day by day, for charts: at one location, or all together."""
    async with context.database.transaction() as session:
        await _require_own(session, product_id, caller)
        rows = await history.series(session, product_id, days, location)
    return Series(product_id=product_id, location=location, days=[Day.model_validate(row) for row in rows])


def _page(rows: list[history.Row], limit: int) -> LedgerPage:
    entries = [LedgerEntry.model_validate(row) for row in rows[:limit]]
    return LedgerPage(items=entries, next_cursor=entries[-1].entry_id if len(rows) > limit else None)


async def _require_own(session: Session, product_id: int, caller: Caller) -> None:
    caller.require("supplier")
    supplier_id = None if caller.is_admin else caller.company()
    if await reading.find_item(session, product_id, supplier_id) is None:
        raise ProblemError(404, "stock_not_found", f"You keep no stock of a product {product_id}.")
