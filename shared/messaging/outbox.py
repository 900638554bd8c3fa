"""The transactional outbox: `publish` writes into the caller's transaction, `Relay` carries it to the bus.

A row holds the exact bytes that are sent, and is deleted once the bus has confirmed them. The relay claims rows with
`for update skip locked`, so several replicas share the work, and it never remembers a position: a transaction that
commits late is not skipped.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import clock
from shared.draining import SHORT_DRAIN_SECONDS, to_its_end
from shared.events import BATCH, SINGLE, Event, encode, encode_batch
from shared.faults import is_infrastructure
from shared.logs import current_traceparent, new_traceparent
from shared.messaging.bus import EVENTS_EXCHANGE, Bus, BusUnavailableError, Message

if TYPE_CHECKING:
    from shared.database import Database

log = structlog.get_logger()

# Keeps a message well under a broker's frame and memory limits, and a poison event's neighbours few.
EVENTS_PER_MESSAGE = 100
# RabbitMQ 4 closes the channel on a message over 16 MiB, and the row would block the outbox for ever: events of up to a
# few hundred kilobytes (an order of 1,000 lines) share a message as long as it stays far below. A bigger one is alone.
BYTES_PER_MESSAGE = 2**20
# Two relays at once: one message that waits for a slow consumer does not hold up the next batch. One more carries the
# urgent events and nothing else.
RELAYS = 2
PAUSE_SECONDS = (0.1, 0.3, 1.0, 3.0)

PUBLISHED = Counter("basestock_outbox_published_total", "Outbox messages confirmed by the bus", ["service"])
UNCONFIRMED = Counter("basestock_outbox_unconfirmed_total", "Outbox messages the bus did not confirm", ["service"])
OLDEST = Gauge("basestock_outbox_oldest_seconds", "Age of the oldest outbox row", ["service"])

INSERT = text("""
    insert into outbox (message_id, topic, content_type, body, traceparent, mandatory, urgent)
    select * from unnest(cast(:message_ids as uuid[]), cast(:topics as text[]), cast(:content_types as text[]),
        cast(:bodies as bytea[]), cast(:traceparents as text[]), cast(:mandatory as boolean[]),
        cast(:urgent as boolean[]))
""")
CLAIM = """
    select message_id, topic, content_type, body, traceparent, mandatory
    from outbox where {which} order by created_at, message_id limit :limit for update skip locked
"""
CLAIM_ORDINARY, CLAIM_URGENT = text(CLAIM.format(which="not urgent")), text(CLAIM.format(which="urgent"))
COUNT = text("select count(*) from outbox")
DELETE = text("delete from outbox where message_id = any(cast(:message_ids as uuid[]))")
AGE = text("select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0) from outbox")


class Pending(NamedTuple):
    """An event published in a transaction that has not written its outbox rows yet."""

    event: Event
    traceparent: str


def publish(session: AsyncSession, *events: Event, caused_by: Event | None = None) -> None:
    """Publish `events` if and when the caller's transaction commits.

    `caused_by` is the event that is being handled, whose trace goes on; in a request the request's trace does. What is
    published together is one span of it.
    """
    traceparent = new_traceparent(caused_by.traceparent if caused_by else current_traceparent())
    pending: list[Pending] = session.info.setdefault("outbox", [])
    pending += [Pending(event, traceparent) for event in events]


def count_pending(session: AsyncSession) -> int:
    """How many events the transaction has published so far."""
    return len(session.info.get("outbox", ()))


def forget_pending(session: AsyncSession, but_first: int) -> None:
    """Publish only the first `but_first` of these events: the part of the transaction with the others failed."""
    del session.info.get("outbox", [])[but_first:]


async def write(session: AsyncSession) -> set[bool]:
    """Write what was published in this transaction and is not written yet, events of one type together.

    Returns what `urgent` is of all that the transaction has written: nothing where nothing was published.
    """
    pending: list[Pending] = session.info.pop("outbox", [])
    wrote: set[bool] = session.info.setdefault("outbox_wrote", set())
    if not pending:
        return wrote
    by_type: dict[type[Event], list[Pending]] = defaultdict(list)
    for item in pending:
        by_type[type(item.event)].append(item)
    written = [
        (message, event_type.urgent)
        for event_type, items in by_type.items()
        for message in _messages(event_type, items)
    ]
    messages = [message for message, _ in written]
    await session.execute(
        INSERT,
        {
            "message_ids": [message.message_id for message in messages],
            "topics": [message.topic for message in messages],
            "content_types": [message.content_type for message in messages],
            "bodies": [message.body for message in messages],
            "traceparents": [message.headers["traceparent"] for message in messages],
            "mandatory": [message.mandatory for message in messages],
            "urgent": [urgent for _, urgent in written],
        },
    )
    wrote |= {urgent for _, urgent in written}
    return wrote


async def count_waiting(session: AsyncSession) -> int:
    """How many messages have not been confirmed yet."""
    waiting: int = (await session.execute(COUNT)).scalar_one()
    return waiting


def _messages(event_type: type[Event], items: list[Pending]) -> list[Message]:
    """As few messages as the limits of events and bytes allow, in the order of the events."""
    now = clock.utc_now()
    messages: list[Message] = []
    together: list[bytes] = []
    traceparent, size_bytes = "", 0
    for item in items:
        encoded = encode(item.event, clock.uuid7_text(), now, item.traceparent)
        full = len(together) == EVENTS_PER_MESSAGE or size_bytes + len(encoded) > BYTES_PER_MESSAGE
        if together and full:
            messages.append(_message(event_type, together, traceparent))
            together, size_bytes = [], 0
        if not together:
            traceparent = item.traceparent
        together.append(encoded)
        size_bytes += len(encoded)
    return [*messages, _message(event_type, together, traceparent)]


def _message(event_type: type[Event], encoded: list[bytes], traceparent: str) -> Message:
    single = len(encoded) == 1
    return Message(
        message_id=clock.uuid7_text(),
        topic=event_type.name,
        content_type=SINGLE if single else BATCH,
        body=encoded[0] if single else encode_batch(encoded),
        headers={"traceparent": traceparent},
        # An event that nobody must hear may vanish; any other stays in the outbox until its queues exist.
        mandatory=bool(event_type.heard_by),
    )


class Relay:
    """Carries one service's outbox to the bus; run as many as wanted, in as many processes as wanted."""

    def __init__(self, database: "Database", bus: Bus, *, batch_messages: int, poll_seconds: float) -> None:
        """Read from `database`, publish on `bus`, at most `batch_messages` under one confirm."""
        self._database, self._bus = database, bus
        self._batch_messages, self._poll_seconds = batch_messages, poll_seconds

    async def run(self) -> None:
        """Relay until cancelled; a batch that is being published is finished then, if the bus answers."""
        async with asyncio.TaskGroup() as group:
            for urgent in (*[False] * RELAYS, True):
                group.create_task(self._loop(urgent=urgent))
            group.create_task(self._watch_age())

    async def _loop(self, *, urgent: bool) -> None:
        written = self._database.urgent_written if urgent else self._database.outbox_written
        failures = 0
        while True:
            try:
                sent, kept = await to_its_end(self.relay_batch(urgent=urgent), SHORT_DRAIN_SECONDS)
            except Exception as error:
                if not isinstance(error, BusUnavailableError) and not is_infrastructure(error):
                    raise
                log.warning("outbox_relay_paused", service=self._database.service, error=repr(error))
                sent, kept = 0, 1
            failures = failures + 1 if kept else 0
            if failures:
                await clock.sleep(PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS)) - 1])
            elif sent < self._batch_messages:
                await clock.wait_until_set(written, self._poll_seconds)

    async def relay_batch(self, *, urgent: bool = False) -> tuple[int, int]:
        """Publish one batch, of urgent events or of others, and delete what was confirmed.

        Returns how many were sent and how many were kept.
        """
        service = self._database.service
        async with self._database.transaction() as session:
            rows = (
                await session.execute(CLAIM_URGENT if urgent else CLAIM_ORDINARY, {"limit": self._batch_messages})
            ).all()
            if not rows:
                return 0, 0
            messages = [
                Message(
                    message_id=str(row.message_id),
                    topic=row.topic,
                    content_type=row.content_type,
                    body=row.body,
                    headers={"traceparent": row.traceparent},
                    mandatory=row.mandatory,
                )
                for row in rows
            ]
            unconfirmed = await self._bus.publish(EVENTS_EXCHANGE, messages)
            confirmed = [row.message_id for row in rows if str(row.message_id) not in unconfirmed]
            await session.execute(DELETE, {"message_ids": confirmed})
        PUBLISHED.labels(service).inc(len(confirmed))
        if unconfirmed:
            UNCONFIRMED.labels(service).inc(len(unconfirmed))
            log.warning("outbox_unconfirmed", service=service, messages=len(unconfirmed), reasons=_some(unconfirmed))
        return len(confirmed), len(unconfirmed)

    async def _watch_age(self) -> None:
        while True:
            try:
                async with self._database.transaction() as session:
                    OLDEST.labels(self._database.service).set((await session.execute(AGE)).scalar_one())
            except Exception as error:
                if not is_infrastructure(error):
                    raise
            await clock.sleep(5)


def _some(unconfirmed: Iterable[str] | dict[str, str]) -> list[str]:
    """A few distinct reasons, for a log line."""
    values = unconfirmed.values() if isinstance(unconfirmed, dict) else unconfirmed
    return sorted(set(values))[:3]
