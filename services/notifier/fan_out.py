"""Turns changed products, filters and connections, and what is to be told again, into dirty slots."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.notifier.store import stock as stock_store
from services.notifier.store.stock import FannedOut
from shared import clock
from shared.database import Database
from shared.faults import is_infrastructure, is_query_cancelled

log = structlog.get_logger()

# The products of a chunk are locked against new changes while their slots are marked; it has about so many slots. With
# few products it pays to wait for more of them.
MANY_PRODUCTS, MOST_PRODUCTS, CHUNK_SLOTS = 50, 1_000, 10_000
# The endpoint's calls wait for each part of what it catches up with, which takes longer than fan-out.
CATCH_UP_SLOTS = 2_000
# After a chunk that took too long the next ones are smaller, and grow by this part of their size each time.
GROWTH = 8
# Handlers of stock events may run in another process than this, and know nothing but their transaction. Asking an
# index that is empty when there is nothing to do costs less than telling every replica of every commit; how often is
# what an idle system costs. Changed filters and connections may take a little longer than stock.
POLL_SECONDS, CATCH_UP_POLL_SECONDS = 0.1, 0.5
PAUSE_SECONDS = 1.0


class Chunks:
    """How much one worker does at once: `slots`, at most `most`, less after what took longer than a statement may."""

    def __init__(self, most: int) -> None:
        """As much as may be."""
        self.slots = self._most = most

    def halve(self) -> None:
        """The last one was too much."""
        self.slots = max(1, self.slots // 2)

    def grow(self) -> None:
        """The last one was not."""
        self.slots = min(self._most, self.slots + max(1, self.slots // GROWTH))


async def fan_out_chunk(database: Database, after: int = 0, slots: int | None = None) -> FannedOut:
    """Mark who must be told of the next changed products with ids above `after`, about so many slots."""
    async with database.transaction() as session:
        return await stock_store.fan_out(
            session, after, most_products=MOST_PRODUCTS, slots=CHUNK_SLOTS if slots is None else slots
        )


def in_rounds(database: Database) -> Callable[[int], Awaitable[int]]:
    """What fans out the next chunk of so many slots each time it is called, and returns how many products there were.

    It goes on where it was: products that change all the time must not keep those with higher ids waiting.
    """
    after = 0

    async def next_chunk(slots: int) -> int:
        nonlocal after
        changed = await fan_out_chunk(database, after, slots)
        after = changed.products[-1] if changed.is_full else 0
        return len(changed.products)

    return next_chunk


async def ask_connected(database: Database) -> bool:
    """Ask who was connected with one supplier to catch up with it; whether there was such a connection."""
    async with database.transaction() as session:
        return await stock_store.ask_connected(session)


async def catch_up_one(database: Database, after: int = 0, slots: int | None = None) -> int | None:
    """Do a part of what one endpoint was asked for, about so many slots: the next above `after`; returns its id."""
    async with database.transaction() as session:
        return await stock_store.catch_up(session, after, CATCH_UP_SLOTS if slots is None else slots)


def in_turns(database: Database) -> Callable[[int], Awaitable[bool]]:
    """What has the next endpoint catch up with so many slots each time it is called; returns whether there was one."""
    after = 0

    async def next_one(slots: int) -> bool:
        nonlocal after
        endpoint_id = await catch_up_one(database, after, slots)
        after = endpoint_id or 0
        return endpoint_id is not None

    return next_one


async def run(database: Database, woken: asyncio.Event) -> None:
    """Fan out and catch up until cancelled, and set `woken` whenever something was marked."""

    async def ask_next(_: int) -> bool:
        return await ask_connected(database)

    # Beside each other: to catch up with many products takes seconds, as may an endpoint that is busy, and nobody
    # else waits for that.
    async with asyncio.TaskGroup() as group:
        group.create_task(mark_all(in_rounds(database), Chunks(CHUNK_SLOTS), MANY_PRODUCTS, POLL_SECONDS, woken))
        catching_up = Chunks(CATCH_UP_SLOTS)
        group.create_task(mark_all(in_turns(database), catching_up, 1, CATCH_UP_POLL_SECONDS, woken))
        group.create_task(mark_all(ask_next, Chunks(1), 1, CATCH_UP_POLL_SECONDS, woken))


async def mark_all(
    mark: Callable[[int], Awaitable[int]], chunks: Chunks, many: int, poll_seconds: float, woken: asyncio.Event
) -> None:
    """Call `mark` for a chunk again soon as long as it marks so many things as `many`, else after `poll_seconds`.

    What takes longer than a statement may is tried again in smaller chunks.
    """
    while True:
        started = clock.monotonic()
        try:
            marked = await mark(chunks.slots)
        except Exception as error:
            is_too_much = is_query_cancelled(error)
            if not (is_too_much or is_infrastructure(error)):
                raise
            if is_too_much:
                chunks.halve()
            log.warning("fan_out_paused", error=str(error), next_slots=chunks.slots)
            await clock.sleep(PAUSE_SECONDS)
            continue
        chunks.grow()
        if marked:
            woken.set()
        # Half of the time is others': what changes all the time would be fanned out all the time, to dirty slots.
        await clock.sleep(clock.monotonic() - started if marked >= many else poll_seconds)
