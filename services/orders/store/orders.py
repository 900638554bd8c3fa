"""SQL of orders and their lines."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.orders.domain.orders import Line, SubmittedOrder
from shared.database import Session
from shared.events.inventory import OrderAllocated, OrderShort

ORDERS_BY_REF = text("""
    select order_id, seller_id, external_ref, fingerprint
    from unnest(cast(:seller_ids as bigint[]), cast(:refs as text[])) as wanted (seller_id, external_ref)
    join orders using (external_ref, seller_id)
""")
# Sorted: two transactions that bring the same references wait for each other in one order. Of two with one reference
# in one batch the earlier wins.
INSERT_ORDERS = text("""
    insert into orders (order_id, seller_id, external_ref, fingerprint, source, state, placed_at, received_at, version,
        decision)
    select order_id, seller_id, external_ref, fingerprint, source, 'open', coalesce(placed_at, :received_at),
        :received_at, 1, 0
    from unnest(cast(:order_ids as uuid[]), cast(:seller_ids as bigint[]), cast(:refs as text[]),
        cast(:fingerprints as bytea[]), cast(:sources as text[]), cast(:placed_at as timestamptz[]))
        with ordinality as o (order_id, seller_id, external_ref, fingerprint, source, placed_at, position)
    order by external_ref, seller_id, position
    on conflict (external_ref, seller_id) do nothing
    returning order_id
""")
INSERT_ORDER_LINES = text("""
    insert into order_lines (order_id, line_id, product_id, variant_sku, quantity, location)
    select * from unnest(cast(:owner_ids as uuid[]), cast(:line_ids as integer[]), cast(:product_ids as bigint[]),
        cast(:variant_skus as text[]), cast(:quantities as bigint[]), cast(:locations as text[]))
""")

SELECT_ORDERS = """
    select o.order_id, o.seller_id, o.external_ref, o.source, o.state, o.placed_at, o.received_at, o.version,
        o.decision, (
            select jsonb_agg(jsonb_build_object('line_id', l.line_id, 'product_id', l.product_id,
                'variant_sku', l.variant_sku, 'quantity', l.quantity, 'location', l.location, 'outcome', l.outcome,
                'takes', l.takes, 'shortfall', l.shortfall, 'reason', l.reason) order by l.line_id)
            from order_lines l where l.order_id = o.order_id) as lines
    from orders o
"""
ORDER_FILTERS = {
    "order_id": "o.order_id = cast(:order_id as uuid)",
    "seller_id": "o.seller_id = cast(:seller_id as bigint)",
    "external_ref": "o.external_ref = cast(:external_ref as text)",
    "before": "o.order_id < cast(:before as uuid)",
}

LOCK_ORDERS = text("""
    select order_id, decision from orders where order_id = any(cast(:order_ids as uuid[]))
    order by order_id for no key update
""")
UPDATE_DECISIONS = text("""
    update orders set decision = d.decision
    from unnest(cast(:order_ids as uuid[]), cast(:decisions as bigint[])) as d (order_id, decision)
    where orders.order_id = d.order_id
""")
UPDATE_LINES = text("""
    update order_lines l
    set outcome = d.outcome, takes = d.takes, shortfall = d.shortfall, reason = d.reason
    from jsonb_to_recordset(cast(:lines as jsonb)) as d (order_id uuid, line_id integer, outcome text, takes jsonb,
        shortfall bigint, reason text)
    where l.order_id = d.order_id and l.line_id = d.line_id
    returning l.order_id, l.line_id
""")


class UnknownOrderError(LookupError):
    """Inventory decided on an order, or on a line, that is not here."""


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
    """Insert orders with their lines; returns the ids of those whose reference was not taken."""
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
    created = {row.order_id for row in rows}
    numbered = [
        (order.order_id, line_id, line)
        for order in orders
        if order.order_id in created
        for line_id, line in enumerate(order.lines, 1)
    ]
    await session.execute(INSERT_ORDER_LINES, line_columns(numbered))
    return created


async def find_orders(session: Session, filters: dict[str, object], limit: int) -> list[dict[str, Any]]:
    """Orders with their lines, newest first, `limit` at most; `filters` by the names in `ORDER_FILTERS`."""
    conditions = " and ".join(ORDER_FILTERS[name] for name in filters) or "true"
    statement = f"{SELECT_ORDERS} where {conditions} order by o.order_id desc limit :limit"
    rows = await session.execute(text(statement), {**filters, "limit": limit})
    return [dict(row) for row in rows.mappings()]


async def record_decisions(session: Session, decided: Sequence[OrderAllocated | OrderShort]) -> None:
    """Set what inventory decided, where it is newer than what is known.

    `UnknownOrderError` when an order or a line is not here: they were made here, so something is badly wrong.
    """
    newest = {event.order_id: event for event in sorted(decided, key=lambda event: event.decision)}
    rows = await session.execute(LOCK_ORDERS, {"order_ids": sorted(newest)})
    known = {row.order_id: row.decision for row in rows}
    missing = [str(order_id) for order_id in sorted(newest) if order_id not in known]
    if missing:
        message = f"inventory decided on orders that are not known here: {', '.join(missing)}"
        raise UnknownOrderError(message)
    news = [event for order_id, event in newest.items() if event.decision > known[order_id]]
    await session.execute(
        UPDATE_DECISIONS,
        {"order_ids": [event.order_id for event in news], "decisions": [event.decision for event in news]},
    )
    lines = [
        {"order_id": str(event.order_id), **line.model_dump(mode="json")} for event in news for line in event.lines
    ]
    found = {
        (str(row.order_id), row.line_id) for row in await session.execute(UPDATE_LINES, {"lines": json.dumps(lines)})
    }
    strange = [
        f"{line['line_id']} of {line['order_id']}" for line in lines if (line["order_id"], line["line_id"]) not in found
    ]
    if strange:
        message = f"inventory decided on order lines that are not known here: {', '.join(strange)}"
        raise UnknownOrderError(message)


def line_columns(numbered: Sequence[tuple[UUID, int, Line]]) -> dict[str, list[Any]]:
    """`(id of the order or return, line id, line)` as the arrays that `unnest` takes."""
    return {
        "owner_ids": [owner_id for owner_id, _, _ in numbered],
        "line_ids": [line_id for _, line_id, _ in numbered],
        "product_ids": [line.product_id for _, _, line in numbered],
        "variant_skus": [line.variant_sku for _, _, line in numbered],
        "quantities": [line.quantity for _, _, line in numbered],
        "locations": [line.location for _, _, line in numbered],
    }
