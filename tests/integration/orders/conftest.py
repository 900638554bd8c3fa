"""The shop that most tests of orders use."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.orders.shop import Shop, opened


@pytest.fixture
async def shop(database_dsn: str) -> AsyncIterator[Shop]:
    async with opened(database_dsn) as open_shop:
        yield open_shop
