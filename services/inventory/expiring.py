"""Reservations whose time is over give back what they hold, and are forgotten when they are old."""

from services.inventory import reserving
from services.inventory.store import reservations as store
from shared.draining import SHORT_DRAIN_SECONDS, to_its_end
from shared.repeating import repeat
from shared.service_context import Context

# One transaction locks the items of so many at most.
BATCH = 100
SWEEP_SECONDS = 1.0
# What is over can be read so long; the ledger keeps what it did for ever.
KEEP_DAYS = 90


async def expire_reservations(context: Context) -> None:
    """Worker: let go of what expired, batch after batch; several replicas share the work."""
    await repeat(
        "expire_reservations",
        lambda: to_its_end(_expire_some(context), SHORT_DRAIN_SECONDS),
        idle_seconds=SWEEP_SECONDS,
    )


async def _expire_some(context: Context) -> bool:
    async with context.database.transaction() as session:
        expired = await reserving.expire(session, BATCH)
        await store.forget(session, KEEP_DAYS, BATCH)
    return expired == BATCH
