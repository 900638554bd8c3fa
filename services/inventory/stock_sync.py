"""What a supplier's own system says of availability, many items at once: lock, compare, change, record."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.inventory.as_of import as_of_now
from services.inventory.domain import writing as domain
from services.inventory.domain.stock import Cause, Item, Stock, default_location
from services.inventory.domain.writing import Since
from services.inventory.record import record
from services.inventory.store import reading
from services.inventory.store import stock as stock_store
from services.inventory.writing import DAYS_LIMIT, Count, Quantity, Text
from shared.access import Caller
from shared.database import Session

ErrorCode = Literal["unknown_product", "ambiguous_barcode", "invalid_row"]


class AvailabilityData(BaseModel):
    """What is set of an item; what is left out stays, null takes lead time or capacity away."""

    model_config = ConfigDict(extra="forbid")

    quantity_available: Annotated[Quantity, Field(description="Units that can be sold")] = 0
    lead_time_days: Annotated[int | None, Field(ge=0, le=DAYS_LIMIT, strict=True)] = None
    daily_capacity: Count | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "AvailabilityData":
        if not self.model_fields_set:
            message = "state quantity_available, lead_time_days or daily_capacity"
            raise ValueError(message)
        return self


class AvailabilityRow(BaseModel):
    """What is set of the item of this SKU or barcode."""

    model_config = ConfigDict(extra="forbid")

    sku: Text | None = None
    barcode: Text | None = None
    data: AvailabilityData

    @model_validator(mode="after")
    def _named(self) -> "AvailabilityRow":
        if (self.sku is None) == (self.barcode is None):
            message = "name the item by exactly one of sku and barcode"
            raise ValueError(message)
        return self

    @property
    def name(self) -> dict[str, str]:
        """How the row names its item."""
        return {"sku": self.sku} if self.sku is not None else {"barcode": self.barcode or ""}


class RefusedRow(BaseModel):
    """A row that changes nothing, as it named its item (in vain, maybe), and why."""

    name: dict[str, str]
    code: ErrorCode
    detail: str


Result = dict[str, Any]


async def sync_availability(
    session: Session, supplier_id: int, rows: Sequence[AvailabilityRow | RefusedRow], caller: Caller
) -> list[Result]:
    """Set availability at the supplier's default location, row by row; returns each row's result, in order.

    Items that no row names stay as they are.
    """
    found = await _find(session, supplier_id, [row for row in rows if isinstance(row, AvailabilityRow)])
    stock = await stock_store.lock_stock(session, {ids[0] for ids in found.values() if len(ids) == 1})
    now = await as_of_now(session)
    results: list[Result] = []
    set_items: dict[int, Item] = {}
    for one in rows:
        row = _refused_or_not(one, found)
        if isinstance(row, RefusedRow):
            results.append({**row.name, "status": "error", "code": row.code, "detail": row.detail})
            continue
        item = stock.items[found[_key(row)][0]]
        available = _set(stock, item, row.data, now, caller)
        set_items[item.product_id] = item
        results.append({**row.name, "status": "updated", "quantity_available": available})
    await record(session, stock)
    await stock_store.save_settings(session, *set_items.values())
    return results


def _set(stock: Stock, item: Item, data: AvailabilityData, now: Since, caller: Caller) -> int:
    """Set what is stated; returns what is available at the default location then."""
    location_id = default_location(stock.locations[item.supplier_id]).location_id
    stated = data.model_dump(exclude_unset=True)
    wanted = stated.pop("quantity_available", None)
    level = stock.level(item.product_id, location_id)
    if wanted is not None:
        cause = _cause("stock_sync", caller)
        domain.state(stock, item.product_id, location_id, now, cause, available=wanted)
    domain.change_settings(stock, item.product_id, location_id, stated, _cause("settings", caller))
    return level.available


async def _find(
    session: Session, supplier_id: int, rows: Sequence[AvailabilityRow]
) -> dict[tuple[str, str], list[int]]:
    skus = [row.sku for row in rows if row.sku is not None]
    barcodes = [row.barcode for row in rows if row.barcode is not None]
    by_sku = await reading.find_by_sku(session, supplier_id, skus)
    by_barcode = await reading.find_by_barcode(session, supplier_id, barcodes)
    return {("sku", sku): [product_id] for sku, product_id in by_sku.items()} | {
        ("barcode", barcode): product_ids for barcode, product_ids in by_barcode.items()
    }


def _refused_or_not(
    row: AvailabilityRow | RefusedRow, found: dict[tuple[str, str], list[int]]
) -> AvailabilityRow | RefusedRow:
    """The row, or why it is refused: it does not name one item."""
    if isinstance(row, RefusedRow):
        return row
    field, value = _key(row)
    product_ids = found.get((field, value), [])
    if len(product_ids) == 1:
        return row
    if product_ids:
        detail = f"The barcode {value!r} is that of several of your items; name it by its sku."
        return RefusedRow(name=row.name, code="ambiguous_barcode", detail=detail)
    return RefusedRow(name=row.name, code="unknown_product", detail=f"You keep no stock of a {field} {value!r}.")


def _key(row: AvailabilityRow) -> tuple[str, str]:
    ((field, value),) = row.name.items()
    return field, value


def _cause(kind: str, caller: Caller) -> Cause:
    return Cause(kind, caller.actor, "api", caller.actor)
