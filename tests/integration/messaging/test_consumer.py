"""What the consumer promises, told with a service that writes down each company it hears of."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.database import Session
from shared.events import SINGLE, Event
from shared.events.catalog import CompanyChanged
from shared.messaging import inbox
from shared.messaging.bus import EVENTS_EXCHANGE, BusUnavailableError, Delivery, Message
from shared.messaging.consumer import Consumer, handle, on, sources_of
from shared.messaging.in_process import InProcessBus, InProcessInflow
from tests.integration.messaging.kitchen import (
    batch_of,
    company,
    effects,
    kitchen,
    listening,
    message_of,
    note_effects,
    rows,
)

TOPIC = "catalog.company_changed"


async def test_a_duplicate_has_no_second_effect(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database, listening(database) as kitchen_ear:
        message = message_of(company(1), "event-1")
        await kitchen_ear.publish(message)
        await kitchen_ear.publish(message)
        assert await effects(database) == ["company-1"]


async def test_a_duplicate_within_one_batch_has_no_second_effect(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database, listening(database) as kitchen_ear:
        first = message_of(company(1), "event-1")
        again = Message("another-message", first.topic, first.content_type, first.body)
        await kitchen_ear.publish(first, again)
        assert await effects(database) == ["company-1"]


async def test_a_poison_event_is_set_aside_and_the_others_go_through(database_dsn: str) -> None:
    tries: list[int] = []

    async def refuse_number_13(session: Session, events: Sequence[CompanyChanged]) -> None:
        tries.append(len(events))
        await note_effects(session, events)
        if any(event.company_id == 13 for event in events):
            message = "company 13 brings bad luck"
            raise ValueError(message)

    async with kitchen(database_dsn) as database, listening(database, refuse_number_13) as kitchen_ear:
        await kitchen_ear.publish(*(message_of(company(number)) for number in range(40)))
        assert sorted(await effects(database)) == sorted(f"company-{number}" for number in range(40) if number != 13)
        (dead,) = await rows(database, "select queue, topic, reason, body from dead_letters")
        assert (dead.queue, dead.topic) == ("kitchen.catalog", "catalog.company_changed")
        assert dead.reason == "ValueError: company 13 brings bad luck"
        assert b"company-13" in dead.body
        assert len(tries) < 20, "halves find the one among 40 in few transactions, not one by one"


async def test_full_messages_do_not_make_one_huge_transaction(database_dsn: str) -> None:
    together: list[int] = []

    async def count(session: Session, events: Sequence[CompanyChanged]) -> None:
        together.append(len(events))
        await note_effects(session, events)

    async with kitchen(database_dsn) as database, listening(database, count) as kitchen_ear:
        full = [batch_of([company(30 * message + number) for number in range(30)]) for message in range(20)]
        larger_than_a_batch = batch_of([company(600 + number) for number in range(150)])
        await kitchen_ear.publish(*full, larger_than_a_batch)
        assert sorted(await effects(database)) == sorted(f"company-{number}" for number in range(750))
        assert max(size for size in together if size != 150) <= 100
        assert together.count(150) == 1


async def test_an_event_that_fails_for_a_moment_is_not_dead_lettered(database_dsn: str) -> None:
    failures = iter([True, True])

    async def fail_twice(session: Session, events: Sequence[CompanyChanged]) -> None:
        await note_effects(session, events)
        if next(failures, False):
            message = "not yet"
            raise LookupError(message)

    async with kitchen(database_dsn) as database, listening(database, fail_twice) as kitchen_ear:
        await kitchen_ear.publish(message_of(company(1)))
        assert await effects(database) == ["company-1"]
        assert await rows(database, "select * from dead_letters") == []


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        (SINGLE, b"{oops", "the body is not JSON"),
        ("text/plain", b"hello", "content type 'text/plain' is neither"),
        (SINGLE, b'{"id": "e1", "type": "basestock.catalog.nothing.v1"}', "unknown type"),
        (SINGLE, b'{"type": "basestock.catalog.company_changed.v1"}', "has no id"),
        (
            SINGLE,
            b'{"id": "e1", "type": "basestock.catalog.company_changed.v1", "data": {"company_id": "x"}}',
            "company_id: Input should be a valid integer",
        ),
    ],
)
async def test_a_malformed_message_is_dead_lettered_with_its_reason(
    database_dsn: str, content_type: str, body: bytes, reason: str
) -> None:
    async with kitchen(database_dsn) as database, listening(database) as kitchen_ear:
        bad = Message("bad-1", "catalog.company_changed", content_type, body)
        await kitchen_ear.publish(message_of(company(1)), bad, message_of(company(2)))
        assert sorted(await effects(database)) == ["company-1", "company-2"]
        (dead,) = await rows(database, "select message_id, reason, body from dead_letters")
        assert (dead.message_id, dead.body) == ("bad-1", body)
        assert reason in dead.reason


async def test_while_the_database_is_away_nothing_is_split_counted_or_lost(database_dsn: str) -> None:
    seen: list[int] = []

    async def lose_the_connection_twice(session: Session, events: Sequence[CompanyChanged]) -> None:
        seen.append(len(events))
        if len(seen) <= 2:
            await session.execute(text("select pg_terminate_backend(pg_backend_pid())"))
        await note_effects(session, events)

    async with kitchen(database_dsn) as database, listening(database, lose_the_connection_twice) as kitchen_ear:
        await kitchen_ear.publish(*(message_of(company(number)) for number in range(20)))
        assert seen[:3] == [seen[0]] * 3, "the same batch again, whole"
        assert len(await effects(database)) == 20
        assert await rows(database, "select * from dead_letters") == []


async def test_a_driver_error_without_a_state_is_the_connections_fault(database_dsn: str) -> None:
    failures = iter([True])

    async def fail_once(session: Session, events: Sequence[CompanyChanged]) -> None:
        if next(failures, False):
            statement = "select 1"
            raise OperationalError(statement, None, ConnectionResetError("reset by peer"))
        await note_effects(session, events)

    async with kitchen(database_dsn) as database, listening(database, fail_once) as kitchen_ear:
        await kitchen_ear.publish(*(message_of(company(number)) for number in range(3)))
        assert len(await effects(database)) == 3


async def test_a_message_is_acknowledged_when_its_effect_is_committed(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge = InProcessInflow.ack
    committed: list[list[str]] = []

    async with kitchen(database_dsn) as database, listening(database) as kitchen_ear:

        async def look_first(inflow: InProcessInflow, deliveries: Sequence[Delivery]) -> None:
            committed.append(await effects(database))
            await acknowledge(inflow, deliveries)

        monkeypatch.setattr(InProcessInflow, "ack", look_first)
        await kitchen_ear.publish(message_of(company(1)))
    assert committed == [["company-1"]], "a crash after the acknowledgement would lose it"


async def test_a_crash_between_commit_and_acknowledgement_is_harmless(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        bus = InProcessBus(publish_timeout_seconds=20)
        (source,) = sources_of("kitchen", (on(CompanyChanged, note_effects),), limit_messages=10)
        await bus.declare([source.queue])
        consumer = Consumer(database, bus, source, batch_events=10, linger_seconds=0, retry_seconds=())
        publishing = asyncio.create_task(bus.publish(EVENTS_EXCHANGE, [message_of(company(1), "event-1")]))
        # The first life: the batch is committed, then the process dies before it acknowledges.
        async with bus.consume(source.queue.name, prefetch=10) as inflow:
            (delivery,) = await inflow.batch(10, 0)
            event = source.decode(delivery.message)
            async with database.transaction() as session:
                await handle(session, source, event)
        task = asyncio.create_task(consumer.run())
        assert await publishing == {}
        assert await effects(database) == ["company-1"]
        task.cancel()
        await asyncio.wait([task])
        await bus.close()


async def test_the_consumer_opens_its_queue_anew_when_the_broker_takes_it_away(database_dsn: str) -> None:
    class Flaky(InProcessBus):
        opened = 0

        def consume(self, queue: str, prefetch: int):  # type: ignore[no-untyped-def] # noqa: ANN202 - as in the base
            self.opened += 1
            if self.opened <= 4:
                message = "the broker is restarting"
                raise BusUnavailableError(message)
            return super().consume(queue, prefetch)

    async with kitchen(database_dsn) as database:
        bus = Flaky(publish_timeout_seconds=20)
        (source,) = sources_of("kitchen", (on(CompanyChanged, note_effects),), limit_messages=10)
        await bus.declare([source.queue])
        consumer = Consumer(database, bus, source, batch_events=10, linger_seconds=0, retry_seconds=())
        task = asyncio.create_task(consumer.run())
        assert await bus.publish(EVENTS_EXCHANGE, [message_of(company(1))]) == {}
        assert await effects(database) == ["company-1"]
        task.cancel()
        await asyncio.wait([task])
        await bus.close()


async def test_two_consumers_of_the_same_events_wait_for_each_other_in_one_order(database_dsn: str) -> None:
    """Without an order of locks each would hold what the other wants."""
    async with kitchen(database_dsn) as database:
        async with database.transaction() as first:
            await inbox.claim(first, ["a"])

            async def claim_both() -> set[str]:
                async with database.transaction() as second:
                    return await inbox.claim(second, ["b", "a"])

            other = asyncio.create_task(claim_both())
            waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%inbox%'"
            async with asyncio.timeout(20):
                while not await rows(database, waiting):
                    await asyncio.sleep(0.01)
            assert await inbox.claim(first, ["b"]) == {"b"}
        assert await other == set()


async def test_two_bad_messages_without_an_id_of_their_own_are_both_kept(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database, listening(database) as kitchen_ear:
        for body in (b"one", b"two", b"two"):
            await kitchen_ear.publish(Message("", "catalog.company_changed", SINGLE, body))
        assert [row.body for row in await rows(database, "select body from dead_letters order by body")] == [
            b"one",
            b"two",
        ]


@pytest.mark.parametrize(
    ("bad", "stored_id", "reason"),
    [
        (Message("m\0d", TOPIC, "a\0b", b"x", user_id="u\0"), "m\ufffdd", "content type 'a\\x00b' is neither"),
        (Message("m\udcff", TOPIC, "\ud800", b"x"), "m\ufffd", "is neither"),
        (Message("m", TOPIC, SINGLE, b'{"id": "a\\u0000b", "type": "x"}'), "m", "NUL is not among them"),
        (Message("m", TOPIC, SINGLE, b'{"id": "e", "type": "a\\u0000b"}'), "m", "unknown type"),
    ],
)
async def test_what_no_text_column_can_hold_is_buried_all_the_same(
    database_dsn: str, bad: Message, stored_id: str, reason: str
) -> None:
    async with kitchen(database_dsn) as database, listening(database) as kitchen_ear:
        await kitchen_ear.publish(message_of(company(1)), bad, message_of(company(2)))
        assert sorted(await effects(database)) == ["company-1", "company-2"]
        (dead,) = await rows(database, "select message_id, reason, body from dead_letters")
        assert (dead.message_id, dead.body) == (stored_id, bad.body)
        assert reason in dead.reason


@pytest.mark.parametrize("odd", ["\0", "\ud800"])
async def test_a_handlers_odd_words_are_buried_all_the_same(database_dsn: str, odd: str) -> None:
    async def complain(_: Session, events: Sequence[CompanyChanged]) -> None:
        message = f"no{odd}{len(events)}"
        raise ValueError(message)

    async with kitchen(database_dsn) as database, listening(database, complain) as kitchen_ear:
        await kitchen_ear.publish(message_of(company(1)))
        (dead,) = await rows(database, "select reason from dead_letters")
        assert dead.reason == "ValueError: no\ufffd1"


async def test_a_message_that_breaks_its_decoder_is_buried_and_the_others_go_through(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        bus = InProcessBus(publish_timeout_seconds=20)
        (source,) = sources_of("kitchen", (on(CompanyChanged, note_effects),), limit_messages=10)
        await bus.declare([source.queue])

        def stumble(message: Message) -> list[Event]:
            if message.body == b"bad":
                raise RecursionError(message.message_id)
            return source.decode(message)

        stumbling = replace(source, decode=stumble)
        consumer = Consumer(database, bus, stumbling, batch_events=10, linger_seconds=0, retry_seconds=())
        task = asyncio.create_task(consumer.run())
        bad = Message("deep", TOPIC, SINGLE, b"bad")
        assert await bus.publish(EVENTS_EXCHANGE, [bad, message_of(company(1))]) == {}
        assert await effects(database) == ["company-1"]
        assert [row.reason for row in await rows(database, "select reason from dead_letters")] == [
            "RecursionError: deep"
        ]
        task.cancel()
        await asyncio.wait([task])
        await bus.close()
