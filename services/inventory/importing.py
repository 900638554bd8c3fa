"""The workers that carry out imports of stock: they claim one, write it chunk by chunk, and take turns.

Row by row (mode `rows`, and every dry run) each chunk is one transaction with its results and how far the import is: so
nothing is done twice, whatever dies. All or nothing (mode `all`) the file is first gone through without writing, and if
all of it is good written in one transaction; an attempt that was cut off begins again.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from services.inventory.import_batch import look_at_rows, write_rows
from services.inventory.store import imports as store
from services.inventory.store.imports import Job, RowResult
from shared import clock
from shared.draining import to_its_end
from shared.faults import is_infrastructure
from shared.import_jobs import LOST_UPLOAD, LeaseLostError, carry_out_next
from shared.messaging import outbox
from shared.repeating import repeat
from shared.service_context import Context

log = structlog.get_logger()

# After so long another company's import has its turn.
TURN_SECONDS = 2.0
POLL_SECONDS = 0.25
TIDY_SECONDS = 60

STOPPED = (
    "This import stopped short, and why is in our log. The rows that are done stay so, the others have changed "
    "nothing: send the file again."
)
UNDONE = "This import could not be carried out, and why is in our log; nothing was changed."


class _UndoError(Exception):
    """Leave the transaction without its effects: some rows are bad, which were good when they were looked at first."""


async def carry_out_imports(context: Context) -> None:
    """Worker: carry out what has been received. Files that are one transaction, and take no turns, leave one free."""
    async with asyncio.TaskGroup() as group:
        for whole_too in (True, False):
            step = partial(carry_out_next, context, partial(store.claim, whole_too=whole_too), run_import)
            group.create_task(repeat("stock_imports", step, idle_seconds=POLL_SECONDS))


async def run_import(context: Context, job: Job) -> None:
    """Carry out a claimed import for one turn, or to its end.

    Raises `LeaseLostError`, and what the database raises when it is away.
    """
    try:
        await (_in_one_transaction if job.is_one_transaction else _chunk_by_chunk)(context, job)
    except Exception as error:
        if is_infrastructure(error) or isinstance(error, LeaseLostError):
            raise
        # Tried again it would fail again, and keep all others of this company waiting.
        log.exception("stock_import_failed", import_id=job.import_id)
        await _end_in_failure(context, job, UNDONE if job.is_one_transaction else STOPPED)


async def _end_in_failure(context: Context, job: Job, reason: str) -> None:
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        if job.is_one_transaction:
            await store.undo_counts(session, job.import_id)
        await store.finish(session, job.import_id, job.attempt, "failed", reason)


async def _chunk_by_chunk(context: Context, job: Job) -> None:
    if not await to_its_end(_take_turn(context, job)):
        async with context.database.transaction() as session:
            await store.give_back(session, job)


async def _take_turn(context: Context, job: Job) -> bool:
    """Write chunks for `TURN_SECONDS`; says whether the import has come to its end.

    Two at a time: while PostgreSQL saves one, the next one is decided. They lock their items, and are committed, in the
    order of the file; each is locked once the one before it is, so no chunk waits for one behind it.
    """
    at, ends_at = job.rows_done, clock.monotonic() + TURN_SECONDS
    before: asyncio.Task[None] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                locked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                chunk = group.create_task(_do_next(context, job, at, locked, before))
                rows = await locked
                if before is not None:
                    await before
                at, before = at + rows, chunk
                if rows == 0 or clock.monotonic() > ends_at:
                    break
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return rows == 0


async def _do_next(
    context: Context, job: Job, at: int, locked: asyncio.Future[int], before: asyncio.Task[None] | None
) -> None:
    """Write the next chunk and its results once that `before` it is committed; without rows the import is done.

    `locked` becomes the number of rows as soon as their items are locked.
    """
    async with context.database.transaction() as session:
        rows = await store.next_chunk(session, job.import_id, at)
        if rows:
            results = await write_rows(session, job, rows, lambda: locked.set_result(len(rows)))
            await outbox.write(session)
        else:
            locked.set_result(0)
        if before is not None:
            await before
        await store.hold(session, job.import_id, job.attempt)
        if not rows:
            await store.finish(session, job.import_id, job.attempt, "done")
            return
        await store.keep_results(session, job, results)
        await store.count_results(session, job.import_id, results)


async def _in_one_transaction(context: Context, job: Job) -> None:
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        await store.forget_results(session, job.import_id)
    product_ids = await _look_through(context, job)
    try:
        if product_ids is not None:
            await _write_all(context, job, product_ids)
    except _UndoError:
        product_ids = None
    if product_ids is None:
        async with context.database.transaction() as session:
            refused = await store.count_refused(session, job.import_id)
        await _end_in_failure(context, job, f"{refused:,} rows are refused, so nothing was changed.")


async def _look_through(context: Context, job: Job) -> set[int] | None:
    """The items that a file names whose rows are all good; of one that has bad rows their reasons are kept."""
    at, product_ids, is_good = 0, set[int](), True
    while True:
        async with context.database.transaction() as session:
            await store.hold(session, job.import_id, job.attempt)
            rows = await store.next_chunk(session, job.import_id, at)
            if not rows:
                return product_ids if is_good else None
            results, named = await look_at_rows(session, job, rows)
            refused = [one for one in results if one.status == "refused"]
            await store.keep_results(session, job, refused)
            await store.count_results(session, job.import_id, refused)
        at += len(rows)
        is_good = is_good and not refused
        product_ids |= named


async def _write_all(context: Context, job: Job, product_ids: set[int]) -> None:
    """Write the whole file in one transaction, and how far it is in others; raises `_UndoError`."""
    async with context.database.transaction() as session:
        await store.lock_all(session, product_ids)
        at = 0
        while True:
            rows = await store.next_chunk(session, job.import_id, at)
            if not rows:
                break
            results = await write_rows(session, job, rows)
            await outbox.write(session)  # so that no more events are held than a chunk has
            await _count_aside(context, job, results)
            if any(one.status == "refused" for one in results):
                raise _UndoError
            at += len(rows)
        await store.finish(session, job.import_id, job.attempt, "done")


async def _count_aside(context: Context, job: Job, results: Sequence[RowResult]) -> None:
    async with context.database.aside.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        await store.keep_results(session, job, results)
        await store.count_results(session, job.import_id, results)


async def tidy_imports(context: Context) -> None:
    """Worker: give up uploads whose receiver died, and forget imports that came to their end long ago."""
    await repeat("tidy_stock_imports", lambda: _tidy(context), idle_seconds=TIDY_SECONDS)


async def _tidy(context: Context) -> bool:
    async with context.database.transaction() as session:
        await store.fail_lost_uploads(session, LOST_UPLOAD)
    async with context.database.transaction() as session:
        return await store.purge(session, context.settings.import_keep_days)
