"""The outbox: what is published commits with the transaction, and reaches the bus whatever happens in between."""

import asyncio
import json
from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from shared import clock
from shared.database import Database
from shared.events import BATCH, SINGLE, decode, types_by_wire_name
from shared.events.catalog import CompanyChanged
from shared.messaging.bus import EVENTS_EXCHANGE, BusUnavailableError, Message, Queue
from shared.messaging.in_process import InProcessBus
from shared.messaging.outbox import Relay, Reply, publish, reply
from tests.integration.messaging.kitchen import company, kitchen, note_effects, rows

KNOWN = types_by_wire_name([CompanyChanged])


class RecordingBus(InProcessBus):
    """Confirms what it is told to, and remembers all."""

    def __init__(self) -> None:
        super().__init__(publish_timeout_seconds=5)
        self.published: list[Message] = []
        self.refuse: set[str] = set()
        self.away = False

    async def publish(self, exchange: str, messages: Sequence[Message]) -> Mapping[str, str]:
        assert exchange == EVENTS_EXCHANGE
        if self.away:
            message = "no broker"
            raise BusUnavailableError(message)
        self.published += messages
        return {message.message_id: "queue full" for message in messages if message.message_id in self.refuse}


def relay_of(database, bus: InProcessBus) -> Relay:  # type: ignore[no-untyped-def] # noqa: ANN001 - the fixture's
    return Relay(database, bus, batch_messages=50, poll_seconds=0.05)


async def test_events_of_one_transaction_travel_together(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            for number in range(250):
                publish(session, company(number))
        bus = RecordingBus()
        assert await relay_of(database, bus).relay_batch() == (3, 0)
        assert [message.content_type for message in bus.published] == [BATCH, BATCH, BATCH]
        events = [event for message in bus.published for event in decode(BATCH, message.body, KNOWN)]
        assert sorted(int(event.subject()) for event in events) == list(range(250))
        assert len({event.event_id for event in events}) == 250
        assert await rows(database, "select * from outbox") == []


async def test_the_bytes_stored_are_the_bytes_sent(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            publish(session, company(7, version=3))
        ((stored,),) = await rows(database, "select body from outbox")
        bus = RecordingBus()
        await relay_of(database, bus).relay_batch()
        (message,) = bus.published
        assert (message.body, message.content_type, message.topic) == (stored, SINGLE, "catalog.company_changed")
        envelope = json.loads(message.body)
        assert envelope["type"] == "basestock.catalog.company_changed.v1"
        assert envelope["source"] == "/basestock/catalog"
        assert envelope["sequence"] == "00000000000000000003"
        assert envelope["traceparent"] == message.headers["traceparent"]


async def test_a_transaction_that_fails_publishes_nothing(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:

        async def fail_after_publishing() -> None:
            async with database.transaction() as session:
                publish(session, company(1))
                message = "the handler failed"
                raise ValueError(message)

        with pytest.raises(ValueError, match="the handler failed"):
            await fail_after_publishing()
        assert await rows(database, "select * from outbox") == []
        assert not database.outbox_written["ordinary"].is_set()


async def test_an_effect_and_its_events_are_written_by_one_transaction(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            await note_effects(session, [company(1)])
            publish(session, company(1))
        written_by = await rows(database, "select xmin from effects union all select xmin from outbox")
        assert len(written_by) == 2
        assert len(set(written_by)) == 1, "a crash between two transactions would leave one without the other"


async def test_what_is_not_confirmed_stays_and_goes_again(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        for number in (1, 2):
            async with database.transaction() as session:
                publish(session, company(number))
        ((refused,), _) = await rows(database, "select message_id from outbox order by created_at")
        bus = RecordingBus()
        bus.refuse = {str(refused)}
        relay = relay_of(database, bus)
        assert await relay.relay_batch() == (1, 1)
        assert [row.message_id for row in await rows(database, "select message_id from outbox")] == [refused]
        bus.refuse = set()
        assert await relay.relay_batch() == (1, 0)
        assert bus.published[0].body == bus.published[2].body


async def test_a_broker_that_is_away_loses_nothing(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            publish(session, company(1))
        bus = RecordingBus()
        bus.away = True
        relay = relay_of(database, bus)
        with pytest.raises(BusUnavailableError):
            await relay.relay_batch()
        assert len(await rows(database, "select * from outbox")) == 1
        task = asyncio.create_task(relay.run())
        bus.away = False
        async with asyncio.timeout(10):
            while not bus.published:
                database.outbox_written["ordinary"].set()
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])


async def test_a_transaction_that_commits_late_is_not_skipped(database_dsn: str) -> None:
    """The trap of relays that remember a position: ids are given before the commit."""
    async with kitchen(database_dsn) as database:
        bus = RecordingBus()
        relay = relay_of(database, bus)
        async with database.transaction() as early:
            publish(early, company(1))
            await early.execute(text("select 1"))
            async with database.transaction() as late:
                publish(late, company(2))
            assert await relay.relay_batch() == (1, 0)
        assert await relay.relay_batch() == (1, 0)
        assert len(bus.published) == 2


async def test_a_relay_finds_what_another_process_wrote(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        bus = RecordingBus()
        loop = asyncio.create_task(relay_of(database, bus)._loop("ordinary"))
        elsewhere = Database("kitchen", database_dsn, pool_size=1)
        for number, writer in enumerate((database, elsewhere), 1):
            async with writer.transaction() as session:
                publish(session, company(number))
            deadline = clock.monotonic() + 10
            while await rows(database, "select * from outbox"):
                assert clock.monotonic() < deadline, "only a commit in its own process wakes the relay"
                await asyncio.sleep(0.01)
        assert len(bus.published) == 2
        loop.cancel()
        await asyncio.wait([loop])
        await elsewhere.close()


async def test_two_relays_share_the_rows(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        for number in range(30):
            async with database.transaction() as session:
                publish(session, company(number))
        bus = RecordingBus()
        relays = [Relay(database, bus, batch_messages=10, poll_seconds=1) for _ in range(3)]
        assert sorted(await asyncio.gather(*(relay.relay_batch() for relay in relays))) == [(10, 0)] * 3
        assert len({message.message_id for message in bus.published}) == 30


async def test_big_events_travel_in_messages_that_the_broker_takes(database_dsn: str) -> None:
    """RabbitMQ 4 refuses more than 16 MiB, for ever; a hundred big orders in one message had 20."""
    async with kitchen(database_dsn) as database:
        sizes = [400_000] * 5 + [3_000_000, 10, 10]
        async with database.transaction() as session:
            for number, size in enumerate(sizes):
                publish(session, company(number).model_copy(update={"display_name": "x" * size}))
        bus = RecordingBus()
        await relay_of(database, bus).relay_batch()
        carried = [
            [int(event.subject()) for event in decode(message.content_type, message.body, KNOWN)]
            for message in bus.published
        ]
        assert sorted(carried) == [[0, 1], [2, 3], [4], [5], [6, 7]], "the one above the limit stands alone"
        assert sorted(len(message.body) > 2**20 for message in bus.published) == [False, False, False, False, True]


async def test_a_pause_of_the_relay_says_what_happened(database_dsn: str) -> None:
    class TimingOut(RecordingBus):
        async def publish(self, *_: object) -> Mapping[str, str]:
            raise TimeoutError

    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            publish(session, company(1))
        with capture_logs() as logs:
            task = asyncio.create_task(relay_of(database, TimingOut()).run())
            async with asyncio.timeout(20):
                while not logs:
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
        assert logs[0]["event"] == "outbox_relay_paused"
        assert logs[0]["error"] == "TimeoutError()"


async def test_a_reply_goes_to_its_queue_and_to_none_that_is_gone(database_dsn: str) -> None:
    bus = InProcessBus(publish_timeout_seconds=20)
    await bus.declare([Queue("replies.shop", topics=())])
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            reply(session, Reply("replies.gone", "1", b"{}"))
            reply(session, Reply("replies.shop", "2", b'{"row":0}'))
        assert await relay_of(database, bus).relay_batch() == (0, 0)
        async with bus.consume("replies.shop", prefetch=10) as inflow:
            relaying = asyncio.create_task(relay_of(database, bus).relay_batch("replies"))
            (delivery,) = await inflow.batch(10, 0)
            await inflow.ack([delivery])
        assert await relaying == (2, 0)
        message = delivery.message
        assert (message.correlation_id, message.content_type, message.body) == ("2", "application/json", b'{"row":0}')
        assert await rows(database, "select * from outbox") == []


async def test_a_reply_that_its_queue_refuses_is_dropped_and_holds_up_nobody(database_dsn: str) -> None:
    bus = InProcessBus(publish_timeout_seconds=0.2)
    await bus.declare([Queue("replies.full", topics=(), limit_messages=1)])
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            reply(session, Reply("replies.full", "1", b"{}"))
            reply(session, Reply("replies.full", "2", b"{}"))
            reply(session, Reply("replies.gone", "3", b"{}"))
        assert await relay_of(database, bus).relay_batch("replies") == (3, 0)
        assert await rows(database, "select * from outbox") == []


async def test_while_the_broker_is_away_replies_stay(database_dsn: str) -> None:
    bus = InProcessBus(publish_timeout_seconds=20)
    await bus.close()
    async with kitchen(database_dsn) as database:
        async with database.transaction() as session:
            reply(session, Reply("replies.shop", "1", b"{}"))
        with pytest.raises(BusUnavailableError):
            await relay_of(database, bus).relay_batch("replies")
        assert len(await rows(database, "select * from outbox where exchange = ''")) == 1
