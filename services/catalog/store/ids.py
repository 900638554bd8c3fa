"""Ids: from a sequence, or given by the platform admin; the two never meet.

Sequences take no part in transactions: an id that was taken stays taken, whatever becomes of the rest.
"""

from collections.abc import Sequence as Many
from typing import Literal

from sqlalchemy import text

from shared.database import Session

Sequence = Literal["company_ids", "key_ids", "connection_ids", "product_ids"]

# Whoever takes the next id holds the lock shared meanwhile; whoever moves the sequence on holds it alone. Otherwise
# `setval` could take back a number that `nextval` has just passed.
NEXT_IDS = text("""
    with locked as materialized (select pg_advisory_xact_lock_shared(hashtext('basestock.catalog.' || :sequence)))
    select nextval(cast(:sequence as regclass)) from locked, generate_series(1, :count)
""")
SKIP_TO_ID = text("""
    with locked as materialized (select pg_advisory_xact_lock(hashtext('basestock.catalog.' || :sequence)))
    select setval(cast(:sequence as regclass),
        greatest(:given_id, coalesce(pg_sequence_last_value(cast(:sequence as regclass)), 0))) from locked
""")
# Below zero, where no product is; no lock, for nobody moves this sequence on.
NEXT_PROVISIONAL_IDS = text("select nextval('provisional_ids') from generate_series(1, :count)")


async def take_ids(session: Session, sequence: Sequence, given_ids: Many[int | None]) -> list[int]:
    """The given ids, which the sequence then steps over, and the next ones of `sequence` where `None` is given."""
    chosen = [given_id for given_id in given_ids if given_id is not None]
    count = len(given_ids) - len(chosen)
    rows: Many[int] = []
    # Rolled back, a savepoint gives up its locks at once: held to the end of a long transaction (an import that is one)
    # they would keep everybody from creating anything. The sequence stays where it is.
    async with session.begin_nested() as savepoint:
        if chosen:
            await session.execute(SKIP_TO_ID, {"sequence": sequence, "given_id": max(chosen)})
        if count:
            rows = (await session.execute(NEXT_IDS, {"sequence": sequence, "count": count})).scalars().all()
        await savepoint.rollback()
    return _filled(given_ids, rows)


async def take_provisional_ids(session: Session, given_ids: Many[int | None]) -> list[int]:
    """The given ids, and ids below zero where `None` is given: for what is never committed. No other id is used up."""
    rows = await session.execute(NEXT_PROVISIONAL_IDS, {"count": given_ids.count(None)})
    return _filled(given_ids, rows.scalars().all())


def _filled(given_ids: Many[int | None], next_ids: Many[int]) -> list[int]:
    waiting = iter(next_ids)
    return [next(waiting) if given_id is None else given_id for given_id in given_ids]


async def take_id(session: Session, sequence: Sequence, given_id: int | None = None) -> int:
    """The next id of `sequence`, or `given_id`, which the sequence then steps over."""
    (taken,) = await take_ids(session, sequence, [given_id])
    return taken
