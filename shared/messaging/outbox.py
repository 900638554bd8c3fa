"""The transactional outbox: `publish` writes into the caller's transaction, `Relay` carries it to the bus.

A row holds the exact bytes that are sent, and is deleted once the bus has confirmed them. The relay claims rows with
`for update skip locked`, so several replicas share the work, and it never remembers a position: a transaction that
commits late is not skipped.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import TextClause, text
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
# What waits behind nothing of the others. A reply waits at a queue of somebody outside, who may leave it broken.
Lane = Literal["ordinary", "urgent", "replies"]
# Two relays at once: one message that waits for a slow consumer does not hold up the next batch. Urgent events have one
# of their own, and so have replies.
RELAYS: tuple[Lane, ...] = ("ordinary", "ordinary", "urgent", "replies")
PAUSE_SECONDS = (0.1, 0.3, 1.0, 3.0)

PUBLISHED = Counter("basestock_outbox_published_total", "Outbox messages confirmed by the bus", ["service"])
REFUSED = Counter("basestock_replies_refused_total", "Replies that the asker's queue did not take", ["service"])
UNCONFIRMED = Counter("basestock_outbox_unconfirmed_total", "Outbox messages the bus did not confirm", ["service"])
OLDEST = Gauge("basestock_outbox_oldest_seconds", "Age of the oldest outbox row", ["service"])

INSERT = text("""
    insert into outbox (message_id, exchange, topic, content_type, body, traceparent, correlation_id, mandatory, urgent)
    select * from unnest(cast(:message_ids as uuid[]), cast(:exchanges as text[]), cast(:topics as text[]),
        cast(:content_types as text[]), cast(:bodies as bytea[]), cast(:traceparents as text[]),
        cast(:correlation_ids as text[]), cast(:mandatory as boolean[]), cast(:urgent as boolean[]))
""")
CLAIM = """
    select message_id, topic, content_type, body, traceparent, correlation_id, mandatory
    from outbox where {which} order by created_at, message_id limit :limit for update skip locked
"""
CLAIMS: dict[Lane, TextClause] = {
    "ordinary": text(CLAIM.format(which="not urgent and exchange <> ''")),
    "urgent": text(CLAIM.format(which="urgent")),
    "replies": text(CLAIM.format(which="exchange = ''")),
}
EXCHANGES: dict[Lane, str] = {"ordinary": EVENTS_EXCHANGE, "urgent": EVENTS_EXCHANGE, "replies": ""}
COUNT = text("select count(*) from outbox")
DELETE = text("delete from outbox where message_id = any(cast(:message_ids as uuid[]))")
AGE = text("select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0) from outbox")
MEASURE = text("""
    select count(*) as messages,
        cast(coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0) as double precision) as oldest_seconds
    from outbox
""")


class Reply(NamedTuple):
    """An answer to whoever sent a message: JSON, for the queue that it named; no error where that queue is gone."""

    queue: str
    correlation_id: str | None
    body: bytes


class Backlog(NamedTuple):
    """What waits in an outbox, and for how long the oldest of it does."""

    messages: int
    oldest_seconds: float


class Pending(NamedTuple):
    """What was published in a transaction that has not written its outbox rows yet."""

    published: Event | Reply
    traceparent: str


def publish(session: AsyncSession, *events: Event, caused_by: Event | None = None) -> None:
    """Publish `events` if and when the caller's transaction commits.

    `caused_by` is the event that is being handled, whose trace goes on; in a request the request's trace does. What is
    published together is one span of it.
    """
    traceparent = new_traceparent(caused_by.traceparent if caused_by else current_traceparent())
    _pending(session).extend(Pending(event, traceparent) for event in events)


def reply(session: AsyncSession, answer: Reply, *, caused_by: Event | None = None) -> None:
    """Send a reply if and when the caller's transaction commits.

    It arrives at least once if its queue is there and takes it. A queue that refuses it (full, say) is its owner's
    affair: the reply is dropped, so that it holds up nobody else's.
    """
    traceparent = new_traceparent(caused_by.traceparent if caused_by else current_traceparent())
    _pending(session).append(Pending(answer, traceparent))


def _pending(session: AsyncSession) -> list[Pending]:
    found: list[Pending] = session.info.setdefault("outbox", [])
    return found


def count_pending(session: AsyncSession) -> int:
    """How many events and replies the transaction has published so far."""
    return len(session.info.get("outbox", ()))


def forget_pending(session: AsyncSession, but_first: int) -> None:
    """Publish only the first `but_first` of these events: the part of the transaction with the others failed."""
    del session.info.get("outbox", [])[but_first:]


async def write(session: AsyncSession) -> set[Lane]:
    """Write what was published in this transaction and is not written yet, events of one type together.

    Returns the lanes of all that the transaction has written: none where nothing was published.
    """
    pending: list[Pending] = session.info.pop("outbox", [])
    wrote: set[Lane] = session.info.setdefault("outbox_wrote", set())
    if not pending:
        return wrote
    written = _written(pending)
    messages = [message for _, message in written]
    await session.execute(
        INSERT,
        {
            "message_ids": [message.message_id for message in messages],
            "exchanges": [EXCHANGES[lane] for lane, _ in written],
            "topics": [message.topic for message in messages],
            "content_types": [message.content_type for message in messages],
            "bodies": [message.body for message in messages],
            "traceparents": [message.headers["traceparent"] for message in messages],
            "correlation_ids": [message.correlation_id for message in messages],
            "mandatory": [message.mandatory for message in messages],
            "urgent": [lane == "urgent" for lane, _ in written],
        },
    )
    wrote |= {lane for lane, _ in written}
    return wrote


async def count_waiting(session: AsyncSession) -> int:
    """How many messages have not been confirmed yet."""
    waiting: int = (await session.execute(COUNT)).scalar_one()
    return waiting


async def measure(session: AsyncSession) -> Backlog:
    """What has not been confirmed yet."""
    row = (await session.execute(MEASURE)).one()
    return Backlog(row.messages, row.oldest_seconds)


def _written(pending: list[Pending]) -> list[tuple[Lane, Message]]:
    """The messages that these make."""
    by_type: dict[type[Event], list[tuple[Event, str]]] = defaultdict(list)
    replies: list[tuple[Lane, Message]] = []
    for published, traceparent in pending:
        if isinstance(published, Reply):
            replies.append(("replies", _reply_message(published, traceparent)))
        else:
            by_type[type(published)].append((published, traceparent))
    events: list[tuple[Lane, Message]] = [
        ("urgent" if event_type.urgent else "ordinary", message)
        for event_type, items in by_type.items()
        for message in _messages(event_type, items)
    ]
    return [*events, *replies]


def _messages(event_type: type[Event], items: list[tuple[Event, str]]) -> list[Message]:
    """As few messages as the limits of events and bytes allow, in the order of the events."""
    now = clock.utc_now()
    messages: list[Message] = []
    together: list[bytes] = []
    traceparent, size_bytes = "", 0
    for event, trace in items:
        encoded = encode(event, clock.uuid7_text(), now, trace)
        full = len(together) == EVENTS_PER_MESSAGE or size_bytes + len(encoded) > BYTES_PER_MESSAGE
        if together and full:
            messages.append(_message(event_type, together, traceparent))
            together, size_bytes = [], 0
        if not together:
            traceparent = trace
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


def _reply_message(answer: Reply, traceparent: str) -> Message:
    return Message(
        message_id=clock.uuid7_text(),
        topic=answer.queue,
        content_type="application/json",
        body=answer.body,
        headers={"traceparent": traceparent},
        correlation_id=answer.correlation_id,
        mandatory=False,
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
            for lane in RELAYS:
                group.create_task(self._loop(lane))
            group.create_task(self._watch_age())

    async def _loop(self, lane: Lane) -> None:
        written = self._database.outbox_written[lane]
        failures = 0
        while True:
            try:
                sent, kept = await to_its_end(self.relay_batch(lane), SHORT_DRAIN_SECONDS)
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

    async def relay_batch(self, lane: Lane = "ordinary") -> tuple[int, int]:
        """Publish one batch of a lane and delete what was confirmed; returns how many were sent and how many kept.

        Of replies those are deleted, too, which their queues refused.
        """
        service = self._database.service
        async with self._database.transaction() as session:
            rows = (await session.execute(CLAIMS[lane], {"limit": self._batch_messages})).all()
            if not rows:
                return 0, 0
            unconfirmed = await self._bus.publish(EXCHANGES[lane], [_stored(row) for row in rows])
            if lane == "replies" and unconfirmed:
                REFUSED.labels(service).inc(len(unconfirmed))
                log.warning("replies_refused", service=service, messages=len(unconfirmed), reasons=_some(unconfirmed))
                unconfirmed = {}
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


def _stored(row: Any) -> Message:  # noqa: ANN401 - a row of the outbox
    return Message(
        message_id=str(row.message_id),
        topic=row.topic,
        content_type=row.content_type,
        body=row.body,
        headers={"traceparent": row.traceparent},
        correlation_id=row.correlation_id,
        mandatory=row.mandatory,
    )


def _some(unconfirmed: Mapping[str, str]) -> list[str]:
    """A few distinct reasons, for a log line."""
    return sorted(set(unconfirmed.values()))[:3]
