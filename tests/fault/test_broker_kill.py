"""The broker dies, -9, amid thousands of published orders: each that it confirmed counts once, whatever came twice."""

import asyncio
import gc
import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import aio_pika
import aiohttp
import pytest
from aio_pika.abc import AbstractExchange
from rich.console import Console

from shared import clock
from shared.messaging.bus import INTAKE_EXCHANGE, BusUnavailableError
from shared.messaging.rabbitmq.connection import Link, reporting_loss
from shared.private_rabbitmq import RabbitNode
from tests.end_to_end.system import eventually
from tests.fault.journal import Operation
from tests.fault.market import PRODUCT_IDS, RETAILER_REF, Market, ask, running_market
from tests.fault.settling import until_settled

ORDERS = (2_000, pytest.param(20_000, marks=pytest.mark.soak))
IN_FLIGHT = 500
CONFIRM_SECONDS = 10
RECONNECT_SECONDS = 0.3
SETTLED_SECONDS = 240
# A careless publisher: one order in so many it publishes a second time, though the first was confirmed.
TWICE_IN = 25
# The ids that orders makes of what comes from the intake queue are digests, all others are UUIDs.
INTAKE_IDS = "select (select count(*) from orders.inbox where length(event_id) = 64)"


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with running_market() as running:
        # A node that is killed may forget queues, not messages, that are a few seconds old; these it will know.
        running.plant.broker.stop()
        running.plant.broker.start()
        asyncio.run(running.plant.start())
        yield running


@dataclass
class Publisher:
    """Publishes orders until each is confirmed, many in flight; what the broker took with it it sends again."""

    broker: RabbitNode
    waiting: deque[Operation] = field(default_factory=deque)
    in_flight: int = 0
    published: int = 0
    confirmed: int = 0
    sent_again: int = 0

    async def publish(self, orders: Sequence[Operation]) -> None:
        """Publish these, some of them twice; returns when all are confirmed."""
        for number, order in enumerate(orders):
            self.waiting.extend([order] * (2 if number % TWICE_IN == 0 else 1))
        link = Link(self.broker.url, "order system", heartbeat_seconds=10)
        try:
            while self.waiting:
                try:
                    with reporting_loss("connecting"):
                        channel = await link.channel(confirms=True)
                        exchange = await channel.get_exchange(INTAKE_EXCHANGE, ensure=False)
                except BusUnavailableError:
                    await asyncio.sleep(RECONNECT_SECONDS)
                    continue
                await asyncio.gather(*(self._publish_while_it_lasts(exchange) for _ in range(IN_FLIGHT)))
        finally:
            await link.close()

    async def _publish_while_it_lasts(self, exchange: AbstractExchange) -> None:
        while self.waiting:
            order = self.waiting.popleft()
            order.sent += 1
            self.published += 1
            self.in_flight += 1
            try:
                with reporting_loss("publishing"):
                    async with asyncio.timeout(CONFIRM_SECONDS):
                        await exchange.publish(_message(order), "orders.submitted")
            except (BusUnavailableError, TimeoutError):
                self.waiting.append(order)
                self.sent_again += 1
                return
            finally:
                self.in_flight -= 1
            order.acknowledged += 1
            self.confirmed += 1


def _message(order: Operation) -> aio_pika.Message:
    """Half of the orders come again under the id they had, which the inbox knows; the others only have a reference."""
    has_own_id = int(order.reference.rpartition("-")[2]) % 2
    return aio_pika.Message(
        json.dumps(order.payload()).encode(),
        content_type="application/json",
        message_id=order.reference if has_own_id else f"{order.reference} for the {order.sent}. time",
        user_id=RETAILER_REF,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def kill_midway(market: Market, publisher: Publisher, count: int) -> tuple[int, float]:
    """Kill the broker once half of `count` orders are confirmed, and start it again.

    Returns how many publishes were in flight then, and for how many seconds there was no broker.
    """

    async def is_midway() -> bool:
        return publisher.in_flight > 0 and publisher.confirmed >= count // 2

    await eventually("half of the orders are confirmed", is_midway, seconds=60)
    market.plant.broker.kill()
    in_flight, died_at = publisher.in_flight, clock.monotonic()
    # aio-pika closes a lost connection when it is collected, and needs our loop for it: the thread may not.
    gc.disable()
    try:
        await asyncio.to_thread(market.plant.broker.start)
    finally:
        gc.enable()
        gc.collect()
    return in_flight, clock.monotonic() - died_at


async def came_again(market: Market) -> Counter[str]:
    """How many events had come before, until now: by who knew them."""
    plant = market.plant
    known: Counter[str] = Counter()
    for service, queue in (("orders", "orders.submitted"), ("inventory", "inventory.orders")):
        async with aiohttp.ClientSession() as session, session.get(f"{plant.of(service).url}/metrics") as answer:
            metric = rf'^basestock_events_duplicate_total{{queue="{queue}"}} (\S+)$'
            values = re.findall(metric, await answer.text(), flags=re.MULTILINE)
        known[f"inbox of {service}"] = sum(int(float(value)) for value in values)
    known["reference of the order"] = await ask(plant, f"{INTAKE_IDS} - (select count(*) from orders.orders)")
    return known


async def effects(market: Market, count: int) -> tuple[int, int]:
    """How many orders of this run there are, and how many entries they have in the ledger."""
    mine = f"from orders.orders o where o.external_ref like '{count}-%'"
    ledger = "select reference from inventory.stock_ledger where kind = 'order'"
    orders = await ask(market.plant, f"select count(*) {mine}")
    entries = f"select count(*) from ({ledger}) l where l.reference in (select o.order_id::text {mine})"
    return orders, await ask(market.plant, entries)


@pytest.mark.parametrize("count", ORDERS)
async def test_of_orders_published_while_the_broker_dies_each_one_counts_once(market: Market, count: int) -> None:
    chance, publisher, started = Random(count), Publisher(market.plant.broker), clock.monotonic()
    orders = [
        market.order(f"{count}-{number}", [(chance.choice(PRODUCT_IDS), chance.randint(1, 3))])
        for number in range(count)
    ]
    async with market.open() as stall:
        expected = Counter({product_id: await stall.available(product_id) for product_id in PRODUCT_IDS})
        for order in orders:
            expected.update(order.effect)
        known_before = await came_again(market)
        async with asyncio.TaskGroup() as group:
            group.create_task(publisher.publish(orders))
            killing = group.create_task(kill_midway(market, publisher, count))
        in_flight, away_seconds = killing.result()
        published_seconds = clock.monotonic() - started
        await until_settled(market.plant, market.journal, SETTLED_SECONDS)
        Console(width=200).print(
            f"{count} orders: published {publisher.published}, confirmed {publisher.confirmed}, in flight when the "
            f"broker died {in_flight}, sent again {publisher.sent_again}; came again, by who knew: "
            f"{dict(await came_again(market) - known_before)}; all confirmed after {published_seconds:.1f} s, of them "
            f"{away_seconds:.1f} s without a broker, and settled after {clock.monotonic() - started:.1f} s"
        )
        assert publisher.sent_again, "the broker died with publishes in flight"
        assert await effects(market, count) == (count, count), "one order each, and one entry in the ledger"
        assert {product_id: await stall.available(product_id) for product_id in PRODUCT_IDS} == expected
        await stall.settled()
