"""The places where a supplier keeps stock. A location cannot be removed, only made not salable."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from services.inventory.api.requests import Calling, Cursor, Here, Limit, SupplierId
from services.inventory.domain.stock import OnHandOwner, OrderEffect, owner_violation
from services.inventory.store import locations as store
from services.inventory.writing import Text
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)

# Orders and imports name locations by their code; it stands in paths and tables.
CODE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
PRIORITY_LIMIT = 2**31 - 1

Priority = Annotated[int, Field(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT, strict=True)]


class LocationChange(BaseModel):
    """What can be changed of a location; what is left out stays.

    `order_effect` holds for new takings. With `on_hand_owner: external` a system outside counts what is on hand, and
    what has left stays allocated until a stock import accounts for it.
    """

    model_config = ConfigDict(extra="forbid")

    name: Text | None = None
    order_effect: OrderEffect = "decrement"
    on_hand_owner: OnHandOwner = "internal"
    salable: bool = Field(
        default=True, strict=True, description="Whether orders that name no location may draw from it"
    )
    priority: Priority = Field(0, description="Lower ones are drawn from first")


class NewLocation(LocationChange):
    """A new location; its code is fixed from then on."""

    code: str = Field(min_length=1, max_length=100, pattern=CODE)


class Location(BaseModel):
    """A location of a supplier; every supplier has `main`."""

    supplier_id: int
    code: str
    name: str | None
    order_effect: OrderEffect
    on_hand_owner: OnHandOwner
    salable: bool
    priority: int


class LocationPage(BaseModel):
    """Locations in the order of their making; `next_cursor` is null on the last page."""

    items: list[Location]
    next_cursor: int | None


@router.get("/locations")
async def list_locations(
    caller: Calling, context: Here, supplier_id: SupplierId = None, cursor: Cursor = None, limit: Limit = 50
) -> LocationPage:
    """The caller's locations."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        rows = await store.page(session, caller.company(supplier_id), cursor or 0, limit + 1)
    items = [Location.model_validate(row) for row in rows[:limit]]
    return LocationPage(items=items, next_cursor=rows[limit - 1]["location_id"] if len(rows) > limit else None)


@router.post("/locations", status_code=201)
async def create_location(
    body: NewLocation, caller: Calling, context: Here, supplier_id: SupplierId = None
) -> Location:
    """Make a location of the caller's."""
    caller.require("supplier")
    _check(body.order_effect, body.on_hand_owner)
    async with context.database.transaction() as session:
        made = await store.add(session, caller.company(supplier_id), body.model_dump())
    if made is None:
        raise ProblemError(409, "location_exists", f"You have a location {body.code!r} already; codes are unique.")
    return Location.model_validate(made)


@router.patch("/locations/{code}")
async def change_location(
    code: Annotated[str, Path(min_length=1, max_length=100, pattern=CODE)],
    body: LocationChange,
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
) -> Location:
    """Change a location of the caller's; orders that took stock there keep the effect that they had."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        known = await store.lock(session, caller.company(supplier_id), code)
        if known is None:
            raise ProblemError(404, "location_not_found", f"You have no location {code!r}.")
        wanted = known | body.model_dump(exclude_unset=True)
        _check(wanted["order_effect"], wanted["on_hand_owner"])
        await store.save(session, wanted)
    return Location.model_validate(wanted)


def _check(order_effect: OrderEffect, on_hand_owner: OnHandOwner) -> None:
    violation = owner_violation(order_effect, on_hand_owner)
    if violation is not None:
        raise ProblemError(
            422, "invalid_location", violation, errors=[FieldError(field="on_hand_owner", detail=violation)]
        )
