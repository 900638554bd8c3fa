"""The batch-first consumer: many messages make one transaction, then they are acknowledged.

Order of things: decode, claim in the inbox, handle, write the outbox, commit, acknowledge. A crash anywhere before the
commit leaves nothing, one after it leaves an inbox row that makes the redelivery harmless. A batch that fails on its
data is split in halves until the poison event stands alone; that one is tried again aside, then dead-lettered. When
the database or the broker is away nothing is split or counted: the consumer pauses and tries the same again.

Cancelled, it finishes the batch that it works on, to the acknowledgement, and hands back the rest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar, overload
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from structlog.contextvars import bound_contextvars

from shared import clock
from shared.database import Database, Session
from shared.draining import to_its_end
from shared.events import Event, EventError, decode, types_by_wire_name
from shared.faults import is_infrastructure
from shared.messaging import dead_letters, inbox
from shared.messaging.bus import Bus, BusUnavailableError, Delivery, Inflow, Message, Queue

log = structlog.get_logger()

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
G = TypeVar("G", bound=Event)
T = TypeVar("T")
Handler = Callable[[Session, Sequence[E]], Awaitable[None]]
Decoder = Callable[[Message], list[Event]]
# An event that was not handled, `None` for a message that is none, and why.
Failure = tuple[Event | None, Exception]
# Tells whoever has to know of a dead letter, in the transaction that enters it.
Refuser = Callable[[Session, UUID, Message, Sequence[Failure]], Awaitable[None]]

PAUSE_SECONDS = (0.1, 0.3, 1.0, 3.0)
# What was tried so often alone, too, and no try ended, is what its consumer dies of.
TRIES_ALONE = 5
# Poison is tried again aside, so that it delays nobody; past this many at once the flow itself is sick, and waits.
RETRIES_AT_ONCE = 100
# A reason with a thousand lines is read by nobody.
REASONS_SHOWN = 20

HANDLED = Counter("basestock_events_handled_total", "Events handed to their handlers", ["queue", "event"])
DUPLICATES = Counter("basestock_events_duplicate_total", "Events that had been handled before", ["queue"])
DEAD = Counter("basestock_dead_letters_total", "Messages that could not be handled", ["queue"])
BATCH_SECONDS = Histogram("basestock_batch_seconds", "Transaction time of a batch of events", ["queue"])


@dataclass(frozen=True, slots=True)
class Subscription:
    """That a service hears these events, and with which handler; made by `on`, which checks that they fit."""

    events: tuple[type[Event], ...]
    handle: Callable[[Session, Sequence[Any]], Awaitable[None]]


@overload
def on(heard: type[E], handle: Handler[E]) -> Subscription: ...
@overload
def on(heard: tuple[type[E], type[F]], handle: Handler[E | F]) -> Subscription: ...
@overload
def on(heard: tuple[type[E], type[F], type[G]], handle: Handler[E | F | G]) -> Subscription: ...
@overload
def on(heard: tuple[type[E], ...], handle: Handler[E]) -> Subscription: ...
def on(heard: type[Event] | tuple[type[Event], ...], handle: Handler[Any]) -> Subscription:
    """Pair an event, or several, with the handler that takes lists of them, in the caller's transaction.

    A batch reaches a handler in one call: events whose effects lock the same rows belong to one handler, which can
    lock them all in order (docs/architecture.md, "Lock order").
    """
    return Subscription(heard if isinstance(heard, tuple) else (heard,), handle)


@dataclass(frozen=True, slots=True)
class Source:
    """A queue, the subscriptions that its events go to, and how its messages become events.

    `refuse`, if it is there, is called once for each of its dead letters.
    """

    queue: Queue
    subscriptions: tuple[Subscription, ...]
    decode: Decoder
    refuse: Refuser | None = None


class GivenUpError(EventError):
    """A message that its consumer died of each time."""


def sources_of(service: str, subscriptions: Sequence[Subscription], limit_messages: int) -> list[Source]:
    """One queue per producer that `service` hears, so that a catalog replay does not stand in the way of orders.

    A producer's urgent events have one of their own. What is in the other is understood all the same: before there were
    urgent ones they went there, and a broker that has it from then goes on sending them to both (the inbox knows).
    """
    by_producer: dict[str, list[Subscription]] = defaultdict(list)
    for subscription in subscriptions:
        (producer,) = {event.producer() for event in subscription.events}
        by_producer[producer].append(subscription)
    return [source for heard in by_producer.values() for source in _sources(service, heard, limit_messages)]


def _sources(service: str, heard: Sequence[Subscription], limit_messages: int) -> list[Source]:
    """The queues of one producer; `ValueError` for a subscription whose events are in two of them."""
    by_queue: dict[str, list[Subscription]] = defaultdict(list)
    for subscription in heard:
        (queue,) = {event.queue_of(service) for event in subscription.events}
        by_queue[queue].append(subscription)
    return [
        Source(
            queue=Queue(
                name=queue, topics=tuple(event.name for event in _events_of(own)), limit_messages=limit_messages
            ),
            subscriptions=tuple(understood),
            decode=cloudevents_decoder(_events_of(understood)),
        )
        for queue, own in by_queue.items()
        for understood in [own if own[0].events[0].urgent else heard]
    ]


def _events_of(subscriptions: Sequence[Subscription]) -> list[type[Event]]:
    return [event for subscription in subscriptions for event in subscription.events]


def cloudevents_decoder(events: Sequence[type[Event]]) -> Decoder:
    """A decoder of messages between our services: CloudEvents of these types, single or batch."""
    known = types_by_wire_name(events)

    def decode_cloudevents(message: Message) -> list[Event]:
        return decode(message.content_type, message.body, known)

    return decode_cloudevents


@dataclass(slots=True)
class Work:
    """One message on its way: its delivery and the events in it that are still to be handled."""

    delivery: Delivery
    events: list[Event]


# A message, and those of its events that fail even alone, each with how it did.
Poison = tuple[Work, list[tuple[Event, Exception]]]


class Consumer:
    """Drains one queue of one service into its handlers."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        source: Source,
        *,
        batch_events: int,
        linger_seconds: float,
        retry_seconds: Sequence[float],
    ) -> None:
        """Handle at most `batch_events` events at once, waiting `linger_seconds` for more messages after the first."""
        self._database, self._bus, self._source = database, bus, source
        self._queue = source.queue.name
        self._batch_events, self._linger_seconds, self._retry_seconds = batch_events, linger_seconds, retry_seconds
        self._aside = asyncio.Semaphore(RETRIES_AT_ONCE)
        self._leaving = False

    async def run(self) -> None:
        """Consume until cancelled, opening the queue anew whenever the broker takes it away."""
        async with asyncio.TaskGroup() as group:
            given_up = self._source.queue.dead_letter_queue
            group.create_task(self._reopen(self._queue, 2 * self._batch_events, lambda i: self._consume(i, group)))
            group.create_task(self._reopen(given_up, 1, self._consume_given_up))
            try:
                await asyncio.Event().wait()
            finally:
                self._leaving = True

    async def _reopen(self, queue: str, prefetch: int, consume: Callable[[Inflow], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                async with self._bus.consume(queue, prefetch) as inflow:
                    failures = 0
                    await consume(inflow)
            except BusUnavailableError as error:
                log.warning("consumer_reopening", queue=queue, error=str(error))
            await clock.sleep(PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS) - 1)])
            failures += 1

    async def _consume(self, inflow: Inflow, group: asyncio.TaskGroup) -> None:
        while True:
            deliveries = await inflow.batch(self._batch_events, self._linger_seconds)
            for poison in await to_its_end(self._work_off(inflow, deliveries)):
                await self._aside.acquire()
                task = group.create_task(self._retry_aside(inflow, poison))
                task.add_done_callback(lambda _: self._aside.release())

    async def _consume_given_up(self, inflow: Inflow) -> None:
        while True:
            for delivery in await inflow.batch(1, 0):
                await self._handle_alone(inflow, delivery)

    async def _handle_alone(self, inflow: Inflow, delivery: Delivery) -> None:
        """Handle what the bus gave up on: it came back too often, but perhaps beside what killed its consumer.

        A try is noted before it begins and forgotten when it has ended: those that stay noted killed their consumer.
        The bus's own count would not do. It grows with each lost connection, also while the database is away and
        nothing is tried; and what RabbitMQ counts for a dead letter differs between 3.10, 4.0 and 4.3.
        """
        digest = sha256(b"\0".join((delivery.message.message_id.encode(errors="replace"), delivery.message.body)))
        what = f"{self._queue} {digest.hexdigest()}"
        with suppress(BusUnavailableError):  # then it comes again, and the inbox or the dead letter knows it
            for poison in await to_its_end(self._try_alone(inflow, delivery, what)):
                await self._retry_aside(inflow, poison)
        await to_its_end(self._persist(lambda session: inbox.forget_tries(session, what, TRIES_ALONE)))

    async def _try_alone(self, inflow: Inflow, delivery: Delivery, what: str) -> list[Poison]:
        if await self._persist(lambda session: inbox.note_try(session, what, TRIES_ALONE)):
            return await self._work_off(inflow, [delivery])
        error = GivenUpError("it came back too often: its consumer died of it each time, alone as well")
        await self._bury(delivery.message, [(None, error)])
        await inflow.ack([delivery])
        return []

    async def _work_off(self, inflow: Inflow, deliveries: Sequence[Delivery]) -> list[Poison]:
        """Handle and acknowledge these; returns what fails even alone, which is still to be acknowledged."""
        works = [work for delivery in deliveries if (work := await self._decode(inflow, delivery))]
        poison: list[Poison] = []
        for some in _divided(works, self._batch_events):
            failed = await self._settle(some)
            lonely = {id(work) for work, _ in failed}
            await inflow.ack([work.delivery for work in some if id(work) not in lonely])
            poison += failed
            if self._leaving:
                break  # the rest is handed back, with all that is not settled
        return poison

    async def _decode(self, inflow: Inflow, delivery: Delivery) -> Work | None:
        try:
            return Work(delivery, self._source.decode(delivery.message))
        except Exception as error:
            # Whatever a decoder stumbles over is in the message; it would stumble again each time.
            await self._bury(delivery.message, [(None, error)])
            await inflow.ack([delivery])
            return None

    async def _settle(self, works: list[Work]) -> list[Poison]:
        """Handle all events of these messages; returns the messages with events that fail even alone."""
        events = [(work, event) for work in works for event in work.events]
        failed: dict[int, Poison] = {}
        for work, event, error in await self._bisect(events):
            failed.setdefault(id(work), (work, []))[1].append((event, error))
        return list(failed.values())

    async def _bisect(self, events: list[tuple[Work, Event]]) -> list[tuple[Work, Event, Exception]]:
        if not events:
            return []
        try:
            await self._persist(lambda session: handle(session, self._source, [event for _, event in events]))
        except Exception as error:
            if len(events) == 1:
                work, event = events[0]
                log.warning("event_failed", queue=self._queue, event_id=event.event_id, error=repr(error))
                return [(work, event, error)]
            middle = len(events) // 2
            return await self._bisect(events[:middle]) + await self._bisect(events[middle:])
        return []

    async def _persist(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Do `work` in a transaction, return its result; while the infrastructure fails, pause and do it again."""
        failures = 0
        while True:
            try:
                with BATCH_SECONDS.labels(self._queue).time():
                    async with self._database.transaction() as session:
                        done = await work(session)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("consumer_paused", queue=self._queue, error=repr(error))
                if self._leaving:  # nobody waits here for a server to come back
                    raise asyncio.CancelledError from error
                await clock.sleep(PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS) - 1)])
                failures += 1
            else:
                return done

    async def _retry_aside(self, inflow: Inflow, poison: Poison) -> None:
        work, failures = poison
        for seconds in self._retry_seconds:
            # What is refused for what it says is refused again, however often it says it.
            refused = [(event, error) for event, error in failures if isinstance(error, EventError)]
            if len(refused) == len(failures):
                break
            await clock.sleep(seconds)
            again = [(work, event) for event, error in failures if not isinstance(error, EventError)]
            failed = await to_its_end(self._bisect(again))
            failures = refused + [(event, error) for _, event, error in failed]
        if failures:
            await self._bury(work.delivery.message, failures)
        with suppress(BusUnavailableError):  # then it comes again, and the inbox or the dead letter knows it
            await inflow.ack([work.delivery])

    async def _bury(self, message: Message, failures: Sequence[Failure]) -> None:
        reason = reason_of(failures)
        message_id = dead_letters.storable(message.message_id)
        log.error("dead_letter", queue=self._queue, message_id=message_id, reason=dead_letters.storable(reason))
        DEAD.labels(self._queue).inc()

        async def bury(session: Session) -> None:
            dead_letter_id = await dead_letters.bury(session, self._queue, message, reason)
            if dead_letter_id is not None and self._source.refuse is not None:
                await self._source.refuse(session, dead_letter_id, message, failures)

        await self._persist(bury)


async def handle(session: Session, source: Source, events: Sequence[Event]) -> None:
    """Hand those events to their handlers that were not handled before, in the caller's transaction."""
    queue = source.queue.name
    fresh = await inbox.claim(session, [event.event_id for event in events])
    DUPLICATES.labels(queue).inc(len(events) - len(fresh))
    by_type: dict[type[Event], list[Event]] = defaultdict(list)
    for event in events:
        if event.event_id in fresh:
            fresh.discard(event.event_id)  # a message and its duplicate may lie in one batch
            by_type[type(event)].append(event)
    for subscription in source.subscriptions:
        heard = [event for kind in subscription.events for event in by_type.get(kind, ())]
        if heard:
            with bound_contextvars(queue=queue, event_ids=[event.event_id for event in heard[:3]]):
                await subscription.handle(session, heard)
    for kind, handled in by_type.items():
        HANDLED.labels(queue, kind.name).inc(len(handled))


def reason_of(failures: Sequence[Failure]) -> str:
    """Why a message was not handled, in words."""
    words = dict.fromkeys(
        str(error) if isinstance(error, EventError) else f"{type(error).__name__}: {error}" for _, error in failures
    )
    more = len(words) - REASONS_SHOWN
    return "; ".join(list(words)[:REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _divided(works: Sequence[Work], limit_events: int) -> Iterator[list[Work]]:
    """These messages in their order, `limit_events` events at once at most; a message with more stands alone.

    A transaction holds its rows until it ends, and who waits for them gives up after `LOCK_TIMEOUT_MILLISECONDS`: a
    batch of full messages would make a hundred times the events that one of single ones has.
    """
    together: list[Work] = []
    events = 0
    for work in works:
        if together and events + len(work.events) > limit_events:
            yield together
            together, events = [], 0
        together.append(work)
        events += len(work.events)
    if together:
        yield together
