"""The bus that end-to-end tests use to provoke duplicates and disorder really does so, and loses nothing."""

import asyncio
from collections import Counter

import pytest

from shared.messaging.in_process import InProcessBus
from tests.contract.messages import DEADLINE_SECONDS, a_queue, ids, order
from tests.faulty_bus import FaultyBus


@pytest.mark.parametrize("seed", range(5))
async def test_every_message_comes_twice_and_in_disorder_but_is_acknowledged_once(seed: int) -> None:
    bus = FaultyBus(InProcessBus(publish_timeout_seconds=DEADLINE_SECONDS), seed)
    queue = a_queue("inventory", "order_created")
    await bus.declare([queue])
    sent = [order(number) for number in range(200)]
    received: list[str] = []

    async def consume() -> None:
        async with bus.consume(queue.name, prefetch=20) as inflow:
            while len(received) < 2 * len(sent):
                deliveries = await inflow.batch(7, 0.001)
                received.extend(ids(deliveries))
                await inflow.ack(deliveries)

    async with asyncio.timeout(DEADLINE_SECONDS):
        unconfirmed, _ = await asyncio.gather(bus.publish(queue.exchange, sent), consume())
    assert unconfirmed == {}
    assert Counter(received) == {message.message_id: 2 for message in sent}
    firsts = list(dict.fromkeys(received))
    assert firsts != [message.message_id for message in sent]
