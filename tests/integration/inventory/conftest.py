"""Inventory's handlers on a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.inventory.callers import Callers, served
from tests.integration.inventory.world import COMPANIES, CONNECTION, PRODUCTS, World, an_empty_world


@pytest.fixture
async def empty_world(database_dsn: str) -> AsyncIterator[World]:
    """Companies that are connected, and no product yet."""
    async with an_empty_world(database_dsn) as world:
        await world.hear(*COMPANIES, CONNECTION)
        yield world


@pytest.fixture
async def world(empty_world: World) -> World:
    """The seeds' products, ten of each on hand, nothing to tell any more."""
    await empty_world.hear(*PRODUCTS)
    await empty_world.count(_100=10, _101=10, _200=10, _202=10)
    await empty_world.told()
    return empty_world


@pytest.fixture
async def callers(world: World, database_dsn: str) -> AsyncIterator[Callers]:
    """The seeds' stock, another supplier's product 900, and a served inventory."""
    async with served(world, database_dsn) as some:
        yield some
