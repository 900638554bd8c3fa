"""SQL of fulfillment: lock requests, save them, number what happened to them, and show it.

The counters are locked last and held until the commit: so the numbers of a supplier have no gap whatever is rolled
back, and who sees one sees all before it.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from services.orders.domain.fulfillment import EventKind, Request, RequestItem
from services.orders.store.orders import Known
from shared.database import Session

FIND_ORDERS = text("""
    select request_id, order_id from fulfillment_requests
    where request_id = any(cast(:request_ids as uuid[]))
      and (cast(:supplier_id as bigint) is null or supplier_id = cast(:supplier_id as bigint))
""")
LOCK_REQUESTS = text("""
    select request_id, supplier_id, order_id, location, external_ref, fingerprint
    from fulfillment_requests where request_id = any(cast(:request_ids as uuid[]))
    order by request_id for no key update
""")
ITEMS = text("""
    select request_id, line_id, quantity, completed, failed
    from fulfillment_items where request_id = any(cast(:request_ids as uuid[])) order by request_id, line_id
""")
BY_REF = text("""
    select supplier_id, external_ref, request_id, fingerprint
    from unnest(cast(:supplier_ids as bigint[]), cast(:refs as text[])) as wanted (supplier_id, external_ref)
    join fulfillment_requests using (supplier_id, external_ref)
""")
# Sorted: two transactions that bring the same references wait for each other in one order.
INSERT_REQUESTS = text("""
    insert into fulfillment_requests (request_id, supplier_id, order_id, location, external_ref, fingerprint, state,
        created_at)
    select request_id, supplier_id, order_id, location, external_ref, fingerprint, state, :created_at
    from unnest(cast(:request_ids as uuid[]), cast(:supplier_ids as bigint[]), cast(:order_ids as uuid[]),
        cast(:locations as text[]), cast(:refs as text[]), cast(:fingerprints as bytea[]), cast(:states as text[]))
        as n (request_id, supplier_id, order_id, location, external_ref, fingerprint, state)
    order by supplier_id, external_ref
    on conflict (supplier_id, external_ref) do nothing
    returning request_id
""")
SAVE_STATES = text("""
    update fulfillment_requests r set state = n.state
    from unnest(cast(:request_ids as uuid[]), cast(:states as text[])) as n (request_id, state)
    where r.request_id = n.request_id and r.state <> n.state
""")
SAVE_ITEMS = text("""
    insert into fulfillment_items (request_id, line_id, order_id, quantity, completed, failed)
    select request_id, line_id, order_id, quantity, completed, failed
    from jsonb_to_recordset(cast(:items as jsonb)) as n (request_id uuid, line_id integer, order_id uuid,
        quantity bigint, completed bigint, failed bigint)
    on conflict (request_id, line_id) do update set completed = excluded.completed, failed = excluded.failed
""")
TAKE_TIMESTAMPS = text("""
    insert into fulfillment_counters as c (supplier_id, last_timestamp)
    select supplier_id, count from unnest(cast(:supplier_ids as bigint[]), cast(:counts as bigint[]))
        as n (supplier_id, count)
    order by supplier_id
    on conflict (supplier_id) do update set last_timestamp = c.last_timestamp + excluded.last_timestamp
    returning supplier_id, last_timestamp
""")
ADD_EVENTS = text("""
    insert into fulfillment_events (supplier_id, logical_timestamp, kind, request_id, line_id, quantity, reason,
        occurred_at)
    select supplier_id, logical_timestamp, kind, request_id, line_id, quantity, reason, :occurred_at
    from jsonb_to_recordset(cast(:events as jsonb)) as n (supplier_id bigint, logical_timestamp bigint, kind text,
        request_id uuid, line_id integer, quantity bigint, reason text)
""")
SHOW = """
    select r.request_id, r.supplier_id, r.external_ref, r.order_id, o.external_ref as order_ref, o.seller_id,
        r.location, r.state, r.created_at, (
            select jsonb_agg(jsonb_build_object('line_id', i.line_id, 'product_id', l.product_id,
                'variant_sku', l.variant_sku, 'quantity', i.quantity,
                'assigned', i.quantity - i.completed - i.failed, 'completed', i.completed, 'failed', i.failed)
                order by i.line_id)
            from fulfillment_items i join order_lines l using (order_id, line_id)
            where i.request_id = r.request_id) as items
    from fulfillment_requests r join orders o using (order_id)
    where {conditions} order by r.request_id desc limit :limit
"""
FILTERS = {
    "request_id": "r.request_id = cast(:request_id as uuid)",
    "supplier_id": "r.supplier_id = cast(:supplier_id as bigint)",
    "order_id": "r.order_id = cast(:order_id as uuid)",
    "state": "r.state = cast(:state as text)",
    "location": "r.location = cast(:location as text)",
    "external_ref": "r.external_ref = cast(:external_ref as text)",
    "before": "r.request_id < cast(:before as uuid)",
}
EVENTS = text("""
    select 'fulfillment_request_' || e.kind as type, e.logical_timestamp, e.occurred_at, e.supplier_id, e.request_id,
        r.external_ref as request_ref, e.line_id, e.quantity, r.location, e.reason, r.order_id, o.external_ref,
        o.seller_id, l.product_id, l.variant_sku
    from fulfillment_events e join fulfillment_requests r using (request_id) join orders o using (order_id)
        join order_lines l on l.order_id = r.order_id and l.line_id = e.line_id
    where e.supplier_id = :supplier_id and e.logical_timestamp > :after
    order by e.logical_timestamp limit :limit
""")


class NumberedEvent(NamedTuple):
    """What happened to some units of a request's line, with the supplier's logical timestamp."""

    supplier_id: int
    logical_timestamp: int
    kind: EventKind
    request_id: UUID
    line_id: int
    quantity: int
    reason: str | None


async def find_orders(session: Session, request_ids: Collection[UUID], supplier_id: int | None) -> dict[UUID, UUID]:
    """`{request id: order id}` of these requests; with `supplier_id` of that supplier's alone."""
    rows = await session.execute(FIND_ORDERS, {"request_ids": sorted(request_ids), "supplier_id": supplier_id})
    return {row.request_id: row.order_id for row in rows}


async def lock_requests(session: Session, request_ids: Collection[UUID]) -> dict[UUID, Request]:
    """Lock these requests of locked orders, each with its items."""
    parameters = {"request_ids": sorted(request_ids)}
    requests = (await session.execute(LOCK_REQUESTS, parameters)).all()
    items: dict[UUID, list[RequestItem]] = {row.request_id: [] for row in requests}
    for request_id, *values in (await session.execute(ITEMS, parameters)).all():
        items[request_id].append(RequestItem(*values))
    return {row.request_id: Request._make((*row, tuple(items[row.request_id]))) for row in requests}


async def find_known(session: Session, keys: Collection[tuple[int, str]]) -> dict[tuple[int, str], Known]:
    """The requests that have these `(supplier id, external reference)` already."""
    wanted = sorted(set(keys))
    rows = await session.execute(
        BY_REF, {"supplier_ids": [supplier for supplier, _ in wanted], "refs": [ref for _, ref in wanted]}
    )
    return {(row.supplier_id, row.external_ref): Known(row.request_id, row.fingerprint) for row in rows}


async def insert_requests(session: Session, requests: Sequence[Request], created_at: datetime) -> set[UUID]:
    """Insert requests, still without items; returns the ids of those whose reference was not taken."""
    rows = await session.execute(
        INSERT_REQUESTS,
        {
            "request_ids": [one.request_id for one in requests],
            "supplier_ids": [one.supplier_id for one in requests],
            "order_ids": [one.order_id for one in requests],
            "locations": [one.location for one in requests],
            "refs": [one.external_ref for one in requests],
            "fingerprints": [one.fingerprint for one in requests],
            "states": [one.state for one in requests],
            "created_at": created_at,
        },
    )
    return {row.request_id for row in rows}


async def save_requests(session: Session, requests: Sequence[Request]) -> None:
    """Save how these locked or new requests and their items stand."""
    states = {"request_ids": [one.request_id for one in requests], "states": [one.state for one in requests]}
    await session.execute(SAVE_STATES, states)
    items = [
        item._asdict() | {"request_id": str(one.request_id), "order_id": str(one.order_id)}
        for one in requests
        for item in one.items
    ]
    await session.execute(SAVE_ITEMS, {"items": json.dumps(items)})


async def take_timestamps(session: Session, counts: dict[int, int]) -> dict[int, int]:
    """The newest logical timestamp of each supplier before the next `counts` of them, which are the caller's now."""
    suppliers = sorted(counts)
    values = {"supplier_ids": suppliers, "counts": [counts[supplier] for supplier in suppliers]}
    rows = (await session.execute(TAKE_TIMESTAMPS, values)).all()
    return {row.supplier_id: row.last_timestamp - counts[row.supplier_id] for row in rows}


async def add_events(session: Session, events: Sequence[NumberedEvent], occurred_at: datetime) -> None:
    """Add to what the suppliers read."""
    rows = [one._asdict() | {"request_id": str(one.request_id)} for one in events]
    await session.execute(ADD_EVENTS, {"events": json.dumps(rows), "occurred_at": occurred_at})


async def find_requests(session: Session, filters: dict[str, object], limit: int) -> list[dict[str, Any]]:
    """Requests with their items, newest first, `limit` at most; `filters` by the names in `FILTERS`."""
    conditions = " and ".join(FILTERS[name] for name in filters) or "true"
    rows = await session.execute(text(SHOW.format(conditions=conditions)), {**filters, "limit": limit})
    return [dict(row) for row in rows.mappings()]


async def find_events(session: Session, supplier_id: int, after: int, limit: int) -> list[dict[str, Any]]:
    """What happened to a supplier's items after this logical timestamp, in their order, `limit` at most."""
    rows = await session.execute(EVENTS, {"supplier_id": supplier_id, "after": after, "limit": limit})
    return [dict(row) for row in rows.mappings()]
