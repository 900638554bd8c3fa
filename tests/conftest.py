"""Servers for the tests, each started only when a test first asks for it; unit tests never do."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import structlog
from argon2 import PasswordHasher

from services.all_in_one import migrate
from services.catalog import passwords
from shared.private_rabbitmq import RabbitNode
from shared.settings import Settings
from tests.node_packages import node_modules
from tests.servers.postgres import PostgresServer, postgres_server


def _log_plainly() -> None:
    """Log as structlog does by itself, but for tracebacks: its pretty ones take half a minute of a long one."""
    structlog.reset_defaults()
    *processors, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])


_log_plainly()
# As processes that serve have it: by default a tenth of the time goes into looking for cyclic garbage.
gc.set_threshold(50_000, 20, 50)
# Shells start programs in the background with Ctrl-C ignored, which ours would inherit from us.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that a test runs in this process logs to a stream that ends with the test; later tests must not."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if root.handlers != handlers:
        root.handlers[:] = handlers
        root.setLevel(level)
        _log_plainly()


@dataclass(frozen=True, slots=True)
class GivenBroker:
    """The broker in BASESTOCK_TEST_BROKER_URL; it is not ours to kill."""

    url: str


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests; a test that writes asks for `database_dsn`."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database with the tables of all services, made once, to be copied and never opened."""
    name = _new_name()
    asyncio.run(_execute(postgres.dsn, f"create database {name}"))
    asyncio.run(migrate(Settings(dsn=_dsn_of(postgres, name), _env_file=None)))
    yield name
    asyncio.run(_execute(postgres.dsn, f"drop database {name} with (force)"))


@pytest.fixture
async def database_dsn(postgres: PostgresServer, migrated_database: str) -> AsyncIterator[str]:
    """A fresh database with the tables of all services, dropped afterwards."""
    async with _database(postgres, migrated_database) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def shared_database_dsn(postgres: PostgresServer, migrated_database: str) -> Iterator[str]:
    """A fresh database with the tables of all services, for all tests of a file."""
    name = _new_name()
    asyncio.run(_execute(postgres.dsn, f"create database {name} template {migrated_database} strategy file_copy"))
    yield _dsn_of(postgres, name)
    asyncio.run(_execute(postgres.dsn, f"drop database {name} with (force)"))


@pytest.fixture
async def empty_database_dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh database without any table, dropped afterwards."""
    async with _database(postgres) as dsn:
        yield dsn


@asynccontextmanager
async def _database(postgres: PostgresServer, template: str = "template1") -> AsyncIterator[str]:
    name = _new_name()
    # Files are copied in half the time that writing each block to the log takes.
    await _execute(postgres.dsn, f"create database {name} template {template} strategy file_copy")
    yield _dsn_of(postgres, name)
    await _execute(postgres.dsn, f"drop database {name} with (force)")


def _new_name() -> str:
    return f"test_{uuid4().hex}"


def _dsn_of(postgres: PostgresServer, name: str) -> str:
    return urlsplit(postgres.dsn)._replace(path=f"/{name}").geturl()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash the passwords of catalogs in this process as fast as argon2 can: the real cost is tested by itself."""
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitNode | GivenBroker]:
    """One RabbitMQ for all tests that leave it running; names of queues must be the test's own."""
    given_url = environ.get("BASESTOCK_TEST_BROKER_URL")
    if given_url:
        yield GivenBroker(given_url)
        return
    with RabbitNode() as node:
        yield node


@pytest.fixture(scope="module")
def private_broker() -> Iterator[Callable[[], RabbitNode]]:
    """Make nodes, already started, that a test may kill and restart."""
    with ExitStack() as nodes:
        yield lambda: nodes.enter_context(RabbitNode())


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """The folder `node_modules` with the packages of `tests/node/package.json`."""
    return node_modules()
