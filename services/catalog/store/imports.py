"""Imports as jobs: received row by row, claimed under a lease of the database's clock, worked through by stage."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB

from services.catalog.domain import LINKING_TYPES, VIRTUAL_DEPTH_LIMIT
from services.catalog.product_files.rows import (
    PRODUCT_LIMIT_BYTES,
    PRODUCT_LIMIT_ROWS,
    TOO_LONG,
    WHOLE_ROW,
    Format,
    ReadRow,
)
from shared.database import Session, copy_in
from shared.errors import FieldError
from shared.events.catalog import TRACKED_TYPES, ProductType
from shared.import_jobs import LeaseLostError

Mode = Literal["rows", "all"]
Status = Literal["pending", "created", "changed", "unchanged", "refused"]
OUTCOMES: tuple[Status, ...] = ("created", "changed", "unchanged", "refused")
# A batch takes less than a second; while one is under way the import is locked as well, which a claim passes over.
LEASE_SECONDS = 20

# A product of a thousand variants has hundreds of kilobytes.
BATCH_BYTES = 2 * 1024 * 1024

STAGE_OF_TRACKED, STAGE_OF_LINKING, STAGE_OF_VIRTUAL = 0, 1, 2
# Virtual products that wait for one another, or stand too deep: refused when they are decided, one after the other.
LAST_STAGE = STAGE_OF_VIRTUAL + VIRTUAL_DEPTH_LIMIT + 1

ROW_COLUMNS = (
    *("import_id", "row_number", "line_number", "stage", "type", "sku"),
    *("chosen_id", "base_product_id", "base_sku", "body", "status", "errors"),
)

ADD_IMPORT = text("""
    insert into imports (owner_id, format, mode, dry_run, ids_allowed, actor, traceparent, state, leased_until)
    values (:owner_id, :format, :mode, :dry_run, :ids_allowed, :actor, :traceparent, 'receiving',
        clock_timestamp() + make_interval(secs => :lease_seconds))
    returning import_id
""")
HOLD = text("""
    update imports set leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = :import_id and attempt = :attempt and state in ('receiving', 'running') returning import_id
""")
# Rows that name no product are refused already.
RECEIVED = text("""
    update imports set state = 'received', leased_until = null, rows = :rows, rows_done = :refused, refused = :refused
    where import_id = :import_id and state = 'receiving' returning import_id
""")
# One after the other: two that look at the same time would not see what the other one takes.
LOCK_CLAIMS = text("select pg_advisory_xact_lock(hashtext('basestock.catalog.import_claims'))")
# One whose lease has ended is under way until it is claimed again: its worker may only be slow.
CLAIM = text("""
    update imports set state = 'running', attempt = attempt + 1,
        leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = (
        select i.import_id from imports i
        where (i.state = 'received' or (i.state = 'running' and i.leased_until < clock_timestamp()))
            and not exists (select from imports o
                where o.owner_id = i.owner_id and o.state = 'running' and o.import_id <> i.import_id)
        order by i.import_id limit 1 for update skip locked)
    returning *
""")
ANALYZE_PRODUCTS = text("analyze products, variants, components")
# Nothing is known of rows that came in a moment ago, and the planner takes them for one.
JOIN_MANY = text("select set_config('enable_nestloop', 'off', true)")
# They are given no place, and stay refused however often the work begins again.
REFUSE_TOO_LONG = text("""
    with too_long as (
        select type, sku from import_rows where import_id = :import_id and status = 'pending' group by type, sku
        having count(*) > :limit_rows or sum(octet_length(body)) > :limit_bytes
    ), done as (
        update import_rows r set status = 'refused', errors = cast(:errors as jsonb) from too_long t
        where r.import_id = :import_id and r.type = t.type and r.sku = t.sku
        returning r.row_number
    )
    update imports set rows_done = rows_done + (select count(*) from done),
        refused = refused + (select count(*) from too_long)
    where import_id = :import_id
""")
PLACE_PRODUCTS = text("""
    with recursive virtual as materialized (
        select sku, min(chosen_id) as chosen_id, min(base_product_id) as base_product_id, min(base_sku) as base_sku
        from import_rows where import_id = :import_id and type = 'virtual' group by sku
    ), standing as materialized (
        select v.sku, b.sku as base from virtual v join virtual b on b.sku = v.base_sku and b.sku <> v.sku
        union all
        select v.sku, b.sku from virtual v join virtual b on b.chosen_id = v.base_product_id and b.sku <> v.sku
    ), placed (sku, level) as (
        select sku, 0 from virtual where sku not in (select sku from standing)
        union
        select s.sku, p.level + 1 from placed p join standing s on s.base = p.sku where p.level < :depth_limit
    ), highest as (
        select sku, max(level) as level from placed group by sku
    ), staged as (
        select r.row_number, r.type, r.sku, coalesce(:first_stage + h.level, r.stage) as stage
        from import_rows r left join highest h on r.type = 'virtual' and h.sku = r.sku
        where r.import_id = :import_id and r.status = 'pending'
    ), ranked as (
        select row_number, stage, dense_rank() over (order by stage, type, sku) as place from staged
    )
    update import_rows r set stage = k.stage, place = k.place from ranked k
    where r.import_id = :import_id and r.row_number = k.row_number
""")
# What a side transaction wrote of an attempt that was undone.
FORGET_RESULTS = text("""
    update import_rows set status = 'pending', product_id = null,
        errors = case when body is null then errors end
    where import_id = :import_id and place is not null and status <> 'pending'
""")
FORGET_COUNTS = text("""
    update imports set created = 0, changed = 0, unchanged = 0, rows_done = kept.rows, refused = kept.products,
        place_done = 0
    from (
        select count(*) as rows,
            count(*) filter (where type is null)
                + count(distinct (type, sku)) filter (where type is not null) as products
        from import_rows where import_id = :import_id and place is null and status = 'refused'
    ) as kept
    where import_id = :import_id
""")
NEXT_PRODUCTS = text("""
    with next as (
        select place, stage, type, sku, array_agg(row_number order by row_number) as row_numbers,
            array_agg(body order by row_number) as bodies, jsonb_agg(errors order by row_number) as errors,
            coalesce(sum(octet_length(body)), 0) as bytes
        from import_rows where import_id = :import_id and place > :after and place <= :after + :limit
        group by place, stage, type, sku
    ), measured as (
        select *, sum(bytes) over (order by place) - bytes as bytes_before from next
    )
    select place, stage, type, row_numbers, bodies, errors from measured where bytes_before < :limit_bytes
    order by place
""").columns(errors=JSONB)
KEEP_RESULTS = text("""
    update import_rows r set status = v.status, product_id = v.product_id, errors = v.errors
    from jsonb_to_recordset(cast(:results as jsonb)) as v (row_number integer, status text, product_id bigint,
        errors jsonb)
    where r.import_id = :import_id and r.row_number = v.row_number
""")
COUNT_RESULTS = text("""
    update imports set rows_done = rows_done + :rows_done, created = created + :created, changed = changed + :changed,
        unchanged = unchanged + :unchanged, refused = refused + :refused, place_done = :place_done
    where import_id = :import_id
""")
COUNT_REFUSED = text("select refused from imports where import_id = :import_id")
FINISH = text("""
    update imports set state = :state, reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where import_id = :import_id and attempt = :attempt and state in ('receiving', 'running') returning import_id
""")
FAIL_LOST_UPLOADS = text("""
    update imports set state = 'failed', reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where state = 'receiving' and leased_until < clock_timestamp()
""")
# The rows of an import that was undone: what they were told has not come true.
UNDO_RESULTS = text("""
    update import_rows set status = 'pending', product_id = null
    where import_id = :import_id and status in ('created', 'changed', 'unchanged')
""")
UNDO_COUNTS = text("""
    update imports set created = 0, changed = 0, unchanged = 0, rows_done = (
        select count(*) from import_rows where import_id = :import_id and status = 'refused')
    where import_id = :import_id
""")
FIND_IMPORT = text("""
    select * from imports where import_id = :import_id
        and (cast(:company_id as bigint) is null or owner_id = :company_id)
""")
LIST_ROWS = text("""
    select row_number, line_number, type, sku, status, product_id, errors from import_rows
    where import_id = :import_id and row_number > cast(:after as bigint)
        and (cast(:status as text) is null or status = :status)
    order by row_number limit :limit
""").columns(errors=JSONB)


@dataclass(frozen=True, slots=True)
class Job:
    """An import that this worker has claimed, as it was then."""

    import_id: int
    attempt: int
    owner_id: int
    format: Format
    mode: Mode
    dry_run: bool
    ids_allowed: bool
    actor: str
    place_done: int
    traceparent: str | None

    @property
    def is_one_transaction(self) -> bool:
        """Whether the whole file is one transaction."""
        return self.dry_run or self.mode == "all"

    @property
    def source(self) -> str:
        """How the audit trail calls it."""
        return f"import {self.import_id}"


@dataclass(frozen=True, slots=True)
class FileProduct:
    """The rows of one product: their numbers, their JSON (`None`: cannot be read), and what is wrong with them.

    `place` is where the product stands in the order of work, from 1; `stage` what must be saved before it.
    """

    place: int
    stage: int
    type: ProductType
    row_numbers: Sequence[int]
    bodies: Sequence[str | None]
    errors: Sequence[list[FieldError]]


@dataclass(frozen=True, slots=True)
class RowResult:
    """What came of one row; `errors` where it, or another row of its product, was refused."""

    row_number: int
    status: Status
    product_id: int | None
    errors: Sequence[FieldError] = ()


async def add_import(session: Session, actor: str, owner_id: int, **values: object) -> int:
    """Begin to receive an import; returns its id. `values` are its format, mode, dry_run, ids_allowed, traceparent."""
    row = values | {"actor": actor, "owner_id": owner_id, "lease_seconds": LEASE_SECONDS}
    import_id: int = (await session.execute(ADD_IMPORT, row)).scalar_one()
    return import_id


async def add_rows(session: Session, import_id: int, rows: Sequence[ReadRow]) -> None:
    """Stage rows of an import that is being received; raises `LeaseLostError` when it was given up."""
    await hold(session, import_id, attempt=0)
    await copy_in(session, "import_rows", ROW_COLUMNS, [_staged(import_id, row) for row in rows])


def _staged(import_id: int, row: ReadRow) -> tuple[object, ...]:
    said = row.said
    base_sku = said.base_sku if said and said.base_type in {None, "virtual"} else None
    return (
        *(import_id, row.number, row.line, _stage(row.type), row.type, row.sku),
        said and said.id,
        said and said.base_product_id,
        base_sku,
        row.body,
        "pending" if row.type else "refused",
        json.dumps([error.model_dump() for error in row.errors]) if row.errors else None,
    )


def _stage(type_: ProductType | None) -> int:
    if type_ in TRACKED_TYPES:
        return STAGE_OF_TRACKED
    return STAGE_OF_LINKING if type_ in LINKING_TYPES else LAST_STAGE


async def hold(session: Session, import_id: int, attempt: int) -> None:
    """Hold the import for another `LEASE_SECONDS`, and lock it; raises `LeaseLostError`."""
    values = {"import_id": import_id, "attempt": attempt, "lease_seconds": LEASE_SECONDS}
    if (await session.execute(HOLD, values)).one_or_none() is None:
        raise LeaseLostError


async def finish_receiving(session: Session, import_id: int, rows: int, refused: int) -> None:
    """All rows are there; `refused` of them name no product. Raises `LeaseLostError`."""
    values = {"import_id": import_id, "rows": rows, "refused": refused}
    if (await session.execute(RECEIVED, values)).one_or_none() is None:
        raise LeaseLostError


async def claim(session: Session) -> Job | None:
    """The next import to work on, if there is one: one of a company at a time."""
    await session.execute(LOCK_CLAIMS)
    row = (await session.execute(CLAIM, {"lease_seconds": LEASE_SECONDS})).mappings().one_or_none()
    return Job(**{name: row[name] for name in Job.__dataclass_fields__}) if row else None


async def place_products(session: Session, import_id: int) -> None:
    """Give the products their order of work: of the virtual ones, each after those of the file that it is based on.

    Products that are too long to be read get none, and are refused.
    """
    error = {"field": WHOLE_ROW, "detail": TOO_LONG}
    limits = {"limit_rows": PRODUCT_LIMIT_ROWS, "limit_bytes": PRODUCT_LIMIT_BYTES, "errors": json.dumps([error])}
    await session.execute(REFUSE_TOO_LONG, {"import_id": import_id} | limits)
    values = {"import_id": import_id, "first_stage": STAGE_OF_VIRTUAL, "depth_limit": VIRTUAL_DEPTH_LIMIT}
    await session.execute(JOIN_MANY)
    await session.execute(PLACE_PRODUCTS, values)


async def analyze_products(session: Session) -> None:
    """Gather anew what the planner knows of the products, also those of this transaction."""
    await session.execute(ANALYZE_PRODUCTS)


async def forget_results(session: Session, import_id: int) -> None:
    """Begin again an import whose earlier attempt was undone."""
    await session.execute(FORGET_RESULTS, {"import_id": import_id})
    await session.execute(FORGET_COUNTS, {"import_id": import_id})


async def next_products(session: Session, import_id: int, after: int, limit: int) -> list[FileProduct]:
    """The next products behind place `after`."""
    values = {"import_id": import_id, "after": after, "limit": limit, "limit_bytes": BATCH_BYTES}
    rows = (await session.execute(NEXT_PRODUCTS, values)).mappings()
    return [
        FileProduct(
            place=row["place"],
            stage=row["stage"],
            type=row["type"],
            row_numbers=row["row_numbers"],
            bodies=row["bodies"],
            errors=[[FieldError(**error) for error in of_row or ()] for of_row in row["errors"]],
        )
        for row in rows
    ]


async def keep_results(
    session: Session, import_id: int, place_done: int, results: Sequence[Sequence[RowResult]]
) -> None:
    """Keep what came of the products up to this place, each given with all its rows."""
    rows = [
        {
            "row_number": row.row_number,
            "status": row.status,
            "product_id": row.product_id,
            "errors": [error.model_dump() for error in row.errors] or None,
        }
        for product in results
        for row in product
    ]
    await session.execute(KEEP_RESULTS, {"import_id": import_id, "results": json.dumps(rows)})
    statuses = [product[0].status for product in results]
    counts: dict[str, int] = {status: statuses.count(status) for status in OUTCOMES}
    await session.execute(
        COUNT_RESULTS, counts | {"import_id": import_id, "place_done": place_done, "rows_done": len(rows)}
    )


async def count_refused(session: Session, import_id: int) -> int:
    """How many products are refused so far."""
    refused: int = (await session.execute(COUNT_REFUSED, {"import_id": import_id})).scalar_one()
    return refused


async def finish(
    session: Session, import_id: int, attempt: int, state: Literal["done", "failed"], reason: str | None = None
) -> None:
    """The import has come to its end; raises `LeaseLostError`."""
    values = {"import_id": import_id, "attempt": attempt, "state": state, "reason": reason}
    if (await session.execute(FINISH, values)).one_or_none() is None:
        raise LeaseLostError


async def fail_lost_uploads(session: Session, reason: str) -> None:
    """Give up imports whose receiver died."""
    await session.execute(FAIL_LOST_UPLOADS, {"reason": reason})


async def undo_results(session: Session, import_id: int) -> None:
    """An import that was to go in whole is undone: only what was refused stays told."""
    await session.execute(UNDO_RESULTS, {"import_id": import_id})
    await session.execute(UNDO_COUNTS, {"import_id": import_id})


async def find_import(session: Session, import_id: int, company_id: int | None) -> RowMapping | None:
    """An import of this company (of any, for the admin, `None`)."""
    values = {"import_id": import_id, "company_id": company_id}
    return (await session.execute(FIND_IMPORT, values)).mappings().one_or_none()


async def list_rows(
    session: Session, import_id: int, status: Status | None, after: int, limit: int
) -> Sequence[RowMapping]:
    """An import's rows behind row `after`."""
    values = {"import_id": import_id, "status": status, "after": after, "limit": limit}
    return (await session.execute(LIST_ROWS, values)).mappings().all()
