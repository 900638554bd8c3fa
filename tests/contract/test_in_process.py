"""What only the in-process bus does: it confirms a message when its consumers have committed it."""

import asyncio

from shared.messaging.bus import Message
from shared.messaging.in_process import InProcessBus
from tests.contract.messages import DEADLINE_SECONDS, LINGER_SECONDS, a_queue, assert_quiet, drain, ids, order, take

SHORT_SECONDS = 0.05


async def test_a_message_is_confirmed_only_when_every_bound_queue_has_acknowledged_it() -> None:
    bus = InProcessBus(publish_timeout_seconds=DEADLINE_SECONDS)
    inventory = a_queue("inventory", "order_created")
    notifier = a_queue("notifier", "order_created", exchange=inventory.exchange)
    await bus.declare([inventory, notifier])
    publishing = asyncio.create_task(bus.publish(inventory.exchange, [order(1)]))
    await drain(bus, inventory.name, 1)
    async with bus.consume(notifier.name, prefetch=1) as inflow:
        deliveries = await take(inflow, 1)
        await asyncio.wait({publishing}, timeout=LINGER_SECONDS)
        assert not publishing.done()
        await inflow.ack(deliveries)
    assert await publishing == {}


async def test_a_dead_letter_is_confirmed_when_it_is_put_on_record() -> None:
    bus = InProcessBus(publish_timeout_seconds=DEADLINE_SECONDS)
    queue = a_queue("inventory", "order_created", delivery_limit=0)
    await bus.declare([queue])
    publishing = asyncio.create_task(bus.publish(queue.exchange, [order(13)]))
    async with bus.consume(queue.name, prefetch=1) as inflow:
        await inflow.retry(await take(inflow, 1))
    await asyncio.wait({publishing}, timeout=LINGER_SECONDS)
    assert not publishing.done()
    await drain(bus, queue.dead_letter_queue, 1)
    assert await publishing == {}


async def test_what_is_published_again_while_it_waits_does_not_pile_up() -> None:
    bus = InProcessBus(publish_timeout_seconds=SHORT_SECONDS)
    queue = a_queue("inventory", "order_created", delivery_limit=1)
    await bus.declare([queue])
    for _ in range(3):
        unconfirmed = await bus.publish(queue.exchange, [order(1), order(2)])
        assert list(unconfirmed) == ["order-1", "order-2"]
        assert "has acknowledged it yet" in unconfirmed["order-1"]
    async with bus.consume(queue.name, prefetch=10) as inflow:
        first, second = await take(inflow, 2)
        await inflow.ack([first])
        assert list(await bus.publish(queue.exchange, [order(2)])) == ["order-2"]
        await inflow.retry([second])
        await inflow.retry(await take(inflow, 1))
        assert list(await bus.publish(queue.exchange, [order(2)])) == ["order-2"]
        await assert_quiet(inflow)
    async with bus.consume(queue.dead_letter_queue, prefetch=10) as dead:
        await dead.ack(await take(dead, 1))
        await assert_quiet(dead)


async def test_who_waits_for_room_goes_in_as_soon_as_there_is_some() -> None:
    bus = InProcessBus(publish_timeout_seconds=DEADLINE_SECONDS)
    queue = a_queue("inventory", "order_created", limit_messages=2)
    await bus.declare([queue])
    first = asyncio.create_task(bus.publish(queue.exchange, [order(number) for number in range(4)]))
    second = asyncio.create_task(bus.publish(queue.exchange, [order(3), order(4)]))
    taken: list[str] = []
    async with bus.consume(queue.name, prefetch=10) as inflow:
        while len(taken) < 5:
            deliveries = await inflow.batch(10, LINGER_SECONDS)
            assert len(deliveries) <= queue.limit_messages
            taken += ids(deliveries)
            await inflow.ack(deliveries)
    assert await first == {}
    assert await second == {}
    assert sorted(taken) == [f"order-{number}" for number in range(5)]


async def test_a_full_queue_is_named_and_does_not_hold_up_another() -> None:
    bus = InProcessBus(publish_timeout_seconds=SHORT_SECONDS)
    slow = a_queue("slow", "order_created", limit_messages=1)
    quick = a_queue("quick", "order_created", exchange=slow.exchange)
    await bus.declare([slow, quick])
    unconfirmed = await bus.publish(slow.exchange, [order(1), order(2)])
    assert unconfirmed["order-2"] == f"queue {slow.name} is full (1 messages)"
    again = await bus.publish(slow.exchange, [order(1)])  # it is in there already and needs no room
    assert again == {"order-1": f"no consumer of queue {slow.name} has acknowledged it yet"}
    assert await drain(bus, quick.name, 2) == [order(1), order(2)]


async def test_a_message_without_consumers_bound_counts_as_confirmed_when_that_is_allowed() -> None:
    bus = InProcessBus(publish_timeout_seconds=SHORT_SECONDS)
    assert await bus.publish("events", [Message("1", "nobody", "text/plain", b"", mandatory=False)]) == {}
