"""The workers that carry out imports of systems outside: fetch, wait for what the import accounts for, apply.

What an import does is one transaction, together with its results and its end: a worker that dies leaves nothing of it,
and the next one does it all.
"""

import asyncio

import structlog

from services.inventory.as_of import as_of_now
from services.inventory.domain import sync_imports as domain
from services.inventory.domain import writing
from services.inventory.domain.stock import Cause, Stock
from services.inventory.domain.sync_imports import RowOutcome, StatedRow, Target
from services.inventory.fetching import FetchError, fetch
from services.inventory.fulfilling import clear_completed
from services.inventory.record import record
from services.inventory.store import reading
from services.inventory.store import stock as stock_store
from services.inventory.store import sync_imports as store
from services.inventory.store.sync_imports import Job, LeaseLostError
from services.inventory.sync_files import DIGITS_LIMIT, FileError, read_rows
from shared.database import Session
from shared.draining import to_its_end
from shared.faults import is_infrastructure
from shared.logs import bind_trace
from shared.repeating import repeat
from shared.service_context import Context

log = structlog.get_logger()

# A slow file of one supplier need not keep the others waiting.
WORKERS = 2
POLL_SECONDS = 0.25
TIDY_SECONDS = 60
START_HOURS = 24

NEVER_STARTED = f"It was not started within {START_HOURS} hours. Nothing was changed; send it again."
NO_ROW = "None of its rows could be applied, and nothing was changed; see the results."
UNDONE = "This import could not be carried out, and why is in our log; nothing was changed."


async def carry_out_sync_imports(context: Context) -> None:
    """Worker: carry out what has been started."""
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(repeat("sync_imports", lambda: _carry_out_next(context), idle_seconds=POLL_SECONDS))


async def _carry_out_next(context: Context) -> bool:
    try:
        return await go_on(context)
    except LeaseLostError:
        log.warning("sync_import_lost", hint="another process goes on with it")
        return True


async def go_on(context: Context) -> bool:
    """Go on with the next import; says whether there was one. Raises `LeaseLostError`."""
    async with context.database.transaction() as session:
        job = await store.claim(session)
    if job is None:
        return False
    bind_trace(job.traceparent or "")
    try:
        if job.items_url is None or job.fetched or await _get_file(context, job, job.items_url):
            await to_its_end(_apply_or_wait(context, job))
    except Exception as error:
        if is_infrastructure(error) or isinstance(error, LeaseLostError):
            raise
        # Tried again it would fail again, and keep all others of the supplier waiting.
        log.exception("sync_import_failed", import_id=job.import_id)
        await _fail(context, job, UNDONE)
    return True


async def _get_file(context: Context, job: Job, url: str) -> bool:
    """Fetch the import's file and keep its rows; says whether it could."""
    try:
        file = await fetch(url, context.settings.webhook_allow_networks)
        rows = await asyncio.to_thread(read_rows, file)
    except (FetchError, FileError) as error:
        what = "fetched" if isinstance(error, FetchError) else "read"
        await _fail(context, job, f"The file could not be {what}: {error}. Nothing was changed.")
        return False
    async with context.database.transaction() as session:
        await store.keep_file(session, job, rows)
    return True


async def _fail(context: Context, job: Job, reason: str) -> None:
    async with context.database.transaction() as session:
        await store.finish(session, job, "failed", reason)


async def _apply_or_wait(context: Context, job: Job) -> None:
    async with context.database.transaction() as session:
        reason = await _waits_for(session, job)
        if reason is None:
            await store.hold(session, job)
        elif job.is_late:
            await store.finish(session, job, "failed", _too_late(reason, context.settings.sync_import_wait_seconds))
        else:
            await store.let_wait(session, job, reason)
    if reason is None:
        async with context.database.transaction() as session:
            await store.hold(session, job)
            outcomes = await apply(session, job)
            is_refused = all(outcome.problem for outcome in outcomes)
            await store.finish(session, job, *(("failed", NO_ROW) if is_refused else ("completed", None)))


async def _waits_for(session: Session, job: Job) -> str | None:
    if job.last_timestamp is None:
        return None
    return domain.waits_for(
        await store.find_complete_until(session, job.supplier_id, job.last_timestamp), job.last_timestamp
    )


def _too_late(reason: str, wait_seconds: int) -> str:
    return (
        f"{reason} It did not come within {wait_seconds} s: it was never issued, or is late. Nothing was changed; send "
        "the import again when the item has been reported."
    )


async def apply(session: Session, job: Job) -> list[RowOutcome]:
    """Set on hand, and end the allocations that the import accounts for; saves what came of each row, and returns it.

    First these allocations, then on hand: both in one version of an item.
    """
    rows = await store.find_stated(session, job.import_id)
    product_ids = await _find_products(session, job.supplier_id, rows)
    stock = await stock_store.lock_stock(session, set(product_ids.values()))
    targets, outcomes = domain.resolve(rows, product_ids, stock)
    allocated = {one.pair: stock.level(*one.pair).allocated for one in targets}
    if job.first_timestamp is not None and job.last_timestamp is not None:
        named = (job.first_timestamp, job.last_timestamp)
        cause = _cause(job, "released", f"accounted for: logical timestamps {named[0]} to {named[1]}")
        await clear_completed(session, stock, job.supplier_id, named, allocated.keys(), cause)
    now = await as_of_now(session)
    for one in targets:
        writing.state(stock, *one.pair, now, _cause(job, "external_reset"), on_hand=one.on_hand)
    await record(session, stock)
    outcomes += [_outcome(one, stock, allocated[one.pair]) for one in targets]
    await store.keep_outcomes(session, job.import_id, outcomes)
    return outcomes


async def _find_products(session: Session, supplier_id: int, rows: list[StatedRow]) -> dict[str, int]:
    """The supplier's items by what the rows call them: SKUs before ids, for real codes are digits."""
    names = list({row.product for row in rows if row.product is not None})
    found = await reading.find_by_sku(session, supplier_id, names)
    digits = (name for name in names if name not in found and name.isascii() and name.isdigit())
    ids = {name: int(name) for name in digits if len(name) < len(str(DIGITS_LIMIT))}
    own = await reading.find_own(session, supplier_id, set(ids.values()))
    return found | {name: product_id for name, product_id in ids.items() if product_id in own}


def _outcome(target: Target, stock: Stock, allocated_before: int) -> RowOutcome:
    level = stock.level(*target.pair)
    removed = allocated_before - level.allocated
    return RowOutcome(target.row_number, target.product_id, level.available, removed)


def _cause(job: Job, kind: str, reason: str | None = None) -> Cause:
    return Cause(kind, job.actor, "import", str(job.import_id), reason)


async def tidy_sync_imports(context: Context) -> None:
    """Worker: give up imports that nobody starts, and forget those that came to their end long ago."""
    await repeat("tidy_sync_imports", lambda: _tidy(context), idle_seconds=TIDY_SECONDS)


async def _tidy(context: Context) -> None:
    async with context.database.transaction() as session:
        await store.fail_forgotten(session, NEVER_STARTED, START_HOURS)
        await store.purge(session, context.settings.import_keep_days)
