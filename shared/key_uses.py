"""When API keys were last used: every process notes it in memory, and tells it at most once a minute and key."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime

import structlog

from shared import clock
from shared.database import Session
from shared.draining import SHORT_DRAIN_SECONDS, to_its_end
from shared.events.key_use import ApiKeyUse
from shared.faults import is_infrastructure
from shared.messaging.outbox import publish
from shared.service_context import Context

log = structlog.get_logger()

TELL_SECONDS = 60

# Takes, in a transaction, when each key (by its id) was last used here.
NoteKeyUses = Callable[[Session, Mapping[int, datetime]], Awaitable[None]]


def publishing(event_type: type[ApiKeyUse]) -> NoteKeyUses:
    """Tell catalog of uses with the service's own event."""

    async def note(session: Session, uses: Mapping[int, datetime]) -> None:
        for key_id, used_at in sorted(uses.items()):
            publish(session, event_type(key_id=key_id, used_at=used_at))

    return note


async def tell_key_uses(context: Context, note: NoteKeyUses) -> None:
    """Worker: hand what `context.key_uses` has gathered to `note`, now and then, and when the process is to end."""
    try:
        while True:
            await clock.sleep(TELL_SECONDS)
            await to_its_end(_tell(context, note), SHORT_DRAIN_SECONDS)
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            async with asyncio.timeout(SHORT_DRAIN_SECONDS):
                await _tell(context, note)
        raise


async def _tell(context: Context, note: NoteKeyUses) -> None:
    uses = dict(context.key_uses)
    context.key_uses.clear()
    if not uses:
        return
    try:
        async with context.database.transaction() as session:
            await note(session, uses)
    except Exception as error:
        if not is_infrastructure(error):
            raise
        log.warning("key_uses_paused", service=context.service, error=repr(error))
        for key_id, used_at in uses.items():
            context.key_uses.setdefault(key_id, used_at)  # unless it was used again meanwhile
