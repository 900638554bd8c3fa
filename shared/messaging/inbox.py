"""The inbox: which events a service has handled, so that a redelivered one has no second effect.

Beside them stand, for a moment or for as long as ids are kept, tries that may kill the process (`note_try`).
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

CLAIM = text("""
    insert into inbox (event_id) select * from unnest(cast(:event_ids as text[]))
    on conflict do nothing returning event_id
""")
FORGET = text("delete from inbox where event_id = any(cast(:event_ids as text[]))")
# In chunks, so that no purge ever holds many rows or much log at once. Two replicas purge different rows.
PURGE = text("""
    delete from inbox where event_id in (
        select event_id from inbox
        where received_at < clock_timestamp() - make_interval(days => :keep_days) limit 10000
        for update skip locked)
""")


async def claim(session: AsyncSession, event_ids: Sequence[str]) -> set[str]:
    """Enter these ids and return those that were not there: the caller's transaction alone handles them."""
    # Sorted: two consumers that enter the same ids wait for each other in one order.
    result = await session.execute(CLAIM, {"event_ids": sorted(set(event_ids))})
    return set(result.scalars())


async def note_try(session: AsyncSession, what: str, limit: int) -> bool:
    """Note, in a transaction of its own, that `what` is about to be tried; `False` when `limit` tries are noted.

    No event has such an id: those are UUIDs and digests.
    """
    for event_id in _tries(what, limit):
        if await claim(session, [event_id]):
            return True
    return False


async def forget_tries(session: AsyncSession, what: str, limit: int) -> None:
    """A try of `what` ended, well or badly, or nobody will try it again."""
    await session.execute(FORGET, {"event_ids": _tries(what, limit)})


def _tries(what: str, limit: int) -> list[str]:
    return [f"try {number} of {what}" for number in range(1, limit + 1)]


async def purge(session: AsyncSession, keep_days: int) -> int:
    """Forget some of the ids older than `keep_days`; returns how many went, 0 when there are none left."""
    result = await session.execute(PURGE, {"keep_days": keep_days})
    return int(result.rowcount)  # type: ignore[attr-defined] # a delete's result has it
