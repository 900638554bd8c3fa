"""Stock as it is, and whom it makes due: fan-out and resumption."""

from collections.abc import Sequence

from sqlalchemy import text

from shared.database import Session
from shared.events.inventory import StockChanged, StockRemoved

# A change that leaves `available` as it was is fanned out already, if what was before it is.
KEEP_STOCK = text("""
    insert into stock_products as old (product_id, supplier_id, sku, available, previous_available, occurred_at,
        version, changes, fanned_out_version, fanned_out_changes)
    select new.*, 0, 0 from unnest(cast(:product_ids as bigint[]), cast(:supplier_ids as bigint[]),
        cast(:skus as text[]), cast(:available as bigint[]), cast(:previous_available as bigint[]),
        cast(:occurred_at as timestamptz[]), cast(:versions as bigint[]), cast(:changes as bigint[])) as new
    on conflict (product_id) do update set supplier_id = excluded.supplier_id, sku = excluded.sku,
        available = excluded.available, previous_available = excluded.previous_available,
        occurred_at = excluded.occurred_at, version = excluded.version, changes = old.changes + excluded.changes,
        fanned_out_version = case
            when old.fanned_out_version = old.version and old.available = excluded.available then excluded.version
            else old.fanned_out_version end
    where old.version < excluded.version
""")
# Products of a supplier whose connections are being resumed wait: fan-out would not see who is connected just now.
# The fewer endpoints there are the more products, since each of them may have a slot at each endpoint.
LOCK_CHANGED = text("""
    select product_id from stock_products where fanned_out_version < version
      and pg_try_advisory_xact_lock_shared(hashtextextended('basestock.notifier.supplier.' || supplier_id, 0))
    order by product_id
    limit (select greatest(:least_products, least(:most_products, :slots / greatest(1, count(*)))) from endpoints)
    for no key update skip locked
""")
LOCK_FAN_OUT = text("""
    select pg_advisory_xact_lock(hashtextextended('basestock.notifier.supplier.' || cast(:supplier_id as bigint), 0))
""")
# A clean slot of a product that is locked here can only be made dirty, and only here. Endpoints are locked, so that
# one that is removed just now is left out, and not missed when its slot is added.
FAN_OUT = text("""
    with hearers as (
        select e.endpoint_id, p.product_id, p.available, p.fanned_out_changes
        from stock_products p
        join connections c on c.supplier_id = p.supplier_id and c.state = 'active'
        join endpoints e on e.company_id = c.retailer_id
        where p.product_id = any(cast(:product_ids as bigint[]))
        for key share of e
    ), marked as (
        update slots s set dirty = true from hearers h
        where s.endpoint_id = h.endpoint_id and s.product_id = h.product_id
          and not s.dirty and s.told_available is distinct from h.available
    ), added as (
        insert into slots (endpoint_id, product_id, dirty, not_before, sent_changes, told_changes)
        select endpoint_id, product_id, true, db_now(), fanned_out_changes, fanned_out_changes from hearers
        on conflict (endpoint_id, product_id, location, kind) do nothing
    )
    update stock_products set fanned_out_version = version, fanned_out_changes = changes
    where product_id = any(cast(:product_ids as bigint[]))
""")
# A retailer that is connected is told all that it does not know. What was parked was due, so its window is over; what
# has no slot was fanned out before the connection was heard of, and is told as its last change at least.
RESUME = text("""
    with hearers as (
        select e.endpoint_id, p.product_id, p.available, least(p.fanned_out_changes, p.changes - 1) as told_changes
        from stock_products p cross join endpoints e
        where p.supplier_id = :supplier_id and e.company_id = :retailer_id
        for key share of e
    ), marked as (
        update slots s set dirty = true,
            not_before = case when s.not_before = 'infinity' then db_now() else s.not_before end
        from hearers h
        where s.endpoint_id = h.endpoint_id and s.product_id = h.product_id
          and (s.not_before = 'infinity' or (not s.dirty and s.told_available is distinct from h.available))
    )
    insert into slots (endpoint_id, product_id, dirty, not_before, sent_changes, told_changes)
    select endpoint_id, product_id, true, db_now(), told_changes, told_changes from hearers
    on conflict (endpoint_id, product_id, location, kind) do nothing
""")

RESUME_ENDPOINT = text("""
    update slots set not_before = db_now() where endpoint_id = :endpoint_id and not_before = 'infinity'
""")


async def keep_stock(session: Session, events: Sequence[StockChanged | StockRemoved]) -> None:
    """Copy the newest state of each product; the entries merged into older events of the batch are counted."""
    newest: dict[int, StockChanged | StockRemoved] = {}
    changes: dict[int, int] = {}
    for event in events:
        product_id = event.base_stock_product_id
        changes[product_id] = changes.get(product_id, 0) + event.changes
        known = newest.get(product_id)
        if known is None or known.version < event.version:
            newest[product_id] = event
    rows = [newest[product_id] for product_id in sorted(newest)]
    await session.execute(
        KEEP_STOCK,
        {
            "product_ids": [event.base_stock_product_id for event in rows],
            "supplier_ids": [event.supplier_id for event in rows],
            "skus": [event.sku for event in rows],
            "available": [event.available if isinstance(event, StockChanged) else 0 for event in rows],
            "previous_available": [event.previous_available for event in rows],
            "occurred_at": [event.occurred_at for event in rows],
            "versions": [event.version for event in rows],
            "changes": [changes[event.base_stock_product_id] for event in rows],
        },
    )


async def fan_out(session: Session, least_products: int, most_products: int, slots: int) -> int:
    """Mark the slots of some changed products; returns how many products there were.

    So many products that they have `slots` slots at most, but `least_products` to `most_products`.
    """
    limits = {"least_products": least_products, "most_products": most_products, "slots": slots}
    changed = list((await session.execute(LOCK_CHANGED, limits)).scalars())
    if changed:
        await session.execute(FAN_OUT, {"product_ids": changed})
    return len(changed)


async def resume(session: Session, supplier_id: int, retailer_id: int) -> None:
    """Tell the retailer's endpoints what they do not know of this supplier's stock: once, what is now.

    Until the transaction ends fan-out leaves the supplier's changes alone; resume suppliers in the order of their ids.
    """
    await session.execute(LOCK_FAN_OUT, {"supplier_id": supplier_id})
    await session.execute(RESUME, {"supplier_id": supplier_id, "retailer_id": retailer_id})


async def resume_endpoint(session: Session, endpoint_id: int) -> None:
    """Look anew at what was parked for this endpoint, as its filters changed."""
    await session.execute(RESUME_ENDPOINT, {"endpoint_id": endpoint_id})
