"""The seeds' companies and products, and twenty more, on a running plant; what clients do there is journalled."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aio_pika
import asyncpg

from shared.messaging.bus import INTAKE_EXCHANGE
from shared.private_rabbitmq import USER
from tests.app import Client
from tests.end_to_end.system import RETAILER, SUPPLIER, eventually, with_seeds
from tests.fault.checker import check
from tests.fault.journal import Journal, Operation
from tests.fault.plant import ADMIN_KEY, Plant, ServiceProcess, running_plant
from tests.fault.settling import until_settled
from tests.receiver import Receiver, receiver

# The only user that a new broker has, so the retailer's orders can come from there.
RETAILER_REF = USER
PRODUCT_IDS = range(1001, 1021)
WINDOW_SECONDS = 2
CALL_SECONDS = 4
INVENTORY_WAITS = """
    select 1 from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'basestock-inventory-%'
"""


@dataclass
class Market:
    """A plant with its keys; the journal holds what all tests of the plant did, as the books do."""

    plant: Plant
    keys: Mapping[int, str]
    journal: Journal = field(default_factory=Journal)
    receivers: list[Receiver] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Stall"]:
        """Clients, and a receiver to which no endpoint leads yet; leaving removes the endpoints that were added."""
        async with AsyncExitStack() as stack:
            supplier = await stack.enter_async_context(self.plant.client(self.keys[SUPPLIER]))
            retailer = await stack.enter_async_context(self.plant.client(self.keys[RETAILER]))
            webhooks = await stack.enter_async_context(receiver())
            self.receivers.append(webhooks)
            stall = Stall(self, supplier, retailer, webhooks)
            yield stall
            for endpoint_id in stall.endpoint_ids:
                assert (await retailer.delete(f"/v1/webhook-endpoints/{endpoint_id}")).status == 204

    def order(self, reference: str, lines: Sequence[tuple[int, int]]) -> Operation:
        """Enter an order of `(product id, quantity)` lines on products that are their own stock."""
        effect: dict[int, int] = {}
        for product_id, quantity in lines:
            effect[product_id] = effect.get(product_id, 0) - quantity
        body = {"lines": [{"product_id": product_id, "quantity": quantity} for product_id, quantity in lines]}
        return self.journal.enter(Operation("order", RETAILER, reference, effect, body))

    def some_order(self, reference: str, chance: Random) -> Operation:
        """Enter an order of one to five lines on the twenty products, in no order, some products twice."""
        lines = [(chance.choice(PRODUCT_IDS), chance.randint(1, 3)) for _ in range(chance.randint(1, 5))]
        return self.order(reference, lines)

    def some_return(self, reference: str, chance: Random) -> Operation:
        """Enter a return of two of the twenty products, to be put back into stock."""
        back = {product_id: chance.randint(1, 3) for product_id in chance.sample(PRODUCT_IDS, 2)}
        lines = [{"product_id": one, "quantity": quantity, "restock": True} for one, quantity in back.items()]
        return self.journal.enter(Operation("return", RETAILER, reference, back, {"lines": lines}))

    def some_adjustment(self, reference: str, product_id: int, chance: Random) -> Operation:
        """Enter an adjustment of one product."""
        units = chance.randint(1, 9)
        return self.journal.enter(
            Operation("adjustment", SUPPLIER, reference, {product_id: units}, {"adjustment": units})
        )


@dataclass
class Stall:
    """One test's clients of a market."""

    market: Market
    supplier: Client
    retailer: Client
    webhooks: Receiver
    endpoint_ids: list[int] = field(default_factory=list)

    async def register(self, count: int = 1) -> None:
        """Register endpoints, once notifier knows of all earlier changes: only what comes now is told."""
        await until_settled(self.market.plant, self.market.journal)
        for number in range(1, count + 1):
            body = {"url": f"{self.webhooks.url}/{number}"}
            answer = await self.retailer.post("/v1/webhook-endpoints", body)
            assert answer.status == 201, answer.body
            self.webhooks.secrets.append(answer.body["secret"])
            self.endpoint_ids.append(answer.body["id"])

    async def available(self, product_id: int) -> int:
        """What can be sold of a product."""
        answer = await self.supplier.get(f"/v1/stock/{product_id}")
        assert answer.status == 200, answer.body
        available: int = answer.body["available"]
        return available

    async def publish(self, orders: Sequence[Operation], orders_a_message: int = 1) -> None:
        """Publish orders to the intake queue, as CloudEvents batches of so many; returns when they are confirmed."""
        starts = range(0, len(orders), orders_a_message)
        async with self.intake() as publish:
            await asyncio.gather(*(publish(orders[start : start + orders_a_message]) for start in starts))

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[Callable[[Sequence[Operation]], Awaitable[None]]]:
        """A connection to the intake queue: a function that publishes orders as one message, until it is confirmed."""
        url = self.market.plant.broker.url
        async with await aio_pika.connect(url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(INTAKE_EXCHANGE)

            async def publish(orders: Sequence[Operation]) -> None:
                await exchange.publish(_message(orders), routing_key="orders.submitted")
                for order in orders:
                    order.sent += 1
                    order.acknowledged += 1

            yield publish

    async def settled(self) -> None:
        """Wait until every effect is there, and hold the books and what the receivers heard against the journal."""
        await until_settled(self.market.plant, self.market.journal)
        verdict = await check(self.market.plant.dsn, self.market.journal, self.market.receivers, WINDOW_SECONDS)
        assert not verdict.problems(), str(verdict)


def _message(orders: Sequence[Operation]) -> aio_pika.Message:
    events = [
        {
            "specversion": "1.0",
            "id": f"{order.reference} for the {order.sent + 1}. time",
            "source": "/shop",
            "type": "basestock.orders.order_submitted.v1",
            "data": order.payload(),
        }
        for order in orders
    ]
    content_type = "application/cloudevents-batch+json"
    return aio_pika.Message(json.dumps(events).encode(), content_type=content_type, user_id=RETAILER_REF)


@contextmanager
def running_market(
    replicas: Mapping[str, int] | None = None,
    batch_events: int = 500,
    process_type: type[ServiceProcess] = ServiceProcess,
) -> Iterator[Market]:
    """A plant that runs, with short windows and calls, and the market on it."""
    with running_plant(
        replicas,
        process_type,
        webhook_window_seconds=str(WINDOW_SECONDS),
        webhook_timeout_seconds=str(CALL_SECONDS),
        consumer_batch_events=str(batch_events),
    ) as plant:
        yield Market(plant, asyncio.run(_load(plant)))


async def _load(plant: Plant) -> dict[int, str]:
    """Load seeds and products through the public API; returns the companies' keys."""
    await plant.start()
    url = plant.of("catalog").url
    async with with_seeds(url, plant.dsn, plant.client, ADMIN_KEY, RETAILER_REF) as system:
        for product_id in PRODUCT_IDS:
            product = {"id": product_id, "owner_id": SUPPLIER, "sku": f"P{product_id}", "name": "One", "type": "stock"}
            answer = await system.admin.post("/v1/products", product)
            assert answer.status == 201, answer.body

        async def all_known() -> bool:
            return len((await system.supplier.get("/v1/stock?limit=200")).body["items"]) == 4 + len(PRODUCT_IDS)

        await eventually("inventory keeps stock of all products", all_known)
        clients = {SUPPLIER: system.supplier, RETAILER: system.retailer}
        return {
            company: client._headers["Authorization"].removeprefix("Bearer ") for company, client in clients.items()
        }


async def ask(plant: Plant, statement: str) -> Any:  # noqa: ANN401 - whatever the statement finds
    """The one value that a statement finds."""
    connection = await asyncpg.connect(plant.dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def held_item(plant: Plant, product_id: int) -> AsyncIterator[None]:
    """Hold the lock on a stock item, which inventory's transactions on it wait for."""
    connection = await asyncpg.connect(plant.dsn)
    try:
        async with connection.transaction():
            await connection.execute("select from inventory.stock_items where product_id = $1 for update", product_id)
            yield
    finally:
        await connection.close()


async def until_inventory_waits(plant: Plant) -> None:
    """Wait until a transaction of inventory waits for a lock."""

    async def it_waits() -> bool:
        return bool(await ask(plant, INVENTORY_WAITS))

    await eventually("a transaction of inventory waits for a lock", it_waits)
