"""Ids: from a sequence, or given by the platform admin; the two never meet."""

from typing import Literal

from sqlalchemy import text

from shared.database import Session

Sequence = Literal["company_ids", "key_ids", "connection_ids", "product_ids"]

# Whoever takes the next id holds the lock shared until its transaction ends; whoever moves the sequence on holds it
# alone. Otherwise `setval` could take back a number that `nextval` has just passed.
NEXT_ID = text("""
    with locked as materialized (select pg_advisory_xact_lock_shared(hashtext('basestock.catalog.' || :sequence)))
    select nextval(cast(:sequence as regclass)) from locked
""")
SKIP_TO_ID = text("""
    with locked as materialized (select pg_advisory_xact_lock(hashtext('basestock.catalog.' || :sequence)))
    select setval(cast(:sequence as regclass),
        greatest(:given_id, coalesce(pg_sequence_last_value(cast(:sequence as regclass)), 0))) from locked
""")


async def take_id(session: Session, sequence: Sequence, given_id: int | None = None) -> int:
    """The next id of `sequence`, or `given_id`, which the sequence then steps over."""
    if given_id is None:
        next_id: int = (await session.execute(NEXT_ID, {"sequence": sequence})).scalar_one()
        return next_id
    await session.execute(SKIP_TO_ID, {"sequence": sequence, "given_id": given_id})
    return given_id
