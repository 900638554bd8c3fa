"""Imports of orders as jobs: received row by row, claimed under a lease of the database's clock, worked off in turns.

An import is locked before anything else, and only by who works on it (`hold`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB

from services.orders.domain.imports import FileLine, FileOrder, RowErrors
from services.orders.tables.imports import Outcome
from shared.database import Session, copy_in
from shared.import_jobs import LeaseLostError

# Each batch that is committed begins it anew; one takes less than a second.
LEASE_SECONDS = 20
# Forgotten by one statement.
PURGE_ROWS_AT_ONCE = 20_000
ROW_COLUMNS = (
    *("import_id", "row_number", "line_number", "external_ref", "placed_at", "product_id", "variant_sku"),
    *("quantity", "location", "errors"),
)

# One of a company after the other, so that two cannot pass the limit together; it is only held to add one.
LOCK_COMPANY = text("""
    select pg_advisory_xact_lock(hashtext('basestock.orders.order_imports'),
        cast(cast(:seller_id as bigint) % 1073741824 as integer))
""")
COUNT_OPEN = text("""
    select count(*) from order_imports
    where seller_id = :seller_id and state in ('receiving', 'received', 'running')
""")
ADD_IMPORT = text("""
    insert into order_imports (seller_id, dry_run, traceparent, state, leased_until)
    values (:seller_id, :dry_run, :traceparent, 'receiving',
        clock_timestamp() + make_interval(secs => :lease_seconds))
    returning import_id
""")
HOLD = text("""
    update order_imports set leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = :import_id and attempt = :attempt and state in ('receiving', 'running') returning import_id
""")
RECEIVED = text("""
    update order_imports set state = 'received', leased_until = null, rows = :rows
    where import_id = :import_id and state = 'receiving' returning import_id
""")
# One after the other: two that look at the same time would not see what the other one takes.
LOCK_CLAIMS = text("select pg_advisory_xact_lock(hashtext('basestock.orders.order_import_claims'))")
# Files of one seller go in as they came, one after the other. One whose lease has ended is under way until it is
# claimed again: its worker may only be slow.
CLAIM = text("""
    update order_imports set state = 'running', attempt = attempt + 1, turn_at = clock_timestamp(),
        leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = (
        select i.import_id from order_imports i
        where (i.state = 'received' or (i.state = 'running' and i.leased_until < clock_timestamp()))
            and not exists (select from order_imports o
                where o.seller_id = i.seller_id and o.import_id <> i.import_id
                    and (o.state = 'running' or (o.state = 'received'
                        and (o.attempt > 0 or (i.attempt = 0 and o.import_id < i.import_id)))))
        order by i.turn_at, i.import_id limit 1 for update skip locked)
    returning *
""")
GIVE_BACK = text("""
    update order_imports set state = 'received', leased_until = null
    where import_id = :import_id and attempt = :attempt and state = 'running'
""")
GATHER = text("""
    insert into order_import_orders (import_id, place, external_ref, rows, status)
    select :import_id, min(row_number), external_ref, count(*), 'pending' from order_import_rows
    where import_id = :import_id and external_ref is not null group by external_ref
""")
# Rows that are of no order are refused, each by itself.
COUNT_GATHERED = text("""
    update order_imports set orders = (select count(*) from order_import_orders where import_id = :import_id),
        rows_done = of_none.rows, refused = of_none.rows
    from (select count(*) as rows from order_import_rows
        where import_id = :import_id and external_ref is null) as of_none
    where import_id = :import_id
""")
# Nothing is known of rows that came in a moment ago, and the planner would read all of them for each batch.
ANALYZE = text("analyze order_import_rows, order_import_orders")
NEXT_ORDERS = text("""
    with first as (
        select place, external_ref, rows from order_import_orders
        where import_id = :import_id and place > :after order by place limit :limit
    ), counted as (
        select *, sum(least(rows, :order_limit_rows)) over (order by place) - least(rows, :order_limit_rows)
            as rows_before from first
    )
    select place, external_ref, rows from counted where rows_before < :limit_rows order by place
""")
ROWS_OF_ORDERS = text("""
    select row_number, line_number, external_ref, placed_at, product_id, variant_sku, quantity, location, errors
    from order_import_rows where import_id = :import_id and external_ref = any(cast(:refs as text[]))
    order by external_ref, row_number
""").columns(errors=JSONB)
KEEP_OUTCOMES = text("""
    update order_import_orders o set status = v.status, order_id = v.order_id
    from unnest(cast(:places as integer[]), cast(:statuses as text[]), cast(:order_ids as uuid[]))
        as v (place, status, order_id)
    where o.import_id = :import_id and o.place = v.place
""")
KEEP_ROW_ERRORS = text("""
    update order_import_rows r set errors = v.errors
    from jsonb_to_recordset(cast(:rows as jsonb)) as v (row_number integer, errors jsonb)
    where r.import_id = :import_id and r.row_number = v.row_number
""")
REFUSE_WHOLE = text("""
    update order_import_rows set errors = coalesce(errors, cast('[]' as jsonb)) || cast(:errors as jsonb)
    where import_id = :import_id and external_ref = :external_ref
""")
COUNT_RESULTS = text("""
    update order_imports set rows_done = rows_done + :rows_done, created = created + :created,
        existing = existing + :existing, refused = refused + :refused, place_done = :place_done
    where import_id = :import_id
""")
FINISH = text("""
    update order_imports set state = :state, reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where import_id = :import_id and attempt = :attempt and state in ('receiving', 'running') returning import_id
""")
FORGET_ROWS = text("delete from order_import_rows where import_id = :import_id")
FORGET_UPLOAD = text("delete from order_imports where import_id = :import_id and state = 'receiving'")
FAIL_LOST_UPLOADS = text("""
    update order_imports set state = 'failed', reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where state = 'receiving' and leased_until < clock_timestamp()
""")
FIND_OLD = text("""
    select import_id from order_imports where finished_at < clock_timestamp() - make_interval(days => :keep_days)
    order by import_id limit 1 for update skip locked
""")
PURGE_ROWS = text("""
    delete from order_import_rows where import_id = :import_id and row_number in (
        select row_number from order_import_rows where import_id = :import_id order by row_number limit :limit)
""")
PURGE_ORDERS = text("""
    delete from order_import_orders where import_id = :import_id and place in (
        select place from order_import_orders where import_id = :import_id order by place limit :limit)
""")
PURGE_IMPORT = text("delete from order_imports where import_id = :import_id")
FIND_IMPORT = text("""
    select * from order_imports where import_id = :import_id
        and (cast(:seller_id as bigint) is null or seller_id = :seller_id)
""")
LIST_IMPORTS = text("""
    select * from order_imports where (cast(:seller_id as bigint) is null or seller_id = :seller_id)
        and (cast(:before as bigint) is null or import_id < :before)
    order by import_id desc limit :limit
""")
# A row with errors is refused, and no other is: each of them is told why.
LIST_ROWS = """
    select r.*, case when r.errors is not null then 'refused' else coalesce(o.status, 'pending') end as status,
        o.order_id
    from order_import_rows r
    left join order_import_orders o on o.import_id = r.import_id and o.external_ref = r.external_ref
    where r.import_id = :import_id and r.row_number > cast(:after as bigint) and {condition}
    order by r.row_number limit :limit
"""
CONDITIONS = {
    None: "true",
    "refused": "r.errors is not null",
    "pending": "r.errors is null and (o.status is null or o.status = 'pending')",
    "created": "o.status = 'created'",
    "existing": "o.status = 'existing'",
}


@dataclass(frozen=True, slots=True)
class Job:
    """An import that this worker has claimed, as it was then; `orders` is `None` until its rows are gathered."""

    import_id: int
    attempt: int
    seller_id: int
    dry_run: bool
    orders: int | None
    place_done: int
    traceparent: str | None


NO_ERRORS: RowErrors = {}


class OrderResult(NamedTuple):
    """What came of an order of the file; `errors` of each of its rows where it is refused, or `error` for all."""

    order: FileOrder
    status: Outcome
    order_id: UUID | None = None
    errors: RowErrors = NO_ERRORS
    error: tuple[str, str] | None = None


async def count_open(session: Session, seller_id: int) -> int:
    """How many imports of this seller have not come to their end; nobody adds one until the transaction ends."""
    await session.execute(LOCK_COMPANY, {"seller_id": seller_id})
    count: int = (await session.execute(COUNT_OPEN, {"seller_id": seller_id})).scalar_one()
    return count


async def add_import(session: Session, **values: object) -> int:
    """Begin to receive an import; returns its id. `values` are its seller_id, dry_run and traceparent."""
    import_id: int = (await session.execute(ADD_IMPORT, values | {"lease_seconds": LEASE_SECONDS})).scalar_one()
    return import_id


async def add_rows(session: Session, import_id: int, lines: Sequence[FileLine]) -> None:
    """Keep rows of an import that is being received; raises `LeaseLostError` when it was given up."""
    await hold(session, import_id, attempt=0)
    rows = [(import_id, *line[:-1], json.dumps(_told(line.errors)) if line.errors else None) for line in lines]
    await copy_in(session, "order_import_rows", ROW_COLUMNS, rows)


async def hold(session: Session, import_id: int, attempt: int) -> None:
    """Hold the import for another `LEASE_SECONDS`, and lock it; raises `LeaseLostError`."""
    values = {"import_id": import_id, "attempt": attempt, "lease_seconds": LEASE_SECONDS}
    if (await session.execute(HOLD, values)).one_or_none() is None:
        raise LeaseLostError


async def finish_receiving(session: Session, import_id: int, rows: int) -> None:
    """All rows are there. Raises `LeaseLostError`."""
    if (await session.execute(RECEIVED, {"import_id": import_id, "rows": rows})).one_or_none() is None:
        raise LeaseLostError


async def claim(session: Session) -> Job | None:
    """The next import to work on, if there is one."""
    await session.execute(LOCK_CLAIMS)
    row = (await session.execute(CLAIM, {"lease_seconds": LEASE_SECONDS})).mappings().one_or_none()
    return Job(**{name: row[name] for name in Job.__dataclass_fields__}) if row else None


async def give_back(session: Session, job: Job) -> None:
    """Let the others have their turn."""
    await session.execute(GIVE_BACK, {"import_id": job.import_id, "attempt": job.attempt})


async def gather(session: Session, import_id: int) -> None:
    """Find which orders the rows are, over the whole file."""
    await session.execute(GATHER, {"import_id": import_id})
    await session.execute(COUNT_GATHERED, {"import_id": import_id})
    await session.execute(ANALYZE)


async def next_orders(
    session: Session, import_id: int, after: int, *, limit: int, limit_rows: int, order_limit_rows: int
) -> list[FileOrder]:
    """The next orders behind this place, about `limit_rows` of them in all; none at the end of the file.

    An order of more than `order_limit_rows` comes without its lines.
    """
    limits = {"limit": limit, "limit_rows": limit_rows, "order_limit_rows": order_limit_rows}
    found = (await session.execute(NEXT_ORDERS, {"import_id": import_id, "after": after} | limits)).all()
    refs = [one.external_ref for one in found if one.rows <= order_limit_rows]
    rows = await session.execute(ROWS_OF_ORDERS, {"import_id": import_id, "refs": refs})
    lines = {
        ref: [FileLine._make((*row[:-1], _errors(row.errors))) for row in of_ref]
        for ref, of_ref in groupby(rows, attrgetter("external_ref"))
    }
    return [FileOrder(one.place, one.external_ref, one.rows, lines.get(one.external_ref, ())) for one in found]


async def keep_results(session: Session, import_id: int, results: Sequence[OrderResult]) -> None:
    """Keep what came of these orders, and count them as done."""
    places, statuses = [one.order.place for one in results], [one.status for one in results]
    outcomes = {"places": places, "statuses": statuses, "order_ids": [one.order_id for one in results]}
    await session.execute(KEEP_OUTCOMES, {"import_id": import_id} | outcomes)
    errors = [{"row_number": number, "errors": _told(found)} for one in results for number, found in one.errors.items()]
    if errors:
        await session.execute(KEEP_ROW_ERRORS, {"import_id": import_id, "rows": json.dumps(errors)})
    for one in results:
        if one.error is not None:
            whole = {"external_ref": one.order.external_ref, "errors": json.dumps(_told([one.error]))}
            await session.execute(REFUSE_WHOLE, {"import_id": import_id} | whole)
    counts = {status: statuses.count(status) for status in ("created", "existing", "refused")}
    done = {"rows_done": sum(one.order.rows for one in results), "place_done": places[-1]}
    await session.execute(COUNT_RESULTS, {"import_id": import_id} | counts | done)


async def finish(
    session: Session, import_id: int, attempt: int, state: Literal["done", "failed"], reason: str | None = None
) -> None:
    """The import has come to its end; raises `LeaseLostError`."""
    values = {"import_id": import_id, "attempt": attempt, "state": state, "reason": reason}
    if (await session.execute(FINISH, values)).one_or_none() is None:
        raise LeaseLostError


async def give_up_upload(session: Session, import_id: int, reason: str) -> None:
    """The file did not come in whole: nothing of it is kept. Raises `LeaseLostError`."""
    await finish(session, import_id, 0, "failed", reason)
    await session.execute(FORGET_ROWS, {"import_id": import_id})


async def forget_upload(session: Session, import_id: int) -> None:
    """It was uploaded before, under the same key."""
    await session.execute(FORGET_UPLOAD, {"import_id": import_id})


async def fail_lost_uploads(session: Session, reason: str) -> None:
    """Give up imports whose receiver died."""
    await session.execute(FAIL_LOST_UPLOADS, {"reason": reason})


async def purge(session: Session, keep_days: int) -> bool:
    """Forget some rows of an import that came to its end so many days ago, it itself with its last ones.

    Says whether there was one; all at once, those of a big file would take longer than a statement may.
    """
    import_id = (await session.execute(FIND_OLD, {"keep_days": keep_days})).scalar_one_or_none()
    if import_id is None:
        return False
    for statement in (PURGE_ROWS, PURGE_ORDERS):
        result: Any = await session.execute(statement, {"import_id": import_id, "limit": PURGE_ROWS_AT_ONCE})
        if result.rowcount == PURGE_ROWS_AT_ONCE:
            return True
    await session.execute(PURGE_IMPORT, {"import_id": import_id})
    return True


async def find_import(session: Session, import_id: int, seller_id: int | None) -> RowMapping | None:
    """An import of this seller (of any, for the admin, `None`)."""
    values = {"import_id": import_id, "seller_id": seller_id}
    return (await session.execute(FIND_IMPORT, values)).mappings().one_or_none()


async def list_imports(session: Session, seller_id: int | None, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Imports of this seller (of all, for the admin, `None`), newest first."""
    values = {"seller_id": seller_id, "before": before, "limit": limit}
    return (await session.execute(LIST_IMPORTS, values)).mappings().all()


async def list_rows(
    session: Session, import_id: int, status: Outcome | None, after: int, limit: int
) -> Sequence[RowMapping]:
    """What came of an import's rows behind row `after`."""
    statement = text(LIST_ROWS.format(condition=CONDITIONS[status])).columns(errors=JSONB)
    values = {"import_id": import_id, "after": after, "limit": limit}
    return (await session.execute(statement, values)).mappings().all()


def _told(errors: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"field": field, "detail": detail} for field, detail in errors]


def _errors(told: Sequence[Mapping[str, str]] | None) -> list[tuple[str, str]]:
    return [(error["field"], error["detail"]) for error in told or ()]
