"""The PostgreSQL that is measured: private, durable, gone with all its data afterwards; services filled with rows."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import text

from shared.database import Database
from shared.embedded_postgres import EmbeddedPostgres
from shared.migrations import upgrade


@asynccontextmanager
async def private_postgres() -> AsyncIterator[str]:
    """Run a server for as long as the block; gives its DSN."""
    with _folder() as folder:
        async with EmbeddedPostgres(folder) as server:
            yield server


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="basestock-bench-") as folder:
        # Where root measures, PostgreSQL's user must be able to enter; else the data would lie, and stay, elsewhere.
        Path(folder).chmod(0o711)
        yield Path(folder)


@asynccontextmanager
async def filled(service: str, statements: str, dsn: str, count: int) -> AsyncIterator[Database]:
    """A service's database, filled by these statements with so many (`:count`) rows."""
    await upgrade(service, dsn)
    database = Database(service, dsn, pool_size=2)
    try:
        async with database.transaction() as session:
            await session.execute(text("set local statement_timeout = 0"))
            for statement in statements.replace(":count", str(count)).strip().split(";\n"):
                await session.execute(text(statement))
        yield database
    finally:
        await database.close()
