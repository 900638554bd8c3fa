"""SQL of orders that come in."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from services.orders.domain.orders import SubmittedOrder
from shared.database import Session

ORDERS_BY_REF = text("""
    select order_id, seller_id, external_ref, fingerprint
    from unnest(cast(:seller_ids as bigint[]), cast(:refs as text[])) as wanted (seller_id, external_ref)
    join orders using (external_ref, seller_id)
""")
# Sorted: two transactions that bring the same references wait for each other in one order. Of two with one reference
# in one batch the earlier wins.
INSERT_ORDERS = text("""
    insert into orders (order_id, seller_id, external_ref, fingerprint, source, state, status, placed_at, received_at,
        version, decision, decided_version)
    select order_id, seller_id, external_ref, fingerprint, source, 'open', 'received',
        coalesce(placed_at, :received_at), :received_at, 1, 0, 0
    from unnest(cast(:order_ids as uuid[]), cast(:seller_ids as bigint[]), cast(:refs as text[]),
        cast(:fingerprints as bytea[]), cast(:sources as text[]), cast(:placed_at as timestamptz[]))
        with ordinality as o (order_id, seller_id, external_ref, fingerprint, source, placed_at, position)
    order by external_ref, seller_id, position
    on conflict (external_ref, seller_id) do nothing
    returning order_id
""")


@dataclass(frozen=True, slots=True)
class Known:
    """What has a reference already: its id, and the fingerprint of its content."""

    id: UUID
    fingerprint: bytes


async def find_known_orders(session: Session, keys: Collection[tuple[int, str]]) -> dict[tuple[int, str], Known]:
    """The orders that have these `(seller id, external reference)` already."""
    wanted = sorted(set(keys))
    rows = await session.execute(
        ORDERS_BY_REF, {"seller_ids": [seller for seller, _ in wanted], "refs": [ref for _, ref in wanted]}
    )
    return {(row.seller_id, row.external_ref): Known(row.order_id, row.fingerprint) for row in rows}


async def insert_orders(session: Session, orders: Sequence[SubmittedOrder], received_at: datetime) -> set[UUID]:
    """Insert orders, still without lines; returns the ids of those whose reference was not taken."""
    rows = await session.execute(
        INSERT_ORDERS,
        {
            "order_ids": [order.order_id for order in orders],
            "seller_ids": [order.seller_id for order in orders],
            "refs": [order.external_ref for order in orders],
            "fingerprints": [order.fingerprint() for order in orders],
            "sources": [order.source for order in orders],
            "placed_at": [order.placed_at for order in orders],
            "received_at": received_at,
        },
    )
    return {row.order_id for row in rows}
