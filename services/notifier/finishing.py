"""Writes down what came of calls: how their endpoints are, acknowledgements, windows, and the log."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from yarl import URL

from services.notifier import feeding
from services.notifier.alerting import alerts_of
from services.notifier.calls import Answered
from services.notifier.domain.calls import next_turn
from services.notifier.domain.health import Health, Notice, after_call, call_limit_after
from services.notifier.store import attempts as attempt_store
from services.notifier.store import health as health_store
from services.notifier.store import pings as ping_store
from services.notifier.store import slots as slot_store
from services.notifier.store.attempts import Made
from services.notifier.store.health import LockedEndpoint
from services.notifier.store.slots import Finished
from shared.database import Database, Session
from shared.events.notifier import EndpointDisabled, EndpointFailing, EndpointHealth, EndpointRecovered
from shared.messaging.outbox import publish

EVENTS: dict[Notice, type[EndpointHealth]] = {
    "failing": EndpointFailing,
    "disabled": EndpointDisabled,
    "recovered": EndpointRecovered,
}


async def finish(database: Database, answered: Sequence[Answered], *, with_alerts: bool = False) -> None:
    """Write down what became of these calls, in one transaction; `with_alerts` has operators told of bad health."""
    async with database.transaction() as session:
        # Endpoints before slots, as the claim has it.
        await _judge(session, answered, with_alerts=with_alerts)
        await slot_store.finish(session, [finished for item in answered for finished in _finished(item)])
        await feeding.finish(session, answered)
        samples = [item.call for item in answered if item.call.is_sample]
        await ping_store.finish(session, [(call.endpoint.endpoint_id, call.webhook_id) for call in samples])
        await attempt_store.log_attempts(
            session,
            [
                Made(
                    endpoint_id=item.call.endpoint.endpoint_id,
                    webhook_id=item.call.webhook_id,
                    kind=item.call.kind,
                    versions=item.call.versions,
                    request_headers=item.headers,
                    request_body=item.call.body,
                    outcome=item.outcome,
                    seconds=item.seconds,
                )
                for item in answered
            ],
        )


async def _judge(session: Session, answered: Sequence[Answered], *, with_alerts: bool) -> None:
    """What the calls say about their endpoints, and who is told of it."""
    of_endpoint: dict[int, list[Answered]] = defaultdict(list)
    for item in answered:
        if item.call.is_sample:
            continue
        of_endpoint[item.call.endpoint.endpoint_id].append(item)
    failed = {item.call.endpoint.endpoint_id for item in answered if not item.outcome.delivered}
    changed: dict[int, Health] = {}
    events: list[EndpointHealth] = []
    for endpoint in await health_store.lock_health(session, sorted(of_endpoint), sorted(failed)):
        health = endpoint.health
        for item in of_endpoint[endpoint.endpoint_id]:
            if item.call.endpoint.url != endpoint.url:  # it says nothing about the new one
                continue
            before, health = health, _after(health, item, endpoint)
            events += [_event(notice, endpoint, before, health, item) for notice in health.notices]
        if health != endpoint.health:
            changed[endpoint.endpoint_id] = health
    await health_store.save_health(session, changed)
    publish(session, *events)
    if with_alerts:
        await health_store.add_alerts(session, alerts_of(events))


def _after(health: Health, item: Answered, endpoint: LockedEndpoint) -> Health:
    slots = item.call.slots
    call_limit = slots[0].call_limit if slots else None
    return after_call(replace(health, notices=()), item.outcome, len(slots), call_limit, endpoint.now)


def _event(notice: Notice, endpoint: LockedEndpoint, before: Health, health: Health, item: Answered) -> EndpointHealth:
    failing = before if notice == "recovered" else health
    return EVENTS[notice](
        endpoint_id=endpoint.endpoint_id,
        company_id=endpoint.company_id,
        host=URL(endpoint.url).host or "",
        state="disabled" if notice == "disabled" else endpoint.state,
        failing_since=failing.failing_since or endpoint.now,
        failures=failing.failures,
        last_error=item.outcome.error,
        last_status=item.outcome.status,
        occurred_at=endpoint.now,
    )


def _finished(item: Answered) -> list[Finished]:
    call, outcome = item.call, item.outcome
    turns = [
        next_turn(outcome, slot.attempt, call.endpoint.window_seconds, early_retry=call.endpoint.early_retry)
        for slot in call.slots
    ]
    return [
        Finished(
            endpoint_id=slot.endpoint_id,
            product_id=slot.stock.product_id,
            location=slot.location,
            kind=slot.kind,
            lease_id=call.lease.lease_id,
            delivered=outcome.delivered,
            delay_seconds=turn.delay_seconds,
            attempt=turn.attempt,
            call_limit=call_limit_after(outcome, len(call.slots), slot.call_limit),
        )
        for slot, turn in zip(call.slots, turns, strict=True)
    ]
