"""A small service of the tests' own, with the messaging tables and one table for its handlers' effects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text, text
from sqlalchemy.ext.asyncio import create_async_engine

from shared import clock
from shared.database import Database, Session, async_url
from shared.events import BATCH, SINGLE, encode, encode_batch
from shared.events.catalog import CompanyChanged
from shared.messaging.bus import EVENTS_EXCHANGE, Message
from shared.messaging.consumer import Consumer, Subscription, on, sources_of
from shared.messaging.in_process import InProcessBus
from shared.messaging.tables import add_messaging_tables

METADATA = MetaData(schema="kitchen")
add_messaging_tables(METADATA)
Table("effects", METADATA, Column("id", Integer, primary_key=True), Column("company", Text, nullable=False))


def company(number: int, version: int = 1) -> CompanyChanged:
    return CompanyChanged(
        company_id=number, ref=f"company-{number}", display_name=f"Company {number}", role="supplier", version=version
    )


def message_of(event: CompanyChanged, event_id: str | None = None) -> Message:
    event_id = event_id or str(clock.uuid7())
    return Message(event_id, event.name, SINGLE, encode(event, event_id, datetime.now(UTC), None))


def batch_of(events: Sequence[CompanyChanged]) -> Message:
    """One message with all these events."""
    encoded = [encode(event, clock.uuid7_text(), clock.utc_now(), None) for event in events]
    return Message(clock.uuid7_text(), events[0].name, BATCH, encode_batch(encoded))


async def note_effects(session: Session, events: Sequence[CompanyChanged]) -> None:
    """A handler with an effect that would show if it happened twice."""
    for event in events:
        await session.execute(text("insert into effects (company) values (:ref)"), {"ref": event.ref})


@asynccontextmanager
async def kitchen(dsn: str) -> AsyncIterator[Database]:
    """The service's database, with its tables."""
    engine = create_async_engine(async_url(dsn))
    async with engine.begin() as connection:
        await connection.execute(text("create schema kitchen"))
        await connection.run_sync(METADATA.create_all)
    await engine.dispose()
    database = Database("kitchen", dsn, pool_size=5)
    try:
        yield database
    finally:
        await database.close()


async def rows(database: Database, query: str) -> list[Any]:
    async with database.transaction() as session:
        return list((await session.execute(text(query))).all())


async def effects(database: Database) -> list[str]:
    return [row.company for row in await rows(database, "select company from effects order by id")]


@dataclass
class Listening:
    """A bus and the kitchen's consumer on it."""

    bus: InProcessBus
    unconfirmed: dict[str, str] = field(default_factory=dict)

    async def publish(self, *messages: Message) -> None:
        """Publish, and wait until every one is handled or dead-lettered."""
        unconfirmed = await self.bus.publish(EVENTS_EXCHANGE, messages)
        assert not unconfirmed, unconfirmed


@asynccontextmanager
async def listening(
    database: Database,
    handle: Callable[[Session, Sequence[CompanyChanged]], Awaitable[None]] = note_effects,
    *,
    subscriptions: tuple[Subscription, ...] = (),
) -> AsyncIterator[Listening]:
    """Consume `company_changed` with `handle`, with short waits between the tries of a poison message."""
    bus = InProcessBus(publish_timeout_seconds=20)
    (source,) = sources_of("kitchen", subscriptions or (on(CompanyChanged, handle),), limit_messages=1000)
    await bus.declare([source.queue])
    consumer = Consumer(database, bus, source, batch_events=100, linger_seconds=0.01, retry_seconds=(0.01, 0.01))
    task = asyncio.create_task(consumer.run())
    try:
        yield Listening(bus)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await bus.close()
