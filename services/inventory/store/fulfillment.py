"""Fulfillment items: each is kept once, what it completed, and what an import lets go of."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from services.inventory.domain.fulfillment import Completed
from shared.database import Session
from shared.events.orders import FulfillmentItem

ADD_ITEMS = text("""
    insert into fulfillment_items (supplier_id, logical_timestamp, kind, request_id, order_id, line_id, product_id,
        variant_sku, quantity, location, occurred_at, applied)
    select *, true from unnest(cast(:supplier_ids as bigint[]), cast(:logical_timestamps as bigint[]),
        cast(:kinds as text[]), cast(:request_ids as uuid[]), cast(:order_ids as uuid[]), cast(:line_ids as integer[]),
        cast(:product_ids as bigint[]), cast(:variant_skus as text[]), cast(:quantities as bigint[]),
        cast(:locations as text[]), cast(:occurred_at as timestamptz[]))
    on conflict (supplier_id, logical_timestamp) do nothing
    returning supplier_id, logical_timestamp
""")
LET_WAIT = text("""
    update fulfillment_items i set applied = false
    from unnest(cast(:supplier_ids as bigint[]), cast(:logical_timestamps as bigint[]))
        as n (supplier_id, logical_timestamp)
    where i.supplier_id = n.supplier_id and i.logical_timestamp = n.logical_timestamp
""")
FIND_WAITING_ORDERS = text("""
    select distinct order_id from fulfillment_items
    where not applied and request_id = any(cast(:request_ids as uuid[]))
""")
TAKE_WAITING = text("""
    update fulfillment_items i set applied = true
    from unnest(cast(:request_ids as uuid[]), cast(:line_ids as integer[])) as n (request_id, line_id)
    where not i.applied and i.request_id = n.request_id and i.line_id = n.line_id
    returning i.supplier_id, i.logical_timestamp, i.request_id, i.order_id, i.line_id, i.quantity, i.location
""")
FIND_SETTLED = text("""
    select order_id, line_id, cast(sum(quantity) as bigint) from fulfillment_items
    where order_id = any(cast(:order_ids as uuid[])) and kind <> 'assigned' group by order_id, line_id
""")
ADD_COMPLETED = text("""
    insert into completed_items (supplier_id, logical_timestamp, product_id, location_id, quantity, held)
    select * from unnest(cast(:supplier_ids as bigint[]), cast(:logical_timestamps as bigint[]),
        cast(:product_ids as bigint[]), cast(:location_ids as bigint[]), cast(:quantities as bigint[]),
        cast(:held as boolean[]))
""")
LET_GO = text("""
    with gone as (
        update completed_items i set held = false
        from (select distinct * from unnest(cast(:product_ids as bigint[]), cast(:location_ids as bigint[]))
            as p (product_id, location_id)) as p
        where i.held and i.supplier_id = :supplier_id and i.logical_timestamp between :first and :last
          and i.product_id = p.product_id and i.location_id = p.location_id
        returning i.product_id, i.location_id, i.quantity
    )
    select product_id, location_id, cast(sum(quantity) as bigint) from gone
    group by product_id, location_id order by product_id, location_id
""")

# A supplier, and a logical timestamp of its.
ItemKey = tuple[int, int]


class WaitingItem(NamedTuple):
    """A completed item that waited for its product."""

    supplier_id: int
    logical_timestamp: int
    request_id: UUID
    order_id: UUID
    line_id: int
    quantity: int
    location: str


async def add_items(session: Session, items: Mapping[ItemKey, FulfillmentItem]) -> set[ItemKey]:
    """Keep these items of locked orders; returns which were news."""
    if not items:
        return set()
    events = [items[key] for key in sorted(items)]
    rows = await session.execute(
        ADD_ITEMS,
        {
            "supplier_ids": [event.supplier_id for event in events],
            "logical_timestamps": [event.logical_timestamp for event in events],
            "kinds": [event.name.rpartition("_")[2] for event in events],
            "request_ids": [event.request_id for event in events],
            "order_ids": [event.order_id for event in events],
            "line_ids": [event.line_id for event in events],
            "product_ids": [event.product_id for event in events],
            "variant_skus": [event.variant_sku or "" for event in events],
            "quantities": [event.quantity for event in events],
            "locations": [event.location for event in events],
            "occurred_at": [event.occurred_at for event in events],
        },
    )
    return {(supplier_id, logical_timestamp) for supplier_id, logical_timestamp in rows.all()}


async def let_wait(session: Session, keys: Collection[ItemKey]) -> None:
    """Note that these items have to wait for their product."""
    if keys:
        await session.execute(LET_WAIT, _key_columns(keys))


async def find_waiting_orders(session: Session, request_ids: Collection[UUID]) -> set[UUID]:
    """The orders of the items of these requests that wait for their product."""
    if not request_ids:
        return set()
    return {row.order_id for row in await session.execute(FIND_WAITING_ORDERS, {"request_ids": list(request_ids)})}


async def take_waiting(session: Session, lines: Collection[tuple[UUID, int]]) -> list[WaitingItem]:
    """Take the items of these requests' lines, `(request id, line id)`, out of the waiting; their orders are locked."""
    if not lines:
        return []
    parameters = {"request_ids": [one for one, _ in lines], "line_ids": [line_id for _, line_id in lines]}
    return sorted(WaitingItem(*row) for row in (await session.execute(TAKE_WAITING, parameters)).all())


async def find_settled(session: Session, order_ids: Collection[UUID]) -> dict[UUID, dict[int, int]]:
    """How many units of these locked orders' lines are completed or have failed: `{order id: {line id: units}}`."""
    found: dict[UUID, dict[int, int]] = {}
    if not order_ids:
        return found
    for order_id, line_id, units in (await session.execute(FIND_SETTLED, {"order_ids": list(order_ids)})).all():
        found.setdefault(order_id, {})[line_id] = units
    return found


async def add_completed(session: Session, completed: Sequence[tuple[ItemKey, Completed]]) -> None:
    """Keep what has left with which item."""
    if completed:
        rows = [one for _, one in completed]
        await session.execute(
            ADD_COMPLETED,
            {
                **_key_columns([key for key, _ in completed]),
                "product_ids": [one.product_id for one in rows],
                "location_ids": [one.location_id for one in rows],
                "quantities": [one.quantity for one in rows],
                "held": [one.held for one in rows],
            },
        )


async def let_go(
    session: Session, supplier_id: int, first: int, last: int, pairs: Collection[tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """Hold no more what completed items hold whose logical timestamp is from `first` to `last`, both included.

    Only at these pairs of (product id, location id), whose items are locked. Returns `(product id, location id, units)`
    that were held until now; what an earlier range has let go is not among them.
    """
    parameters = {
        "supplier_id": supplier_id,
        "first": first,
        "last": last,
        "product_ids": [product_id for product_id, _ in pairs],
        "location_ids": [location_id for _, location_id in pairs],
    }
    rows = (await session.execute(LET_GO, parameters)).all()
    return [(product_id, location_id, units) for product_id, location_id, units in rows]


def _key_columns(keys: Collection[ItemKey]) -> dict[str, list[int]]:
    return {
        "supplier_ids": [supplier_id for supplier_id, _ in keys],
        "logical_timestamps": [logical_timestamp for _, logical_timestamp in keys],
    }
