"""Units that a seller reserves for a while, and confirms to an order that is to come."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from services.inventory import reserving
from services.inventory.api.requests import ID_LIMIT, Calling, Here, Limit
from services.inventory.reserving import NewReservation
from services.inventory.store import reservations as store
from services.inventory.tables.reservations import ReservationState
from services.inventory.writing import Text
from shared.access import Caller
from shared.database import Session
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)

SellerId = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="For the platform admin")]


class Confirmation(BaseModel):
    """The order, by your own reference, that the units are reserved for."""

    model_config = ConfigDict(extra="forbid")

    external_ref: Text


class ReservedTake(BaseModel):
    """Units of a base stock product, and where they are reserved."""

    product_id: int
    location: str
    quantity: int


class ReservationLine(BaseModel):
    """A line as it was asked for, and what was reserved for it."""

    line_id: int
    product_id: int
    variant_sku: str | None
    quantity: int
    location: str | None
    takes: list[ReservedTake]


class Reservation(BaseModel):
    """A reservation; it holds its `takes` while it is `open` or `confirmed`, until `expires_at`.

    `external_ref` is the order that it is confirmed to, `order_id` that order once it has converted it.
    """

    reservation_id: UUID
    seller_id: int
    state: ReservationState
    external_ref: str | None
    order_id: UUID | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    lines: list[ReservationLine]


class ReservationPage(BaseModel):
    """Reservations, newest first; `next_cursor` is null on the last page."""

    items: list[Reservation]
    next_cursor: UUID | None


@router.post("/reservations", status_code=201)
async def create_reservation(
    body: NewReservation, response: Response, caller: Calling, context: Here, seller_id: SellerId = None
) -> Reservation:
    """Reserve units, all of them or none: 409 says for which lines some are missing.

    They cannot be sold to others until they are released, expire, or are taken by the order they are confirmed to.
    """
    async with context.database.transaction() as session:
        made = await reserving.reserve(session, caller.company(seller_id), body)
        response.headers["Location"] = f"{router.prefix}/reservations/{made}"
        return await _shown(session, made)


@router.get("/reservations")
async def list_reservations(  # noqa: PLR0913 - each is a part of the request
    *,
    caller: Calling,
    context: Here,
    seller_id: SellerId = None,
    state: ReservationState | None = None,
    product_id: Annotated[
        int | None, Query(gt=0, lt=ID_LIMIT, description="A base stock product: those that hold units of it now")
    ] = None,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Limit = 50,
) -> ReservationPage:
    """The caller's reservations, newest first; the platform admin sees those of all sellers, or of `seller_id`."""
    seller = seller_id if caller.is_admin else caller.company(seller_id)
    async with context.database.transaction() as session:
        rows = await store.page(
            session, limit=limit + 1, seller_id=seller, state=state, before=cursor, product_id=product_id
        )
    items = [Reservation.model_validate(row) for row in rows[:limit]]
    return ReservationPage(items=items, next_cursor=items[-1].reservation_id if len(rows) > limit else None)


@router.get("/reservations/{reservation_id}")
async def show_reservation(reservation_id: UUID, caller: Calling, context: Here) -> Reservation:
    """One of the caller's reservations."""
    async with context.database.transaction() as session:
        await _seller(session, reservation_id, caller)
        return await _shown(session, reservation_id)


@router.post("/reservations/{reservation_id}/confirm")
async def confirm_reservation(reservation_id: UUID, body: Confirmation, caller: Calling, context: Here) -> Reservation:
    """Keep it for your order of this reference, for up to seven days; the order takes its units when it comes.

    An order that has come before has taken its own: then the answer says `converted`, and nothing is held twice.
    """
    async with context.database.transaction() as session:
        seller_id = await _seller(session, reservation_id, caller)
        await reserving.confirm(session, seller_id, reservation_id, body.external_ref)
        return await _shown(session, reservation_id)


@router.delete("/reservations/{reservation_id}")
async def release_reservation(reservation_id: UUID, caller: Calling, context: Here) -> Reservation:
    """Let go of what it holds; answers with it as it is then. One that is over already stays as it is."""
    async with context.database.transaction() as session:
        seller_id = await _seller(session, reservation_id, caller)
        await reserving.release(session, seller_id, reservation_id)
        return await _shown(session, reservation_id)


async def _seller(session: Session, reservation_id: UUID, caller: Caller) -> int:
    """Whose reservation it is: the caller's own, or for the platform admin anyone's; else a 404 problem."""
    seller_id = await store.find_seller(session, reservation_id)
    if seller_id is None or (not caller.is_admin and seller_id != caller.company()):
        raise reserving.not_found(reservation_id)
    return seller_id


async def _shown(session: Session, reservation_id: UUID) -> Reservation:
    (row,) = await store.page(session, limit=1, reservation_id=reservation_id)
    return Reservation.model_validate(row)
