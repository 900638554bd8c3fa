"""SIGTERM: a process takes nothing new, finishes what it has begun, and is gone within 30 seconds."""

import asyncio
import signal
from collections.abc import Iterator
from random import Random

import aio_pika
import aiohttp
import pytest

from tests.app import Answer
from tests.end_to_end.system import eventually
from tests.fault.journal import submit, submit_until_acknowledged
from tests.fault.market import (
    CALL_SECONDS,
    PRODUCT_IDS,
    WINDOW_SECONDS,
    Market,
    Stall,
    ask,
    held_item,
    running_market,
    until_inventory_waits,
)
from tests.fault.plant import Plant, ServiceProcess

TAKEN = """
    select count(*) from inventory.takings t join orders.orders o using (order_id)
    where o.external_ref = 'taken while inventory ends'
"""
OUTCOME = """
    select coalesce(error, 'delivered') from notifier.attempts where kind = 'stock_level'
    order by attempt_id desc limit 1
"""


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with running_market() as running:
        yield running


async def refuses_connections(process: ServiceProcess) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{process.url}/livez"):
                return False
        except aiohttp.ClientConnectorError:
            return True


async def until_nobody_hears(plant: Plant, name: str) -> int:
    """Wait until a queue has no consumer; returns how many messages are left in it."""
    async with await aio_pika.connect(plant.broker.url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(name)

        async def nobody_hears() -> bool:
            return (await queue.declare()).consumer_count == 0

        await eventually(f"nobody hears {name}", nobody_hears)
        return (await queue.declare()).message_count or 0


async def begin_to_end(process: ServiceProcess) -> None:
    """Send SIGTERM, and wait until the process has taken note."""
    process.send(signal.SIGTERM)
    await eventually(f"{process.name} takes no new requests", lambda: refuses_connections(process))


async def have_a_call_under_way(stall: Stall, reference: str) -> None:
    await stall.register()
    stall.webhooks.hold()
    assert await submit(stall.market.order(reference, [(PRODUCT_IDS[0], 1)]), stall.retailer)
    await stall.webhooks.wait_for_calls(1)


async def test_a_call_under_way_ends_and_is_written_down(market: Market) -> None:
    notifier = market.plant.of("notifier")
    async with market.open() as stall:
        await have_a_call_under_way(stall, "told while notifier ends")
        await begin_to_end(notifier)
        stall.webhooks.release()
        assert await notifier.until_ended() == 0
        assert await ask(market.plant, OUTCOME) == "delivered"
        await market.plant.start()
        await stall.settled()
        assert len(stall.webhooks.calls) == 1


async def test_a_call_that_is_never_answered_keeps_nobody_and_is_made_again_after_the_window(market: Market) -> None:
    notifier = market.plant.of("notifier")
    async with market.open() as stall:
        await have_a_call_under_way(stall, "not answered while notifier ends")
        await begin_to_end(notifier)
        assert await notifier.until_ended() == 0
        assert await ask(market.plant, OUTCOME) == "timeout"
        stall.webhooks.release()
        await market.plant.start()
        await stall.settled()
        first, again = stall.webhooks.calls
        assert first.body == again.body
        assert again.arrived_at - first.arrived_at > CALL_SECONDS + WINDOW_SECONDS


async def test_a_transaction_under_way_is_committed_and_its_message_acknowledged(market: Market) -> None:
    inventory = market.plant.of("inventory")
    async with market.open() as stall:
        await stall.settled()
        async with held_item(market.plant, PRODUCT_IDS[0]):
            assert await submit(market.order("taken while inventory ends", [(PRODUCT_IDS[0], 1)]), stall.retailer)
            await until_inventory_waits(market.plant)
            inventory.send(signal.SIGTERM)
            # All parts are told at once: when an idle one is gone, the one that works has been told, too.
            await until_nobody_hears(market.plant, "inventory.catalog")
        assert await inventory.until_ended() == 0
        assert await ask(market.plant, TAKEN) == 1, "it undid what it had begun"
        left = await until_nobody_hears(market.plant, "inventory.orders")
        assert left == 0, "the message comes again"
        await market.plant.start()
        await stall.settled()


async def test_an_open_request_is_answered(market: Market) -> None:
    orders, inventory = market.plant.of("orders"), market.plant.of("inventory")
    async with market.open() as stall:
        inventory.send(signal.SIGSTOP)  # so that the order's decision does not come
        order = market.order("waits for a decision", [(PRODUCT_IDS[0], 1)])
        asking = asyncio.create_task(stall.retailer.post("/v1/orders?wait=10", order.payload()))

        async def accepted() -> bool:
            return bool(
                await ask(market.plant, f"select 1 from orders.orders where external_ref = '{order.reference}'")
            )

        await eventually("the order is accepted", accepted)
        orders.send(signal.SIGTERM)
        answer: Answer = await asking
        assert (answer.status, answer.body["status"]) == (201, "received")
        order.sent = order.acknowledged = 1
        assert await orders.until_ended() == 0
        inventory.send(signal.SIGCONT)
        await market.plant.start()
        await stall.settled()


async def test_a_stream_of_orders_goes_on_over_restarts_of_everything_on_its_way(market: Market) -> None:
    chance = Random(1)
    async with market.open() as stall:
        await stall.register()
        ended = asyncio.Event()

        async def keep_ordering(client: int) -> None:
            number = 0
            while not ended.is_set():
                number += 1
                order = market.some_order(f"client {client}, {number}", chance)
                await submit_until_acknowledged(order, stall.retailer)

        async with asyncio.TaskGroup() as group:
            for client in range(4):
                group.create_task(keep_ordering(client))
            for service in ("orders", "inventory", "notifier"):
                process, orders_before = market.plant.of(service), len(market.journal)

                async def some_came(before: int = orders_before) -> bool:
                    return len(market.journal) > before + 20

                await eventually("orders come", some_came)
                process.send(signal.SIGTERM)
                assert await process.until_ended() == 0, process.tail()
                await market.plant.start()
            ended.set()
        await stall.settled()


async def test_a_backlog_is_handed_back_and_goes_on(market: Market) -> None:
    chance = Random(2)
    orders = market.plant.of("orders")
    async with market.open() as stall:
        backlog = [market.some_order(f"backlog {number}", chance) for number in range(4_000)]
        orders.send(signal.SIGSTOP)  # it has as much in hand as the broker gives it, and does nothing with it
        await stall.publish(backlog)
        for number in (signal.SIGTERM, signal.SIGCONT):
            orders.send(number)
        assert await orders.until_ended() == 0
        url = market.plant.broker.url
        async with await aio_pika.connect(url) as connection, connection.channel() as channel:
            queue = await channel.get_queue("orders.submitted")
            handed_back = await queue.get()
        assert handed_back is not None
        assert handed_back.headers.get("x-delivery-count", 0) in {0, 1}
        await market.plant.start()
        await stall.settled()
