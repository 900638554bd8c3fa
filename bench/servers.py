"""The PostgreSQL that is measured: private, durable, gone with all its data afterwards; services filled with rows."""

import asyncio
import sys
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


@asynccontextmanager
async def system_in_process(*module: str, **settings: str) -> AsyncIterator[tuple[int, str]]:
    """Run `python -m module ...`, which says where it answers, with these settings; gives its process id and URL.

    It must end well when it is asked to; what it said meanwhile is passed on.
    """
    environment = {"BASESTOCK_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"} | settings
    command = [sys.executable, "-m", *module]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said = ""
    while "answers at" not in said:
        line = (await process.stderr.readline()).decode()
        assert line, f"it did not start: {said}"
        said += line
    rest = asyncio.create_task(process.stderr.read())
    try:
        yield process.pid, next(word for word in said.split() if word.startswith("http"))
    finally:
        if process.returncode is None:
            process.terminate()
        status = await process.wait()
        print((await rest).decode(), end="", file=sys.stderr)
        assert status == 0, f"it ended with {status}"
