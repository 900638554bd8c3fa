"""Reservations whose time is over give back what they hold, and are forgotten when they are old."""

import structlog

from services.inventory import reserving
from services.inventory.store import reservations as store
from shared import clock
from shared.draining import SHORT_DRAIN_SECONDS, to_its_end
from shared.faults import is_infrastructure
from shared.service_context import Context

log = structlog.get_logger()

# One transaction locks the items of so many at most.
BATCH = 100
SWEEP_SECONDS = 1.0
# What is over can be read so long; the ledger keeps what it did for ever.
KEEP_DAYS = 90


async def expire_reservations(context: Context) -> None:
    """Worker: let go of what expired, batch after batch; several replicas share the work."""
    while True:
        try:
            while await to_its_end(_expire_some(context), SHORT_DRAIN_SECONDS) == BATCH:
                pass
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("expire_reservations_paused", error=str(error))
        await clock.sleep(SWEEP_SECONDS)


async def _expire_some(context: Context) -> int:
    async with context.database.transaction() as session:
        expired = await reserving.expire(session, BATCH)
        await store.forget(session, KEEP_DAYS, BATCH)
    return expired
