"""Dead letters: entered once, told once, and handled again with one effect."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared import clock
from shared.database import Database, Session
from shared.events import Event
from shared.events.catalog import CompanyChanged
from shared.messaging import dead_letters
from shared.messaging.bus import Message
from shared.messaging.consumer import Consumer, Failure, Source, on, reason_of, sources_of
from shared.messaging.dead_letters import Whose
from shared.messaging.in_process import InProcessBus
from shared.messaging.outbox import publish
from shared.messaging.redriving import NoConsumerError, NotThereError, redrive
from tests.integration.messaging.kitchen import batch_of, company, effects, kitchen, message_of, note_effects, rows

QUEUE = "kitchen.catalog"
ALL = Whose()


@dataclass
class Cook:
    """A handler that refuses some companies until they are forgiven, and waits while its gate is shut."""

    refused: set[int] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[tuple[UUID, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def handle(self, session: Session, events: Sequence[CompanyChanged]) -> None:
        await note_effects(session, events)
        publish(session, *events)
        await self.gate.wait()
        bad = [event.ref for event in events if event.company_id in self.refused]
        if bad:
            message = f"no {', '.join(bad)}"
            raise LookupError(message)

    async def refuse(self, _: Session, id_: UUID, __: Message, failures: Sequence[Failure]) -> None:
        self.told.append((id_, [str(error) for _, error in failures]))

    def source(self) -> Source:
        (source,) = sources_of("kitchen", (on(CompanyChanged, self.handle),), limit_messages=100)
        return replace(source, refuse=self.refuse)


async def bury(database: Database, message: Message, *, queue: str = QUEUE) -> UUID:
    async with database.transaction() as session:
        entered = await dead_letters.bury(session, queue, message, "it failed")
    assert entered is not None
    return entered


async def letters(database: Database) -> list[str]:
    return [row.reason for row in await rows(database, "select reason from dead_letters order by dead_letter_id")]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await clock.sleep(0.01)


async def somebody_waits(database: Database) -> bool:
    """Whether a transaction waits for another's lock."""
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return bool(await rows(database, waiting))


@dataclass
class Consuming:
    """The consumer of this source, run for as long as a test wants."""

    database: Database
    source: Source
    bus: InProcessBus = field(default_factory=lambda: InProcessBus(publish_timeout_seconds=20))

    async def __aenter__(self) -> InProcessBus:
        await self.bus.declare([self.source.queue])
        consumer = Consumer(
            self.database, self.bus, self.source, batch_events=100, linger_seconds=0, retry_seconds=(0.01, 0.01)
        )
        self.task = asyncio.create_task(consumer.run())
        return self.bus

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.bus.close()


async def test_what_is_redriven_has_its_effect_and_is_gone(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        letter = await bury(database, batch_of([company(1), company(2)]))
        source = Cook().source()
        assert await redrive(database, {QUEUE: source}, letter, ALL) == []
        assert await effects(database) == ["company-1", "company-2"]
        assert await letters(database) == []
        assert len(await rows(database, "select * from outbox")) == 1
        with pytest.raises(NotThereError):
            await redrive(database, {QUEUE: source}, letter, ALL)


async def test_what_fails_again_stays_with_the_new_reason_and_the_rest_is_done(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        letter = await bury(database, batch_of([company(1), company(13), company(2)]))
        cook = Cook({13})
        sources = {QUEUE: cook.source()}
        failures = await redrive(database, sources, letter, ALL)
        assert reason_of(failures) == "LookupError: no company-13"
        assert await effects(database) == ["company-1", "company-2"]
        assert await letters(database) == ["LookupError: no company-13"]
        cook.refused.clear()
        assert await redrive(database, sources, letter, ALL) == []
        assert await effects(database) == ["company-1", "company-2", "company-13"]
        # Of what failed nothing was published, and of what was done all of it, once.
        published = b"".join(row.body for row in await rows(database, "select body from outbox"))
        assert [published.count(b'"company-%d"' % number) for number in (1, 2, 13)] == [1, 1, 1]


async def test_what_cannot_be_read_stays_unread(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        letter = await bury(database, Message("m", "catalog.company_changed", "text/csv", b"\xff"))
        assert await redrive(database, {QUEUE: Cook().source()}, letter, ALL)
        assert "content type 'text/csv' is neither" in (await letters(database))[0]
        orphan = await bury(database, message_of(company(1)), queue="kitchen.gone")
        with pytest.raises(NoConsumerError, match=r"kitchen\.gone"):
            await redrive(database, {QUEUE: Cook().source()}, orphan, ALL)


async def test_of_two_that_redrive_it_at_once_one_has_an_effect(database_dsn: str) -> None:
    cook = Cook()
    cook.gate.clear()
    async with kitchen(database_dsn) as database:
        letter = await bury(database, message_of(company(1)))
        redriving = [asyncio.create_task(redrive(database, {QUEUE: cook.source()}, letter, ALL)) for _ in range(2)]

        await eventually(lambda: somebody_waits(database))
        cook.gate.set()
        outcomes = await asyncio.gather(*redriving, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {list, NotThereError}
        assert await effects(database) == ["company-1"]


async def test_beside_a_redelivery_it_has_one_effect(database_dsn: str) -> None:
    cook = Cook()
    cook.gate.clear()
    message = message_of(company(1), "event-1")
    async with kitchen(database_dsn) as database, Consuming(database, cook.source()) as bus:
        letter = await bury(database, message)
        redriving = asyncio.create_task(redrive(database, {QUEUE: cook.source()}, letter, ALL))
        redelivering = asyncio.create_task(bus.publish("basestock.events", [message]))

        await eventually(lambda: somebody_waits(database))
        cook.gate.set()
        assert await redriving == []
        assert await redelivering == {}
        assert await effects(database) == ["company-1"]
        assert await letters(database) == []


async def test_a_dead_letter_is_told_of_once_with_all_that_failed(database_dsn: str) -> None:
    cook = Cook({13, 14})
    message = batch_of([company(1), company(13), company(14)])
    async with kitchen(database_dsn) as database, Consuming(database, cook.source()) as bus:
        for _ in range(2):  # a crash between commit and acknowledgement has it delivered again
            assert not await bus.publish("basestock.events", [message])
        assert await effects(database) == ["company-1"]
        assert await letters(database) == ["LookupError: no company-13; LookupError: no company-14"]
        (row,) = await rows(database, "select dead_letter_id from dead_letters")
        assert cook.told == [(row.dead_letter_id, ["no company-13", "no company-14"])]


@pytest.mark.parametrize(
    "change",
    [{"user_id": "other"}, {"correlation_id": "2"}, {"reply_to": "there"}, {"message_id": "m-2"}, {"body": b"{no"}],
    ids=lambda change: next(iter(change)),
)
async def test_messages_that_differ_are_kept_beside_one_another(database_dsn: str, change: dict[str, Any]) -> None:
    first = Message("m-1", "t", "c", b"{oops", user_id="shop", correlation_id="1", reply_to="here")
    async with kitchen(database_dsn) as database:
        await bury(database, first)
        async with database.transaction() as session:
            assert await dead_letters.bury(session, QUEUE, first, "again") is None
        await bury(database, replace(first, **change))
        assert len(await letters(database)) == 2


async def test_the_letters_of_a_queue_or_of_some_senders_are_found_newest_first(database_dsn: str) -> None:
    async with kitchen(database_dsn) as database:
        ids = [
            await bury(database, Message(str(number), "t", "c", b"x", user_id=user), queue=queue)
            for number, (queue, user) in enumerate([("a", "me"), ("a", None), ("b", "me"), ("a", "you"), ("a", "me")])
        ]

        async def found(whose: Whose, before: UUID | None = None, limit: int = 10) -> list[int]:
            async with database.transaction() as session:
                page = await dead_letters.find_page(session, whose, before, limit)
            return [ids.index(row.dead_letter_id) for row in page]

        assert await found(ALL) == [4, 3, 2, 1, 0]
        assert await found(Whose("a", ["me", "nobody"])) == [4, 0]
        assert await found(Whose("a", [])) == []
        assert await found(ALL, ids[3], 2) == [2, 1]
        async with database.transaction() as session:
            assert await dead_letters.find(session, ids[3], Whose("a", ["me"])) is None
            assert await dead_letters.find(session, uuid4(), ALL) is None
            letter = await dead_letters.find(session, ids[3], Whose("a", ["you"]))
        assert letter is not None
        assert (letter.queue, letter.message.user_id, letter.message.body) == ("a", "you", b"x")


def test_a_long_list_of_reasons_is_cut() -> None:
    failures: list[tuple[Event | None, Exception]] = [(None, ValueError(str(number))) for number in range(25)]
    assert reason_of(failures).endswith("; ValueError: 19; and 5 more")
