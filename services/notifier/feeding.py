"""Tells suppliers' endpoints what happened to fulfillment items: event by event, in the order of logical timestamps.

An endpoint is called with an event when it has acknowledged the one before, and not before the next one has been heard
of. So nothing is missing, nothing overtakes, and one call at a time is under way. An event comes twice only where
nobody can know whether it arrived: after a call that failed or timed out, or whose sender died.
"""

from collections.abc import Sequence

import structlog

from services.notifier import fulfillment
from services.notifier.calls import Answered, Call, Lease
from services.notifier.domain.calls import next_turn
from services.notifier.encryption import vault_of
from services.notifier.endpoint_secrets import with_readable_secrets
from services.notifier.store import feeds as feed_store
from services.notifier.store.due import DueEndpoint
from services.notifier.store.feeds import DueEvent, FinishedFeed
from shared import clock
from shared.database import Database, Session
from shared.faults import is_infrastructure
from shared.service_context import Context
from shared.settings import Settings

log = structlog.get_logger()

FORGET_CHUNK = 5000
LOOK_SECONDS = 60
# Orders commits its events in their order, so on the bus one overtakes another by moments.
LATE_SECONDS = 300


async def claim_events(database: Database, settings: Settings, limit: int) -> tuple[Call, ...]:
    """Claim the next event of at most `limit` feeds; the leases are committed when this returns, before any socket."""
    # Before the database's clock is read, so that the deadline comes before the end of the lease.
    claimed_at = clock.monotonic()
    timeout_seconds = settings.webhook_timeout_seconds
    lease = Lease(clock.uuid7(), claimed_at, claimed_at + timeout_seconds)
    async with database.transaction() as session:
        due = await _find_readable(session, settings, limit)
        if due:
            await feed_store.take(session, due, lease.lease_id, timeout_seconds)
    return tuple(_call(event, lease) for event in due)


async def _find_readable(session: Session, settings: Settings, limit: int) -> list[DueEvent]:
    """What is due to feeds whose secrets we can read; the others stay due, and hold up nobody."""
    vault = vault_of(settings.webhook_encryption_key)
    passed_over: list[int] = []
    while True:
        found = await feed_store.find_due(session, settings.webhook_window_seconds, limit, passed_over)
        readable = {one.endpoint_id for one in with_readable_secrets(vault, [event.endpoint for event in found])}
        if readable or len(found) < limit:
            return [event for event in found if event.endpoint.endpoint_id in readable]
        passed_over += [event.endpoint.endpoint_id for event in found]


async def finish(session: Session, answered: Sequence[Answered]) -> None:
    """Write down what became of those of the calls that told of fulfillment; lock endpoints before, not after."""
    finished = [
        _finished(item, item.call.logical_timestamp) for item in answered if item.call.logical_timestamp is not None
    ]
    await feed_store.finish(session, finished)


async def look_after_feeds(context: Context) -> None:
    """Worker: delete events that are as old as the log of calls gets, and tell operators of feeds that wait in vain."""
    while True:
        try:
            await forget_old_events(context.database, context.settings.webhook_attempts_keep_days)
            await warn_of_gaps(context.database)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("look_after_feeds_paused", error=str(error))
        await clock.sleep(LOOK_SECONDS)


async def warn_of_gaps(database: Database) -> None:
    """Log which feeds wait for an event that never came: it is a dead letter, or older than this notifier.

    The first is redriven; from the second the feed is set forward.
    """
    async with database.transaction() as session:
        waiting = await feed_store.find_waiting(session, LATE_SECONDS)
    for endpoint_id, logical_timestamp in waiting:
        log.warning("fulfillment_event_missing", endpoint_id=endpoint_id, logical_timestamp=logical_timestamp)


async def forget_old_events(database: Database, keep_days: int) -> None:
    """Delete what was heard longer ago and is acknowledged, in chunks."""
    async with database.transaction() as session:
        suppliers = await feed_store.find_suppliers_with_old_events(session, keep_days)
    for supplier_id in suppliers:
        gone = FORGET_CHUNK
        while gone == FORGET_CHUNK:
            async with database.transaction() as session:
                gone = await feed_store.forget_events(session, supplier_id, keep_days, FORGET_CHUNK)


def _call(event: DueEvent, lease: Lease) -> Call:
    endpoint = event.endpoint
    return Call(
        endpoint=endpoint,
        kind="fulfillment",
        lease=lease,
        webhook_id=fulfillment.webhook_id(endpoint.endpoint_id, event.logical_timestamp),
        body=fulfillment.body(event.fields, dotted_names=endpoint.dotted_names),
        logical_timestamp=event.logical_timestamp,
        attempt=event.attempt,
    )


def _finished(item: Answered, logical_timestamp: int) -> FinishedFeed:
    call = item.call
    turn = next_turn(item.outcome, call.attempt, _window_seconds(call.endpoint), early_retry=call.endpoint.early_retry)
    return FinishedFeed(
        endpoint_id=call.endpoint.endpoint_id,
        lease_id=call.lease.lease_id,
        logical_timestamp=logical_timestamp,
        delivered=item.outcome.delivered,
        delay_seconds=turn.delay_seconds,
        attempt=turn.attempt,
    )


def _window_seconds(endpoint: DueEndpoint) -> float:
    """The least time between calls: its window, or what is left of a second for each of so many calls in it.

    A feed makes one call after the other, so that it needs no other count of them.
    """
    return max(endpoint.window_seconds, 1 / endpoint.calls_per_second if endpoint.calls_per_second else 0)
