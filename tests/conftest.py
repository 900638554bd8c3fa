"""Servers for the tests, each started only when a test first asks for it; unit tests never do."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from os import environ
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from shared.private_rabbitmq import RabbitNode
from tests.servers.postgres import PostgresServer, postgres_server


@dataclass(frozen=True, slots=True)
class GivenBroker:
    """The broker in BASESTOCK_TEST_BROKER_URL; it is not ours to kill."""

    url: str


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests; a test that writes asks for `database_dsn`."""
    with postgres_server() as server:
        yield server


@pytest.fixture
async def database_dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh, empty database, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    await _execute(postgres.dsn, f"create database {name}")
    yield urlsplit(postgres.dsn)._replace(path=f"/{name}").geturl()
    await _execute(postgres.dsn, f"drop database {name} with (force)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


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
