"""Imports of stock as jobs: received in chunks, claimed under a lease of the database's clock, worked through in turns.

An import is locked before anything else, and only by who works on it (`hold`).
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json, to_json
from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB

from services.inventory.domain.imports import Writes
from services.inventory.stock_files.rows import Row
from services.inventory.tables.imports import Mode, RowStatus
from shared.database import Session, copy_in
from shared.import_jobs import LeaseLostError

# Each chunk that is committed begins it anew; one takes less than a second.
LEASE_SECONDS = 20
# Forgotten by one statement.
PURGE_ROWS_AT_ONCE = 20_000

# One of a company after the other, so that two cannot pass the limit together; it is only held to add one.
LOCK_COMPANY = text("""
    select pg_advisory_xact_lock(hashtext('basestock.inventory.stock_imports'),
        cast(cast(:supplier_id as bigint) % 1073741824 as integer))
""")
COUNT_OPEN = text("""
    select count(*) from stock_imports
    where supplier_id = :supplier_id and state in ('receiving', 'received', 'running')
""")
ADD_IMPORT = text("""
    insert into stock_imports (supplier_id, kind, source, actor, mode, dry_run, writes, location, as_of, traceparent,
        state, leased_until)
    values (:supplier_id, :kind, :source, :actor, :mode, :dry_run, :writes, :location, :as_of, :traceparent,
        'receiving', clock_timestamp() + make_interval(secs => :lease_seconds))
    returning import_id
""")
HOLD = text("""
    update stock_imports set leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = :import_id and attempt = :attempt and state in ('receiving', 'running') returning import_id
""")
ADD_CHUNK = text("""
    insert into stock_import_chunks (import_id, after_row, rows, body) values (:import_id, :after_row, :rows, :body)
""")
RECEIVED = text("""
    update stock_imports set state = 'received', leased_until = null, rows = :rows, writes = :writes
    where import_id = :import_id and state = 'receiving' returning import_id
""")
# One after the other: two that look at the same time would not see what the other one takes.
LOCK_CLAIMS = text("select pg_advisory_xact_lock(hashtext('basestock.inventory.stock_import_claims'))")
# Files of one supplier go in as they came, one after the other. One whose lease has ended is under way until it is
# claimed again: its worker may only be slow.
CLAIM = text("""
    update stock_imports set state = 'running', attempt = attempt + 1, turn_at = clock_timestamp(),
        leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    where import_id = (
        select i.import_id from stock_imports i
        where (i.state = 'received' or (i.state = 'running' and i.leased_until < clock_timestamp()))
            and (:whole_too or i.mode = 'rows' or i.dry_run)
            and not exists (select from stock_imports o
                where o.supplier_id = i.supplier_id and o.import_id <> i.import_id
                    and (o.state = 'running' or (o.state = 'received'
                        and (o.attempt > 0 or (i.attempt = 0 and o.import_id < i.import_id)))))
        order by i.turn_at, i.import_id limit 1 for update skip locked)
    returning *
""")
GIVE_BACK = text("""
    update stock_imports set state = 'received', leased_until = null
    where import_id = :import_id and attempt = :attempt and state = 'running'
""")
NEXT_CHUNK = text("""
    select after_row, body from stock_import_chunks where import_id = :import_id and after_row >= :after_row
    order by after_row limit 1
""")
COUNT_RESULTS = text("""
    update stock_imports set rows_done = rows_done + :done, changed = changed + :changed,
        unchanged = unchanged + :unchanged, refused = refused + :refused
    where import_id = :import_id
""")
COUNT_REFUSED = text("select refused from stock_imports where import_id = :import_id")
FORGET_RESULTS = text("delete from stock_import_rows where import_id = :import_id")
FORGET_COUNTS = text("""
    update stock_imports set rows_done = 0, changed = 0, unchanged = 0, refused = 0 where import_id = :import_id
""")
UNDO_COUNTS = text("update stock_imports set changed = 0, unchanged = 0 where import_id = :import_id")
FINISH = text("""
    update stock_imports set state = :state, reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where import_id = :import_id and attempt = :attempt and state in ('receiving', 'running') returning import_id
""")
FORGET_CHUNKS = text("delete from stock_import_chunks where import_id = :import_id")
# All of them, in the one order of items, before a file that is one transaction goes through them in its own order.
LOCK_ALL = text("""
    select count(*) from (select product_id from stock_items where product_id = any(cast(:product_ids as bigint[]))
        order by product_id for update) as locked
""")
FAIL_LOST_UPLOADS = text("""
    update stock_imports set state = 'failed', reason = :reason, leased_until = null, finished_at = clock_timestamp()
    where state = 'receiving' and leased_until < clock_timestamp()
""")
FIND_OLD = text("""
    select import_id from stock_imports where finished_at < clock_timestamp() - make_interval(days => :keep_days)
    order by import_id limit 1 for update skip locked
""")
PURGE_ROWS = text("""
    delete from stock_import_rows where import_id = :import_id and row_number in (
        select row_number from stock_import_rows where import_id = :import_id order by row_number limit :limit)
""")
FORGET_UPLOAD = text("delete from stock_imports where import_id = :import_id and state = 'receiving'")
PURGE_IMPORT = text("delete from stock_imports where import_id = :import_id")
FIND_IMPORT = text("""
    select * from stock_imports where import_id = :import_id
        and (cast(:supplier_id as bigint) is null or supplier_id = :supplier_id)
""")
LIST_IMPORTS = text("""
    select * from stock_imports where (cast(:supplier_id as bigint) is null or supplier_id = :supplier_id)
        and (cast(:before as bigint) is null or import_id < :before)
    order by import_id desc limit :limit
""")
LIST_ROWS = text("""
    select * from stock_import_rows where import_id = :import_id and row_number > cast(:after as bigint)
        and (cast(:status as text) is null or status = :status)
    order by row_number limit :limit
""").columns(errors=JSONB)
RESULT_COLUMNS = (
    *("import_id", "row_number", "line_number", "sku", "barcode", "location", "status", "product_id"),
    *("on_hand_before", "on_hand_after", "available_before", "available_after", "errors"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """An import that this worker has claimed, as it was then."""

    import_id: int
    attempt: int
    supplier_id: int
    kind: str
    source: str
    actor: str
    mode: Mode
    dry_run: bool
    writes: Writes
    location: str
    as_of: datetime | None
    rows_done: int
    traceparent: str | None

    @property
    def is_one_transaction(self) -> bool:
        """Whether the whole file is one transaction."""
        return self.mode == "all" and not self.dry_run


class RowResult(NamedTuple):
    """What came of one row: units before and after at its location, or why it was refused, by column."""

    row: Row
    status: RowStatus
    location: str | None
    product_id: int | None = None
    quantities: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    errors: Sequence[tuple[str, str]] = ()


async def count_open(session: Session, supplier_id: int) -> int:
    """How many imports of this supplier have not come to their end; nobody adds one until the transaction ends."""
    await session.execute(LOCK_COMPANY, {"supplier_id": supplier_id})
    count: int = (await session.execute(COUNT_OPEN, {"supplier_id": supplier_id})).scalar_one()
    return count


async def add_import(session: Session, **values: object) -> int:
    """Begin to receive an import; returns its id. `values` are its columns up to `traceparent`."""
    import_id: int = (await session.execute(ADD_IMPORT, values | {"lease_seconds": LEASE_SECONDS})).scalar_one()
    return import_id


async def add_chunk(session: Session, import_id: int, rows: Sequence[Row]) -> None:
    """Keep rows of an import that is being received; raises `LeaseLostError` when it was given up."""
    await hold(session, import_id, attempt=0)
    if rows:
        body = to_json([list(row) for row in rows]).decode()
        values = {"import_id": import_id, "after_row": rows[0].number - 1, "rows": len(rows), "body": body}
        await session.execute(ADD_CHUNK, values)


async def hold(session: Session, import_id: int, attempt: int) -> None:
    """Hold the import for another `LEASE_SECONDS`, and lock it; raises `LeaseLostError`."""
    values = {"import_id": import_id, "attempt": attempt, "lease_seconds": LEASE_SECONDS}
    if (await session.execute(HOLD, values)).one_or_none() is None:
        raise LeaseLostError


async def finish_receiving(session: Session, import_id: int, rows: int, writes: Writes) -> None:
    """All rows are there. Raises `LeaseLostError`."""
    if (
        await session.execute(RECEIVED, {"import_id": import_id, "rows": rows, "writes": writes})
    ).one_or_none() is None:
        raise LeaseLostError


async def claim(session: Session, *, whole_too: bool) -> Job | None:
    """The next import to work on, if there is one; only with `whole_too` one that is a single transaction."""
    await session.execute(LOCK_CLAIMS)
    values = {"lease_seconds": LEASE_SECONDS, "whole_too": whole_too}
    row = (await session.execute(CLAIM, values)).mappings().one_or_none()
    return Job(**{name: row[name] for name in Job.__dataclass_fields__}) if row else None


async def give_back(session: Session, job: Job) -> None:
    """Let the others have their turn."""
    await session.execute(GIVE_BACK, {"import_id": job.import_id, "attempt": job.attempt})


async def next_chunk(session: Session, import_id: int, after_row: int) -> list[Row]:
    """The next rows to carry out, none at the end of the file."""
    found = (await session.execute(NEXT_CHUNK, {"import_id": import_id, "after_row": after_row})).one_or_none()
    return [] if found is None else [Row(*cells) for cells in from_json(found.body)]


async def keep_results(session: Session, job: Job, results: Sequence[RowResult]) -> None:
    """Keep what came of these rows where nothing else tells it: of refused ones, and of a dry run's changes."""
    kept = [one for one in results if one.status == "refused" or (job.dry_run and one.status == "changed")]
    rows = [
        (
            *(job.import_id, one.row.number, one.row.line, one.row.sku, one.row.barcode, one.location, one.status),
            *(one.product_id, *one.quantities),
            json.dumps([{"field": field, "detail": detail} for field, detail in one.errors]) if one.errors else None,
        )
        for one in kept
    ]
    if rows:
        await copy_in(session, "stock_import_rows", RESULT_COLUMNS, rows)


async def count_results(session: Session, import_id: int, results: Sequence[RowResult]) -> None:
    """Count these rows as done."""
    statuses = [one.status for one in results]
    counts = {status: statuses.count(status) for status in ("changed", "unchanged", "refused")}
    await session.execute(COUNT_RESULTS, {"import_id": import_id, "done": len(results), **counts})


async def count_refused(session: Session, import_id: int) -> int:
    """How many rows are refused so far."""
    refused: int = (await session.execute(COUNT_REFUSED, {"import_id": import_id})).scalar_one()
    return refused


async def forget_results(session: Session, import_id: int) -> None:
    """Begin again an import that is one transaction."""
    await session.execute(FORGET_RESULTS, {"import_id": import_id})
    await session.execute(FORGET_COUNTS, {"import_id": import_id})


async def undo_counts(session: Session, import_id: int) -> None:
    """An import that was to go in whole is undone: only what was refused stays told."""
    await session.execute(UNDO_COUNTS, {"import_id": import_id})


async def lock_all(session: Session, product_ids: Collection[int]) -> None:
    """Lock all these items in the order of their ids."""
    await session.execute(LOCK_ALL, {"product_ids": sorted(product_ids)})


async def finish(
    session: Session, import_id: int, attempt: int, state: Literal["done", "failed"], reason: str | None = None
) -> None:
    """The import has come to its end; raises `LeaseLostError`."""
    values = {"import_id": import_id, "attempt": attempt, "state": state, "reason": reason}
    if (await session.execute(FINISH, values)).one_or_none() is None:
        raise LeaseLostError
    await session.execute(FORGET_CHUNKS, {"import_id": import_id})


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
    result: Any = await session.execute(PURGE_ROWS, {"import_id": import_id, "limit": PURGE_ROWS_AT_ONCE})
    if result.rowcount < PURGE_ROWS_AT_ONCE:
        await session.execute(PURGE_IMPORT, {"import_id": import_id})
    return True


async def find_import(session: Session, import_id: int, supplier_id: int | None) -> RowMapping | None:
    """An import of this supplier (of any, for the admin, `None`)."""
    values = {"import_id": import_id, "supplier_id": supplier_id}
    return (await session.execute(FIND_IMPORT, values)).mappings().one_or_none()


async def list_imports(
    session: Session, supplier_id: int | None, before: int | None, limit: int
) -> Sequence[RowMapping]:
    """Imports of this supplier (of all, for the admin, `None`), newest first."""
    values = {"supplier_id": supplier_id, "before": before, "limit": limit}
    return (await session.execute(LIST_IMPORTS, values)).mappings().all()


async def list_rows(
    session: Session, import_id: int, status: RowStatus | None, after: int, limit: int
) -> Sequence[RowMapping]:
    """What came of an import's rows behind row `after`."""
    values = {"import_id": import_id, "status": status, "after": after, "limit": limit}
    return (await session.execute(LIST_ROWS, values)).mappings().all()
