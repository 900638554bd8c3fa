"""How a service gets on, over HTTP, for the platform admin: what waits in its outbox and queues, what it gave up on."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from shared.access import Caller, caller_of
from shared.messaging import dead_letters, outbox
from shared.messaging.bus import BusUnavailableError, Depth
from shared.service_context import Context, context_of

PATH = "/v1/operations"


class OutboxState(BaseModel):
    """What the bus has not confirmed yet, and for how long the oldest of it waits (0 where nothing does)."""

    messages: int
    oldest_seconds: float


class BusState(BaseModel):
    """Whether the bus could be asked; `reason` says in words why not."""

    reachable: bool
    reason: str | None = None


class QueueState(BaseModel):
    """What waits in a queue until a consumer takes it in hand; null where there is no such queue, or nobody to ask."""

    name: str
    messages: int | None
    consumers: int | None


class DeadLetterState(BaseModel):
    """How many messages the service gave up on, and when the newest of them was."""

    messages: int
    newest_at: datetime | None


class ServiceOperations(BaseModel):
    """How a service gets on; `queues` are those that it consumes, by name, with the consumers of all its replicas."""

    service: str
    outbox: OutboxState
    bus: BusState
    queues: list[QueueState]
    dead_letters: DeadLetterState


def operations_router(service: str) -> APIRouter:
    """The route that says how a service gets on, `/v1/operations/<service>`."""
    router = APIRouter(prefix=PATH)

    @router.get(f"/{service}", summary=f"How {service} gets on")
    async def show_operations(
        caller: Annotated[Caller, Depends(caller_of(service))],
        context: Annotated[Context, Depends(context_of(service))],
    ) -> ServiceOperations:
        """What waits, and what was given up; for the platform admin. A bus that is away is no error: it says so."""
        caller.require()
        return await look_at(context)

    return router


async def look_at(context: Context) -> ServiceOperations:
    """How this service gets on now."""
    async with context.database.transaction() as session:
        waiting = await outbox.measure(session)
        letters, newest_at = await dead_letters.count_all(session)
    bus, depths = await _look_at_queues(context)
    return ServiceOperations(
        service=context.service,
        outbox=OutboxState(messages=waiting.messages, oldest_seconds=waiting.oldest_seconds),
        bus=bus,
        queues=[_queue(name, depths.get(name)) for name in sorted(context.sources)],
        dead_letters=DeadLetterState(messages=letters, newest_at=newest_at),
    )


async def _look_at_queues(context: Context) -> tuple[BusState, dict[str, Depth]]:
    try:
        return BusState(reachable=True), dict(await context.bus.depths(sorted(context.sources)))
    except BusUnavailableError as error:
        return BusState(reachable=False, reason=str(error)), {}


def _queue(name: str, depth: Depth | None) -> QueueState:
    if depth is None:
        return QueueState(name=name, messages=None, consumers=None)
    return QueueState(name=name, messages=depth.messages, consumers=depth.consumers)
