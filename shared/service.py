"""What a service is, and the one way to run it: in production, in the all-in-one process and in tests."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter
from sqlalchemy import MetaData

from shared import clock, idempotency
from shared.database import Database, Session
from shared.events import Event, catalogue
from shared.faults import is_infrastructure
from shared.key_uses import NoteKeyUses, tell_key_uses
from shared.messaging import inbox
from shared.messaging.bus import Bus, BusRefusedError, BusUnavailableError, Queue
from shared.messaging.consumer import Consumer, Source, Subscription, sources_of
from shared.messaging.outbox import Relay
from shared.service_context import Context
from shared.settings import Settings

log = structlog.get_logger()

Worker = Callable[[Context], Coroutine[None, None, None]]
PURGE_SECONDS = 60
START_POLL_SECONDS = 0.5
SAY_AGAIN_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Service:
    """A service as its `service.py` declares it: what it hears, what it answers, what it does by itself.

    `note_key_uses` takes when API keys were used here. `workers` run until cancelled. `intake` builds the queues it
    hears from outside (beside `subscriptions`). `body_limits_bytes` has the paths whose bodies may be longer than
    others (`shared/http.py`), `basic_paths` those that also take `Authorization: Basic REF:KEY`, `query_key_paths`
    those that also take `?account=REF&apikey=KEY`. `webhooks` are the calls that it makes, for the document.
    `check_settings` raises `RuntimeError`, in words, when it cannot run with these.
    """

    name: str
    summary: str
    metadata: MetaData
    routers: tuple[APIRouter, ...]
    note_key_uses: NoteKeyUses
    subscriptions: tuple[Subscription, ...] = ()
    workers: tuple[Worker, ...] = ()
    intake: Callable[[Context], Sequence[Source]] = lambda _: ()
    body_limits_bytes: Mapping[str, int] = field(default_factory=dict)
    basic_paths: frozenset[str] = frozenset()
    query_key_paths: frozenset[str] = frozenset()
    webhooks: APIRouter | None = None
    check_settings: Callable[[Settings], None] = lambda _: None


def published_by(service: str) -> list[type[Event]]:
    """The events this service is the producer of."""
    return [event for event in catalogue() if event.producer() == service]


def queues_of_hearers(service: str, limit_messages: int) -> list[Queue]:
    """The queues of those who hear this service: declared by it too, so that no event finds its queue missing."""
    topics: dict[str, list[str]] = defaultdict(list)
    for event in published_by(service):
        for hearer in event.heard_by:
            topics[event.queue_of(hearer)].append(event.name)
    return [
        Queue(name=name, topics=tuple(heard), limit_messages=limit_messages) for name, heard in sorted(topics.items())
    ]


@asynccontextmanager
async def running(service: Service, settings: Settings, bus: Bus) -> AsyncIterator[Context]:
    """Run `service` on this bus until the block ends: relay, consumers, workers; yields its context.

    They drain once the block has ended, or while it still runs, from when the context's `draining` is set.

    Raises `RuntimeError` with what is missing when the settings do not do for it, or when database and bus do not
    answer within their `start_seconds`, or at once when the schema was never made: whoever runs us starts us again, or
    a person has to. A part that dies of a bug ends the block with its error: a service that only seems alive helps
    nobody.
    """
    service.check_settings(settings)
    database = Database(service.name, settings.dsn_of(service.name), pool_size=settings.database_pool_size)
    context = Context(service.name, settings, database, bus)
    limit = settings.queue_limit_messages
    sources = [*sources_of(service.name, service.subscriptions, limit), *service.intake(context)]
    context.sources.update({source.queue.name: source for source in sources})
    queues = [*(source.queue for source in sources), *queues_of_hearers(service.name, limit)]
    failure: Exception | None = None
    try:
        deadline = clock.monotonic() + settings.start_seconds
        await wait_for(f"{service.name}: the database", database.check, deadline)
        await wait_for(f"{service.name}: its schema", database.check_schema, deadline)
        await wait_for(f"{service.name}: the broker", lambda: bus.declare(queues), deadline)
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(run) for run in _parts(service, context, sources)]
            group.create_task(_drain(parts, context.draining))
            log.info("service_running", service=service.name, queues=[source.queue.name for source in sources])
            try:
                yield context
            except Exception as error:  # the block's own error, to be raised as it is and not in the parts' group
                failure = error
            finally:
                context.draining.set()
        if failure:
            raise failure
    finally:
        await database.close()


async def _drain(parts: Sequence[asyncio.Task[None]], draining: asyncio.Event) -> None:
    """Tell all parts at once to end, when it is time; each finishes what it has begun (`shared/draining.py`)."""
    await draining.wait()
    for part in parts:
        part.cancel()


def _parts(service: Service, context: Context, sources: Sequence[Source]) -> list[Coroutine[None, None, None]]:
    settings = context.settings
    relay = Relay(
        context.database,
        context.bus,
        batch_messages=settings.outbox_batch_messages,
        poll_seconds=settings.outbox_poll_seconds,
    )
    consumers = [
        Consumer(
            context.database,
            context.bus,
            source,
            batch_events=settings.consumer_batch_events,
            linger_seconds=settings.consumer_linger_seconds,
            retry_seconds=settings.consumer_retry_seconds,
        )
        for source in sources
    ]
    return [
        relay.run(),
        *(consumer.run() for consumer in consumers),
        *(worker(context) for worker in service.workers),
        tell_key_uses(context, service.note_key_uses),
        _purge(context),
    ]


async def _purge(context: Context) -> None:
    """Forget ids of events and idempotency keys whose time is over, a part of them in each transaction."""

    async def purge_inbox(session: Session) -> int:
        return await inbox.purge(session, context.settings.inbox_keep_days)

    while True:
        await clock.sleep(PURGE_SECONDS)
        try:
            for purge in (purge_inbox, idempotency.purge):
                gone = 1
                while gone:
                    async with context.database.transaction() as session:
                        gone = await purge(session)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("purge_paused", service=context.service, error=repr(error))


async def wait_for(what: str, check: Callable[[], Awaitable[None]], deadline: float) -> None:
    """Try `check` until it passes; says what it waits for when the wait begins, and then seldom.

    Raises `RuntimeError`, in words, when it does not by `deadline` (of `clock.monotonic`), or at once for what waiting
    does not mend: a wrong password, a database that is not there, a schema never made.
    """
    say_again_at = clock.monotonic()
    while True:
        try:
            async with asyncio.timeout(max(START_POLL_SECONDS, deadline - clock.monotonic())):
                await check()
        except Exception as error:
            words = str(getattr(error, "orig", None) or error)  # the driver's own, without SQLAlchemy's around them
            if not _mends_itself(error):
                message = f"{what}: {words}"
                raise RuntimeError(message) from error
            now = clock.monotonic()
            if now >= deadline:
                message = f"{what} did not answer within BASESTOCK_START_SECONDS: {words or 'no answer at all'}"
                raise RuntimeError(message) from error
            if now >= say_again_at:
                log.warning("waiting", what=what, error=words, gives_up_in_seconds=round(deadline - now))
                say_again_at = now + SAY_AGAIN_SECONDS
            await clock.sleep(START_POLL_SECONDS)
        else:
            return


def _mends_itself(error: Exception) -> bool:
    if isinstance(error, BusUnavailableError):
        return not isinstance(error, BusRefusedError)
    return is_infrastructure(error)
