"""What RabbitMQ gave up on gets another chance, alone: it may only have been out beside what killed its consumer."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from shared.database import Database, Session
from shared.events.catalog import CompanyChanged
from shared.messaging.bus import EVENTS_EXCHANGE, Delivery, Message
from shared.messaging.consumer import TRIES_ALONE, Consumer, Source, on, sources_of
from shared.messaging.rabbitmq import RabbitBus
from shared.messaging.rabbitmq.inflow import RabbitInflow
from shared.private_rabbitmq import RabbitNode
from tests.conftest import GivenBroker
from tests.end_to_end.system import eventually
from tests.integration.messaging.kitchen import company, effects, kitchen, message_of, note_effects, rows

DEATH_SECONDS = 20
# The lowest port, which only a privileged server could have.
NOBODY_LISTENS = "postgresql://nobody@127.0.0.1:1/nothing"


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


class Death(BaseException):
    """Stands in for the end of a process: nothing in our code catches it."""


async def kill_company_0(session: Session, events: Sequence[CompanyChanged]) -> None:
    if any(event.company_id == 0 for event in events):
        raise Death
    await note_effects(session, events)


@asynccontextmanager
async def consuming(database: Database, bus: RabbitBus, source: Source) -> AsyncIterator["asyncio.Task[None]"]:
    consumer = Consumer(database, bus, source, batch_events=10, linger_seconds=0, retry_seconds=())
    task = asyncio.create_task(consumer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def give_up(bus: RabbitBus, source: Source, messages: Sequence[Message]) -> None:
    """Have the broker give up on these: they lie in the dead letter queue."""
    assert await bus.publish(EVENTS_EXCHANGE, messages) == {}
    await die_with_messages_in_hand(bus, source.queue.name, source.queue.delivery_limit + 1, len(messages))


async def until_effects(database: Database, *numbers: int) -> None:
    async def all_handled() -> bool:
        return sorted(await effects(database)) == [f"company-{number}" for number in numbers]

    await eventually("the good messages have had their effect", all_handled)


async def until_nothing_is_noted(database: Database) -> None:
    """Wait until the inbox has nothing but the effects' events."""

    async def forgotten() -> bool:
        return len(await rows(database, "select * from inbox")) == len(await effects(database))

    await eventually("the tries are forgotten", forgotten)


async def test_good_messages_beside_a_killer_are_handled_and_the_killer_is_kept(
    database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    async with kitchen(database_dsn) as database, emptied_queue(broker) as (bus, _):
        (source,) = sources_of("kitchen", (on(CompanyChanged, kill_company_0),), limit_messages=1000)
        killer, *good = [message_of(company(number)) for number in range(5)]
        await give_up(bus, source, [killer, *good])
        # Alone, the first one kills again; nothing else is out with it.
        for _ in range(TRIES_ALONE):
            async with consuming(database, bus, source) as life:
                await asyncio.wait([life], timeout=DEATH_SECONDS)
                assert life.done()
                with pytest.raises(BaseExceptionGroup) as died:
                    life.result()
                assert died.group_contains(Death)
        async with consuming(database, bus, source):
            await until_effects(database, 1, 2, 3, 4)
            await until_nothing_is_noted(database)
        (dead,) = await rows(database, "select queue, message_id, reason from dead_letters")
        assert (dead.queue, dead.message_id) == ("kitchen.catalog", killer.message_id)
        assert "alone as well" in dead.reason


async def test_what_comes_back_while_the_database_is_away_is_no_killer(
    database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    async with kitchen(database_dsn) as database, emptied_queue(broker) as (bus, source):
        away = Database("kitchen", NOBODY_LISTENS, pool_size=1)
        await give_up(bus, source, [message_of(company(1))])
        for _ in range(TRIES_ALONE + 1):
            with capture_logs() as logged:
                async with consuming(away, bus, source):

                    async def in_hand(logged: Sequence[Mapping[str, object]] = logged) -> bool:
                        return any(line["event"] == "consumer_paused" for line in logged)

                    await eventually("the consumer waits for the database with the message in hand", in_hand)
        async with consuming(database, bus, source):
            await until_effects(database, 1)
        assert await rows(database, "select * from dead_letters") == []


async def test_what_comes_back_because_the_broker_is_gone_each_time_it_was_handled_is_no_killer(
    database_dsn: str, broker: RabbitNode | GivenBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge = RabbitInflow.ack
    losses = iter(range(TRIES_ALONE + 1))

    async def lose_the_channel_first(inflow: RabbitInflow, deliveries: Sequence[Delivery]) -> None:
        if next(losses, None) is not None:
            await inflow.close()
        await acknowledge(inflow, deliveries)

    async with kitchen(database_dsn) as database, emptied_queue(broker) as (bus, source):
        await give_up(bus, source, [message_of(company(1)), message_of(company(2))])
        monkeypatch.setattr(RabbitInflow, "ack", lose_the_channel_first)
        async with consuming(database, bus, source):
            await until_effects(database, 1, 2)
            await until_nothing_is_noted(database)
        assert list(losses) == []
        assert await rows(database, "select * from dead_letters") == []


async def test_what_fails_alone_is_kept_with_its_own_reason(
    database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    async def refuse(_: Session, events: Sequence[CompanyChanged]) -> None:
        message = f"company {events[0].company_id} brings bad luck"
        raise ValueError(message)

    async with kitchen(database_dsn) as database, emptied_queue(broker) as (bus, _):
        (source,) = sources_of("kitchen", (on(CompanyChanged, refuse),), limit_messages=1000)
        await give_up(bus, source, [message_of(company(13))])
        async with consuming(database, bus, source):

            async def kept() -> bool:
                return bool(await rows(database, "select * from dead_letters"))

            await eventually("the message is kept", kept)
        (dead,) = await rows(database, "select reason from dead_letters")
        assert dead.reason == "ValueError: company 13 brings bad luck"
