"""SQL of what becomes of orders: lock them whole, save them as they stand then, and what changed on them."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from services.orders.domain.life import StoredLine, StoredOrder
from shared import clock
from shared.database import Session

ChangeKind = Literal[
    "decided",
    "amended",
    "cancelled",
    "fulfillment_assigned",
    "fulfillment_failed",
    "fulfillment_completed",
    "returned",
]

LOCK_ORDERS = text("""
    select order_id, seller_id, external_ref, source, state, placed_at, version, decision, decided_version
    from orders where order_id = any(cast(:order_ids as uuid[]))
    order by order_id for no key update
""")
LINES = text("""
    select order_id, line_id, product_id, variant_sku, quantity, location, checked, supplier_id, outcome, takes,
        shortfall, reason, waits_for, cancelled, assigned, fulfilled, failed, returned
    from order_lines where order_id = any(cast(:order_ids as uuid[])) order by order_id, line_id
""")
SAVE_ORDERS = text("""
    update orders o
    set state = n.state, status = n.status, version = n.version, decision = n.decision,
        decided_version = n.decided_version
    from unnest(cast(:order_ids as uuid[]), cast(:states as text[]), cast(:statuses as text[]),
        cast(:versions as bigint[]), cast(:decisions as bigint[]), cast(:decided_versions as bigint[]))
        as n (order_id, state, status, version, decision, decided_version)
    where o.order_id = n.order_id
""")
SAVE_LINES = text("""
    insert into order_lines (order_id, line_id, product_id, variant_sku, quantity, location, checked,
        supplier_id, outcome, takes, shortfall, reason, waits_for, cancelled, assigned, fulfilled, failed, returned)
    select order_id, line_id, product_id, variant_sku, quantity, location, checked, supplier_id, outcome,
        takes, shortfall, reason, waits_for, cancelled, assigned, fulfilled, failed, returned
    from jsonb_to_recordset(cast(:lines as jsonb)) as n (order_id uuid, line_id integer,
        product_id bigint, variant_sku text, quantity bigint, location text, checked boolean, supplier_id bigint,
        outcome text, takes jsonb, shortfall bigint, reason text, waits_for bigint, cancelled bigint, assigned bigint,
        fulfilled bigint, failed bigint, returned bigint)
    on conflict (order_id, line_id) do update
    set quantity = excluded.quantity, location = excluded.location, supplier_id = excluded.supplier_id,
        outcome = excluded.outcome, takes = excluded.takes, shortfall = excluded.shortfall, reason = excluded.reason,
        waits_for = excluded.waits_for, cancelled = excluded.cancelled, assigned = excluded.assigned,
        fulfilled = excluded.fulfilled, failed = excluded.failed, returned = excluded.returned
""")
SAVE_PARTS = text("""
    insert into order_parts (order_id, supplier_id, status)
    select * from unnest(cast(:order_ids as uuid[]), cast(:supplier_ids as bigint[]), cast(:statuses as text[]))
    on conflict (order_id, supplier_id) do update set status = excluded.status
    where order_parts.status <> excluded.status
""")
ADD_CHANGES = text("""
    insert into order_changes (order_id, change_id, kind, changed_at, version, actor, cause, reason, lines)
    select order_id, change_id, kind, :changed_at, version, actor, cause, reason, lines
    from jsonb_to_recordset(cast(:changes as jsonb)) as n (order_id uuid, change_id uuid, kind text, version bigint,
        actor text, cause text, reason text, lines jsonb)
""")


class Change(NamedTuple):
    """Something that happened to an order, which is given as it stands now.

    `units` says how many units of which line it concerned; `actor` who did it, `cause` what brought it (an id).
    """

    order: StoredOrder
    kind: ChangeKind
    actor: str
    units: dict[int, int]
    cause: str | None = None
    reason: str | None = None


async def lock_orders(session: Session, order_ids: Collection[UUID]) -> dict[UUID, StoredOrder]:
    """Lock these orders, each with its lines; those that are not here are left out."""
    parameters = {"order_ids": sorted(set(order_ids))}
    orders = (await session.execute(LOCK_ORDERS, parameters)).all()
    lines: dict[UUID, list[StoredLine]] = {row.order_id: [] for row in orders}
    # A statement of its own, which sees what others have written until they let go of the order.
    for order_id, *values in (await session.execute(LINES, parameters)).all():
        line = StoredLine(*values)
        lines[order_id].append(line._replace(takes=tuple(line.takes)))
    return {row.order_id: StoredOrder._make((*row, tuple(lines[row.order_id]))) for row in orders}


async def save_orders(session: Session, orders: Sequence[StoredOrder]) -> None:
    """Save these locked orders with their lines, old and new, and with what follows from these."""
    if not orders:
        return
    await session.execute(
        SAVE_ORDERS,
        {
            "order_ids": [order.order_id for order in orders],
            "states": [order.state for order in orders],
            "statuses": [order.status for order in orders],
            "versions": [order.version for order in orders],
            "decisions": [order.decision for order in orders],
            "decided_versions": [order.decided_version for order in orders],
        },
    )
    await save_lines(session, orders)


async def save_lines(session: Session, orders: Sequence[StoredOrder]) -> None:
    """Save the lines of these orders, old and new, and how the orders stand at each supplier."""
    lines: list[dict[str, Any]] = [
        line._asdict() | {"order_id": str(order.order_id)} for order in orders for line in order.lines
    ]
    if lines:
        await session.execute(SAVE_LINES, {"lines": json.dumps(lines)})
    parts = [(order.order_id, *part) for order in orders for part in order.parts().items()]
    if parts:
        order_ids, supplier_ids, statuses = zip(*parts, strict=True)
        values = {"order_ids": list(order_ids), "supplier_ids": list(supplier_ids), "statuses": list(statuses)}
        await session.execute(SAVE_PARTS, values)


async def add_changes(session: Session, changes: Sequence[Change], changed_at: datetime) -> None:
    """Add to the history of orders."""
    rows = [
        {
            "order_id": str(change.order.order_id),
            "change_id": str(clock.uuid7()),
            "kind": change.kind,
            "version": change.order.version,
            "actor": change.actor,
            "cause": change.cause,
            "reason": change.reason,
            "lines": [
                {"line_id": line.line_id, "quantity": change.units[line.line_id], "status": line.status}
                for line in change.order.lines
                if line.line_id in change.units
            ],
        }
        for change in changes
    ]
    if rows:
        await session.execute(ADD_CHANGES, {"changes": json.dumps(rows), "changed_at": changed_at})
