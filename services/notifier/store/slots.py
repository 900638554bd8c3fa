"""Who still has to be told of what: claim and finish."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from services.notifier.stock_level import StockNow
from services.notifier.store.due import HAS_ROOM, DueEndpoint
from shared.database import Session

# Of `slots d`. What is in a call is due no earlier than that ends, whatever moved its turn meanwhile.
IS_DUE = """
    d.dirty and d.not_before <= (select db_now()) and coalesce(d.lease_until <= (select db_now()), true)
"""
# Asks for room again: another replica may have claimed between the statement above and its lock. What was refused in a
# call goes apart from all else, in calls as small as its limit says (domain/health.py).
FIND_DUE_SLOTS = text(
    f"""
    select s.endpoint_id, s.attempt, s.call_limit, p.product_id, p.sku, p.available, p.version, p.occurred_at,
        coalesce(s.told_available, p.previous_available) as told_available, p.changes as all_changes,
        p.changes - s.told_changes as changes,
        s.told_available is distinct from p.available or s.sent_version > s.acked_version as is_owed,
        exists (
            select from connections c
            where c.supplier_id = p.supplier_id and c.retailer_id = e.company_id and c.state = 'active'
        ) as is_connected
    from unnest(cast(:endpoint_ids as bigint[]), cast(:company_ids as bigint[]), cast(:calls_at_once as integer[]),
        cast(:sizes as integer[])) as e (endpoint_id, company_id, calls_at_once, size)
    cross join lateral (
        select d.call_limit from slots d
        where d.endpoint_id = e.endpoint_id and {IS_DUE} order by d.not_before limit 1) next
    cross join lateral (
        select * from slots d
        where d.endpoint_id = e.endpoint_id and {IS_DUE} and d.call_limit is not distinct from next.call_limit
        order by d.not_before limit least(e.size, next.call_limit) for update skip locked) s
    join stock_products p on p.product_id = s.product_id
    where {HAS_ROOM}
    order by p.product_id for share of p
"""  # noqa: S608 - constants
)
SETTLE = text("""
    update slots s set dirty = false
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[])) as d (endpoint_id, product_id)
    where s.endpoint_id = d.endpoint_id and s.product_id = d.product_id
""")
# The share lock makes a connection that is being resumed right now wait, and then unpark what is parked here.
PARK = text("""
    with asleep as (
        select supplier_id, retailer_id from connections
        where retailer_id = any(cast(:company_ids as bigint[])) and state <> 'active'
        order by connection_id for share
    )
    update slots s set not_before = 'infinity'
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]), cast(:company_ids as bigint[]))
        as d (endpoint_id, product_id, company_id)
    join stock_products p on p.product_id = d.product_id
    join asleep c on c.supplier_id = p.supplier_id and c.retailer_id = d.company_id
    where s.endpoint_id = d.endpoint_id and s.product_id = d.product_id
""")
# Before the socket is opened: whatever happens to the sender, the next call is a window after its last moment.
TAKE = text("""
    update slots s set lease_id = :lease_id, lease_until = db_now() + make_interval(secs => :timeout_seconds),
        not_before = db_now() + make_interval(secs => t.window_seconds + :timeout_seconds),
        sent_version = t.version, sent_available = t.available, sent_changes = t.changes
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]),
        cast(:window_seconds as double precision[]), cast(:versions as bigint[]), cast(:available as bigint[]),
        cast(:changes as bigint[]))
        as t (endpoint_id, product_id, window_seconds, version, available, changes)
    where s.endpoint_id = t.endpoint_id and s.product_id = t.product_id
""")
# Slots before products, as the claim has it; endpoints before their slots, as their removal has it.
LOCK_TAKEN = text("""
    select s.product_id from endpoints e join slots s on s.endpoint_id = e.endpoint_id
    where e.endpoint_id = any(cast(:endpoint_ids as bigint[]))
      and s.lease_until is not null and s.lease_id = any(cast(:lease_ids as uuid[]))
    order by e.endpoint_id, s.product_id for key share of e for no key update of s
""")
# The share lock: an acknowledgement of version 5 sees version 6, or fan-out of version 6 sees the acknowledgement.
# It is a statement of its own, so that the next one reads what is locked, and finds it by its key.
SHARE_STOCK = text("""
    select product_id from stock_products where product_id = any(cast(:product_ids as bigint[]))
    order by product_id for share
""")
FINISH = text("""
    update slots s set lease_id = null, lease_until = null, attempt = d.attempt,
        call_limit = d.call_limit, not_before = db_now() + make_interval(secs => d.delay_seconds),
        dirty = not d.delivered or s.sent_available <> p.available,
        acked_version = case when d.delivered then s.sent_version else s.acked_version end,
        told_available = case when d.delivered then s.sent_available else s.told_available end,
        told_changes = case when d.delivered then s.sent_changes else s.told_changes end
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]), cast(:lease_ids as uuid[]),
        cast(:delivered as boolean[]), cast(:delay_seconds as double precision[]), cast(:attempts as integer[]),
        cast(:call_limits as smallint[]))
        as d (endpoint_id, product_id, lease_id, delivered, delay_seconds, attempt, call_limit)
    join stock_products p on p.product_id = d.product_id
    where s.endpoint_id = d.endpoint_id and s.product_id = d.product_id and s.lease_id = d.lease_id
""")


@dataclass(frozen=True, slots=True)
class DueSlot:
    """A slot that is due. Nothing is owed when the stock went back to what the endpoint knows."""

    endpoint_id: int
    attempt: int
    call_limit: int | None
    stock: StockNow
    all_changes: int
    is_owed: bool
    is_connected: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot that a call carries."""

    slot: DueSlot
    window_seconds: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a slot that a call carried."""

    endpoint_id: int
    product_id: int
    lease_id: UUID
    delivered: bool
    delay_seconds: float
    attempt: int
    call_limit: int | None = None


async def find_due_slots(session: Session, endpoints: Sequence[DueEndpoint], products_per_call: int) -> list[DueSlot]:
    """Lock what is due for these locked endpoints, and share-lock its stock.

    Of each endpoint as much as may go into one call: at most `products_per_call`, and what it takes itself.
    """
    rows = await session.execute(
        FIND_DUE_SLOTS,
        {
            "endpoint_ids": [endpoint.endpoint_id for endpoint in endpoints],
            "company_ids": [endpoint.company_id for endpoint in endpoints],
            "calls_at_once": [endpoint.calls_at_once for endpoint in endpoints],
            "sizes": [min(endpoint.products_per_call, products_per_call) for endpoint in endpoints],
        },
    )
    return [
        DueSlot(
            endpoint_id=row.endpoint_id,
            attempt=row.attempt,
            call_limit=row.call_limit,
            stock=StockNow(
                product_id=row.product_id,
                sku=row.sku,
                available=row.available,
                told_available=row.told_available,
                version=row.version,
                changes=row.changes,
                occurred_at=row.occurred_at,
            ),
            all_changes=row.all_changes,
            is_owed=row.is_owed,
            is_connected=row.is_connected,
        )
        for row in rows
    ]


async def settle(session: Session, slots: Sequence[DueSlot]) -> None:
    """These endpoints know what is now: nothing is owed."""
    if slots:
        await session.execute(
            SETTLE,
            {
                "endpoint_ids": [slot.endpoint_id for slot in slots],
                "product_ids": [slot.stock.product_id for slot in slots],
            },
        )


async def park(session: Session, slots: Sequence[tuple[DueSlot, int]]) -> None:
    """Leave these, with their retailers' company ids, alone until the connection is active again."""
    if slots:
        await session.execute(
            PARK,
            {
                "endpoint_ids": [slot.endpoint_id for slot, _ in slots],
                "product_ids": [slot.stock.product_id for slot, _ in slots],
                "company_ids": [company_id for _, company_id in slots],
            },
        )


async def take(session: Session, taken: Sequence[Taken], lease_id: UUID, timeout_seconds: float) -> None:
    """Reserve the windows of slots that are about to be sent, under one lease."""
    await session.execute(
        TAKE,
        {
            "endpoint_ids": [item.slot.endpoint_id for item in taken],
            "product_ids": [item.slot.stock.product_id for item in taken],
            "lease_id": lease_id,
            "window_seconds": [item.window_seconds for item in taken],
            "versions": [item.slot.stock.version for item in taken],
            "available": [item.slot.stock.available for item in taken],
            "changes": [item.slot.all_changes for item in taken],
            "timeout_seconds": timeout_seconds,
        },
    )


async def finish(session: Session, finished: Sequence[Finished]) -> None:
    """Write down what became of slots, where the lease is still the caller's."""
    await session.execute(
        LOCK_TAKEN,
        {
            "endpoint_ids": sorted({item.endpoint_id for item in finished}),
            "lease_ids": list({item.lease_id for item in finished}),
        },
    )
    await session.execute(SHARE_STOCK, {"product_ids": sorted({item.product_id for item in finished})})
    await session.execute(
        FINISH,
        {
            "endpoint_ids": [item.endpoint_id for item in finished],
            "product_ids": [item.product_id for item in finished],
            "lease_ids": [item.lease_id for item in finished],
            "delivered": [item.delivered for item in finished],
            "delay_seconds": [item.delay_seconds for item in finished],
            "attempts": [item.attempt for item in finished],
            "call_limits": [item.call_limit for item in finished],
        },
    )
