"""Reservations on their way through one transaction: made, confirmed to an order, released, expired."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.inventory.domain import reservations as domain
from services.inventory.domain.orders import Connection, Decided, Line, Order, find_places, refusal
from services.inventory.domain.stock import Cause, Reserved, Stock
from services.inventory.links import find_known_links, linked
from services.inventory.record import record
from services.inventory.store import orders as order_store
from services.inventory.store import reservations as store
from services.inventory.store import stock as stock_store
from services.inventory.store.reservations import LockedReservation
from services.inventory.writing import Text
from shared import clock
from shared.catalog_view import Link
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.events.orders import QUANTITY_LIMIT, OrderLine

LINES_LIMIT = 1000
DEFAULT_SECONDS = 600
# Long enough for a basket; who needs more confirms.
LONGEST_SECONDS = 24 * 60 * 60
# An order that has not come a week after it was confirmed is lost, and its units should be sold to others.
CONFIRMED_SECONDS = 7 * 24 * 60 * 60


class WantedLine(BaseModel):
    """`quantity` units of a product, or of its variant; from `location` where one is named, as in an order."""

    model_config = ConfigDict(extra="forbid")

    product_id: Annotated[int, Field(gt=0, lt=2**63, strict=True)]
    variant_sku: Text | None = None
    quantity: Annotated[int, Field(gt=0, le=QUANTITY_LIMIT, strict=True)]
    location: Text | None = Field(None, description="The supplier's location; else as an order would choose one")


class NewReservation(BaseModel):
    """What to reserve, all of it or nothing, and for how long."""

    model_config = ConfigDict(extra="forbid")

    lines: list[WantedLine] = Field(min_length=1, max_length=LINES_LIMIT)
    expires_in_seconds: Annotated[int, Field(ge=1, le=LONGEST_SECONDS, strict=True)] = DEFAULT_SECONDS


async def reserve(session: Session, seller_id: int, body: NewReservation) -> UUID:
    """Reserve all that is wanted for a seller; returns the reservation's id.

    Raises a 422 problem that names the lines which cannot be reserved at all, 409 with those for which units are
    missing, whatever the policy: what is reserved is certain.
    """
    lines, connections = await _wanted_lines(session, seller_id, body.lines)
    stock = await stock_store.lock_stock(session, {one for line in lines for one, _ in line.components})
    _check_locations(lines, stock)
    reservation_id = clock.uuid7()
    cause = Cause("reserved", "reservation", "api", str(reservation_id))
    places = find_places(Order(seller_id, lines, cause, connections), stock)
    _raise_if_short(places, stock)
    units = [
        Reserved(reservation_id, one.line_id, one.product_id, one.location_id, one.quantity)
        for place in places
        for one in place.takes
    ]
    domain.hold(stock, units, cause)
    await store.add(session, reservation_id, seller_id, body.expires_in_seconds, _described(body, places, stock), units)
    await record(session, stock)
    return reservation_id


async def confirm(session: Session, seller_id: int, reservation_id: UUID, external_ref: str) -> None:
    """Keep a reservation for the seller's order of this reference; its decision converts it.

    Where that order has been decided already it has taken its own units, and the reservation ends at once. Raises a
    404 problem for one that is not there, 409 for one that is over or is confirmed to another order.
    """
    # Before the reservation itself: an order that is being decided may need it.
    await store.await_orders(session, seller_id)
    known = await _lock(session, seller_id, reservation_id)
    if known.external_ref == external_ref and known.state in {"confirmed", "converted"}:
        return
    if known.state == "confirmed":
        detail = f"It is confirmed to the order {known.external_ref!r} already. Release it and reserve anew."
        raise ProblemError(409, "confirmed_to_another", detail)
    if known.state != "open" or known.is_late:
        state = known.state if known.state != "open" else "expired"
        raise ProblemError(409, "reservation_over", f"It is {state}, and holds nothing any more. Reserve anew.")
    order_id = await store.find_order(session, seller_id, external_ref)
    if order_id is None:
        await store.confirm(session, reservation_id, external_ref, CONFIRMED_SECONDS)
        return
    units = await store.end(session, [reservation_id], "converted", external_ref=external_ref, order_id=order_id)
    await _free(session, units, "converted", f"order {order_id} came before")


async def release(session: Session, seller_id: int, reservation_id: UUID) -> None:
    """Let go of what a reservation holds; one that is over already stays as it is. Raises a 404 problem."""
    known = await _lock(session, seller_id, reservation_id)
    if known.state in {"open", "confirmed"}:
        await _free(session, await store.end(session, [reservation_id], "released"), "released")


async def expire(session: Session, limit: int) -> int:
    """Let go of what at most so many reservations hold whose time is over; returns how many there were."""
    ids = await store.lock_expired(session, limit)
    if ids:
        await _free(session, await store.end(session, ids, "expired"), "expired")
    return len(ids)


async def _free(session: Session, units: Sequence[Reserved], kind: str, reason: str | None = None) -> None:
    stock = await stock_store.lock_stock(session, {one.product_id for one in units})
    domain.free(stock, units, Cause(kind, "reservation", "api", "", reason))
    await record(session, stock)


async def _lock(session: Session, seller_id: int, reservation_id: UUID) -> LockedReservation:
    known = await store.lock(session, reservation_id, seller_id)
    if known is None:
        raise not_found(reservation_id)
    return known


def not_found(reservation_id: UUID) -> ProblemError:
    """The answer to who asks for a reservation that is not there, or is another's."""
    return ProblemError(404, "reservation_not_found", f"You have no reservation {reservation_id}.")


async def _wanted_lines(
    session: Session, seller_id: int, wanted: Sequence[WantedLine]
) -> tuple[list[Line], dict[int, Connection]]:
    """The lines as they are drawn, and the seller's connections; a 422 problem names those that nothing is kept of."""
    links = await find_known_links(session, {(one.product_id, one.variant_sku or "") for one in wanted})
    connections = (await order_store.find_connections(session, {seller_id}))[seller_id]
    lines, errors = [], []
    for number, one in enumerate(wanted):
        link = links[one.product_id, one.variant_sku or ""]
        line = linked(OrderLine(line_id=number + 1, **one.model_dump()), link)
        problem = _problem(seller_id, one.product_id, line, link, connections)
        if problem is not None:
            errors.append(FieldError(field=f"lines[{number}].product_id", detail=problem))
        lines.append(line)
    if errors:
        raise ProblemError(422, "cannot_be_reserved", "Nothing is reserved; see errors.", errors=errors)
    return lines, connections


def _problem(seller_id: int, product_id: int, line: Line, link: Link, connections: dict[int, Connection]) -> str | None:
    """Why a line cannot be reserved; what is unknown and what is a stranger's are told in the same words."""
    owned = line._replace(owner_id=link.owner_id or 0, supplier_id=link.supplier_id or 0)
    if link.owner_id is None or refusal(seller_id, owned, connections) is not None:
        return f"product {product_id} is not known, or not yours nor of a supplier you are connected with"
    if link.waits_for is not None:
        return link.reason
    if link.removed:
        return f"product {product_id} was removed"
    if not line.components:
        return f"product {product_id} is not linked to stock: there is nothing to reserve"
    return None


def _check_locations(lines: Sequence[Line], stock: Stock) -> None:
    errors = [
        FieldError(
            field=f"lines[{line.line_id - 1}].location", detail=f"the supplier has no location {line.location!r}"
        )
        for line in lines
        if line.location is not None and stock.location(line.supplier_id, line.location) is None
    ]
    if errors:
        raise ProblemError(422, "unknown_location", "Nothing is reserved; see errors.", errors=errors)


def _raise_if_short(places: Sequence[Decided], stock: Stock) -> None:
    errors = []
    for place in places:
        gone = sum(one.quantity for one in place.takes if stock.level(one.product_id, one.location_id).removed)
        missing = max(gone, place.shortfall)
        if missing or not place.takes:
            detail = place.reason or f"{missing} of the units are not available"
            errors.append(FieldError(field=f"lines[{place.line_id - 1}].quantity", detail=detail))
    if errors:
        raise ProblemError(409, "not_enough_stock", "Not all of it is available; nothing is reserved.", errors=errors)


def _described(body: NewReservation, places: Sequence[Decided], stock: Stock) -> list[dict[str, object]]:
    codes = stock.location_codes()
    return [
        one.model_dump()
        | {
            "line_id": place.line_id,
            "takes": [
                {"product_id": take.product_id, "location": codes[take.location_id], "quantity": take.quantity}
                for take in place.takes
            ],
        }
        for one, place in zip(body.lines, places, strict=True)
    ]
