"""What the bus on RabbitMQ survives: a broker killed, frozen or in alarm, and a queue deleted under its consumer."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from shared import clock
from shared.messaging.bus import Bus, BusUnavailableError, Inflow, Message, Queue
from shared.messaging.rabbitmq import QueueDiffersError, RabbitBus
from shared.private_rabbitmq import RabbitNode
from tests.contract.messages import DEADLINE_SECONDS, a_queue, drain, ids, order, take

POLL_SECONDS = 0.1
ANSWER_SECONDS = 2.0


@pytest.fixture(scope="module")
def node(private_broker: Callable[[], RabbitNode]) -> RabbitNode:
    """A broker of these tests' own; each leaves it running."""
    return private_broker()


@pytest.fixture
async def bus(node: RabbitNode) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(node.url, publish_timeout_seconds=ANSWER_SECONDS, heartbeat_seconds=10)
    yield bus
    await bus.close()


@asynccontextmanager
async def reopened(bus: Bus, queue: str) -> AsyncIterator[Inflow]:
    """An open consumer, however long the broker takes to be back."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    inflow = await stack.enter_async_context(bus.consume(queue, prefetch=100))
                    break
                except BusUnavailableError:
                    await clock.sleep(POLL_SECONDS)
        yield inflow


async def publish_until_confirmed(bus: Bus, exchange: str, message: Message) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                if not await bus.publish(exchange, [message]):
                    return
            except BusUnavailableError:
                await clock.sleep(POLL_SECONDS)


async def set_up(node: RabbitNode, bus: Bus, queue: Queue) -> None:
    """Declare `queue` as if long ago: RabbitMQ writes a new one's name to disk half a second late, or when it stops."""
    await bus.declare([queue])
    await asyncio.to_thread(node.stop)
    await asyncio.to_thread(node.start)
    async with reopened(bus, queue.name):
        pass


@contextmanager
def frozen(node: RabbitNode) -> Iterator[None]:
    """The node neither answers nor hangs up."""
    group = node.pid
    assert group is not None
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


async def test_a_killed_broker_loses_nothing_it_confirmed_and_the_consumer_comes_back(
    node: RabbitNode, bus: RabbitBus
) -> None:
    queue = a_queue("inventory", "order_created")
    await set_up(node, bus, queue)
    assert await bus.publish(queue.exchange, [order(number) for number in range(50)]) == {}
    async with bus.consume(queue.name, prefetch=10) as inflow:
        handed_out = await take(inflow, 10)
        await asyncio.to_thread(node.kill)
        with pytest.raises(BusUnavailableError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                await inflow.batch(10, 0)
        with pytest.raises(BusUnavailableError):
            await inflow.ack(handed_out)
    with pytest.raises(BusUnavailableError):
        await bus.publish(queue.exchange, [order(50)])
    for ask in (bus.check(), bus.depths([queue.name])):
        with pytest.raises(BusUnavailableError):
            await ask
    await asyncio.to_thread(node.start)
    async with reopened(bus, queue.name) as inflow:
        assert set(ids(await take(inflow, 50))) == {f"order-{number}" for number in range(50)}


async def test_a_deleted_queue_is_noticed_by_its_consumer_and_made_again(node: RabbitNode, bus: RabbitBus) -> None:
    queue = a_queue("inventory", "order_created")
    await bus.declare([queue])
    async with bus.consume(queue.name, prefetch=10) as inflow:
        await asyncio.to_thread(node.ctl, "delete_queue", queue.name)
        with pytest.raises(BusUnavailableError, match="cancelled"):
            async with asyncio.timeout(DEADLINE_SECONDS):
                await inflow.batch(10, 0)
    async with reopened(bus, queue.name) as inflow:
        assert await bus.publish(queue.exchange, [order(1)]) == {}
        await inflow.ack(await take(inflow, 1))


async def test_a_deleted_queue_is_made_again_by_its_publisher(node: RabbitNode, bus: RabbitBus) -> None:
    queue = a_queue("inventory", "order_created")
    await bus.declare([queue])
    assert await bus.publish(queue.exchange, [order(1)]) == {}
    await asyncio.to_thread(node.ctl, "delete_queue", queue.name)
    assert list(await bus.publish(queue.exchange, [order(2)])) == ["order-2"]
    assert await bus.publish(queue.exchange, [order(2)]) == {}
    assert await drain(bus, queue.name, 1) == [order(2)]


async def test_a_broker_that_stops_answering_is_given_up_in_time_and_used_again_when_it_answers(
    node: RabbitNode, bus: RabbitBus
) -> None:
    queue = a_queue("inventory", "order_created")
    await bus.declare([queue])
    assert await bus.publish(queue.exchange, [order(1)]) == {}
    with frozen(node):
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises(BusUnavailableError, match="not confirmed within 2 s"):
                await bus.publish(queue.exchange, [order(2)])
            with pytest.raises(BusUnavailableError, match="did not answer within 2 s"):
                await bus.publish(queue.exchange, [order(2)])
            with pytest.raises(BusUnavailableError, match="did not answer within 2 s"):
                await bus.check()
    await publish_until_confirmed(bus, queue.exchange, order(2))
    async with reopened(bus, queue.name) as inflow:
        assert set(ids(await take(inflow, 2))) == {"order-1", "order-2"}


async def test_a_broker_in_alarm_blocks_publishers_in_time_while_consumers_go_on(
    node: RabbitNode, bus: RabbitBus
) -> None:
    queue = a_queue("inventory", "order_created")
    await bus.declare([queue])
    assert await bus.publish(queue.exchange, [order(number) for number in range(5)]) == {}
    async with bus.consume(queue.name, prefetch=2) as inflow:
        await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            for _ in range(3):
                with pytest.raises(BusUnavailableError):
                    await bus.publish(queue.exchange, [order(6)])
            assert (await bus.depths([queue.name])).keys() == {queue.name}
            for _ in range(5):
                await inflow.ack(await take(inflow, 1))
        finally:
            await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "absolute", "512MiB")
        await publish_until_confirmed(bus, queue.exchange, order(7))
        # Published three times, it was sent once: a blocked connection is not filled with copies.
        assert ids(await take(inflow, 2)) == ["order-6", "order-7"]


async def test_a_false_user_is_refused_by_the_broker(node: RabbitNode, bus: RabbitBus) -> None:
    user = urlsplit(node.url).username
    queue = a_queue("inventory", "order_created")
    await bus.declare([queue])
    with pytest.raises(BusUnavailableError, match="user_id"):
        await bus.publish(queue.exchange, [replace(order(1), user_id="somebody else")])
    assert await bus.publish(queue.exchange, [replace(order(2), user_id=user)]) == {}
    [received] = await drain(bus, queue.name, 1)
    assert received.user_id == user


async def test_changed_settings_of_a_queue_are_a_matter_for_people(bus: RabbitBus) -> None:
    queue = a_queue("inventory", "order_created", limit_messages=10)
    await bus.declare([queue])
    with pytest.raises(QueueDiffersError, match=f"{queue.name} exists .*x-max-length"):
        await bus.declare([replace(queue, limit_messages=11)])


async def test_dead_letters_reach_their_queue_even_through_a_restart(node: RabbitNode, bus: RabbitBus) -> None:
    queue = a_queue("inventory", "order_created", delivery_limit=0)
    await set_up(node, bus, queue)
    assert await bus.publish(queue.exchange, [order(number) for number in range(20)]) == {}
    async with bus.consume(queue.name, prefetch=20) as inflow:
        await inflow.retry(await take(inflow, 20))
    await asyncio.to_thread(node.restart)
    # The broker may have moved some of them already and not have noted it: those come twice.
    missing = {f"order-{number}" for number in range(20)}
    async with reopened(bus, queue.dead_letter_queue) as inflow:
        while missing:
            missing -= set(ids(await take(inflow, 1)))
