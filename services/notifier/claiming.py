"""Claims what is due: reserves windows under a lease, and renders what the calls carry."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.notifier import stock_level, variant_stock
from services.notifier.calls import Call, Lease
from services.notifier.domain import bands, variants
from services.notifier.domain.calls import webhook_id
from services.notifier.encryption import vault_of
from services.notifier.endpoint_secrets import with_readable_secrets
from services.notifier.store import slots as slot_store
from services.notifier.store.due import DueEndpoint, Pace, find_due_endpoints, pace
from services.notifier.store.slots import DueSlot, Taken
from services.notifier.variant_stock import VariantNow
from shared import clock
from shared.database import Database, Session
from shared.linked_products import Linked, find_linked
from shared.settings import Settings

# More versions of one product than that are told to nobody in a webhook: a call of 256 KiB holds some two thousand, and
# whoever has more of them can ask for all (`GET /stock`).
LINKED_LIMIT = 1000
# One retailer's great lists must not make all others' calls late: a claim that has rendered so much, or would have to
# look up more lists when it has so much in them, ends. It looks up so many lists at a time.
CLAIM_BYTES = 8 * 1024 * 1024
CLAIM_LINKED = 20_000
LOOKED_UP_AT_ONCE = 100
# Nor may it hold the stock of many products for long: what changes meanwhile waits for it.
CLAIM_SLOTS = 2_000

# A retailer that is enabled again is told what has waited for it a hundred products a second.
BACKLOG_PRODUCTS_PER_SECOND = 100

# What is owed to one endpoint: as many slots as may go into its next call.
Owed = tuple[DueEndpoint, list[DueSlot]]


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
        looked_at = await slot_store.first_of(session, callable_, CLAIM_SLOTS) if callable_ else []
        found = await slot_store.find_due_slots(session, looked_at) if looked_at else []
        owed = await _owed(session, looked_at, found) if found else []
        calls = await _render(session, owed, lease)
        if calls:
            await slot_store.take(session, _taken(calls), lease.lease_id, settings.webhook_timeout_seconds)
            await pace(session, _paces(calls, found))
    if len(calls) < len(owed):
        return Claimed(tuple(calls), calls[-1].endpoint.endpoint_id, may_find_more=True)
    if len(looked_at) < len(callable_):
        return Claimed(tuple(calls), looked_at[-1].endpoint_id, may_find_more=True)
    return Claimed(tuple(calls), due[-1].endpoint_id if len(due) == limit else 0, _may_find_more(found, calls))


def _may_find_more(found: Sequence[DueSlot], calls: Sequence[Call]) -> bool:
    """Whether an endpoint was owed nothing of what was looked at, or wants more calls at once than it has now."""
    called = {call.endpoint.endpoint_id for call in calls}
    return any(slot.endpoint_id not in called for slot in found) or any(
        call.endpoint.calls_at_once > 1 for call in calls
    )


def _paces(calls: Sequence[Call], found: Sequence[DueSlot]) -> list[Pace]:
    """How these calls slow down the next ones, where their endpoints want only so many or have a backlog."""
    oldest = {slot.endpoint_id: slot.due_at for slot in sorted(found, key=lambda slot: slot.due_at, reverse=True)}
    paces = []
    for call in calls:
        endpoint = call.endpoint
        if endpoint.calls_per_second is None and endpoint.backlog_until is None:
            continue
        pause_seconds = 1 / endpoint.calls_per_second if endpoint.calls_per_second else 0
        # What has waited longest is looked at first.
        has_backlog = endpoint.backlog_until is not None and oldest[endpoint.endpoint_id] <= endpoint.backlog_until
        # A call of one event is little, and the next one waits for its end.
        if has_backlog and endpoint.format == "stock_level":
            pause_seconds = max(pause_seconds, len(call.slots) / BACKLOG_PRODUCTS_PER_SECOND)
        paces.append(Pace(endpoint.endpoint_id, pause_seconds, has_backlog))
    return paces


async def _owed(session: Session, due: Sequence[DueEndpoint], found: Sequence[DueSlot]) -> list[Owed]:
    """Who is owed a call, in the order of ids; what nobody is owed is parked or settled."""
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
    return [(endpoints[endpoint_id], _next(endpoints[endpoint_id], owed[endpoint_id])) for endpoint_id in sorted(owed)]


def _next(endpoint: DueEndpoint, slots: list[DueSlot]) -> list[DueSlot]:
    # Whose turn it is: one that changes all the time must not keep the others waiting.
    return [min(slots, key=lambda slot: slot.due_at)] if endpoint.format == "variant_stock" else slots


async def _render(session: Session, owed: Sequence[Owed], lease: Lease) -> list[Call]:
    """The calls of the first of these endpoints, as many as one claim may render; the others stay due."""
    calls: list[Call] = []
    linked: dict[tuple[int, int], Linked] = {}
    rendered = looked_up = 0
    for some in _some_at_once(owed):
        wanted = {(endpoint.company_id, slot.stock.product_id) for endpoint, slots in some for slot in slots}
        if wanted := wanted - linked.keys():
            if looked_up >= CLAIM_LINKED:
                break
            found = await find_linked(session, wanted, LINKED_LIMIT)
            looked_up += sum(len(one.parts) for one in found.values())
            linked |= found
        for endpoint, slots in some:
            calls.append(_call(endpoint, slots, linked, lease))
            rendered += len(calls[-1].body)
            if rendered >= CLAIM_BYTES:
                return calls
    return calls


def _some_at_once(owed: Sequence[Owed]) -> Iterator[list[Owed]]:
    some: list[Owed] = []
    looked_up = 0
    for one in owed:
        looked_up += len(one[1])
        if some and looked_up > LOOKED_UP_AT_ONCE:
            yield some
            some, looked_up = [], len(one[1])
        some.append(one)
    if some:
        yield some


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


def _call(endpoint: DueEndpoint, slots: Sequence[DueSlot], linked: dict[tuple[int, int], Linked], lease: Lease) -> Call:
    """Render as much as fits into one call; the rest stays due."""
    if endpoint.format == "variant_stock":
        (slot,) = slots
        return _variant_call(endpoint, slot, linked[endpoint.company_id, slot.stock.product_id], lease)
    rendered = (
        stock_level.item(slot.stock, linked[endpoint.company_id, slot.stock.product_id], legacy_key=endpoint.legacy_key)
        for slot in slots
    )
    items = list(stock_level.fitting(rendered))
    told = tuple(slots[: len(items)])
    return Call(
        endpoint=endpoint,
        kind="stock_level",
        slots=told,
        webhook_id=webhook_id(endpoint.endpoint_id, [(slot.stock.product_id, slot.state) for slot in told]),
        body=stock_level.body(items),
        lease=lease,
    )


def _variant_call(endpoint: DueEndpoint, slot: DueSlot, linked: Linked, lease: Lease) -> Call:
    product_id = slot.stock.product_id
    return Call(
        endpoint=endpoint,
        kind="variant_stock",
        slots=(slot,),
        webhook_id=variants.event_webhook_id(endpoint.endpoint_id, slot.kind, product_id, slot.location, slot.state),
        body=_event(endpoint, slot, linked) if slot.frozen is None else slot.frozen.body,
        lease=lease,
    )


def _event(endpoint: DueEndpoint, slot: DueSlot, linked: Linked) -> bytes:
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
    return variant_stock.state_event(variant, linked.parts)
