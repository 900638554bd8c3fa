"""Locations, as their suppliers make them; how they are drawn from is read with the stock (`stock.py`)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from shared.database import Session

PAGE = text("""
    select location_id, supplier_id, code, name, order_effect, on_hand_owner, salable, priority from locations
    where supplier_id = :supplier_id and location_id > :after order by location_id limit :limit
""")
ADD = text("""
    insert into locations (supplier_id, code, name, order_effect, on_hand_owner, salable, priority)
    values (:supplier_id, :code, :name, :order_effect, :on_hand_owner, :salable, :priority)
    on conflict (supplier_id, code) do nothing
    returning location_id, supplier_id, code, name, order_effect, on_hand_owner, salable, priority
""")
LOCK = text("""
    select location_id, supplier_id, code, name, order_effect, on_hand_owner, salable, priority from locations
    where supplier_id = :supplier_id and code = :code for no key update
""")
SAVE = text("""
    update locations set name = :name, order_effect = :order_effect, on_hand_owner = :on_hand_owner,
        salable = :salable, priority = :priority
    where location_id = :location_id
""")
FIND_ID = text("select location_id from locations where supplier_id = :supplier_id and code = :code")

Row = dict[str, Any]


async def page(session: Session, supplier_id: int, after_location_id: int, limit: int) -> list[Row]:
    """The supplier's locations, in the order of their ids."""
    parameters = {"supplier_id": supplier_id, "after": after_location_id, "limit": limit}
    return [dict(row) for row in (await session.execute(PAGE, parameters)).mappings()]


async def add(session: Session, supplier_id: int, values: Mapping[str, Any]) -> Row | None:
    """Add a location; `None` when the supplier has one of this code."""
    row = (await session.execute(ADD, {**values, "supplier_id": supplier_id})).mappings().one_or_none()
    return None if row is None else dict(row)


async def lock(session: Session, supplier_id: int, code: str) -> Row | None:
    """Lock and read a location of the supplier's."""
    found = await session.execute(LOCK, {"supplier_id": supplier_id, "code": code})
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)


async def save(session: Session, location: Row) -> None:
    """Save a locked location as it is wanted."""
    await session.execute(SAVE, location)


async def find_id(session: Session, supplier_id: int, code: str) -> int | None:
    """The id of the supplier's location of this code."""
    found = await session.execute(FIND_ID, {"supplier_id": supplier_id, "code": code})
    location_id: int | None = found.scalar_one_or_none()
    return location_id
