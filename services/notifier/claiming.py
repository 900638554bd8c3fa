"""Claims what is due: reserves windows under a lease, and renders what the calls carry."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from services.notifier import stock_level
from services.notifier.calls import Call, Lease
from services.notifier.domain.calls import fitting, webhook_id
from services.notifier.domain.health import CALL_PRODUCTS
from services.notifier.encryption import vault_of
from services.notifier.endpoint_secrets import with_readable_secrets
from services.notifier.store import slots as slot_store
from services.notifier.store.due import DueEndpoint, find_due_endpoints, pace
from services.notifier.store.slots import DueSlot, Taken
from shared import clock
from shared.database import Database, Session
from shared.linked_products import LinkedPart, find_linked
from shared.settings import Settings

# Bytes of a call's body (architecture.md section 8).
CALL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Claimed:
    """The calls of one claim; `last_endpoint_id` is where the next claim goes on, 0 at the end of the round."""

    calls: tuple[Call, ...]
    last_endpoint_id: int


async def claim(database: Database, settings: Settings, after: int, limit: int) -> Claimed:
    """Claim what is due for at most `limit` endpoints with ids above `after`, each in one call.

    The window and the lease are committed when this returns: before any socket is opened.
    """
    # Before the database's clock is read, so that the deadline comes before the end of the lease.
    claimed_at = clock.monotonic()
    lease = Lease(clock.uuid7(), claimed_at, claimed_at + settings.webhook_timeout_seconds)
    async with database.transaction() as session:
        due = await find_due_endpoints(session, after, limit, settings.webhook_window_seconds)
        callable_ = with_readable_secrets(vault_of(settings.webhook_encryption_key), due)
        calls = await _claim_calls(session, callable_, lease) if callable_ else []
        if calls:
            taken = [Taken(slot, call.endpoint.window_seconds) for call in calls for slot in call.slots]
            await slot_store.take(session, taken, lease.lease_id, settings.webhook_timeout_seconds)
            await pace(session, [call.endpoint for call in calls])
    return Claimed(tuple(calls), due[-1].endpoint_id if len(due) == limit else 0)


async def _claim_calls(session: Session, due: Sequence[DueEndpoint], lease: Lease) -> list[Call]:
    found = await slot_store.find_due_slots(session, due, CALL_PRODUCTS)
    company_ids = {endpoint.endpoint_id: endpoint.company_id for endpoint in due}
    await slot_store.park(session, [(slot, company_ids[slot.endpoint_id]) for slot in found if not slot.is_connected])
    await slot_store.settle(session, [slot for slot in found if slot.is_connected and not slot.is_owed])
    owed: dict[int, list[DueSlot]] = defaultdict(list)
    for slot in found:
        if slot.is_connected and slot.is_owed:
            owed[slot.endpoint_id].append(slot)
    wanted = {(company_ids[endpoint_id], slot.stock.product_id) for endpoint_id in owed for slot in owed[endpoint_id]}
    linked = await find_linked(session, wanted) if wanted else {}
    return [
        _call(endpoint, owed[endpoint.endpoint_id], linked, lease) for endpoint in due if endpoint.endpoint_id in owed
    ]


def _call(
    endpoint: DueEndpoint,
    slots: Sequence[DueSlot],
    linked: dict[tuple[int, int], list[LinkedPart]],
    lease: Lease,
) -> Call:
    """Render as much as fits into one call; the rest stays due."""
    items = [
        stock_level.item(slot.stock, linked.get((endpoint.company_id, slot.stock.product_id), ())) for slot in slots
    ]
    count = fitting([len(item) for item in items], CALL_BYTES)
    versions = [(slot.stock.product_id, slot.stock.version) for slot in slots[:count]]
    return Call(
        endpoint=endpoint,
        kind="stock_level",
        slots=tuple(slots[:count]),
        webhook_id=webhook_id(endpoint.endpoint_id, versions),
        body=stock_level.body(items[:count]),
        lease=lease,
    )
