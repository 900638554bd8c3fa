"""What every bus promises; the in-process bus and RabbitMQ keep it alike, and services cannot tell them apart."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from shared.messaging.bus import Bus, BusUnavailableError, Depth, Message, Queue
from shared.messaging.in_process import InProcessBus
from shared.messaging.rabbitmq import RabbitBus
from tests.contract.messages import (
    DEADLINE_SECONDS,
    LINGER_SECONDS,
    a_queue,
    assert_quiet,
    drain,
    ids,
    order,
    publish_while,
    take,
)
from tests.end_to_end.system import eventually

MakeBus = Callable[[float], Bus]


@pytest.fixture(params=["in process", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where RabbitMQ is; nowhere for the in-process bus."""
    return request.getfixturevalue("broker").url if request.param == "rabbitmq" else None


@pytest.fixture
async def make_bus(url: str | None) -> AsyncIterator[MakeBus]:
    """Makes buses that wait so many seconds for confirms."""
    made: list[Bus] = []

    def make(publish_timeout_seconds: float) -> Bus:
        if url is None:
            made.append(InProcessBus(publish_timeout_seconds=publish_timeout_seconds))
        else:
            made.append(RabbitBus(url, publish_timeout_seconds=publish_timeout_seconds, heartbeat_seconds=10))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


@pytest.fixture
def bus(make_bus: MakeBus) -> Bus:
    return make_bus(DEADLINE_SECONDS)


@pytest.fixture
def stock() -> Queue:
    """A queue of this test's own that hears `order_created`."""
    return a_queue("inventory", "order_created")


async def test_a_message_arrives_as_it_was_published(bus: Bus, stock: Queue, url: str | None) -> None:
    await bus.declare([stock])
    sent = Message(
        message_id="0190-abc",
        topic="order_created",
        content_type="application/cloudevents+json",
        body=b"\x00\xff{}" + b"x" * 300_000,
        headers={"traceparent": "00-1-2-01", "note": "für Jürgen"},
        user_id=urlsplit(url).username if url else "anybody",  # RabbitMQ takes no other than who is connected
        correlation_id="7",
        reply_to="answers",
    )

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=10) as inflow:
            [delivery] = await take(inflow, 1)
            assert delivery.message == sent
            assert delivery.earlier_deliveries == 0
            await inflow.ack([delivery])

    assert await publish_while(bus, stock.exchange, [sent], consume()) == {}


async def test_an_empty_publication_and_an_empty_acknowledgement_are_harmless(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])
    assert await bus.publish(stock.exchange, []) == {}
    async with bus.consume(stock.name, prefetch=1) as inflow:
        await inflow.ack([])
        await inflow.retry([])


async def test_messages_of_one_publisher_come_in_order(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])
    sent = [order(number) for number in range(700)]
    received: list[Message] = []

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=64) as inflow:
            while len(received) < len(sent):
                deliveries = await take(inflow, min(50, len(sent) - len(received)))
                received.extend(delivery.message for delivery in deliveries)
                await inflow.ack(deliveries)

    assert await publish_while(bus, stock.exchange, sent, consume()) == {}
    assert received == sent


async def test_a_message_handed_back_comes_again_before_later_ones(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=2) as inflow:
            first, second = await take(inflow, 2)
            await inflow.retry([second])
            [again] = await take(inflow, 1)
            assert again.message == second.message
            assert (first.earlier_deliveries, again.earlier_deliveries) == (0, 1)
            await inflow.ack([first, again])
            await inflow.ack(await take(inflow, 2))

    assert await publish_while(bus, stock.exchange, [order(number) for number in range(4)], consume()) == {}


async def test_what_a_consumer_that_leaves_has_not_settled_goes_to_the_next_in_order(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=10) as inflow:
            deliveries = await take(inflow, 4)
            await inflow.ack([deliveries[1]])
        async with bus.consume(stock.name, prefetch=10) as inflow:
            deliveries = await take(inflow, 3)
            assert ids(deliveries) == ["order-0", "order-2", "order-3"]
            assert [delivery.earlier_deliveries for delivery in deliveries] == [1, 1, 1]
            await inflow.ack(deliveries)

    assert await publish_while(bus, stock.exchange, [order(number) for number in range(4)], consume()) == {}


async def test_acknowledging_in_any_order_settles_exactly_those(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=10) as inflow:
            deliveries = await take(inflow, 9)
            await inflow.ack([deliveries[4], deliveries[2]])
            await inflow.retry([deliveries[6]])
            await inflow.ack([deliveries[1], deliveries[0], deliveries[3]])
            await inflow.ack([deliveries[5], deliveries[8]])
        assert {message.message_id for message in await drain(bus, stock.name, 2)} == {"order-6", "order-7"}

    assert await publish_while(bus, stock.exchange, [order(number) for number in range(9)], consume()) == {}


async def test_settling_a_delivery_twice_is_refused_and_harms_nobody(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=10) as inflow:
            first, second = await take(inflow, 2)
            await inflow.ack([first])
            with pytest.raises(ValueError, match="settled twice"):
                await inflow.ack([first])
            with pytest.raises(ValueError, match="settled twice"):
                await inflow.retry([second, second])
            await inflow.ack([second])

    assert await publish_while(bus, stock.exchange, [order(1), order(2)], consume()) == {}


async def test_every_bound_queue_gets_the_message_and_no_other(bus: Bus) -> None:
    inventory = a_queue("inventory", "order_created", "order_cancelled")
    notifier = a_queue("notifier", "order_created", exchange=inventory.exchange)
    elsewhere = a_queue("elsewhere", "order_created")
    await bus.declare([inventory, notifier, elsewhere])
    await bus.declare([inventory, notifier, elsewhere])
    sent = [order(1), order(2, "order_cancelled")]

    async def consume() -> None:
        assert await drain(bus, inventory.name, 2) == sent
        assert await drain(bus, notifier.name, 1) == sent[:1]
        async with bus.consume(elsewhere.name, prefetch=1) as inflow:
            await assert_quiet(inflow)

    assert await publish_while(bus, inventory.exchange, sent, consume()) == {}


async def test_a_message_for_nobody_is_not_confirmed_unless_that_is_allowed(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])
    optional = Message("optional", "unheard_of", "text/plain", b"", mandatory=False)
    unconfirmed = await publish_while(
        bus, stock.exchange, [order(1), order(2, "unheard_of"), optional], drain(bus, stock.name, 1)
    )
    assert list(unconfirmed) == ["order-2"]
    assert "no queue is bound to topic unheard_of" in unconfirmed["order-2"]


async def test_publishing_to_an_exchange_that_nobody_listens_on_is_unconfirmed(bus: Bus) -> None:
    assert list(await bus.publish(f"events.{uuid4().hex}", [order(1)])) == ["order-1"]


async def test_the_default_exchange_leads_to_the_queue_of_that_name(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])
    direct = order(1, topic=stock.dead_letter_queue)
    astray = order(2, topic="no.such.queue")
    unconfirmed = await publish_while(bus, "", [direct, astray], drain(bus, stock.dead_letter_queue, 1))
    assert list(unconfirmed) == ["order-2"]


async def test_a_message_that_is_handed_back_too_often_is_dead_lettered_as_it_was(bus: Bus) -> None:
    queue = a_queue("inventory", "order_created", delivery_limit=2)
    await bus.declare([queue])

    async def consume() -> None:
        async with bus.consume(queue.name, prefetch=10) as inflow:
            for earlier in (0, 1, 2):
                [poison] = await take(inflow, 1)
                assert poison.earlier_deliveries == earlier
                await inflow.retry([poison])
            await assert_quiet(inflow)
        [dead] = await drain(bus, queue.dead_letter_queue, 1)
        assert (dead.message_id, dead.topic, dead.content_type, dead.body) == (
            "order-13",
            "order_created",
            "application/cloudevents+json",
            b'{"order": 13}',
        )

    assert await publish_while(bus, queue.exchange, [order(13)], consume()) == {}


async def test_a_message_that_kills_every_consumer_is_dead_lettered_and_the_rest_goes_on(bus: Bus) -> None:
    queue = a_queue("inventory", "order_created", delivery_limit=2)
    await bus.declare([queue])

    async def consume() -> None:
        for _ in range(3):
            async with bus.consume(queue.name, prefetch=1) as inflow:
                assert ids(await take(inflow, 1)) == ["order-13"]
        assert await drain(bus, queue.name, 1) == [order(14)]
        [dead] = await drain(bus, queue.dead_letter_queue, 1)
        assert dead.message_id == "order-13"

    assert await publish_while(bus, queue.exchange, [order(13), order(14)], consume()) == {}


async def test_a_dead_letter_is_never_given_up(bus: Bus) -> None:
    queue = a_queue("inventory", "order_created", delivery_limit=0)
    await bus.declare([queue])

    async def consume() -> None:
        async with bus.consume(queue.name, prefetch=1) as inflow:
            await inflow.retry(await take(inflow, 1))
        async with bus.consume(queue.dead_letter_queue, prefetch=1) as inflow:
            for _ in range(25):
                await inflow.retry(await take(inflow, 1))
            await inflow.ack(await take(inflow, 1))

    assert await publish_while(bus, queue.exchange, [order(13)], consume()) == {}


async def test_a_full_queue_confirms_no_more_until_there_is_room_and_loses_nothing(make_bus: MakeBus) -> None:
    bus = make_bus(0.5)
    queue = a_queue("inventory", "order_created", limit_messages=20)
    await bus.declare([queue])
    sent = {message.message_id: message for message in map(order, range(60))}
    refused = (
        [message_id for message in sent.values() for message_id in await bus.publish(queue.exchange, [message])]
        if not isinstance(bus, InProcessBus)
        else list(await bus.publish(queue.exchange, list(sent.values())))
    )
    assert len(refused) >= 39
    received: Counter[str] = Counter()

    async def consume() -> None:
        async with bus.consume(queue.name, prefetch=5) as inflow:
            while len(received) < len(sent):
                deliveries = await inflow.batch(5, LINGER_SECONDS)
                received.update(ids(deliveries))
                await inflow.ack(deliveries)

    async def relay() -> None:
        waiting = [sent[message_id] for message_id in refused]
        while waiting:
            unconfirmed = await bus.publish(queue.exchange, waiting[:10])
            waiting = [message for message in waiting[:10] if message.message_id in unconfirmed] + waiting[10:]

    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(consume(), relay())
    assert received.keys() == sent.keys()


async def test_competing_consumers_share_without_doubles(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])
    shares: list[list[str]] = [[], [], []]
    everything = asyncio.Event()

    async def consume(share: list[str]) -> None:
        async with bus.consume(stock.name, prefetch=4) as inflow:
            while True:
                deliveries = await inflow.batch(4, 0)
                share.extend(ids(deliveries))
                await inflow.ack(deliveries)
                if sum(map(len, shares)) == 300:
                    everything.set()

    consumers = [asyncio.create_task(consume(share)) for share in shares]
    messages = [order(number) for number in range(300)]
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await publish_while(bus, stock.exchange, messages, everything.wait()) == {}
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    assert sorted(message_id for share in shares for message_id in share) == sorted(
        message.message_id for message in messages
    )
    assert all(shares)


async def test_no_more_than_the_prefetch_is_out_and_giving_up_a_wait_loses_nothing(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])

    async def consume() -> None:
        async with bus.consume(stock.name, prefetch=3) as inflow:
            deliveries = await take(inflow, 3)
            await assert_quiet(inflow)
            await inflow.ack(deliveries[:1])
            deliveries += await take(inflow, 1)
            await assert_quiet(inflow)
            await inflow.ack(deliveries[1:])
            deliveries += await take(inflow, 1)
            await inflow.ack(deliveries[4:])
            assert ids(deliveries) == [f"order-{number}" for number in range(5)]

    assert await publish_while(bus, stock.exchange, [order(number) for number in range(5)], consume()) == {}


async def test_a_batch_lingers_for_more_but_not_past_its_limit(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])

    async def publish_one_by_one() -> None:
        await asyncio.gather(*(bus.publish(stock.exchange, [order(number)]) for number in range(5)))

    async with bus.consume(stock.name, prefetch=10) as inflow, asyncio.timeout(DEADLINE_SECONDS):
        publishing = asyncio.create_task(publish_one_by_one())
        first = await inflow.batch(3, DEADLINE_SECONDS)
        assert len(first) == 3
        rest = await inflow.batch(2, DEADLINE_SECONDS)
        await inflow.ack([*first, *rest])
        await publishing


async def test_depths_tell_what_waits_and_who_consumes(make_bus: MakeBus) -> None:
    bus = make_bus(1)
    queue, empty = a_queue("inventory", "order_created"), a_queue("notifier", "unheard_of")
    await bus.declare([queue, empty])

    def come_to(messages: int, consumers: int) -> Awaitable[None]:
        wanted = {queue.name: Depth(messages, consumers), empty.name: Depth(0, 0)}

        async def holds() -> bool:
            return await bus.depths([queue.name, "no.such", empty.name]) == wanted

        return eventually(f"the queues have {wanted}", holds)

    await come_to(0, 0)
    await bus.publish(queue.exchange, [order(number) for number in range(5)])
    await come_to(5, 0)
    async with bus.consume(queue.name, prefetch=2) as inflow:
        deliveries = await take(inflow, 2)
        await come_to(3, 1)
        await inflow.ack(deliveries)
    await come_to(3, 0)


async def test_a_queue_that_nobody_declared_cannot_be_consumed(bus: Bus) -> None:
    with pytest.raises(BusUnavailableError, match=r"no\.such"):
        async with bus.consume("no.such", prefetch=1):
            pass


async def test_a_closed_bus_refuses_everything_and_wakes_who_waits(bus: Bus, stock: Queue) -> None:
    await bus.declare([stock])
    await bus.check()
    async with bus.consume(stock.name, prefetch=1) as inflow:
        waiting = asyncio.create_task(inflow.batch(1, 0))
        await asyncio.wait({waiting}, timeout=LINGER_SECONDS)
        await bus.close()
        with pytest.raises(BusUnavailableError):
            await waiting
        with pytest.raises(BusUnavailableError):
            await inflow.ack([])
    for use in (bus.check(), bus.depths([stock.name]), bus.declare([stock]), bus.publish(stock.exchange, [order(1)])):
        with pytest.raises(BusUnavailableError):
            await use
    with pytest.raises(BusUnavailableError):
        async with bus.consume(stock.name, prefetch=1):
            pass
