"""Fulfillment feeds: how far each endpoint of a supplier is."""

from sqlalchemy import text

from shared.database import Session

OPEN = text("""
    insert into feeds (endpoint_id, acked_timestamp, not_before)
    values (:endpoint_id, coalesce(:after, (
        select max(logical_timestamp) from fulfillment_events where supplier_id = :supplier_id), 0), db_now())
""")
# What is under way is told again: its lease is over, so that nobody acknowledges it.
REWIND = text("""
    update feeds set acked_timestamp = least(acked_timestamp, :after), not_before = db_now(), attempt = 0,
        lease_id = null, lease_until = null
    where endpoint_id = :endpoint_id
""")


async def open_feed(session: Session, endpoint_id: int, supplier_id: int, after: int | None) -> None:
    """Have a new endpoint told what comes after this logical timestamp; `None`: after the newest that is known."""
    await session.execute(OPEN, {"endpoint_id": endpoint_id, "supplier_id": supplier_id, "after": after})


async def rewind(session: Session, endpoint_id: int, after: int) -> None:
    """Tell again what comes after this logical timestamp."""
    await session.execute(REWIND, {"endpoint_id": endpoint_id, "after": after})
