"""Some rows of an import: find what they name, lock it, write it, record it, and say what came of each row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.inventory.as_of import as_of_now, look_up
from services.inventory.domain.imports import write_row
from services.inventory.domain.stock import Cause, Stock
from services.inventory.domain.writing import Since
from services.inventory.record import record
from services.inventory.stock_files.rows import Row
from services.inventory.store import reading
from services.inventory.store import stock as stock_store
from services.inventory.store.imports import Job, RowResult
from shared.database import Session

SHOWN_CHARACTERS = 100

# Product id and location id.
Level = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Named:
    """What SKUs, barcodes and ids lead to; a barcode may be that of several items."""

    by_sku: Mapping[str, int]
    by_barcode: Mapping[str, Sequence[int]]
    ids: frozenset[int]

    @property
    def product_ids(self) -> set[int]:
        """All of them."""
        return {*self.by_sku.values(), *(ids[0] for ids in self.by_barcode.values() if len(ids) == 1), *self.ids}


async def _find_named(session: Session, supplier_id: int, rows: Sequence[Row]) -> Named:
    """The supplier's items that these rows name: by id where there is one, else by SKU, else by barcode."""
    named = [row for row in rows if not row.errors]
    skus = [row.sku for row in named if row.product_id is None and row.sku is not None]
    barcodes = [row.barcode for row in named if row.product_id is None and row.sku is None and row.barcode is not None]
    ids = [row.product_id for row in named if row.product_id is not None]
    return Named(
        await reading.find_by_sku(session, supplier_id, skus) if skus else {},
        await reading.find_by_barcode(session, supplier_id, barcodes) if barcodes else {},
        frozenset(await reading.find_own(session, supplier_id, ids)) if ids else frozenset(),
    )


def _no_matter() -> None:
    """Nobody waits for it."""


async def write_rows(
    session: Session, job: Job, rows: Sequence[Row], on_locked: Callable[[], None] = _no_matter
) -> list[RowResult]:
    """Write these rows, one after the other, and tell of it; in a dry run only say what would come of each.

    `on_locked` is called once their items are locked.
    """
    results, stock, _ = await _decide(session, job, rows, on_locked)
    if not job.dry_run:
        await record(session, stock)
    return results


async def look_at_rows(session: Session, job: Job, rows: Sequence[Row]) -> tuple[list[RowResult], set[int]]:
    """What would come of each of these rows, and the items that they name."""
    results, _, named = await _decide(session, job, rows, _no_matter)
    return results, named.product_ids


async def _decide(
    session: Session, job: Job, rows: Sequence[Row], on_locked: Callable[[], None]
) -> tuple[list[RowResult], Stock, Named]:
    named = await _find_named(session, job.supplier_id, rows)
    stock = await stock_store.lock_stock(session, named.product_ids)
    on_locked()
    # Of a supplier none of whose items is named there are none.
    locations = {location.code: location.location_id for location in stock.locations.get(job.supplier_id, ())}
    found = [_level_of(job, row, named, locations) for row in rows]
    sinces = await _sinces(session, stock, job, [one for one in found if not isinstance(one, RowResult)])
    cause = Cause(job.kind, job.actor, job.source, str(job.import_id))
    results = [
        one if isinstance(one, RowResult) else _write(job, row, one, stock, sinces[one], cause)
        for row, one in zip(rows, found, strict=True)
    ]
    return results, stock, named


def _level_of(job: Job, row: Row, named: Named, locations: Mapping[str, int]) -> RowResult | Level:
    """The level that a row is about, or why it is refused."""
    code = row.location or job.location
    if row.errors:
        return RowResult(row, "refused", row.location, errors=row.errors)
    product_id, error = _item(row, named)
    if product_id is None:
        return RowResult(row, "refused", code, errors=[error])
    location_id = locations.get(code)
    if location_id is None:
        return RowResult(row, "refused", code, product_id, errors=[("location", f"you have no location {code!r}")])
    return product_id, location_id


async def _sinces(session: Session, stock: Stock, job: Job, levels: Sequence[Level]) -> Mapping[Level, Since | str]:
    """What a statement of this file has to reckon with, by level; or why there can be none."""
    if job.as_of is None:
        return dict.fromkeys(levels, await as_of_now(session))
    once = list(dict.fromkeys(levels))
    asked = [(product_id, location_id, job.as_of) for product_id, location_id in once]
    return dict(zip(once, await look_up(session, stock, asked), strict=True))


def _write(job: Job, row: Row, level: Level, stock: Stock, since: Since | str, cause: Cause) -> RowResult:
    code, product_id = row.location or job.location, level[0]
    if isinstance(since, str):
        return RowResult(row, "refused", code, product_id, errors=[("as_of", since)])
    if row.reason is not None:
        cause = cause._replace(reason=row.reason)
    assert row.quantity is not None  # noqa: S101 - a row without has an error
    written = write_row(stock, *level, job.writes, row.quantity, since=since, cause=cause)
    if written.problem is not None:
        return RowResult(row, "refused", code, product_id, errors=[(job.writes, written.problem)])
    return RowResult(row, "changed" if written.is_changed else "unchanged", code, product_id, written[1:5])


def _item(row: Row, named: Named) -> tuple[int | None, tuple[str, str]]:
    """The item that a row names, or the column and the reason why there is none."""
    if row.product_id is not None:
        found = row.product_id if row.product_id in named.ids else None
        return found, ("id", f"{row.product_id} is none of your items'")
    if row.sku is not None:
        return named.by_sku.get(row.sku), ("sku", f"{row.sku[:SHOWN_CHARACTERS]!r} is none of your items'")
    barcode = row.barcode or ""
    ids = named.by_barcode.get(barcode, ())
    problem = "is that of several items: name this one by its SKU" if ids else "is none of your items'"
    return ids[0] if len(ids) == 1 else None, ("barcode", f"{barcode[:SHOWN_CHARACTERS]!r} {problem}")
