"""Forgetting imports that came to their end long ago."""

from typing import Any

from sqlalchemy import text

from shared.database import Session

# Forgotten by one statement.
PURGE_ROWS_AT_ONCE = 20_000

FIND_OLD = text("""
    select import_id from imports where finished_at < clock_timestamp() - make_interval(days => :keep_days)
    order by import_id limit 1 for update skip locked
""")
PURGE_ROWS = text("""
    delete from import_rows where import_id = :import_id and row_number in (
        select row_number from import_rows where import_id = :import_id order by row_number limit :limit)
""")
PURGE_IMPORT = text("delete from imports where import_id = :import_id")


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
