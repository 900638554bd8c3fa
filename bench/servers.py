"""The PostgreSQL that is measured: private, durable, and gone with all its data afterwards."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from shared.embedded_postgres import EmbeddedPostgres


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
