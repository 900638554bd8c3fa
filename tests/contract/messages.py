"""What the tests of the buses send and how they take it out again."""

import asyncio
from collections.abc import Awaitable, Sequence
from uuid import uuid4

import pytest

from shared.messaging.bus import Bus, Delivery, Inflow, Message, Queue

DEADLINE_SECONDS = 60
LINGER_SECONDS = 0.05
# Long enough that a message which were to come would have come.
QUIET_SECONDS = 0.3


def a_queue(name: str, *topics: str, exchange: str = "", limit_messages: int = 1000, delivery_limit: int = 20) -> Queue:
    own = uuid4().hex
    return Queue(f"{name}.{own}", topics, exchange or f"events.{own}", limit_messages, delivery_limit)


def order(number: int, topic: str = "order_created") -> Message:
    return Message(f"order-{number}", topic, "application/cloudevents+json", b'{"order": %d}' % number)


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message.message_id for delivery in deliveries]


async def take(inflow: Inflow, count: int) -> list[Delivery]:
    """Exactly `count` deliveries, not yet settled."""
    taken: list[Delivery] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(taken) < count:
            taken += await inflow.batch(count - len(taken), LINGER_SECONDS)
    return taken


async def assert_quiet(inflow: Inflow) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET_SECONDS):
            await inflow.batch(1, 0)


async def drain(bus: Bus, queue: str, count: int) -> list[Message]:
    async with bus.consume(queue, prefetch=100) as inflow:
        deliveries = await take(inflow, count)
        await inflow.ack(deliveries)
    return [delivery.message for delivery in deliveries]


async def publish_while(
    bus: Bus, exchange: str, messages: Sequence[Message], consuming: Awaitable[object]
) -> dict[str, str]:
    """Publish while somebody consumes: in process, only that confirms."""
    unconfirmed, _ = await asyncio.gather(bus.publish(exchange, messages), consuming)
    return dict(unconfirmed)
