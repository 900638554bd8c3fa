"""Lists of stock: searched, filtered, sorted, page by page, and counted."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.inventory.api.requests import ID_LIMIT, Calling, Here
from services.inventory.api.stock import StockItem, stock_item
from services.inventory.store import stock_lists as store
from services.inventory.store.reading import Row
from services.inventory.store.stock_lists import Order, Position, StockFilter, StockState
from services.inventory.writing import Text
from shared.access import Caller
from shared.list_positions import NO_CURSOR, OTHER_LIST, cursor_behind, position_in, refused_cursor

router = APIRouter(prefix="/v1")

Column = Literal[
    "product_id", "sku", "title", "on_hand", "allocated", "reserved", "available", "safety_stock", "lead_time_days"
]
Descending = Literal[
    "-product_id",
    "-sku",
    "-title",
    "-on_hand",
    "-allocated",
    "-reserved",
    "-available",
    "-safety_stock",
    "-lead_time_days",
]


class StockSearch(BaseModel):
    """Which items are meant; what is left out filters nothing."""

    supplier_id: int | None = Field(None, gt=0, lt=ID_LIMIT, description="For the platform admin")
    q: Text | None = Field(
        None, description="Each of its words is contained in the SKU, the title or the barcode, in any case."
    )
    location: Text | None = Field(None, description="Code of a location that stocks the item; totals stay totals.")

    def wanted(self, caller: Caller) -> StockFilter:
        """The same for a supplier about its own stock; for the platform admin about all, or that of `supplier_id`."""
        caller.require("supplier")
        supplier_id = self.supplier_id if caller.is_admin else caller.company(self.supplier_id)
        return StockFilter(supplier_id, q=self.q, location=self.location)


class StockQuery(StockSearch):
    """Which items, in which order, and which page of them."""

    sku: Text | None = Field(None, description="Is the SKU; case counts.")
    state: StockState | None = Field(
        None,
        description="`low`: available is at most the threshold; `out`: 0 or less; `backordered`: less than 0; "
        "`unlinked`: nothing draws on it; `removed`: no location stocks it any more, such are in no other list.",
    )
    sort: Column | Descending = Field(
        "product_id", description="With - before it descending. Texts without regard to case; no value comes last."
    )
    cursor: str | None = Field(None, max_length=2000, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=200)

    def wanted(self, caller: Caller) -> StockFilter:
        """With the filters that only a list has."""
        return replace(super().wanted(caller), sku=self.sku, state=self.state)

    @property
    def order(self) -> Order:
        """By what it is sorted."""
        return Order(self.sort.removeprefix("-"), descending=self.sort.startswith("-"))

    def after(self) -> Position | None:
        """Where the page before ended; raises a 422 problem for a cursor that is none, or of another order."""
        if self.cursor is None:
            return None
        if not self.cursor.isdecimal():
            key, product_id = position_in(self.cursor, self.sort)
            if key is not None and isinstance(key, str) != self.order.is_by_text:
                raise refused_cursor(NO_CURSOR)
            return Position(key, product_id)
        if self.sort != "product_id":
            raise refused_cursor(OTHER_LIST)
        if int(self.cursor) >= ID_LIMIT:
            raise refused_cursor(NO_CURSOR)
        return Position(None, int(self.cursor))

    def cursor_behind(self, item: Row) -> int | str:
        """The cursor of the page behind an item: where a list is by id that id, as it always was."""
        product_id: int = item["product_id"]
        return product_id if self.sort == "product_id" else cursor_behind(self.sort, item["sort_key"], product_id)


class StockPage(BaseModel):
    """Items in the order that was asked for; `next_cursor` is null on the last page."""

    items: list[StockItem]
    next_cursor: int | str | None


class StockSummary(BaseModel):
    """How many items are stocked, how many of them are in which state, and what they come to, in units."""

    items: int
    low: int
    out: int
    backordered: int
    unlinked: int
    units_on_hand: int
    units_available: int


@router.get("/stock")
async def list_stock(query: Annotated[StockQuery, Query()], caller: Calling, context: Here) -> StockPage:
    """The caller's stock; the platform admin sees that of all suppliers, or of `supplier_id`."""
    wanted = query.wanted(caller)
    async with context.database.transaction() as session:
        rows = await store.find_page(session, wanted, query.order, query.after(), query.limit + 1)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    return StockPage(
        items=[stock_item(row) for row in rows], next_cursor=query.cursor_behind(rows[-1]) if more else None
    )


@router.get("/stock/summary")
async def summarize_stock(query: Annotated[StockSearch, Query()], caller: Calling, context: Here) -> StockSummary:
    """The caller's stock in numbers; for the platform admin that of all suppliers, or of `supplier_id`."""
    wanted = query.wanted(caller)
    async with context.database.transaction() as session:
        return StockSummary.model_validate(await store.summarize(session, wanted))
