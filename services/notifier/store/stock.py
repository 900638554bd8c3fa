"""Stock as it is, and whom it makes due: fan-out and catching up."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from services.notifier.domain.bands import band
from services.notifier.store.parts import find_suppliers, next_products
from services.notifier.store.replay import replay_some
from services.notifier.store.waits import shorten_some
from services.notifier.store.wanted import ADD_SLOTS, HEARERS, IS_NEWS
from services.notifier.tables import HAS_PARTS_TO_DO
from shared.database import Session
from shared.events.inventory import StockChanged, StockRemoved

# A change that leaves everything that anybody is told as it was is fanned out already, if what was before it is.
# The date of a product never goes back, whatever the clocks of inventory's replicas say: receivers go by it.
KEEP_STOCK = text("""
    insert into stock_products as old (product_id, supplier_id, sku, available, previous_available, occurred_at,
        version, changes, levels, causes, band, fanned_out_band, fanned_out_version, fanned_out_changes)
    select new.product_id, new.supplier_id, new.sku, new.available, new.previous_available, new.occurred_at,
        new.version, new.changes, cast(new.levels as jsonb), string_to_array(new.causes, ','), new.band,
        new.previous_band, 0, 0
    from unnest(cast(:product_ids as bigint[]), cast(:supplier_ids as bigint[]), cast(:skus as text[]),
        cast(:available as bigint[]), cast(:previous_available as bigint[]), cast(:occurred_at as timestamptz[]),
        cast(:versions as bigint[]), cast(:changes as bigint[]), cast(:levels as text[]), cast(:causes as text[]),
        cast(:bands as smallint[]), cast(:previous_bands as smallint[]))
        as new (product_id, supplier_id, sku, available, previous_available, occurred_at, version, changes, levels,
            causes, band, previous_band)
    on conflict (product_id) do update set supplier_id = excluded.supplier_id, sku = excluded.sku,
        available = excluded.available, previous_available = excluded.previous_available,
        occurred_at = greatest(old.occurred_at, excluded.occurred_at), version = excluded.version,
        changes = old.changes + excluded.changes, levels = excluded.levels, causes = excluded.causes,
        band = excluded.band,
        fanned_out_version = case
            when old.fanned_out_version = old.version and old.available = excluded.available
                and old.levels = excluded.levels and old.band = excluded.band then excluded.version
            else old.fanned_out_version end
    where old.version < excluded.version
""")
# The fewer endpoints there are the more products, since each of them may have a slot at each endpoint, or one for each
# of its locations; how many locations is measured of what comes next. Nobody is to wait for an exact number.
LOCK_CHANGED = text("""
    with next as materialized (
        select levels from stock_products where fanned_out_version < version and product_id > :after
        order by product_id limit :most_products
    ), size as materialized (
        select greatest(1, least(:most_products, floor(:slots / greatest(1, (
            select count(*) filter (where format = 'stock_level') + count(*) filter (where format = 'variant_stock')
                * (select coalesce(avg(greatest(1, (select count(*) from jsonb_object_keys(levels)))), 1) from next)
            from endpoints))))) as products
    )
    select p.product_id, (select products from size) as limit from stock_products p
    where p.fanned_out_version < p.version and p.product_id > :after
    order by p.product_id limit (select products from size) for no key update of p skip locked
""")
LOCK_CONNECTIONS = text("""
    select connection_id, state from connections where connection_id = any(cast(:connection_ids as bigint[]))
    order by connection_id for no key update
""")
# From the first product on, whatever it was at: what filters let in, of all suppliers.
ASK_TO_CATCH_UP = text("""
    update endpoints set catch_up = true, catch_up_after = 0, catch_up_suppliers = null
    where endpoint_id = :endpoint_id
""")
# Whoever connects waits for no endpoint: its company may be replaying a million products just now.
ADD_NEW_CONNECTIONS = text("""
    insert into new_connections (supplier_id, retailer_id)
    select * from unnest(cast(:supplier_ids as bigint[]), cast(:retailer_ids as bigint[]))
""")
TAKE_NEW_CONNECTION = text("""
    delete from new_connections where new_connection_id = (
        select new_connection_id from new_connections order by new_connection_id limit 1 for update skip locked)
    returning supplier_id, retailer_id
""")
# From the first product on too, with this supplier beside those that it was at.
ASK_RETAILER_TO_CATCH_UP = text("""
    with asked as (
        select endpoint_id from endpoints where company_id = :retailer_id order by endpoint_id for no key update
    )
    update endpoints e set catch_up = true, catch_up_after = 0,
        catch_up_suppliers = case when not e.catch_up then array[cast(:supplier_id as bigint)]
            when e.catch_up_suppliers is not null
                then array_append(array_remove(e.catch_up_suppliers, :supplier_id), :supplier_id) end
    from asked where e.endpoint_id = asked.endpoint_id
""")
# In turns: one that wants a million products keeps the others waiting for a part of them. Claims leave the endpoint
# alone meanwhile, fan-out does not.
LOCK_CATCHING_UP = text(
    f"""
    select endpoint_id, company_id, format, catch_up, catch_up_after, catch_up_suppliers, replay_after, replay_since,
        shorten_after
    from endpoints
    where {HAS_PARTS_TO_DO} order by endpoint_id <= :after, endpoint_id limit 1 for no key update skip locked
"""  # noqa: S608 - constants
)
# Of an endpoint that asks for other crossings: they begin at what it really was told.
RECALL_BANDS = text("""
    update slots set told_band = sent_band
    where endpoint_id = :endpoint_id and kind = 'stock_level' and acked_version > 0 and acked_version = sent_version
      and told_band <> sent_band and product_id > :after and product_id <= :last_id
""")
CAUGHT_UP = text("""
    update endpoints set catch_up = :more, catch_up_after = :after,
        catch_up_suppliers = case when :more then catch_up_suppliers end
    where endpoint_id = :endpoint_id
""")
# A clean slot of a product that is locked here can only be made dirty. Slots are found by their keys, ten thousand in a
# chunk: `offset 0` and arrays, of which the planner expects few elements, keep it from reading all slots there are.
FAN_OUT = text(f"""
    with hearers as (
        {HEARERS} and p.product_id = any(cast(:product_ids as bigint[])) for key share of e
    ), news as (
        select n.* from hearers p cross join lateral (
            select s.endpoint_id, s.product_id, s.location, s.kind from slots s
            where s.endpoint_id = p.endpoint_id and s.product_id = p.product_id and s.kind = any(p.kinds)
              and not s.dirty and {IS_NEWS} offset 0) n
    ), marked as (
        update slots s set dirty = true
        from unnest((select array_agg(endpoint_id) from news), (select array_agg(product_id) from news),
            (select array_agg(location) from news), (select array_agg(kind) from news))
            as n (endpoint_id, product_id, location, kind)
        where s.endpoint_id = n.endpoint_id and s.product_id = n.product_id and s.location = n.location
          and s.kind = n.kind
    ), added as ({ADD_SLOTS})
    update stock_products set fanned_out_version = version, fanned_out_changes = changes, fanned_out_band = band
    where product_id = any(cast(:product_ids as bigint[]))
""")  # noqa: S608 - constants
# Who may hear of more than before is told all that it does not know. What was parked was due, so its window is over;
# what has no slot was fanned out before the connection was heard of, and is told as its last change at least.
CATCH_UP = text(f"""
    with hearers as (
        {HEARERS} and e.endpoint_id = :endpoint_id and p.supplier_id = any(cast(:supplier_ids as bigint[]))
        and p.product_id > :after and p.product_id <= :last_id
    ), marked as (
        update slots s set dirty = true,
            not_before = case when s.not_before = 'infinity' then db_now() else s.not_before end
        from hearers p
        where s.endpoint_id = p.endpoint_id and s.product_id = p.product_id and s.kind = any(p.kinds)
          and (s.not_before = 'infinity' or (not s.dirty and {IS_NEWS}))
    )
    {ADD_SLOTS}
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class FannedOut:
    """The products of a chunk, in the order of ids; `is_full`: there may be more behind the last one."""

    products: list[int]
    is_full: bool


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
            "available": [_available(event) for event in rows],
            "previous_available": [event.previous_available for event in rows],
            "occurred_at": [event.occurred_at for event in rows],
            "versions": [event.version for event in rows],
            "changes": [changes[event.base_stock_product_id] for event in rows],
            "levels": [json.dumps(_levels(event)) for event in rows],
            "causes": [",".join(event.causes) for event in rows],
            "bands": [_band(event, _available(event)) for event in rows],
            "previous_bands": [_band(event, event.previous_available) for event in rows],
        },
    )


async def fan_out(session: Session, after: int, *, most_products: int, slots: int) -> FannedOut:
    """Mark the slots of some changed products with ids above `after`, in the order of ids.

    So many products that they have about `slots` slots, but one at least and `most_products` at most.
    """
    limits = {"after": after, "most_products": most_products, "slots": slots}
    rows = (await session.execute(LOCK_CHANGED, limits)).all()
    changed = [row.product_id for row in rows]
    if changed:
        await session.execute(FAN_OUT, {"product_ids": changed})
    return FannedOut(changed, is_full=bool(rows) and len(rows) >= rows[0].limit)


async def lock_active(session: Session, connection_ids: Collection[int]) -> set[int]:
    """Which of these connections are active; they stay as they are until the transaction changes them, or ends."""
    rows = await session.execute(LOCK_CONNECTIONS, {"connection_ids": list(connection_ids)})
    return {row.connection_id for row in rows if row.state == "active"}


async def ask_to_catch_up(session: Session, endpoint_id: int) -> None:
    """Have a locked endpoint whose filters are changed in this transaction told what they let in, after its commit.

    What it does not want any more is left alone when its turn comes.
    """
    await session.execute(ASK_TO_CATCH_UP, {"endpoint_id": endpoint_id})


async def add_new_connections(session: Session, connected: Collection[tuple[int, int]]) -> None:
    """Note `(supplier, retailer)` who are connected in this transaction: `ask_connected` finds them afterwards."""
    suppliers, retailers = zip(*sorted(connected), strict=True)
    await session.execute(ADD_NEW_CONNECTIONS, {"supplier_ids": list(suppliers), "retailer_ids": list(retailers)})


async def ask_connected(session: Session) -> bool:
    """Ask the endpoints of one newly connected retailer to catch up with its supplier; returns whether there was one.

    A claim that parks what the connection of before did not allow holds its endpoint, and ends first.
    """
    found = (await session.execute(TAKE_NEW_CONNECTION)).mappings().one_or_none()
    if found is not None:
        await session.execute(ASK_RETAILER_TO_CATCH_UP, dict(found))
    return found is not None


async def catch_up(session: Session, after: int, slots: int) -> int | None:
    """Do a part of what an endpoint was asked for: change about so many of its slots, those of a product at least.

    It is the next endpoint whose id is above `after`, or else the first; returns its id, `None` if there is none.
    """
    endpoint = (await session.execute(LOCK_CATCHING_UP, {"after": after})).one_or_none()
    if endpoint is None:
        return None
    if endpoint.shorten_after is not None:
        await shorten_some(session, endpoint.endpoint_id, endpoint.shorten_after, slots)
    elif endpoint.catch_up:
        await _catch_up_some(session, endpoint, slots)
    else:
        await replay_some(session, endpoint, slots)
    return int(endpoint.endpoint_id)


async def _catch_up_some(session: Session, endpoint: Any, slots: int) -> None:  # noqa: ANN401 - a row
    """Mark some of what it does not know and now wants."""
    # It needs no lock against fan-out. A fan-out that read the filters or the connection of before worked on versions
    # that were committed before the change of these was, so they are compared here; one that begins later reads the new
    # ones. Whoever changes the filters in the meantime, or passes a connection on, waits for the endpoint, and has it
    # begin anew.
    supplier_ids = await find_suppliers(session, endpoint.company_id, endpoint.catch_up_suppliers)
    part = await next_products(session, endpoint.format, supplier_ids, endpoint.catch_up_after, slots)
    some = {"endpoint_id": endpoint.endpoint_id} | part.values
    if endpoint.catch_up_suppliers is None:
        await session.execute(RECALL_BANDS, some)
    await session.execute(CATCH_UP, some | {"supplier_ids": supplier_ids})
    is_done = part.reached is None
    await session.execute(
        CAUGHT_UP, {"endpoint_id": endpoint.endpoint_id, "more": not is_done, "after": part.reached or 0}
    )


def _available(event: StockChanged | StockRemoved) -> int:
    return event.available if isinstance(event, StockChanged) else 0


def _levels(event: StockChanged | StockRemoved) -> dict[str, int]:
    return {level.location: level.available for level in event.levels} if isinstance(event, StockChanged) else {}


def _band(event: StockChanged | StockRemoved, available: int) -> int:
    return band(available, event.low_stock_threshold if isinstance(event, StockChanged) else None)
