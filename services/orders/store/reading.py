"""SQL of orders as they are shown: whole to their seller, the lines that it supplies to a supplier."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

from shared.database import Session, plan_anew

SELECT_ORDERS = """
    select o.order_id, o.seller_id, o.external_ref, o.source, o.state, {status} as status, o.placed_at, o.received_at,
        o.version, o.decision, o.decided_version, (
            select jsonb_agg(jsonb_build_object('line_id', l.line_id, 'product_id', l.product_id,
                'variant_sku', l.variant_sku, 'quantity', l.quantity, 'location', l.location,
                'supplier_id', l.supplier_id, 'outcome', l.outcome, 'takes', l.takes, 'shortfall', l.shortfall,
                'reason', l.reason, 'waits_for', l.waits_for, 'cancelled', l.cancelled, 'assigned', l.assigned,
                'fulfilled', l.fulfilled, 'failed', l.failed, 'returned', l.returned) order by l.line_id)
            from order_lines l where l.order_id = o.order_id {own_lines}) as lines, (
            select coalesce(jsonb_agg(jsonb_build_object('supplier_id', p.supplier_id, 'status', p.status)
                order by p.supplier_id), '[]')
            from order_parts p where p.order_id = o.order_id {own_parts}) as suppliers
    from {orders}
"""
OWN_LINES = "and l.supplier_id = part.supplier_id"
# As the seller sees it, and as one supplier does: lines that nobody is known to supply are the seller's business.
WHOLE = SELECT_ORDERS.format(status="o.status", own_lines="", own_parts="", orders="orders o")
PART = SELECT_ORDERS.format(
    status="part.status",
    own_lines=OWN_LINES,
    own_parts="and p.supplier_id = part.supplier_id",
    orders="order_parts part join orders o using (order_id)",
)
# Of a part the columns of `order_parts` are asked where it has them: its indexes are those of a supplier's lists.
FILTERS = {
    "order_id": "{key}.order_id = cast(:order_id as uuid)",
    "received_from": "o.received_at >= cast(:received_from as timestamptz)",
    "received_before": "o.received_at < cast(:received_before as timestamptz)",
    "status": "{key}.status = cast(:status as text)",
    "statuses": "{key}.status = any(cast(:statuses as text[]))",
    # A line that waits makes its order wait, unless another one was not decided yet: so the indexes of `status` serve.
    "waiting": "{key}.status in ('received', 'short', 'parked') and exists (select from order_lines l "
    "where l.order_id = o.order_id {own_lines} and l.outcome in ('parked', 'short', 'refused') and l.fulfilled = 0 "
    "and l.cancelled + l.failed + l.returned < l.quantity)",
    "q": "(strpos(lower(o.external_ref), lower(:q)) > 0 or starts_with(cast(o.order_id as text), lower(:q)))",
    "seller_id": "o.seller_id = cast(:seller_id as bigint)",
    "external_ref": "o.external_ref = cast(:external_ref as text)",
    "supplier_id": "exists (select from order_parts p where p.order_id = o.order_id "
    "and p.supplier_id = cast(:supplier_id as bigint) {bounds_of_p})",
    "product_id": "exists (select from order_lines l where l.order_id = o.order_id "
    "and l.product_id = cast(:product_id as bigint) {bounds_of_l})",
    "part_of": "part.supplier_id = cast(:part_of as bigint)",
}
# Where in the list: asked of every table that is joined, as PostgreSQL does not infer the one from the other, and would
# read all that lies beyond.
BOUNDS = {"before": "<", "below_id": "<", "from_id": ">="}


def page_statement(filters: Collection[str]) -> str:
    """The statement for a page of orders that meet these `FILTERS` and `BOUNDS`; it takes their values and `limit`."""
    select, key, own_lines = (PART, "part", OWN_LINES) if "part_of" in filters else (WHOLE, "o", "")
    parts = {
        "key": key,
        "own_lines": own_lines,
        "bounds_of_p": _bounds(filters, "p"),
        "bounds_of_l": _bounds(filters, "l"),
    }
    conditions = "".join(f" and {FILTERS[name].format(**parts)}" for name in filters if name in FILTERS)
    bounds = "".join(_bounds(filters, alias) for alias in {key, "o"})
    return f"{select} where true{conditions}{bounds} order by {key}.order_id desc limit :limit"


def _bounds(filters: Collection[str], alias: str) -> str:
    return "".join(
        f" and {alias}.order_id {sign} cast(:{name} as uuid)" for name, sign in BOUNDS.items() if name in filters
    )


async def find_orders(session: Session, filters: Mapping[str, object], limit: int) -> list[dict[str, Any]]:
    """Orders with their lines, newest first, `limit` at most; `filters` by the names in `FILTERS` and `BOUNDS`.

    With `part_of` as that supplier sees them.
    """
    # Nobody's plan fits another's filters: a status that all orders have, and one that hardly any has.
    if "order_id" not in filters:
        await plan_anew(session)
    rows = await session.execute(text(page_statement(filters)), {**filters, "limit": limit})
    return [dict(row) for row in rows.mappings()]


CHANGES = text("""
    select change_id, kind, changed_at, version, actor, cause, reason, lines from order_changes
    where order_id = :order_id and (change_id > :after or cast(:after as uuid) is null)
    order by change_id limit :limit
""")


async def find_changes(session: Session, order_id: UUID, after: UUID | None, limit: int) -> list[dict[str, Any]]:
    """The history of an order `after` a change, oldest first, `limit` entries at most."""
    rows = await session.execute(CHANGES, {"order_id": order_id, "after": after, "limit": limit})
    return [dict(row) for row in rows.mappings()]
