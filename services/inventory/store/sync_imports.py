"""Imports of systems outside as jobs: claimed under a lease of the database's clock, one of a supplier at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.inventory.domain.sync_imports import RowOutcome, StatedRow
from shared.database import Session, copy_in

OPEN_LIMIT = 20
# A file takes a minute to come at most.
LEASE_SECONDS = 90
# While an import is carried out it is locked as well, which a claim passes over.
CARRY_OUT_SECONDS = 15
# How soon an import that waits is looked at again.
LOOK_AGAIN_SECONDS = 0.5
ROW_COLUMNS = ("import_id", "row_number", "location", "product", "on_hand", "detail")

# One after the other: two that count at the same time would not see what the other one adds.
LOCK_SUPPLIER = text("select pg_advisory_xact_lock(hashtextextended('basestock.inventory.sync_imports.' || :id, 0))")
COUNT_OPEN = text("""
    select count(*) from sync_imports
    where supplier_id = :supplier_id and state in ('received', 'waiting', 'importing')
""")
ADD = text("""
    insert into sync_imports (import_id, supplier_id, state, first_timestamp, last_timestamp, items_url, fetched, actor,
        traceparent)
    values (:import_id, :supplier_id, 'received', :first_timestamp, :last_timestamp, :items_url, :fetched, :actor,
        :traceparent)
""")
START = text("""
    update sync_imports set state = 'waiting', started_at = clock_timestamp(),
        deadline_at = clock_timestamp() + make_interval(secs => :wait_seconds)
    where import_id = :import_id and state = 'received'
        and (cast(:supplier_id as bigint) is null or supplier_id = :supplier_id)
""")
# In the order in which they were started: the last one has the last word on what is on hand.
CLAIM = text("""
    update sync_imports set attempt = attempt + 1,
        leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = (
        select i.import_id from sync_imports i
        where i.state in ('waiting', 'importing') and (i.leased_until is null or i.leased_until < clock_timestamp())
            and not exists (select from sync_imports o where o.supplier_id = i.supplier_id
                and o.state in ('waiting', 'importing')
                and (o.started_at, o.import_id) < (i.started_at, i.import_id))
        order by i.started_at limit 1 for update skip locked)
    returning import_id, attempt, supplier_id, first_timestamp, last_timestamp, items_url, fetched, actor, traceparent,
        deadline_at < clock_timestamp() as is_late
""")
HOLD = text("""
    update sync_imports set leased_until = clock_timestamp() + make_interval(secs => :seconds),
        state = :state, reason = :reason, fetched = fetched or :fetched
    where import_id = :import_id and attempt = :attempt and state in ('waiting', 'importing') returning import_id
""")
FINISH = text("""
    update sync_imports set state = :state, reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where import_id = :import_id and attempt = :attempt and state in ('waiting', 'importing') returning import_id
""")
# From what is known to be complete on, as far as there is no gap. An item that is applied stays so.
FIND_COMPLETE_UNTIL = text("""
    with known as (
        select coalesce(max(complete_until), 0) as until from fulfillment_seen where supplier_id = :supplier_id
    ), more as (
        select i.logical_timestamp, k.until + row_number() over (order by i.logical_timestamp) as expected
        from known k join fulfillment_items i on i.supplier_id = :supplier_id and i.applied
            and i.logical_timestamp > k.until and i.logical_timestamp <= :last
        where exists (select from fulfillment_items n
            where n.supplier_id = :supplier_id and n.logical_timestamp = k.until + 1 and n.applied)
    )
    insert into fulfillment_seen as s (supplier_id, complete_until)
    select :supplier_id, greatest(k.until, (select max(logical_timestamp) from more where logical_timestamp = expected))
    from known k
    on conflict (supplier_id) do update set complete_until = greatest(s.complete_until, excluded.complete_until)
    returning complete_until
""")
FIND_STATED = text("""
    select row_number, location, product, on_hand, detail from sync_import_rows where import_id = :import_id
    order by row_number
""")
KEEP_OUTCOMES = text("""
    update sync_import_rows r set status = case when n.problem is null then 'updated' else 'error' end,
        product_id = n.product_id, available = n.available, allocations_removed = n.allocations_removed,
        detail = n.problem
    from unnest(cast(:row_numbers as integer[]), cast(:product_ids as bigint[]), cast(:available as bigint[]),
        cast(:allocations_removed as bigint[]), cast(:problems as text[]))
        as n (row_number, product_id, available, allocations_removed, problem)
    where r.import_id = :import_id and r.row_number = n.row_number
""")
FAIL_FORGOTTEN = text("""
    update sync_imports set state = 'failed', reason = :reason, finished_at = clock_timestamp()
    where state = 'received' and created_at < clock_timestamp() - make_interval(hours => :hours)
""")
PURGE = text("""
    delete from sync_imports
    where state in ('completed', 'failed') and finished_at < clock_timestamp() - make_interval(days => :days)
""")
SHOW = text("""
    select i.*, c.rows, c.updated, c.refused from sync_imports i
    cross join lateral (
        select count(*) as rows, count(*) filter (where r.status = 'updated') as updated,
            count(*) filter (where r.status = 'error') as refused
        from sync_import_rows r where r.import_id = i.import_id) c
    where i.import_id = :import_id and (cast(:supplier_id as bigint) is null or i.supplier_id = :supplier_id)
""")
LIST_ROWS = text("""
    select row_number as row, location, product, on_hand, status, product_id, available, allocations_removed, detail
    from sync_import_rows where import_id = :import_id and row_number > cast(:after as bigint)
    order by row_number limit :limit
""")
FIND_OVERLAPS = text("""
    select o.import_id, o.first_timestamp, o.last_timestamp
    from sync_imports i join sync_imports o on o.supplier_id = i.supplier_id and o.state = 'completed'
        and o.last_timestamp >= i.first_timestamp and o.first_timestamp <= i.last_timestamp
        and o.import_id <> i.import_id and o.finished_at < coalesce(i.finished_at, 'infinity')
    where i.import_id = :import_id order by o.finished_at, o.import_id limit 100
""")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """An import that this worker has claimed, as it was then; `is_late` says that it has waited long enough."""

    import_id: UUID
    attempt: int
    supplier_id: int
    first_timestamp: int | None
    last_timestamp: int | None
    items_url: str | None
    fetched: bool
    actor: str
    traceparent: str | None
    is_late: bool


class LeaseLostError(Exception):
    """Somebody else has this import now, or it has come to its end."""


async def add(session: Session, supplier_id: int, rows: Sequence[StatedRow] | None, **values: object) -> bool:
    """Add an import with its rows (`None`: they are fetched later); says no when too many of the supplier's are open.

    `values` are its import_id, first_timestamp, last_timestamp, items_url, actor and traceparent.
    """
    await session.execute(LOCK_SUPPLIER, {"id": str(supplier_id)})
    count: int = (await session.execute(COUNT_OPEN, {"supplier_id": supplier_id})).scalar_one()
    if count >= OPEN_LIMIT:
        return False
    await session.execute(ADD, {**values, "supplier_id": supplier_id, "fetched": rows is not None})
    if rows is not None:
        await _add_rows(session, values["import_id"], rows)
    return True


async def start(session: Session, import_id: UUID, supplier_id: int | None, wait_seconds: int) -> None:
    """Start an import of this supplier (of any, for the admin, `None`); one that is started already stays as it is."""
    values = {"import_id": import_id, "supplier_id": supplier_id, "wait_seconds": wait_seconds}
    await session.execute(START, values)


async def claim(session: Session) -> Job | None:
    """The next import to go on with, if there is one."""
    row = (await session.execute(CLAIM, {"lease_seconds": LEASE_SECONDS})).mappings().one_or_none()
    return None if row is None else Job(**row)


async def hold(session: Session, job: Job) -> None:
    """Lock the claimed import to carry it out, and hold it on; raises `LeaseLostError`."""
    await _hold(session, job, CARRY_OUT_SECONDS, "importing", None)


async def let_wait(session: Session, job: Job, reason: str) -> None:
    """Let the claimed import wait, and somebody look at it again soon; raises `LeaseLostError`."""
    await _hold(session, job, LOOK_AGAIN_SECONDS, "waiting", reason)


async def keep_file(session: Session, job: Job, rows: Sequence[StatedRow]) -> None:
    """Keep the rows of the claimed import's file, once; raises `LeaseLostError`."""
    await _hold(session, job, CARRY_OUT_SECONDS, "waiting", None, fetched=True)
    await _add_rows(session, job.import_id, rows)


async def finish(session: Session, job: Job, state: str, reason: str | None = None) -> None:
    """The claimed import has come to its end; raises `LeaseLostError`."""
    values = {"import_id": job.import_id, "attempt": job.attempt, "state": state, "reason": reason}
    if (await session.execute(FINISH, values)).one_or_none() is None:
        raise LeaseLostError


async def find_complete_until(session: Session, supplier_id: int, last: int) -> int:
    """Up to which logical timestamp, looking no further than `last`, all of the supplier's items are applied."""
    values = {"supplier_id": supplier_id, "last": last}
    complete_until: int = (await session.execute(FIND_COMPLETE_UNTIL, values)).scalar_one()
    return complete_until


async def find_stated(session: Session, import_id: UUID) -> list[StatedRow]:
    """All rows of an import, as they came."""
    return [StatedRow(*row) for row in (await session.execute(FIND_STATED, {"import_id": import_id})).all()]


async def keep_outcomes(session: Session, import_id: UUID, outcomes: Sequence[RowOutcome]) -> None:
    """Keep what came of rows."""
    await session.execute(
        KEEP_OUTCOMES,
        {
            "import_id": import_id,
            "row_numbers": [one.row_number for one in outcomes],
            "product_ids": [one.product_id for one in outcomes],
            "available": [one.available for one in outcomes],
            "allocations_removed": [one.allocations_removed for one in outcomes],
            "problems": [one.problem for one in outcomes],
        },
    )


async def fail_forgotten(session: Session, reason: str, hours: int) -> None:
    """Give up imports that were not started in this time."""
    await session.execute(FAIL_FORGOTTEN, {"reason": reason, "hours": hours})


async def purge(session: Session, days: int) -> None:
    """Forget imports that came to their end so long ago, with their rows."""
    await session.execute(PURGE, {"days": days})


async def show(session: Session, import_id: UUID, supplier_id: int | None) -> Row | None:
    """An import of this supplier (of any, for the admin, `None`), with counts of its rows."""
    found = await session.execute(SHOW, {"import_id": import_id, "supplier_id": supplier_id})
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)


async def list_rows(session: Session, import_id: UUID, after: int, limit: int) -> list[Row]:
    """The import's rows behind row `after`."""
    values = {"import_id": import_id, "after": after, "limit": limit}
    return [dict(row) for row in (await session.execute(LIST_ROWS, values)).mappings()]


async def find_overlaps(session: Session, import_id: UUID) -> list[tuple[UUID, int, int]]:
    """The imports carried out before whose ranges overlap: `(import id, first, last)`."""
    rows = (await session.execute(FIND_OVERLAPS, {"import_id": import_id})).all()
    return [(one, first, last) for one, first, last in rows]


async def _hold(
    session: Session, job: Job, seconds: float, state: str, reason: str | None, *, fetched: bool = False
) -> None:
    values = {"import_id": job.import_id, "attempt": job.attempt, "seconds": seconds, "state": state}
    found = await session.execute(HOLD, {**values, "reason": reason, "fetched": fetched})
    if found.one_or_none() is None:
        raise LeaseLostError


async def _add_rows(session: Session, import_id: object, rows: Sequence[StatedRow]) -> None:
    await copy_in(session, "sync_import_rows", ROW_COLUMNS, [(import_id, *row) for row in rows])
