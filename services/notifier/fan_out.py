"""Turns changed products, filters and connections into dirty slots."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.notifier.store import stock as stock_store
from shared import clock
from shared.database import Database
from shared.faults import is_infrastructure

log = structlog.get_logger()

# The products of a chunk are locked against new changes while their slots are marked, one per retailer at most.
LEAST_PRODUCTS, MOST_PRODUCTS, CHUNK_SLOTS = 50, 1_000, 10_000
# Handlers of stock events may run in another process than this, and know nothing but their transaction. Asking an
# index that is empty when there is nothing to do costs less than telling every replica of every commit; how often is
# what an idle system costs. Changed filters and connections may take a little longer than stock.
POLL_SECONDS, CATCH_UP_POLL_SECONDS = 0.1, 0.5
PAUSE_SECONDS = 1.0


async def fan_out_chunk(database: Database, after: int = 0) -> list[int]:
    """Mark who must be told of the next changed products with ids above `after`; returns these products."""
    async with database.transaction() as session:
        return await stock_store.fan_out(
            session, after, least_products=LEAST_PRODUCTS, most_products=MOST_PRODUCTS, slots=CHUNK_SLOTS
        )


def in_rounds(database: Database) -> Callable[[], Awaitable[int]]:
    """What fans out the next chunk each time it is called, and returns how many products there were.

    It goes on where it was: products that change all the time must not keep those with higher ids waiting.
    """
    after = 0

    async def next_chunk() -> int:
        nonlocal after
        changed = await fan_out_chunk(database, after)
        after = changed[-1] if len(changed) >= LEAST_PRODUCTS else 0
        return len(changed)

    return next_chunk


async def ask_connected(database: Database) -> bool:
    """Ask who was connected with one supplier to catch up with it; whether there was such a connection."""
    async with database.transaction() as session:
        return await stock_store.ask_connected(session)


async def catch_up_one(database: Database, after: int = 0) -> int | None:
    """Mark some of what one endpoint is to catch up with, the next above `after`; returns its id, if there was one."""
    async with database.transaction() as session:
        return await stock_store.catch_up(session, after)


def in_turns(database: Database) -> Callable[[], Awaitable[bool]]:
    """What has the next endpoint catch up a little each time it is called, and returns whether there was one."""
    after = 0

    async def next_one() -> bool:
        nonlocal after
        endpoint_id = await catch_up_one(database, after)
        after = endpoint_id or 0
        return endpoint_id is not None

    return next_one


async def run(database: Database, woken: asyncio.Event) -> None:
    """Fan out and catch up until cancelled, and set `woken` whenever something was marked."""
    # Beside each other: to catch up with many products takes seconds, as may an endpoint that is busy, and nobody
    # else waits for that.
    async with asyncio.TaskGroup() as group:
        group.create_task(_repeat(in_rounds(database), LEAST_PRODUCTS, POLL_SECONDS, woken))
        group.create_task(_repeat(in_turns(database), 1, CATCH_UP_POLL_SECONDS, woken))
        group.create_task(_repeat(lambda: ask_connected(database), 1, CATCH_UP_POLL_SECONDS, woken))


async def _repeat(mark: Callable[[], Awaitable[int]], many: int, poll_seconds: float, woken: asyncio.Event) -> None:
    """Call `mark` again soon as long as it marks so many things as `many`, else after `poll_seconds`."""
    while True:
        started = clock.monotonic()
        try:
            marked = await mark()
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("fan_out_paused", error=str(error))
            await clock.sleep(PAUSE_SECONDS)
            continue
        if marked:
            woken.set()
        # Half of the time is others': what changes all the time would be fanned out all the time, to dirty slots.
        await clock.sleep(clock.monotonic() - started if marked >= many else poll_seconds)
