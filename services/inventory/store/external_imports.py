"""Imports of values that another system sends: the products that it names, the job, and what came of each value."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import text

from services.inventory.domain.external_imports import Outcome
from shared.database import Session, copy_in

# Rule 9: `stock`, `stock_customisable`, others; ids after that, where no SKU is meant.
FIND_BY_SKU = text("""
    select p.sku, p.product_id from products p
    where p.owner_id = :supplier_id and p.sku = any(cast(:skus as text[])) and not p.removed and p.type is not null
    order by p.sku, array_position(array['stock', 'stock_customisable', 'customisable', 'configurable_stock'], p.type),
        p.product_id
""")
FIND_BY_ID = text("""
    select p.product_id from products p
    where p.owner_id = :supplier_id and p.product_id = any(cast(:ids as bigint[])) and not p.removed
      and p.type is not null
""")
ADD_IMPORT = text("""
    insert into stock_imports (supplier_id, kind, source, actor, mode, dry_run, writes, location, traceparent, state,
        rows, rows_done, finished_at)
    values (:supplier_id, :kind, :source, :actor, 'rows', false, :writes, :location, :traceparent, 'done', :rows, :rows,
        clock_timestamp())
    returning import_id
""")
COUNT = text("""
    update stock_imports set changed = :changed, unchanged = :unchanged, refused = :refused, pending = :pending
    where import_id = :import_id
""")
# Whoever forgets an import locks it before its rows too.
LOCK_IMPORTS = text("""
    select import_id from stock_imports where import_id = any(cast(:import_ids as bigint[]))
    order by import_id for update
""")
SETTLE_ROWS = text("""
    update stock_import_rows r set status = n.status, product_id = n.product_id, on_hand_before = n.on_hand_before,
        on_hand_after = n.on_hand_after, available_before = n.available_before, available_after = n.available_after,
        errors = cast(n.errors as jsonb)
    from unnest(cast(:import_ids as bigint[]), cast(:row_numbers as integer[]), cast(:statuses as text[]),
        cast(:product_ids as bigint[]), cast(:on_hand_before as bigint[]), cast(:on_hand_after as bigint[]),
        cast(:available_before as bigint[]), cast(:available_after as bigint[]), cast(:errors as text[]))
        as n (import_id, row_number, status, product_id, on_hand_before, on_hand_after, available_before,
            available_after, errors)
    where r.import_id = n.import_id and r.row_number = n.row_number
""")
SETTLE_COUNTS = text("""
    update stock_imports i set pending = i.pending - n.settled, changed = i.changed + n.changed,
        unchanged = i.unchanged + n.unchanged, refused = i.refused + n.refused
    from unnest(cast(:import_ids as bigint[]), cast(:settled as integer[]), cast(:changed as integer[]),
        cast(:unchanged as integer[]), cast(:refused as integer[]))
        as n (import_id, settled, changed, unchanged, refused)
    where i.import_id = n.import_id
""")
ROW_COLUMNS = (
    *("import_id", "row_number", "line_number", "sku", "variant_sku", "location", "status", "product_id"),
    *("on_hand_before", "on_hand_after", "available_before", "available_after", "errors"),
)


class Row(NamedTuple):
    """A value's row of an import: its number, the line where it stands, and what it names."""

    number: int
    line: int
    product: str
    variant: str
    location: str


async def find_by_sku(session: Session, supplier_id: int, skus: Collection[str]) -> dict[str, list[int]]:
    """The supplier's products of each of these SKUs, in the order in which they are meant."""
    found: dict[str, list[int]] = {}
    rows = await session.execute(FIND_BY_SKU, {"supplier_id": supplier_id, "skus": sorted(skus)})
    for sku, product_id in rows.all():
        found.setdefault(sku, []).append(product_id)
    return found


async def find_by_id(session: Session, supplier_id: int, product_ids: Collection[int]) -> set[int]:
    """Those of these products that are the supplier's."""
    rows = await session.execute(FIND_BY_ID, {"supplier_id": supplier_id, "ids": sorted(product_ids)})
    return {row.product_id for row in rows}


async def add_import(session: Session, **values: object) -> int:
    """Add an import that is done; returns its id. `values` are its columns up to `traceparent`, and `rows`."""
    import_id: int = (await session.execute(ADD_IMPORT, values)).scalar_one()
    return import_id


async def keep_outcomes(session: Session, import_id: int, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
    """Keep and count what came of each row of a new import."""
    lines = [
        (
            *(import_id, row.number, row.line, row.product, row.variant or None, row.location),
            *(outcome.status, *outcome[1:6], _errors(outcome)),
        )
        for row, outcome in zip(rows, outcomes, strict=True)
    ]
    await copy_in(session, "stock_import_rows", ROW_COLUMNS, lines)
    counts = Counter(outcome.status for outcome in outcomes)
    named = {status: counts[status] for status in ("changed", "unchanged", "refused", "pending")}
    await session.execute(COUNT, {"import_id": import_id, **named})


async def settle(session: Session, outcomes: Mapping[tuple[int, int], Outcome]) -> None:
    """Say what came of rows that were pending, `{(import id, row number): outcome}`; forgotten imports stay so."""
    if not outcomes:
        return
    import_ids = sorted({import_id for import_id, _ in outcomes})
    await session.execute(LOCK_IMPORTS, {"import_ids": import_ids})
    some = list(outcomes.values())
    await session.execute(
        SETTLE_ROWS,
        {
            "import_ids": [import_id for import_id, _ in outcomes],
            "row_numbers": [number for _, number in outcomes],
            "statuses": [one.status for one in some],
            "product_ids": [one.product_id for one in some],
            "on_hand_before": [one.on_hand_before for one in some],
            "on_hand_after": [one.on_hand_after for one in some],
            "available_before": [one.available_before for one in some],
            "available_after": [one.available_after for one in some],
            "errors": [_errors(one) for one in some],
        },
    )
    counts = Counter((import_id, outcome.status) for (import_id, _), outcome in outcomes.items())
    settled = Counter(import_id for import_id, _ in outcomes)
    await session.execute(
        SETTLE_COUNTS,
        {
            "import_ids": import_ids,
            "settled": [settled[import_id] for import_id in import_ids],
            "changed": [counts[import_id, "changed"] for import_id in import_ids],
            "unchanged": [counts[import_id, "unchanged"] for import_id in import_ids],
            "refused": [counts[import_id, "refused"] for import_id in import_ids],
        },
    )


def _errors(outcome: Outcome) -> str | None:
    if outcome.note is None:
        return None
    field, detail = outcome.note
    return json.dumps([{"field": field, "detail": detail}])
