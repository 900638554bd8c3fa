"""What orders hold of an item, as its supplier reads it."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from shared.database import Session

# By the orders' index, whose ids follow time: one by product would cost each order. An item that few orders hold is
# looked for in the whole index, but not in the rows.
LIST = text("""
    select t.order_id, t.line_id, o.seller_id, o.external_ref, o.source, l.code as location, t.quantity, t.effect,
        o.state
    from takings t join order_states o on o.order_id = t.order_id
    join locations l on l.location_id = t.location_id
    where t.product_id = :product_id
      and (cast(:order_id as uuid) is null
        or t.order_id <= :order_id and (t.order_id, -t.line_id) < (:order_id, -cast(:line_id as integer)))
    order by t.order_id desc, t.line_id limit :limit
""")


class Position(NamedTuple):
    """The last row of a page."""

    order_id: UUID
    line_id: int


async def find_page(session: Session, product_id: int, after: Position | None, limit: int) -> list[dict[str, Any]]:
    """The order lines that hold units of an item, those of the newest orders first."""
    parameters = {
        "product_id": product_id,
        "order_id": after and after.order_id,
        "line_id": after and after.line_id,
        "limit": limit,
    }
    return [dict(row) for row in (await session.execute(LIST, parameters)).mappings()]
