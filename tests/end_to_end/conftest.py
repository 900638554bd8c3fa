"""The whole system on either bus, well behaved or handing out every message twice and in random order."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from shared.messaging.bus import Bus
from shared.messaging.in_process import InProcessBus
from shared.messaging.rabbitmq import RabbitBus
from shared.private_rabbitmq import RabbitNode
from tests.conftest import GivenBroker
from tests.end_to_end.system import System, delete_queues, running_system
from tests.faulty_bus import FaultyBus

Broker = RabbitNode | GivenBroker


@pytest.fixture(params=["in-process", "rabbitmq", "in-process-faulty", "rabbitmq-faulty"])
async def system(request: pytest.FixtureRequest, database_dsn: str) -> AsyncIterator[System]:
    """The system four times over: on both buses, and on both with every message twice and in random order."""
    async for running in _on(request, database_dsn, request.param):
        yield running


@pytest.fixture
async def rabbit_system(request: pytest.FixtureRequest, database_dsn: str) -> AsyncIterator[System]:
    """The system on a real RabbitMQ."""
    async for running in _on(request, database_dsn, "rabbitmq"):
        yield running


@pytest.fixture
async def embedded_system(request: pytest.FixtureRequest, database_dsn: str) -> AsyncIterator[System]:
    """The system on the in-process bus."""
    async for running in _on(request, database_dsn, "in-process"):
        yield running


async def _on(request: pytest.FixtureRequest, dsn: str, kind: str) -> AsyncIterator[System]:
    bus: Bus
    retailer_ref = "retailer-a"
    if kind.startswith("rabbitmq"):
        broker: Broker = request.getfixturevalue("broker")
        await delete_queues(broker.url)
        # RabbitMQ lets a publisher state no other user than its own: the retailer is whoever may connect here.
        retailer_ref = urlsplit(broker.url).username or "guest"
        bus = RabbitBus(broker.url, publish_timeout_seconds=10, heartbeat_seconds=10)
    else:
        bus = InProcessBus(publish_timeout_seconds=10)
    offered = FaultyBus(bus, seed=20261122, duplicate=1.0, shuffle=1.0) if kind.endswith("faulty") else bus
    try:
        async with running_system(dsn, offered, retailer_ref) as running:
            yield running
    finally:
        await bus.close()
