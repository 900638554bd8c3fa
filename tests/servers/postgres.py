"""The tests' PostgreSQL: the one in BASESTOCK_TEST_DSN, else a private one that ends with this process."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from shared.embedded_postgres import EmbeddedPostgres

# Memory that looks like a folder, on Linux: a database for each test is copied there in a tenth of the time.
MEMORY = "/dev/shm"  # noqa: S108 - folders of its own are made there
# More than the tests of one worker were seen to need; in a container it is small as a rule.
MEMORY_FREE_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server: where its databases may be made, and, when it is ours, its supervisor."""

    dsn: str
    supervisor: EmbeddedPostgres | None = None

    def kill(self) -> None:
        """Kill -9 our own server; its supervisor starts it again."""
        if self.supervisor is None or self.supervisor.pid is None:
            message = "Only a running private PostgreSQL can be killed: unset BASESTOCK_TEST_DSN."
            raise RuntimeError(message)
        os.kill(self.supervisor.pid, signal.SIGKILL)


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Give the tests' PostgreSQL to code without an event loop; a private one lives in a thread of its own.

    A test that kills the server wants a `durable` one: that is always private, and loses no commit. The files of a
    private one are in memory where there is enough of it, unless `TMPDIR` says where.
    """
    given_dsn = os.environ.get("BASESTOCK_TEST_DSN")
    if given_dsn and not durable:
        yield PostgresServer(given_dsn)
        return
    with tempfile.TemporaryDirectory(prefix="basestock-postgres-", dir=_parent_folder()) as folder:
        Path(folder).chmod(0o711)  # its user must be able to enter when the tests run as root
        with _running_in_thread(EmbeddedPostgres(Path(folder), fast=not durable)) as server:
            yield server


def _parent_folder() -> str | None:
    """Where to make the folder of a server; `None` is where temporary files go."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_FREE_BYTES else None


@contextmanager
def _running_in_thread(supervisor: EmbeddedPostgres) -> Iterator[PostgresServer]:
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    settled = Event()
    dsns: list[str] = []
    errors: list[BaseException] = []

    async def run() -> None:
        async with supervisor as dsn:
            dsns.append(dsn)
            settled.set()
            await stop.wait()

    def run_loop() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(run())
        except BaseException as error:
            errors.append(error)
        finally:
            settled.set()

    thread = Thread(target=run_loop, name="tests-postgres", daemon=True)
    thread.start()
    settled.wait()
    try:
        if dsns:
            yield PostgresServer(dsns[0], supervisor)
    finally:
        if not errors:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    if errors:
        raise errors[0]
