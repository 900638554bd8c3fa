"""Claims the samples that endpoints are to be sent, and makes calls of them: once, whatever the endpoint's state."""

from services.notifier.calls import Call, Lease
from services.notifier.domain import samples
from services.notifier.store import pings as ping_store
from services.notifier.store.pings import Sample
from shared import clock
from shared.database import Database
from shared.settings import Settings


def new_sample_id() -> str:
    """The webhook id of one sample."""
    return f"msg_{clock.random_hex(32)}"


async def claim_samples(database: Database, settings: Settings, limit: int) -> list[Call]:
    """Calls for at most `limit` samples that wait. What is claimed and not sent before a crash is not sent at all."""
    # Before the database's clock is read, so that the deadline comes before the end of the lease.
    claimed_at = clock.monotonic()
    async with database.transaction() as session:
        claimed = await ping_store.claim(
            session, limit, settings.webhook_window_seconds, settings.webhook_timeout_seconds
        )
    return [
        Call(
            endpoint=sample.endpoint,
            kind=sample.kind,
            lease=Lease(clock.uuid7(), claimed_at, claimed_at + settings.webhook_timeout_seconds),
            webhook_id=sample.webhook_id,
            body=_body(sample),
        )
        for sample in claimed
    ]


def _body(sample: Sample) -> bytes:
    endpoint = sample.endpoint
    if sample.kind == "ping":
        return samples.ping(endpoint.endpoint_id, clock.utc_now())
    if endpoint.format == "stock_level":
        return samples.stock_level(legacy_key=endpoint.legacy_key)
    if endpoint.format == "variant_stock":
        return samples.variant_stock(endpoint.event_types, delta_is_total=endpoint.delta_semantics == "total")
    return samples.fulfillment(dotted_names=endpoint.dotted_names)
