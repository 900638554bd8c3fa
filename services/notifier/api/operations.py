"""How notifier gets on, over HTTP, for the platform admin: as every service, and how late its webhooks are."""

from fastapi import APIRouter
from pydantic import BaseModel

from services.notifier.api.requests import CallerOf, ContextOf
from services.notifier.store import health as health_store
from shared.operation_routes import PATH, ServiceOperations, look_at

router = APIRouter(prefix=PATH)


class EndpointCounts(BaseModel):
    """How many endpoints are in each state; an active one counts as `failing` while its last calls failed."""

    active: int
    failing: int
    paused: int
    disabled: int


class WebhookBacklog(BaseModel):
    """How many products are due for a call, how late the latest is (0 where none is), and to how many endpoints.

    Due is what may be told now: not what waits for its window, and nothing of an endpoint that rests after a failure.
    """

    due: int
    oldest_due_seconds: float
    endpoints: EndpointCounts


class NotifierOperations(ServiceOperations):
    """How notifier gets on."""

    webhooks: WebhookBacklog


@router.get("/notifier", summary="How notifier gets on")
async def show_operations(caller: CallerOf, context: ContextOf) -> NotifierOperations:
    """What waits, and what was given up; for the platform admin. A bus that is away is no error: it says so."""
    caller.require()
    operations = await look_at(context)
    async with context.database.transaction() as session:
        backlog = await health_store.count_backlog(session)
        due = await health_store.count_due(session)
    endpoints = EndpointCounts(
        active=backlog.endpoints.get("active", 0) - backlog.failing,
        failing=backlog.failing,
        paused=backlog.endpoints.get("paused", 0),
        disabled=backlog.endpoints.get("disabled", 0),
    )
    webhooks = WebhookBacklog(due=due, oldest_due_seconds=backlog.oldest_due_seconds, endpoints=endpoints)
    return NotifierOperations(**operations.model_dump(), webhooks=webhooks)
