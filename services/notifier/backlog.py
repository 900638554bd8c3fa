"""Measures how far notifier is behind, for whoever watches it."""

from typing import get_args

from prometheus_client import Gauge

from services.notifier.store import health as health_store
from services.notifier.tables import EndpointState
from shared.repeating import repeat
from shared.service_context import Context

MEASURE_SECONDS = 15.0

OLDEST_DUE = Gauge("basestock_webhook_oldest_due_seconds", "For how long the latest call of an active endpoint is due")
ENDPOINTS = Gauge("basestock_webhook_endpoints", "Webhook endpoints", ["state"])


async def measure_backlog(context: Context) -> None:
    """Worker: look again and again."""
    await repeat("measure_backlog", lambda: measure(context), idle_seconds=MEASURE_SECONDS)


async def measure(context: Context) -> None:
    """Set the gauges to what is now."""
    async with context.database.transaction() as session:
        backlog = await health_store.count_backlog(session)
    OLDEST_DUE.set(backlog.oldest_due_seconds)
    for state in get_args(EndpointState):
        ENDPOINTS.labels(state).set(backlog.endpoints.get(state, 0))
