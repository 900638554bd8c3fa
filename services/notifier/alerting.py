"""Tells operators, at a URL of theirs, of endpoints that fail, are disabled or have recovered."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import structlog

from services.notifier.domain.calls import back_off_seconds
from services.notifier.store import health as health_store
from services.notifier.store.health import Alert
from shared import clock
from shared.database import Database
from shared.draining import SHORT_DRAIN_SECONDS, to_its_end
from shared.events.notifier import EndpointDisabled, EndpointHealth, EndpointRecovered
from shared.repeating import repeat
from shared.service_context import Context

log = structlog.get_logger()

POLL_SECONDS = 1.0
POST_SECONDS = 10.0
# Told at the same time; the others wait for no longer than the slowest answer.
ALERTS_AT_ONCE = 20
KEEP = timedelta(days=7)


async def tell_operators(context: Context) -> None:
    """Worker: POST alerts to the settings' `alert_url`, each until it is answered with 2xx, at most for seven days."""
    url = context.settings.alert_url
    if url is None:
        return
    timeout = aiohttp.ClientTimeout(total=POST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await repeat(
            "tell_operators",
            lambda: to_its_end(tell_some(context.database, session, url), SHORT_DRAIN_SECONDS),
            idle_seconds=POLL_SECONDS,
        )


async def tell_some(database: Database, session: aiohttp.ClientSession, url: str) -> bool:
    """Tell what is due; says whether there may be more."""
    async with database.transaction() as transaction:
        for body in await health_store.drop_old_alerts(transaction, KEEP):
            log.error("alert_dropped", kept_days=KEEP.days, alert=body)
        alerts = await health_store.claim_alerts(transaction, ALERTS_AT_ONCE, 2 * POST_SECONDS)
    failures = await asyncio.gather(*(_post(session, url, alert) for alert in alerts))
    async with database.transaction() as transaction:
        for alert, failure in sorted(zip(alerts, failures, strict=True), key=lambda told: told[0].alert_id):
            if failure is None:
                await health_store.drop_alert(transaction, alert.alert_id)
            else:
                log.warning("alert_failed", alert_id=str(alert.alert_id), attempt=alert.attempt, error=failure)
                await health_store.delay_alert(transaction, alert.alert_id, back_off_seconds(alert.attempt - 1))
    return len(alerts) == ALERTS_AT_ONCE


def alerts_of(events: Sequence[EndpointHealth]) -> dict[UUID, dict[str, Any]]:
    """What is POSTed of these events: `{id: JSON}`. `text` is for people; the chat tools show that member."""
    return {
        clock.uuid7(): {"text": _in_words(event), "type": event.cloudevents_type(), **event.model_dump(mode="json")}
        for event in events
    }


def _in_words(event: EndpointHealth) -> str:
    who = f"Webhook endpoint {event.endpoint_id} of company {event.company_id} ({event.host})"
    since = f"{event.failures} calls in a row since {event.failing_since:%Y-%m-%d %H:%M} UTC"
    if isinstance(event, EndpointRecovered):
        return f"{who} takes calls again, after it had failed {since}."
    last = f"{event.last_error} {event.last_status or ''}".strip()
    if isinstance(event, EndpointDisabled):
        return f"{who} is disabled: it failed {since}, the last one with {last}. Its retailer has to enable it again."
    return f"{who} fails: {since}, the last one with {last}. It is disabled after five days."


async def _post(session: aiohttp.ClientSession, url: str, alert: Alert) -> str | None:
    """What went wrong, without the URL, which may hold a token; `None` when operators have been told."""
    body = {"alert_id": str(alert.alert_id), **alert.body}
    try:
        async with session.post(url, json=body, allow_redirects=False) as response:
            return None if response.ok and response.status < 300 else f"answered {response.status}"  # noqa: PLR2004
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return type(error).__name__
