"""Claims what is due: reserves windows under a lease, and renders what the calls carry."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from services.notifier import stock_level, variant_stock
from services.notifier.calls import Call, Lease
from services.notifier.domain import bands, variants
from services.notifier.domain.calls import fitting, webhook_id
from services.notifier.domain.health import CALL_PRODUCTS
from services.notifier.encryption import vault_of
from services.notifier.endpoint_secrets import with_readable_secrets
from services.notifier.store import slots as slot_store
from services.notifier.store.due import DueEndpoint, find_due_endpoints, pace
from services.notifier.store.slots import DueSlot, Taken
from services.notifier.variant_stock import VariantNow
from shared import clock
from shared.database import Database, Session
from shared.linked_products import LinkedPart, find_linked
from shared.settings import Settings

# Bytes of a call's body (architecture.md section 8).
CALL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Claimed:
    """The calls of one claim; `last_endpoint_id` is where the next claim goes on, 0 at the end of the round.

    `may_find_more` says that the next claim may find something at once, before any of these calls is finished.
    """

    calls: tuple[Call, ...]
    last_endpoint_id: int
    may_find_more: bool


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
        found = await slot_store.find_due_slots(session, callable_, CALL_PRODUCTS) if callable_ else []
        calls = await _claim_calls(session, callable_, found, lease) if found else []
        if calls:
            await slot_store.take(session, _taken(calls), lease.lease_id, settings.webhook_timeout_seconds)
            await pace(session, [call.endpoint for call in calls])
    return Claimed(tuple(calls), due[-1].endpoint_id if len(due) == limit else 0, _may_find_more(found, calls))


def _may_find_more(found: Sequence[DueSlot], calls: Sequence[Call]) -> bool:
    """Whether an endpoint was owed nothing of what was looked at, or wants more calls at once than it has now."""
    called = {call.endpoint.endpoint_id for call in calls}
    return any(slot.endpoint_id not in called for slot in found) or any(
        call.endpoint.calls_at_once > 1 for call in calls
    )


async def _claim_calls(
    session: Session, due: Sequence[DueEndpoint], found: Sequence[DueSlot], lease: Lease
) -> list[Call]:
    endpoints = {endpoint.endpoint_id: endpoint for endpoint in due}
    owed: dict[int, list[DueSlot]] = defaultdict(list)
    parked: list[DueSlot] = []
    settled: list[DueSlot] = []
    for slot in found:
        if not slot.is_wanted:
            parked.append(slot)
        elif is_owed(endpoints[slot.endpoint_id], slot):
            owed[slot.endpoint_id].append(slot)
        else:
            settled.append(slot)
    await slot_store.park(session, parked)
    await slot_store.settle(session, settled)
    wanted = {
        (endpoints[endpoint_id].company_id, slot.stock.product_id)
        for endpoint_id, slots in owed.items()
        for slot in slots
    }
    linked = await find_linked(session, wanted) if wanted else {}
    return [_call(endpoints[endpoint_id], owed[endpoint_id], linked, lease) for endpoint_id in sorted(owed)]


def is_owed(endpoint: DueEndpoint, slot: DueSlot) -> bool:
    """Whether the endpoint must be told of a slot that it wants, by what it asked for."""
    if slot.kind == "stock_level" and endpoint.only is not None:
        return not slot.known_bands or bands.is_asked_for(endpoint.only, slot.known_bands, slot.band)
    if slot.kind == "variant_stock":
        return slot.is_news and variants.is_asked_for(endpoint.event_types, slot.quantity)
    return slot.is_news


def _taken(calls: Sequence[Call]) -> list[Taken]:
    return [
        Taken(slot, call.endpoint.window_seconds, call.body if slot.kind == "variant_stock_delta" else None)
        for call in calls
        for slot in call.slots
    ]


def _call(
    endpoint: DueEndpoint,
    slots: Sequence[DueSlot],
    linked: dict[tuple[int, int], list[LinkedPart]],
    lease: Lease,
) -> Call:
    """Render as much as fits into one call; the rest stays due."""
    if endpoint.format == "variant_stock":
        # Whose turn it is: one that changes all the time must not keep the others waiting.
        slot = min(slots, key=lambda slot: slot.due_at)
        return _variant_call(endpoint, slot, linked.get((endpoint.company_id, slot.stock.product_id), ()), lease)
    items = [
        stock_level.item(
            slot.stock,
            linked.get((endpoint.company_id, slot.stock.product_id), ()),
            legacy_key=endpoint.legacy_key,
        )
        for slot in slots
    ]
    count = fitting([len(item) for item in items], CALL_BYTES)
    return Call(
        endpoint=endpoint,
        kind="stock_level",
        slots=tuple(slots[:count]),
        webhook_id=webhook_id(endpoint.endpoint_id, [(slot.stock.product_id, slot.state) for slot in slots[:count]]),
        body=stock_level.body(items[:count]),
        lease=lease,
    )


def _variant_call(endpoint: DueEndpoint, slot: DueSlot, linked: Sequence[LinkedPart], lease: Lease) -> Call:
    product_id = slot.stock.product_id
    return Call(
        endpoint=endpoint,
        kind="variant_stock",
        slots=(slot,),
        webhook_id=variants.event_webhook_id(endpoint.endpoint_id, slot.kind, product_id, slot.location, slot.state),
        body=_event(endpoint, slot, linked) if slot.frozen is None else slot.frozen.body,
        lease=lease,
    )


def _event(endpoint: DueEndpoint, slot: DueSlot, linked: Sequence[LinkedPart]) -> bytes:
    variant = VariantNow(
        product_id=slot.stock.product_id,
        sku=slot.stock.sku,
        location=slot.location,
        quantity=slot.quantity,
        told_quantity=slot.told_quantity,
        occurred_at=slot.stock.occurred_at,
        causes=slot.causes,
    )
    if slot.kind == "variant_stock_delta":
        return variant_stock.delta_event(variant, endpoint.delta_semantics)
    return variant_stock.state_event(variant, linked)
