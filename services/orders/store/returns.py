"""SQL of returns and their lines."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.orders.domain.orders import SubmittedReturn
from services.orders.store.orders import Known
from shared.database import Session

INSERT_RETURN = text("""
    insert into returns (return_id, seller_id, external_ref, fingerprint, source, order_id, returned_at, received_at)
    values (:return_id, :seller_id, :external_ref, :fingerprint, :source, :order_id, :returned_at, :received_at)
    on conflict (external_ref, seller_id) do nothing
    returning return_id
""")
INSERT_RETURN_LINES = text("""
    insert into return_lines (return_id, line_id, product_id, variant_sku, quantity, location, restock)
    select * from unnest(cast(:owner_ids as uuid[]), cast(:line_ids as integer[]), cast(:product_ids as bigint[]),
        cast(:variant_skus as text[]), cast(:quantities as bigint[]), cast(:locations as text[]),
        cast(:restocks as boolean[]))
""")
RETURN_BY_REF = text("""
    select return_id, fingerprint from returns where external_ref = :external_ref and seller_id = :seller_id
""")
SELECT_RETURNS = """
    select r.return_id, r.seller_id, r.external_ref, r.source, r.order_id, r.returned_at, r.received_at, (
            select jsonb_agg(jsonb_build_object('line_id', l.line_id, 'product_id', l.product_id,
                'variant_sku', l.variant_sku, 'quantity', l.quantity, 'location', l.location, 'restock', l.restock)
                order by l.line_id)
            from return_lines l where l.return_id = r.return_id) as lines
    from returns r
"""
SELECT_RETURN = text(f"{SELECT_RETURNS} where r.return_id = :return_id")
# A null seller is the platform admin, who may see all.
RETURNS_OF_ORDER = text(f"""
    {SELECT_RETURNS} where r.order_id = :order_id
        and (r.seller_id = :seller_id or cast(:seller_id as bigint) is null)
        and (r.return_id < :before or cast(:before as uuid) is null)
    order by r.return_id desc limit :limit
""")


async def find_known_return(session: Session, returned: SubmittedReturn) -> Known | None:
    """The return that has this reference already."""
    found = await session.execute(
        RETURN_BY_REF, {"external_ref": returned.external_ref, "seller_id": returned.seller_id}
    )
    row = found.one_or_none()
    return Known(row.return_id, row.fingerprint) if row else None


async def insert_return(session: Session, returned: SubmittedReturn, received_at: datetime) -> bool:
    """Insert a return with its lines; says whether its reference was free."""
    inserted = await session.execute(
        INSERT_RETURN,
        {
            "return_id": returned.return_id,
            "seller_id": returned.seller_id,
            "external_ref": returned.external_ref,
            "fingerprint": returned.fingerprint(),
            "source": returned.source,
            "order_id": returned.order_id,
            "returned_at": returned.returned_at or received_at,
            "received_at": received_at,
        },
    )
    if inserted.one_or_none() is None:
        return False
    lines = returned.lines
    await session.execute(
        INSERT_RETURN_LINES,
        {
            "owner_ids": [returned.return_id] * len(lines),
            "line_ids": list(range(1, len(lines) + 1)),
            "product_ids": [line.product_id for line in lines],
            "variant_skus": [line.variant_sku for line in lines],
            "quantities": [line.quantity for line in lines],
            "locations": [line.location for line in lines],
            "restocks": [line.restock for line in lines],
        },
    )
    return True


async def find_return(session: Session, return_id: UUID) -> dict[str, Any]:
    """A return with its lines."""
    rows = await session.execute(SELECT_RETURN, {"return_id": return_id})
    return dict(rows.mappings().one())


async def find_returns_of_order(
    session: Session, order_id: UUID, seller_id: int | None, before: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """What came back of an order of this seller (of any, for `None`), newest first, of those older than `before`."""
    values = {"order_id": order_id, "seller_id": seller_id, "before": before, "limit": limit}
    return [dict(row) for row in (await session.execute(RETURNS_OF_ORDER, values)).mappings()]
