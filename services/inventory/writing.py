"""Writing stock by hand, one item or many, its settings and its removal: lock, compare, change, record."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.inventory.domain import writing as domain
from services.inventory.domain.stock import DEFAULT_LOCATION, Cause, Location, Stock
from services.inventory.record import record
from services.inventory.store import reading
from services.inventory.store import stock as stock_store
from shared.access import Caller
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.events.catalog import OversellPolicy

# PostgreSQL's text holds any character but this one.
NO_NUL = r"^[^\x00]*$"

# Far above any real count of one item at one location.
UNITS_LIMIT = 1_000_000_000

Quantity = Annotated[int, Field(ge=-UNITS_LIMIT, le=UNITS_LIMIT, strict=True)]
Count = Annotated[int, Field(ge=0, le=UNITS_LIMIT, strict=True)]
DAYS_LIMIT = 3_650
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]


class _Target(BaseModel):
    """What to write: exactly one of the three (rule 12)."""

    model_config = ConfigDict(extra="forbid")

    location: Text = Field(DEFAULT_LOCATION, description="The supplier's location")
    on_hand: Quantity | None = Field(None, description="Units that are there")
    available: Quantity | None = Field(None, description="Units that can still be sold")
    adjustment: Quantity | None = Field(None, description="Units that came (or went, when negative)")

    @model_validator(mode="after")
    def _one_of_three(self) -> "_Target":
        if [self.on_hand, self.available, self.adjustment].count(None) != 2:  # noqa: PLR2004 - all but one
            message = "state exactly one of on_hand, available and adjustment"
            raise ValueError(message)
        return self


class Write(_Target):
    """A write to one item; with `expected_on_hand` only if that is what is on hand at the location."""

    reason: Text
    expected_on_hand: Quantity | None = None


class BulkRow(_Target):
    """A write to the item of this SKU, barcode or id."""

    sku: Text | None = None
    barcode: Text | None = None
    id: Annotated[int | None, Field(gt=0, lt=2**63, strict=True)] = None
    reason: Text | None = None

    @model_validator(mode="after")
    def _named(self) -> "BulkRow":
        if [self.sku, self.barcode, self.id].count(None) != 2:  # noqa: PLR2004 - all but one
            message = "name the item by exactly one of sku, barcode and id"
            raise ValueError(message)
        return self


class Settings(BaseModel):
    """What the supplier sets of an item; what is left out stays, null takes a setting away.

    `safety_stock` is kept at `location`, out of what can be sold there; the others hold for the item everywhere.
    """

    model_config = ConfigDict(extra="forbid")

    policy: OversellPolicy | None = Field(None, description="Null is the company's default")
    low_stock_threshold: Count | None = Field(None, description="Available units at or below which it is low")
    lead_time_days: Annotated[int | None, Field(ge=0, le=DAYS_LIMIT, strict=True)] = None
    daily_capacity: Count | None = None
    safety_stock: Count = 0
    location: Text = DEFAULT_LOCATION


class RowResult(BaseModel):
    """What became of row number `row` (from 0): the item as it is after the row, or why the row was refused."""

    row: int
    product_id: int | None = None
    location: str | None = None
    on_hand: int | None = None
    available: int | None = None
    errors: list[FieldError] = []


async def write(session: Session, product_id: int, body: Write, caller: Caller) -> None:
    """Make one write to an item that exists.

    Raises a 422 problem for an unknown location, 409 when on hand is not as expected.
    """
    stock = await stock_store.lock_stock(session, [product_id])
    location = _location(stock, product_id, body.location)
    on_hand = stock.level(product_id, location.location_id).on_hand
    if body.expected_on_hand is not None and body.expected_on_hand != on_hand:
        detail = f"{on_hand} are on hand at {body.location!r}, not {body.expected_on_hand}. Look again and decide anew."
        raise ProblemError(409, "on_hand_changed", detail)
    _move(stock, product_id, location.location_id, body, _cause(caller, body.reason))
    await record(session, stock)


async def change_settings(session: Session, product_id: int, body: Settings, caller: Caller) -> None:
    """Set what the body names of an item that exists; raises a 422 problem for an unknown location."""
    stock = await stock_store.lock_stock(session, [product_id])
    location = _location(stock, product_id, body.location)
    stated = body.model_dump(exclude_unset=True, exclude={"location"})
    changes = {"own_policy" if name == "policy" else name: value for name, value in stated.items()}
    domain.change_settings(stock, product_id, location.location_id, changes, _cause(caller, None, "settings"))
    await record(session, stock)
    await stock_store.save_settings(session, stock.items[product_id])


async def remove(session: Session, product_id: int, code: str | None, reason: str | None, caller: Caller) -> None:
    """Stock an item no more at the location of this code, or anywhere (`None`); 422 for an unknown location."""
    stock = await stock_store.lock_stock(session, [product_id])
    location_id = None if code is None else _location(stock, product_id, code).location_id
    domain.remove(stock, product_id, location_id, _cause(caller, reason, "removed"))
    await record(session, stock)


async def write_rows(
    session: Session, supplier_id: int, rows: Sequence[BulkRow | list[FieldError]], caller: Caller
) -> list[RowResult]:
    """Make many writes to a supplier's items, one after the other; rows that are errors already stay so."""
    product_ids = await _find(session, supplier_id, [row for row in rows if isinstance(row, BulkRow)])
    found = {key: ids[0] for key, ids in product_ids.items() if len(ids) == 1}
    stock = await stock_store.lock_stock(session, set(found.values()))
    results = []
    for number, row in enumerate(rows):
        if isinstance(row, list):
            results.append(RowResult(row=number, errors=row))
            continue
        name, code = _key(row)
        if (name, code) not in found:
            problem = "is that of several items" if product_ids.get((name, code)) else "is none of your items'"
            results.append(_refused(number, name, f"{code!r} {problem}."))
            continue
        results.append(_write_row(stock, number, found[name, code], row, _cause(caller, row.reason)))
    await record(session, stock)
    return results


def _write_row(stock: Stock, number: int, product_id: int, row: BulkRow, cause: Cause) -> RowResult:
    location = stock.location(stock.items[product_id].supplier_id, row.location)
    if location is None:
        return _refused(number, "location", _no_location(row.location))
    _move(stock, product_id, location.location_id, row, cause)
    level = stock.level(product_id, location.location_id)
    return RowResult(
        row=number, product_id=product_id, location=row.location, on_hand=level.on_hand, available=level.available
    )


def _refused(number: int, field: str, detail: str) -> RowResult:
    return RowResult(row=number, errors=[FieldError(field=f"[{number}].{field}", detail=detail)])


def _move(stock: Stock, product_id: int, location_id: int, target: _Target, cause: Cause) -> None:
    level = stock.level(product_id, location_id)
    delta = domain.delta_of(level, on_hand=target.on_hand, available=target.available, adjustment=target.adjustment)
    domain.write_on_hand(stock, product_id, location_id, delta, cause)


async def _find(session: Session, supplier_id: int, rows: Sequence[BulkRow]) -> dict[tuple[str, str | int], list[int]]:
    """The items that the rows name: `{(name, code): product ids}`."""
    skus = [row.sku for row in rows if row.sku is not None]
    barcodes = [row.barcode for row in rows if row.barcode is not None]
    ids = [row.id for row in rows if row.id is not None]
    found: dict[tuple[str, str | int], list[int]] = {}
    for sku, product_id in (await reading.find_by_sku(session, supplier_id, skus)).items():
        found["sku", sku] = [product_id]
    for barcode, product_ids in (await reading.find_by_barcode(session, supplier_id, barcodes)).items():
        found["barcode", barcode] = product_ids
    for product_id in await reading.find_own(session, supplier_id, ids):
        found["id", product_id] = [product_id]
    return found


def _key(row: BulkRow) -> tuple[str, str | int]:
    if row.sku is not None:
        return "sku", row.sku
    if row.barcode is not None:
        return "barcode", row.barcode
    return "id", row.id or 0


def _location(stock: Stock, product_id: int, code: str) -> Location:
    location = stock.location(stock.items[product_id].supplier_id, code)
    if location is None:
        error = FieldError(field="location", detail=_no_location(code))
        raise ProblemError(422, "unknown_location", error.detail, errors=[error])
    return location


def _no_location(code: str) -> str:
    return f"The supplier has no location {code!r}."


def _cause(caller: Caller, reason: str | None, kind: str = "manual") -> Cause:
    return Cause(kind, caller.actor, "api", caller.actor, reason)
