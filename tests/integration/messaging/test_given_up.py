"""What RabbitMQ gave up on gets another chance, alone: it may only have been out beside what killed its consumer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared.database import Database, Session
from shared.events.catalog import CompanyChanged
from shared.messaging.bus import EVENTS_EXCHANGE
from shared.messaging.consumer import TRIES_ALONE, Consumer, Source, on, sources_of
from shared.messaging.rabbitmq import RabbitBus
from shared.private_rabbitmq import RabbitNode
from tests.conftest import GivenBroker
from tests.end_to_end.system import eventually
from tests.integration.messaging.kitchen import company, effects, kitchen, message_of, note_effects, rows


@asynccontextmanager
async def emptied_queue(broker: RabbitNode | GivenBroker) -> AsyncIterator[tuple[RabbitBus, Source]]:
    """A bus with the kitchen's queue, without anything of earlier tests in it."""
    bus = RabbitBus(broker.url, publish_timeout_seconds=10, heartbeat_seconds=10)
    (source,) = sources_of("kitchen", (on(CompanyChanged, note_effects),), limit_messages=1000)
    await bus.declare([source.queue])
    channel = await bus._publishing.channel(confirms=False)
    for queue in (source.queue.name, source.queue.dead_letter_queue):
        await (await channel.get_queue(queue)).purge()
    try:
        yield bus, source
    finally:
        await bus.close()


async def die_with_messages_in_hand(bus: RabbitBus, queue: str, times: int, messages: int) -> None:
    """What a consumer does that is killed so often: it is handed messages, and its channel closes."""
    for _ in range(times):
        async with bus.consume(queue, prefetch=messages) as inflow:
            handed: list[object] = []
            while len(handed) < messages:
                handed += await inflow.batch(messages, 0)


@asynccontextmanager
async def consuming(database: Database, bus: RabbitBus, source: Source) -> AsyncIterator[None]:
    consumer = Consumer(database, bus, source, batch_events=10, linger_seconds=0, retry_seconds=())
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_good_messages_beside_a_killer_are_handled_and_the_killer_is_kept(
    database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    async with kitchen(database_dsn) as database, emptied_queue(broker) as (bus, source):
        killer, *good = [message_of(company(number)) for number in range(5)]
        assert await bus.publish(EVENTS_EXCHANGE, [killer, *good]) == {}
        times = source.queue.delivery_limit + 1
        await die_with_messages_in_hand(bus, source.queue.name, times, messages=5)
        # All five have left the queue. Alone, the first one kills again; nothing else is out with it.
        await die_with_messages_in_hand(bus, source.queue.dead_letter_queue, TRIES_ALONE, messages=1)
        async with consuming(database, bus, source):

            async def all_handled() -> bool:
                return sorted(await effects(database)) == [f"company-{number}" for number in range(1, 5)]

            await eventually("the good messages have had their effect", all_handled)
        (dead,) = await rows(database, "select queue, message_id, reason from dead_letters")
        assert (dead.queue, dead.message_id) == ("kitchen.catalog", killer.message_id)
        assert "alone as well" in dead.reason


async def test_what_fails_alone_is_kept_with_its_own_reason(
    database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    async def refuse(_: Session, events: Sequence[CompanyChanged]) -> None:
        message = f"company {events[0].company_id} brings bad luck"
        raise ValueError(message)

    async with kitchen(database_dsn) as database, emptied_queue(broker) as (bus, _):
        (source,) = sources_of("kitchen", (on(CompanyChanged, refuse),), limit_messages=1000)
        assert await bus.publish(EVENTS_EXCHANGE, [message_of(company(13))]) == {}
        await die_with_messages_in_hand(bus, source.queue.name, source.queue.delivery_limit + 1, messages=1)
        async with consuming(database, bus, source):

            async def kept() -> bool:
                return bool(await rows(database, "select * from dead_letters"))

            await eventually("the message is kept", kept)
        (dead,) = await rows(database, "select reason from dead_letters")
        assert dead.reason == "ValueError: company 13 brings bad luck"
