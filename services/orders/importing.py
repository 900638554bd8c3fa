"""The worker that carries out imports of orders: it claims one, accepts it batch by batch, and lets others take turns.

Each batch is one transaction with its results and how far the import is: so nothing is done twice, whatever dies.
"""

from collections.abc import Sequence
from typing import NoReturn

import structlog

from services.orders.domain.imports import FileOrder
from services.orders.import_batch import accept_batch
from services.orders.store import imports as store
from services.orders.store.imports import Job, OrderResult
from services.orders.submissions import LINES_LIMIT
from shared import clock
from shared.database import Session
from shared.draining import to_its_end
from shared.faults import is_infrastructure
from shared.import_jobs import LOST_UPLOAD, LeaseLostError, carry_out_next
from shared.repeating import repeat
from shared.service_context import Context

log = structlog.get_logger()

# Accepted by one transaction.
ORDERS_AT_ONCE, ROWS_AT_ONCE = 500, 5_000
# After so long another company's import has its turn.
TURN_SECONDS = 2.0
POLL_SECONDS = 0.25
TIDY_SECONDS = 60

STOPPED = (
    "This import stopped short, and why is in our log. What its rows say was created stays so, the others are pending: "
    "send the file again, and what is there already is known by its reference."
)


class _UndoError(Exception):
    """Take back what was accepted: it was only to see what would come of it, the `results`."""

    def __init__(self, results: list[OrderResult]) -> None:
        """Keep them."""
        super().__init__("only to see")
        self.results = results


async def carry_out_imports(context: Context) -> None:
    """Worker: carry out what has been received."""
    await repeat("order_imports", lambda: carry_out_next(context, store.claim, run_import), idle_seconds=POLL_SECONDS)


async def run_import(context: Context, job: Job) -> None:
    """Carry out a claimed import for one turn, or to its end.

    Raises `LeaseLostError`, and what the database raises when it is away.
    """
    try:
        if not await to_its_end(_take_turn(context, job)):
            async with context.database.transaction() as session:
                await store.give_back(session, job)
    except Exception as error:
        if is_infrastructure(error) or isinstance(error, LeaseLostError):
            raise
        # Tried again it would fail again, and keep all others of this company waiting.
        log.exception("order_import_failed", import_id=job.import_id)
        async with context.database.transaction() as session:
            await store.finish(session, job.import_id, job.attempt, "failed", STOPPED)


async def _take_turn(context: Context, job: Job) -> bool:
    """Accept batches for `TURN_SECONDS`; says whether the import has come to its end."""
    ends_at = clock.monotonic() + TURN_SECONDS
    if job.orders is None:
        async with context.database.transaction() as session:
            await store.hold(session, job.import_id, job.attempt)
            await store.gather(session, job.import_id)
    at: int | None = job.place_done
    while at is not None:
        at = await _do_next(context, job, at)
        if clock.monotonic() > ends_at:
            break
    return at is None


async def _do_next(context: Context, job: Job, at: int) -> int | None:
    """Accept the next batch and keep its results; where it ends, or `None` when there is none: the import is done."""
    async with context.database.transaction() as session:
        await store.hold(session, job.import_id, job.attempt)
        results = await _accept_next(context, session, job, at)
        if not results:
            await store.finish(session, job.import_id, job.attempt, "done")
            return None
        await store.keep_results(session, job.import_id, results)
        return results[-1].order.place


async def _accept_next(context: Context, session: Session, job: Job, at: int) -> list[OrderResult]:
    orders = await store.next_orders(
        session,
        job.import_id,
        at,
        limit=ORDERS_AT_ONCE,
        limit_rows=ROWS_AT_ONCE,
        order_limit_rows=LINES_LIMIT,
    )
    if not orders:
        return []
    if not job.dry_run:
        return await accept_batch(session, job, orders)
    try:
        async with context.database.within(lambda: session).transaction() as part:
            await _only_look(part, job, orders)
    except _UndoError as undone:
        return undone.results


async def _only_look(session: Session, job: Job, orders: Sequence[FileOrder]) -> NoReturn:
    raise _UndoError(await accept_batch(session, job, orders))


async def tidy_imports(context: Context) -> None:
    """Worker: give up uploads whose receiver died, and forget imports that came to their end long ago."""
    await repeat("tidy_order_imports", lambda: _tidy(context), idle_seconds=TIDY_SECONDS)


async def _tidy(context: Context) -> bool:
    async with context.database.transaction() as session:
        await store.fail_lost_uploads(session, LOST_UPLOAD)
    async with context.database.transaction() as session:
        return await store.purge(session, context.settings.import_keep_days)
