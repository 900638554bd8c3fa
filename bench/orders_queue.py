"""Orders of two lines wait in the inventory queue; how fast is the stock committed and told, by one process?

S1 (all on one product: S3) has one order a message. Three figures of one run, on the same queue, broker and database:
* the ceiling: a bare aio-pika consumer that takes the same messages and acknowledges them, doing nothing;
* inventory, one process: until every order is committed and every `stock_changed` has been published;
* the handler one writes first: one SQLModel transaction per message, on fewer messages.

S2 has a hundred orders a message; its ceiling is the batched SQL alone. S8 is S1 with the tables of years.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID

import aio_pika
import asyncpg
from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import BigInteger, Column, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlmodel import Field, SQLModel, select

from bench import batched_sql, large_stock
from services.inventory.service import SERVICE as INVENTORY
from shared import clock
from shared.database import Database, async_url
from shared.events import BATCH, SINGLE, decode, encode, encode_batch, types_by_wire_name
from shared.events.catalog import CompanyChanged, ProductChanged
from shared.events.orders import OrderCreated, OrderLine
from shared.messaging.bus import EVENTS_EXCHANGE, Message
from shared.messaging.outbox import publish
from shared.messaging.rabbitmq import RabbitBus
from shared.migrations import upgrade
from shared.service import queues_of_hearers, running
from shared.settings import Settings

QUEUE = "inventory.orders"
SUPPLIER, PRODUCTS = 1, 5_000
# Enough for several seconds of the fast ones; the slow handler gets what it can do in about as long.
ORDERS, ORDERS_ONE_BY_ONE = 40_000, 1_500
ORDERS_PER_BATCH_MESSAGE = 100
PREFETCH = 1_000
KNOWN = types_by_wire_name([OrderCreated])


@dataclass(frozen=True, slots=True)
class Result:
    """Orders per second of the bare drain, of inventory, and of the one-by-one handler."""

    drain: float
    inventory: float
    one_by_one: float


async def measure(dsn: str, broker_url: str, *, products: int = PRODUCTS) -> Result:
    """S1, or S3 with one product: run the three. `dsn` is an empty database."""
    orders = [_order(number, products) for number in range(ORDERS)]
    async with _filled(dsn, broker_url) as (settings, bus):
        await _fill(bus, orders)
        drain = await _drain(broker_url, ORDERS)
        await _fill(bus, orders)
        inventory = await _inventory(settings, bus)
        await _fill(bus, orders[:ORDERS_ONE_BY_ONE])
        one_by_one = await _one_by_one(dsn, broker_url)
    return Result(drain, inventory, one_by_one)


async def measure_batches(dsn: str, broker_url: str) -> tuple[float, float]:
    """S2: orders per second of inventory, and of the batched SQL alone. `dsn` is an empty database."""
    async with _filled(dsn, broker_url) as (settings, bus):
        await _fill(bus, [_order(number, PRODUCTS) for number in range(ORDERS)], ORDERS_PER_BATCH_MESSAGE)
        inventory = await _inventory(settings, bus)
        return inventory, await batched_sql.measure(dsn, PRODUCTS)


async def measure_large(dsn: str, broker_url: str) -> tuple[float, float]:
    """S8: orders per second of inventory with 10 million ledger entries and a million products.

    First the orders of S1, on the same products; then as many on any of the million. `dsn` is an empty database.
    """
    async with _filled(dsn, broker_url) as (settings, bus):
        await large_stock.fill(dsn, PRODUCTS)
        await _fill(bus, [_order(number, PRODUCTS) for number in range(ORDERS)])
        on_the_same = await _inventory(settings, bus)
        await _fill(bus, [_order(ORDERS + number, large_stock.PRODUCTS) for number in range(ORDERS)])
        return on_the_same, await _inventory(settings, bus, known=ORDERS)


@asynccontextmanager
async def _filled(dsn: str, broker_url: str) -> AsyncIterator[tuple[Settings, RabbitBus]]:
    """Inventory's tables with the products, and its queues."""
    settings = Settings(dsn=dsn, broker_url=broker_url, _env_file=None)
    bus = RabbitBus(broker_url, publish_timeout_seconds=60, heartbeat_seconds=10)
    await upgrade("inventory", dsn)
    try:
        await _fill_catalog(settings, bus)
        yield settings, bus
    finally:
        await bus.close()


def _order(number: int, products: int) -> OrderCreated:
    wanted = [1, 1] if products == 1 else random.Random(number).sample(range(1, products + 1), 2)
    lines = tuple(
        OrderLine(line_id=line, product_id=product, quantity=1) for line, product in enumerate(wanted, start=1)
    )
    return OrderCreated(
        order_id=UUID(int=number + 1),
        seller_id=SUPPLIER,
        external_ref=f"R-{number}",
        source="amqp",
        placed_at=datetime.now(UTC),
        lines=lines,
        version=1,
    )


async def _fill_catalog(settings: Settings, bus: RabbitBus) -> None:
    """Tell inventory of one supplier and its products, the way catalog does."""
    await bus.declare(queues_of_hearers("catalog", settings.queue_limit_messages))
    await bus.declare(queues_of_hearers("inventory", settings.queue_limit_messages))
    await bus.declare(queues_of_hearers("orders", settings.queue_limit_messages))
    async with running(INVENTORY, settings, bus) as context:
        async with context.database.transaction() as session:
            publish(
                session,
                CompanyChanged(company_id=SUPPLIER, ref="supplier", display_name="S", role="supplier", version=1),
            )
            for product in range(1, PRODUCTS + 1):
                publish(
                    session,
                    ProductChanged(
                        product_id=product, owner_id=SUPPLIER, type="stock", sku=f"S{product}", title="", version=1
                    ),
                )
        await _until(context.database, f"select count(*) = {PRODUCTS} from stock_items")


async def _fill(bus: RabbitBus, orders: list[OrderCreated], per_message: int = 1) -> None:
    messages = [_message(orders[at : at + per_message]) for at in range(0, len(orders), per_message)]
    for start in range(0, len(messages), 2_000):
        unconfirmed = await bus.publish(EVENTS_EXCHANGE, messages[start : start + 2_000])
        assert not unconfirmed, unconfirmed


def _message(orders: list[OrderCreated]) -> Message:
    encoded = [encode(order, str(clock.uuid7()), order.placed_at, None) for order in orders]
    single = len(encoded) == 1
    body = encoded[0] if single else encode_batch(encoded)
    return Message(str(clock.uuid7()), OrderCreated.name, SINGLE if single else BATCH, body)


async def _drain(broker_url: str, expected: int) -> float:
    """The ceiling: aio-pika takes and acknowledges, in multiples, and does nothing else."""
    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(QUEUE, ensure=False)
        done = asyncio.Event()
        taken = 0

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal taken
            taken += 1
            if taken % 100 == 0 or taken == expected:
                await message.ack(multiple=True)
            if taken == expected:
                done.set()

        started = clock.monotonic()
        await queue.consume(take)
        await done.wait()
        return expected / (clock.monotonic() - started)


async def _inventory(settings: Settings, bus: RabbitBus, known: int = 0) -> float:
    """Orders per second until all that wait are decided and told of, beside those that are `known` already."""
    started = clock.monotonic()
    async with running(INVENTORY, settings, bus) as context:
        await _until(
            context.database,
            f"select count(*) = {known + ORDERS} and not exists (select from outbox) from order_states",
        )
        return ORDERS / (clock.monotonic() - started)


async def _until(database: Database, question: str) -> None:
    async with asyncio.timeout(300):
        while True:
            async with database.transaction() as session:
                if (await session.execute(text(question))).scalar_one():
                    return
            await clock.sleep(0.02)


class Stock(SQLModel, table=True):
    """The first handler's stock."""

    __tablename__ = "one_by_one_stock"
    product_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    on_hand: int = 0


class Handled(SQLModel, table=True):
    """The first handler's inbox."""

    __tablename__ = "one_by_one_inbox"
    event_id: str = Field(primary_key=True)


class Movement(SQLModel, table=True):
    """The first handler's ledger and outbox in one."""

    __tablename__ = "one_by_one_ledger"
    entry_id: int | None = Field(default=None, primary_key=True)
    product_id: int = Field(sa_type=BigInteger)
    delta: int
    body: str


async def _one_by_one(dsn: str, broker_url: str) -> float:
    """One transaction per message with SQLModel objects, prefetch 100: correct, and what most would write."""
    engine = create_async_engine(async_url(dsn))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        async with engine.begin() as setup:
            await setup.run_sync(SQLModel.metadata.create_all)
            await setup.execute(text(f"insert into one_by_one_stock select g, 0 from generate_series(1, {PRODUCTS}) g"))
        connection = await stack.enter_async_context(await aio_pika.connect(broker_url))
        publishing, channel = await connection.channel(), await connection.channel()
        await channel.set_qos(prefetch_count=100)
        queue = await channel.get_queue(QUEUE, ensure=False)
        done, taken, one_at_a_time = asyncio.Event(), 0, asyncio.Semaphore(8)

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal taken
            async with one_at_a_time:
                (order,) = decode(SINGLE, message.body, KNOWN)
                assert isinstance(order, OrderCreated)
                async with AsyncSession(engine) as session, session.begin():
                    await session.execute(insert(Handled).values(event_id=order.event_id).on_conflict_do_nothing())
                    for product in sorted({line.product_id for line in order.lines}):
                        found = select(Stock).where(Stock.product_id == product).with_for_update()
                        stock = (await session.execute(found)).scalar_one()
                        stock.on_hand -= 1
                        session.add(Movement(product_id=product, delta=-1, body=order.model_dump_json()))
                await publishing.default_exchange.publish(aio_pika.Message(b"{}"), routing_key="orders.inventory")
                await message.ack()
            taken += 1
            if taken == ORDERS_ONE_BY_ONE:
                done.set()

        started = clock.monotonic()
        await queue.consume(take)
        await done.wait()
        return ORDERS_ONE_BY_ONE / (clock.monotonic() - started)


async def fresh_database(server_dsn: str, name: str) -> str:
    """An empty database of this name on the server; returns its DSN."""
    connection = await asyncpg.connect(server_dsn)
    try:
        await connection.execute(f'drop database if exists "{name}" with (force)')
        await connection.execute(f'create database "{name}"')
    finally:
        await connection.close()
    return urlsplit(server_dsn)._replace(path=f"/{name}").geturl()
