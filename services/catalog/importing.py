"""The workers that carry out imports: they claim a job, save it batch by batch, and go on where a dead one stopped.

Row by row (mode `rows`), each batch is one transaction with its results, so that nothing is done twice. All or nothing
(mode `all`, and every dry run) the whole file is one transaction; its results go aside, and an attempt that was cut
off begins again.
"""

import asyncio
from collections.abc import Sequence

import structlog

from services.catalog.import_batch import refused, save_batch
from services.catalog.product_files.rows import WHOLE_ROW
from services.catalog.store import imports as store
from services.catalog.store import old_imports
from services.catalog.store.imports import FileProduct, Job, RowResult
from services.catalog.store.product_changes import ChangedMeanwhileError, SkuTakenError
from shared.database import Session
from shared.draining import to_its_end
from shared.errors import FieldError
from shared.faults import is_infrastructure
from shared.import_jobs import LOST_UPLOAD, LeaseLostError, carry_out_next
from shared.messaging import outbox
from shared.repeating import repeat
from shared.service_context import Context

log = structlog.get_logger()

# A small file need not wait for a big one of another company.
WORKERS = 2
BATCH_PRODUCTS = 500
# Each attempt lost to somebody else's change, so somebody always gets ahead.
ATTEMPTS = 5
POLL_SECONDS = 0.25
TIDY_SECONDS = 60

KEEP_CHANGING = "Others keep changing the same products; nothing was changed. Send the file again."
STOPPED = (
    "This import stopped short, and why is in our log. What its rows say was created or changed stays so; the others "
    "are pending: send the file again."
)
UNDONE = "This import could not be carried out, and why is in our log; nothing was changed."
BROKEN = FieldError(field=WHOLE_ROW, detail="this could not be saved, and why is in our log")


class _UndoError(Exception):
    """Leave the transaction without its effects: a dry run (there is no text), or not all rows are good."""


async def carry_out_imports(context: Context) -> None:
    """Worker: carry out what has been received."""
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(repeat("imports", lambda: _carry_out_next(context), idle_seconds=POLL_SECONDS))


async def _carry_out_next(context: Context) -> bool:
    return await carry_out_next(context, store.claim, run_import)


async def run_import(context: Context, job: Job) -> None:
    """Carry out a claimed import to its end. Raises `LeaseLostError`, and what the database raises when it is away."""
    log.info("import_begins", import_id=job.import_id, attempt=job.attempt)
    try:
        await _prepare(context, job)
        await (_in_one_transaction if job.is_one_transaction else _batch_by_batch)(context, job)
    except Exception as error:
        if is_infrastructure(error) or isinstance(error, LeaseLostError):
            raise
        # Tried again it would fail again, and keep all others waiting.
        log.exception("import_failed", import_id=job.import_id)
        await _end_in_failure(context, job, UNDONE if job.is_one_transaction else STOPPED)
    log.info("import_ends", import_id=job.import_id)


async def _end_in_failure(context: Context, job: Job, reason: str) -> None:
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        if job.is_one_transaction:
            await store.undo_results(session, job.import_id)
        await store.finish(session, job.import_id, job.attempt, "failed", reason)


async def _prepare(context: Context, job: Job) -> None:
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        if job.is_one_transaction and job.attempt > 1:
            await store.forget_results(session, job.import_id)
        if job.is_one_transaction or job.place_done == 0:
            await store.place_products(session, job.import_id)


async def _batch_by_batch(context: Context, job: Job) -> None:
    at, alone_until, attempts = job.place_done, 0, 0
    while True:
        limit = 1 if at < alone_until else BATCH_PRODUCTS
        try:
            last = await to_its_end(_save_next(context, job, at, limit))
        except Exception as error:
            if is_infrastructure(error) or isinstance(error, LeaseLostError):
                raise
            attempts += 1
            if isinstance(error, ChangedMeanwhileError | SkuTakenError) and attempts < ATTEMPTS:
                continue
            # One of them is to blame: the rest shall go in. What fails alone is refused.
            log.exception("import_batch_failed", import_id=job.import_id, products=limit)
            if limit == 1:
                at = await _refuse_next(context, job, at)
            else:
                alone_until = at + limit
            attempts = 0
            continue
        if last is None:
            return
        at, attempts = last, 0


async def _save_next(context: Context, job: Job, at: int, limit: int) -> int | None:
    """Save the next batch and its results; where it ended, or `None` when there is none, and the import is done."""
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        batch = await store.next_products(session, job.import_id, at, limit)
        if not batch:
            await store.finish(session, job.import_id, job.attempt, "done")
            return None
        batch = _of_one_stage(batch)
        results = await save_batch(session, job, batch)
        await _tell_planner(session, at, batch[-1].place)
        await store.keep_results(session, job.import_id, batch[-1].place, results)
        return batch[-1].place


async def _tell_planner(session: Session, done: int, done_now: int) -> None:
    """Have PostgreSQL look at its tables anew whenever the import's products have grown tenfold.

    Its plans for a table that was empty a moment ago read all products of an owner for each SKU, and it looks by itself
    a minute later: for 100,000 products that made 147 s of 57 s.
    """
    if len(str(done_now)) > len(str(done)):
        await store.analyze_products(session)


def _of_one_stage(batch: Sequence[FileProduct]) -> list[FileProduct]:
    """Its beginning: what stands in a later stage may need what is saved now; in the last one each may need another."""
    stage = batch[0].stage
    return [item for item in batch if item.stage == stage][: 1 if stage == store.LAST_STAGE else None]


async def _refuse_next(context: Context, job: Job, at: int) -> int:
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        (item,) = await store.next_products(session, job.import_id, at, 1)
        await store.keep_results(session, job.import_id, item.place, [refused(item, {0: [BROKEN]})])
    return item.place


async def _in_one_transaction(context: Context, job: Job) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with context.database.transaction() as session:
                await _save_all(context, session, job)
                await store.finish(session, job.import_id, job.attempt, "done")
        except _UndoError as why:
            reason = str(why)
        except (ChangedMeanwhileError, SkuTakenError):
            reason = KEEP_CHANGING
            if attempt < ATTEMPTS:
                async with context.database.transaction() as session:
                    await store.forget_results(session, job.import_id)
                continue
        else:
            return
        break
    if reason:
        await _end_in_failure(context, job, reason)
    else:
        async with context.database.transaction() as session:
            await store.finish(session, job.import_id, job.attempt, "done")


async def _save_all(context: Context, session: Session, job: Job) -> None:
    """Save batch after batch in this transaction, and their results in others; raises `_UndoError`."""
    at = 0
    while True:
        async with context.database.aside.transaction() as aside:
            batch = await store.next_products(aside, job.import_id, at, BATCH_PRODUCTS)
        if not batch:
            break
        batch = _of_one_stage(batch)
        results = await save_batch(session, job, batch)
        await _tell_planner(session, at, batch[-1].place)
        await outbox.write(session)  # so that no more events are held than a batch has
        at = batch[-1].place
        await _keep_aside(context, job, at, results)
    async with context.database.aside.transaction() as aside:
        refused_products = await store.count_refused(aside, job.import_id)
    if job.dry_run:
        raise _UndoError
    if refused_products:
        message = f"Of all products {refused_products} are refused, so nothing was changed."
        raise _UndoError(message)


async def _keep_aside(context: Context, job: Job, place: int, results: Sequence[Sequence[RowResult]]) -> None:
    async with context.database.aside.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        await store.keep_results(session, job.import_id, place, results)


async def tidy_imports(context: Context) -> None:
    """Worker: give up uploads whose receiver died, and forget imports that came to their end long ago."""
    await repeat("tidy_imports", lambda: _tidy(context), idle_seconds=TIDY_SECONDS)


async def _tidy(context: Context) -> bool:
    async with context.database.transaction() as session:
        await store.fail_lost_uploads(session, LOST_UPLOAD)
    async with context.database.transaction() as session:
        return await old_imports.purge(session, context.settings.import_keep_days)
