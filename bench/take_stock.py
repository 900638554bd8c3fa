"""How fast `move_stock` itself is: orders of two lines on 5,000 products, 500 a transaction, no broker between.

`python -m bench.take_stock [--connections 2] [--profile] DSN`, on an empty database.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import text

from services.inventory.handlers import learn_catalog, move_stock
from shared import clock
from shared.database import Database
from shared.events.catalog import CompanyChanged, ProductChanged
from shared.events.orders import OrderCreated, OrderLine
from shared.migrations import upgrade

SUPPLIER, PRODUCTS = 1, 5_000
ORDERS_PER_TRANSACTION, TRANSACTIONS = 500, 40


def order(*, hot: bool) -> OrderCreated:
    """An order of two lines, on products at random, or all on the first one."""
    products = [1, 1] if hot else random.sample(range(1, PRODUCTS + 1), 2)
    lines = tuple(OrderLine(line_id=i, product_id=product, quantity=1) for i, product in enumerate(products, 1))
    return OrderCreated(
        order_id=clock.uuid7(),
        seller_id=SUPPLIER,
        external_ref=str(clock.uuid7()),
        source="amqp",
        placed_at=datetime(2026, 1, 1, tzinfo=UTC),
        lines=lines,
        version=1,
    )


async def fill(database: Database) -> None:
    """One supplier with its tracked products."""
    company = CompanyChanged(company_id=SUPPLIER, ref="s", display_name="Supplier", role="supplier", version=1)
    products = [
        ProductChanged(product_id=number, owner_id=SUPPLIER, type="stock", sku=f"P{number}", title="", version=1)
        for number in range(1, PRODUCTS + 1)
    ]
    async with database.transaction() as session:
        await learn_catalog(session, [company])
        await learn_catalog(session, products)


async def run(database: Database, batches: Sequence[Sequence[OrderCreated]], connections: int = 1) -> float:
    """Orders per second, each batch in a transaction of its own, so many of them at once."""
    left = list(batches)

    async def drain() -> None:
        while left:
            async with database.transaction() as session:
                await move_stock(session, left.pop())

    started = clock.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(drain())
    return sum(map(len, batches)) / (clock.monotonic() - started)


def batches(count: int, *, hot: bool) -> list[list[OrderCreated]]:
    """That many batches of new orders."""
    return [[order(hot=hot) for _ in range(ORDERS_PER_TRANSACTION)] for _ in range(count)]


async def measure(dsn: str, *, connections: int, profile: bool) -> None:
    """Print orders per second, uniform and hot."""
    await upgrade("inventory", dsn)
    database = Database("inventory", dsn, pool_size=2 * connections)
    await fill(database)
    async with database.transaction() as session:
        await session.execute(text("analyze"))
    await run(database, batches(5, hot=False))
    for hot in (False, True):
        profiler = cProfile.Profile()
        some = batches(TRANSACTIONS, hot=hot)
        # The orders themselves are no garbage: a consumer holds a thousand of them, not all.
        gc.collect()
        gc.freeze()
        if profile:
            profiler.enable()
        cpu = time.process_time()
        rate = await run(database, some, connections)
        cpu = time.process_time() - cpu
        profiler.disable()
        print(
            f"{'hot    ' if hot else 'uniform'} {rate:8,.0f} orders/s, "
            f"{1000 * ORDERS_PER_TRANSACTION / rate:5.1f} ms a transaction, "
            f"{1000 * cpu / TRANSACTIONS:5.1f} ms of them this process's own"
        )
        if profile:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
        async with database.transaction() as session:
            await session.execute(text("delete from outbox"))
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.dsn, connections=arguments.connections, profile=arguments.profile))
