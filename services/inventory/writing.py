"""Writing stock by hand, one item or many, its settings and its removal: lock, compare, change, record."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.inventory.as_of import AsOf, look_up
from services.inventory.domain import writing as domain
from services.inventory.domain.stock import DEFAULT_LOCATION, LEVEL_LIMIT, TOO_MUCH, Cause, Location, Stock
from services.inventory.domain.writing import Since
from services.inventory.record import record
from services.inventory.store import reading
from services.inventory.store import stock as stock_store
from shared.access import Caller
from shared.database import Session
from shared.entity_tags import require_version
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


# A level by product id and location id.
Level = tuple[int, int]
# The versions of an item at one of which a write expects it; `None` is any.
Versions = frozenset[int] | None


class _Target(BaseModel):
    """What to write: exactly one of the three (rule 12)."""

    model_config = ConfigDict(extra="forbid")

    location: Text = Field(DEFAULT_LOCATION, description="The supplier's location")
    on_hand: Quantity | None = Field(None, description="Units that are there")
    available: Quantity | None = Field(None, description="Units that can still be sold")
    adjustment: Quantity | None = Field(None, description="Units that came (or went, when negative)")
    expected_on_hand: Quantity | None = Field(None, description="Refused unless that many are on hand at the location")
    as_of: AsOf | None = Field(
        None, description="The item's version, or the time, at which that many were there: what moved since is added"
    )

    @model_validator(mode="after")
    def _one_of_three(self) -> "_Target":
        if [self.on_hand, self.available, self.adjustment].count(None) != 2:  # noqa: PLR2004 - all but one
            message = "state exactly one of on_hand, available and adjustment"
            raise ValueError(message)
        if self.as_of is not None and self.adjustment is not None:
            message = "as_of is for on_hand and available; an adjustment is the same whenever it comes"
            raise ValueError(message)
        return self


class Write(_Target):
    """A write to one item."""

    reason: Text


class BulkRow(_Target):
    """A write to the item of this SKU, barcode or id."""

    sku: Text | None = None
    barcode: Text | None = None
    id: Annotated[int | None, Field(gt=0, lt=2**63, strict=True)] = None
    reason: Text | None = None
    expected_version: Annotated[int | None, Field(ge=0, lt=2**63, strict=True)] = Field(
        None, description="Refused unless the item was at this version before the request"
    )

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


class Superseded(BaseModel):
    """What is known of a later moment: what was stated as of `as_of`.

    `entry_id` is its entry in the ledger, null where it made no difference when it was stated.
    """

    as_of: datetime
    entry_id: int | None


class RowResult(BaseModel):
    """What became of row number `row` (from 0): the item as it is after the row, or why the row was refused.

    With `superseded_by` the row was right and changed nothing: what is there is known as of later.
    """

    row: int
    product_id: int | None = None
    location: str | None = None
    on_hand: int | None = None
    available: int | None = None
    superseded_by: Superseded | None = None
    errors: list[FieldError] = []


async def write(
    session: Session, product_id: int, body: Write, caller: Caller, versions: Versions = None
) -> Superseded | None:
    """Make one write to an item that exists; returns what supersedes it, if it changed nothing for that.

    Raises a 412 problem unless the item is at one of `versions`, 422 for an unknown location, a moment to come or far
    too many units, 409 when on hand is not as expected.
    """
    stock = await _lock(session, product_id, versions)
    location_id = _location(stock, product_id, body.location).location_id
    on_hand = stock.on_hand(product_id, location_id)
    detail = _unexpected(on_hand, body)
    if detail is not None:
        raise ProblemError(409, "on_hand_changed", f"{detail} Look again and decide anew.")
    if _is_too_much(on_hand, body):
        error = FieldError(field="adjustment", detail=f"{TOO_MUCH}.")
        raise ProblemError(422, "too_many_units", error.detail, errors=[error])
    (since,) = await look_up(session, stock, [(product_id, location_id, body.as_of)])
    if isinstance(since, str):
        error = FieldError(field="as_of", detail=f"{since}.")
        raise ProblemError(422, "as_of_to_come", error.detail, errors=[error])
    superseded = _apply(stock, (product_id, location_id), body, since, _cause(caller, body.reason))
    await record(session, stock)
    return superseded


async def change_settings(
    session: Session, product_id: int, body: Settings, caller: Caller, versions: Versions = None
) -> None:
    """Set what the body names of an item that exists.

    Raises a 412 problem unless the item is at one of `versions`, and 422 for an unknown location.
    """
    stock = await _lock(session, product_id, versions)
    location = _location(stock, product_id, body.location)
    stated = body.model_dump(exclude_unset=True, exclude={"location"})
    changes = {"own_policy" if name == "policy" else name: value for name, value in stated.items()}
    domain.change_settings(stock, product_id, location.location_id, changes, _cause(caller, None, "settings"))
    await record(session, stock)
    await stock_store.save_settings(session, stock.items[product_id])


async def remove(
    session: Session,
    product_id: int,
    code: str | None,
    reason: str | None,
    caller: Caller,
    versions: Versions = None,
) -> None:
    """Stock an item no more at the location of this code, or anywhere (`None`).

    Raises a 412 problem unless the item is at one of `versions`, and 422 for an unknown location.
    """
    stock = await _lock(session, product_id, versions)
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
    results: dict[int, RowResult] = {}
    targets: dict[int, tuple[BulkRow, Level]] = {}
    for number, row in enumerate(rows):
        if isinstance(row, list):
            results[number] = RowResult(row=number, errors=row)
            continue
        name, code = _key(row)
        product_id = found.get((name, code))
        if product_id is None:
            problem = "is that of several items" if product_ids.get((name, code)) else "is none of your items'"
            results[number] = _refused(number, name, f"{code!r} {problem}.")
            continue
        location = stock.location(supplier_id, row.location)
        if location is None:
            results[number] = _refused(number, "location", _no_location(row.location))
        else:
            targets[number] = row, (product_id, location.location_id)
    sinces = await look_up(session, stock, [(*level, row.as_of) for row, level in targets.values()])
    for (number, (row, level)), since in zip(targets.items(), sinces, strict=True):
        results[number] = _write_row(stock, number, level, row, since, _cause(caller, row.reason))
    await record(session, stock)
    return [results[number] for number in range(len(rows))]


def _write_row(stock: Stock, number: int, at: Level, row: BulkRow, since: Since | str, cause: Cause) -> RowResult:
    product_id, _ = at
    on_hand, version = stock.on_hand(*at), stock.items[product_id].version
    if row.expected_version not in {None, version}:
        return _refused(number, "expected_version", f"The item is at version {version}, not {row.expected_version}.")
    detail = _unexpected(on_hand, row)
    if detail is not None:
        return _refused(number, "expected_on_hand", detail)
    if _is_too_much(on_hand, row):
        return _refused(number, "adjustment", f"{TOO_MUCH}.")
    if isinstance(since, str):
        return _refused(number, "as_of", f"{since}.")
    superseded = _apply(stock, at, row, since, cause)
    level = stock.level(*at)
    return RowResult(
        row=number,
        product_id=product_id,
        location=row.location,
        on_hand=level.on_hand,
        available=level.available,
        superseded_by=superseded,
    )


def _refused(number: int, field: str, detail: str) -> RowResult:
    return RowResult(row=number, errors=[FieldError(field=f"[{number}].{field}", detail=detail)])


async def _lock(session: Session, product_id: int, versions: Versions) -> Stock:
    stock = await stock_store.lock_stock(session, [product_id])
    require_version("The item", stock.items[product_id].version, versions)
    return stock


def _unexpected(on_hand: int, target: _Target) -> str | None:
    """What is on hand, where that is not what was expected."""
    if target.expected_on_hand in {None, on_hand}:
        return None
    return f"{on_hand} are on hand at {target.location!r}, not {target.expected_on_hand}."


def _is_too_much(on_hand: int, target: _Target) -> bool:
    """Whether an adjustment would take the level beyond its limit; what is stated is far below it."""
    return target.adjustment is not None and abs(on_hand + target.adjustment) > LEVEL_LIMIT


def _apply(stock: Stock, at: Level, target: _Target, since: Since, cause: Cause) -> Superseded | None:
    if target.adjustment is not None:
        domain.adjust(stock, *at, target.adjustment, cause)
        return None
    later = domain.state(stock, *at, since, cause, on_hand=target.on_hand, available=target.available)
    return None if later is None else Superseded(as_of=later.as_of, entry_id=later.entry_id)


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
