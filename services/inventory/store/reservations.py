"""Reservations: who waits for whom, what they hold, and how they end."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from services.inventory.domain.stock import Reserved
from services.inventory.tables.reservations import ReservationState
from shared.database import Session
from shared.events.orders import OrderEvent

# Orders of one seller do not wait for one another; only its confirmations wait for its orders, and these for them.
AWAIT_CONFIRMATIONS = text("""
    select pg_advisory_xact_lock_shared(hashtextextended('basestock.inventory.seller.' || seller_id, 0))
    from (select seller_id from unnest(cast(:seller_ids as bigint[])) as seller_id order by seller_id offset 0) as s
""")
AWAIT_ORDERS = text("""
    select pg_advisory_xact_lock(hashtextextended('basestock.inventory.seller.' || cast(:seller_id as bigint), 0))
""")
FIND_ORDER = text("""
    select order_id from order_states
    where seller_id = :seller_id and external_ref = :external_ref and version > 0
    order by order_id limit 1
""")
# Rows that are waited for here are only ever held by who ends that one reservation, or skips what others hold.
TAKE_CONFIRMED = text("""
    with converted as (
        update reservations r set state = 'converted', order_id = o.order_id, ended_at = db_now()
        from unnest(cast(:order_ids as uuid[]), cast(:seller_ids as bigint[]), cast(:external_refs as text[]))
            as o (order_id, seller_id, external_ref)
        where r.state = 'confirmed' and r.seller_id = o.seller_id and r.external_ref = o.external_ref
        returning r.reservation_id, r.order_id
    )
    delete from reserved_units u using converted c where u.reservation_id = c.reservation_id
    returning c.order_id, u.reservation_id, u.line_id, u.product_id, u.location_id, u.quantity
""")
ADD = text("""
    insert into reservations (reservation_id, seller_id, state, created_at, expires_at, lines)
    select :reservation_id, :seller_id, 'open', now, now + make_interval(secs => :seconds), cast(:lines as jsonb)
    from db_now() as now
""")
ADD_UNITS = text("""
    insert into reserved_units (reservation_id, line_id, product_id, location_id, quantity)
    select * from unnest(cast(:reservation_ids as uuid[]), cast(:line_ids as integer[]),
        cast(:product_ids as bigint[]), cast(:location_ids as bigint[]), cast(:quantities as bigint[]))
""")
FIND_SELLER = text("select seller_id from reservations where reservation_id = :reservation_id")
LOCK = text("""
    select state, external_ref, expires_at <= db_now() as is_late from reservations
    where reservation_id = :reservation_id and seller_id = :seller_id for update
""")
LOCK_EXPIRED = text("""
    select reservation_id from reservations
    where state in ('open', 'confirmed') and expires_at <= db_now()
    order by expires_at limit :limit for update skip locked
""")
CONFIRM = text("""
    update reservations set state = 'confirmed', external_ref = :external_ref,
        expires_at = db_now() + make_interval(secs => :seconds)
    where reservation_id = :reservation_id
""")
END = text("""
    update reservations set state = :state, ended_at = db_now(), order_id = :order_id,
        external_ref = coalesce(:external_ref, external_ref)
    where reservation_id = any(cast(:reservation_ids as uuid[]))
""")
TAKE_UNITS = text("""
    delete from reserved_units where reservation_id = any(cast(:reservation_ids as uuid[]))
    returning reservation_id, line_id, product_id, location_id, quantity
""")
# One that is late and not swept yet is over all the same.
LIST = text("""
    select reservation_id, seller_id,
        case when ended_at is null and expires_at <= db_now() then 'expired' else state end as state,
        external_ref, order_id, created_at, expires_at, ended_at, lines
    from reservations
    where (cast(:reservation_id as uuid) is null or reservation_id = :reservation_id)
      and (cast(:seller_id as bigint) is null or seller_id = :seller_id)
      and (cast(:before as uuid) is null or reservation_id < :before)
      and (cast(:product_id as bigint) is null
        or reservation_id in (select u.reservation_id from reserved_units u where u.product_id = :product_id))
      and (cast(:state as text) is null or :state =
        case when ended_at is null and expires_at <= db_now() then 'expired' else state end)
    order by reservation_id desc limit :limit
""")
FORGET = text("""
    delete from reservations where reservation_id in (
        select reservation_id from reservations where ended_at < db_now() - make_interval(days => :days)
        order by ended_at limit :limit for update skip locked)
""")

Row = dict[str, Any]


class LockedReservation(NamedTuple):
    """A reservation as it was locked; `is_late` says that its time is over, whatever its state."""

    state: ReservationState
    external_ref: str | None
    is_late: bool


async def await_confirmations(session: Session, seller_ids: Collection[int]) -> None:
    """Wait for confirmations of these sellers that are under way, and let new ones wait until this transaction ends.

    So of an order and a confirmation to it one comes first, and the other one sees it.
    """
    if seller_ids:
        await session.execute(AWAIT_CONFIRMATIONS, {"seller_ids": list(seller_ids)})


async def await_orders(session: Session, seller_id: int) -> None:
    """The other side of `await_confirmations`: wait for the seller's orders that are being decided."""
    await session.execute(AWAIT_ORDERS, {"seller_id": seller_id})


async def find_order(session: Session, seller_id: int, external_ref: str) -> UUID | None:
    """The id of the seller's order of this reference, if it has come."""
    found = await session.execute(FIND_ORDER, {"seller_id": seller_id, "external_ref": external_ref})
    order_id: UUID | None = found.scalar_one_or_none()
    return order_id


async def take_confirmed(session: Session, orders: Sequence[OrderEvent]) -> dict[UUID, list[Reserved]]:
    """End what is confirmed to these locked orders; returns what was reserved for each that had something."""
    if not orders:
        return {}
    rows = await session.execute(
        TAKE_CONFIRMED,
        {
            "order_ids": [order.order_id for order in orders],
            "seller_ids": [order.seller_id for order in orders],
            "external_refs": [order.external_ref for order in orders],
        },
    )
    found: dict[UUID, list[Reserved]] = {}
    for order_id, *units in rows.all():
        found.setdefault(order_id, []).append(Reserved(*units))
    return {order_id: sorted(units) for order_id, units in found.items()}


async def add(
    session: Session,
    reservation_id: UUID,
    seller_id: int,
    seconds: int,
    lines: Sequence[Mapping[str, object]],
    units: Sequence[Reserved],
) -> None:
    """Keep a new reservation for so many seconds, with what it holds."""
    parameters = {"reservation_id": reservation_id, "seller_id": seller_id, "seconds": seconds}
    await session.execute(ADD, {**parameters, "lines": json.dumps(lines)})
    await session.execute(
        ADD_UNITS,
        {
            "reservation_ids": [one.reservation_id for one in units],
            "line_ids": [one.line_id for one in units],
            "product_ids": [one.product_id for one in units],
            "location_ids": [one.location_id for one in units],
            "quantities": [one.quantity for one in units],
        },
    )


async def find_seller(session: Session, reservation_id: UUID) -> int | None:
    """Whose reservation it is, if there is one."""
    found: int | None = (await session.execute(FIND_SELLER, {"reservation_id": reservation_id})).scalar_one_or_none()
    return found


async def lock(session: Session, reservation_id: UUID, seller_id: int) -> LockedReservation | None:
    """Lock a reservation of this seller."""
    row = (await session.execute(LOCK, {"reservation_id": reservation_id, "seller_id": seller_id})).one_or_none()
    return None if row is None else LockedReservation(*row)


async def lock_expired(session: Session, limit: int) -> list[UUID]:
    """Lock at most so many reservations whose time is over; what others hold at this moment is left to them."""
    return list((await session.execute(LOCK_EXPIRED, {"limit": limit})).scalars())


async def confirm(session: Session, reservation_id: UUID, external_ref: str, seconds: int) -> None:
    """Let a locked reservation wait so many seconds for its seller's order of this reference."""
    await session.execute(CONFIRM, {"reservation_id": reservation_id, "external_ref": external_ref, "seconds": seconds})


async def end(
    session: Session,
    reservation_ids: Collection[UUID],
    state: ReservationState,
    *,
    external_ref: str | None = None,
    order_id: UUID | None = None,
) -> list[Reserved]:
    """End locked reservations in this state; returns what they held."""
    ids = {"reservation_ids": list(reservation_ids)}
    await session.execute(END, ids | {"state": state, "external_ref": external_ref, "order_id": order_id})
    return sorted(Reserved(*row) for row in (await session.execute(TAKE_UNITS, ids)).all())


async def page(  # noqa: PLR0913 - each is a filter
    session: Session,
    *,
    limit: int,
    reservation_id: UUID | None = None,
    seller_id: int | None = None,
    state: ReservationState | None = None,
    before: UUID | None = None,
    product_id: int | None = None,
) -> list[Row]:
    """Reservations, newest first; `None` filters nothing. Of `product_id` are those that hold units of it now."""
    parameters = {
        "reservation_id": reservation_id,
        "seller_id": seller_id,
        "state": state,
        "before": before,
        "product_id": product_id,
        "limit": limit,
    }
    return [dict(row) for row in (await session.execute(LIST, parameters)).mappings()]


async def forget(session: Session, days: int, limit: int) -> int:
    """Delete at most so many reservations that ended more than so many days ago; returns how many."""
    gone = await session.execute(FORGET, {"days": days, "limit": limit})
    return int(gone.rowcount)  # type: ignore[attr-defined]
