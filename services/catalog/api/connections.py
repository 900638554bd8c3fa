"""Dropship connections between suppliers and retailers."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, field_validator

from services.catalog.api.requests import Calling, Cursor, Here, IdInPath, Limit, after, next_cursor, refuse
from services.catalog.domain import connection_violations
from services.catalog.fields import Body, Id, Text, not_null
from services.catalog.store import connections as store
from services.catalog.store.companies import find_names, find_roles
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.events.catalog import (
    ConnectionChanged,
    ConnectionState,
)
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)


class ConnectionBody(Body):
    """A new dropship connection; `default_location` is where the retailer's orders draw from first."""

    supplier_id: Id
    retailer_id: Id
    external_ref: Text | None = None
    default_location: Text | None = None


class ConnectionChange(Body):
    """A change of a connection by its supplier: what is left out stays.

    `paused`: no new orders of the retailer and no calls to its webhooks until it is `active` again.
    """

    external_ref: Text | None = None
    default_location: Text | None = None
    state: Literal["active", "paused"] | None = None

    _not_null = field_validator("state", mode="before")(not_null)

    def changed(self, before: ConnectionChanged) -> ConnectionChanged:
        """The connection as it would be."""
        return before.model_copy(update=self.model_dump(exclude_unset=True))


class Connection(BaseModel):
    """A dropship connection: while it is active, the retailer sells what the supplier stocks.

    Both sides read both names, as they are now.
    """

    id: int
    supplier_id: int
    supplier_name: str
    retailer_id: int
    retailer_name: str
    external_ref: str | None
    default_location: str | None
    state: ConnectionState
    version: int


class Connections(BaseModel):
    """A page of connections."""

    items: list[Connection]
    next_cursor: str | None


@router.post("/connections", status_code=201)
async def create_connection(body: ConnectionBody, caller: Calling, context: Here) -> Connection:
    """Connect a retailer with a supplier (platform admin); one that ended comes back under its old id."""
    caller.require()
    async with context.database.transaction() as session:
        roles = await find_roles(session, {body.supplier_id, body.retailer_id})
        refuse("invalid_connection", connection_violations(roles.get(body.supplier_id), roles.get(body.retailer_id)))
        try:
            made = await store.connect(
                session, caller.actor, body.supplier_id, body.retailer_id, body.external_ref, body.default_location
            )
        except store.RefTakenError as error:
            raise _ref_taken(error) from error
        if made is None:
            detail = f"Supplier {body.supplier_id} and retailer {body.retailer_id} are connected already."
            raise ProblemError(409, "connection_exists", detail)
        return await _shown(session, made)


@router.get("/connections")
async def list_connections(
    caller: Calling,
    context: Here,
    company_id: Annotated[Id | None, Query(description="For the platform admin: of this company alone.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Connections:
    """The caller's connections, ended ones too; the platform admin sees all, or those of the company it names."""
    whose = company_id if caller.is_admin else caller.company(company_id)
    async with context.database.transaction() as session:
        found = await store.list_connections(session, whose, after(cursor), limit + 1)
        items = await _all_shown(session, found[:limit])
    return Connections(
        items=items,
        next_cursor=next_cursor((state.connection_id for state in found), limit),
    )


@router.get("/connections/{connection_id}")
async def show_connection(connection_id: IdInPath, caller: Calling, context: Here) -> Connection:
    """One of the caller's connections."""
    async with context.database.transaction() as session:
        found = await store.find_connection(session, connection_id, caller.company_id)
        if found is None:
            raise _no_connection(connection_id)
        return await _shown(session, found)


@router.patch("/connections/{connection_id}")
async def change_connection(
    connection_id: IdInPath, body: ConnectionChange, caller: Calling, context: Here
) -> Connection:
    """Change, pause or resume a connection (its supplier, or the platform admin); its retailer may only end it."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        before = await store.lock_connection(session, connection_id, caller.company_id)
        if before is None:
            raise _no_connection(connection_id)
        if before.state == "ended":
            detail = f"Connection {connection_id} has ended: the platform admin can make it again."
            raise ProblemError(409, "connection_ended", detail)
        try:
            after = await store.change_connection(session, caller.actor, before, body.changed(before))
        except store.RefTakenError as error:
            raise _ref_taken(error) from error
        return await _shown(session, after)


@router.delete("/connections/{connection_id}", status_code=204)
async def end_connection(connection_id: IdInPath, caller: Calling, context: Here) -> None:
    """End a connection; either of the two companies may, and the platform admin. Again is harmless."""
    async with context.database.transaction() as session:
        if not await store.end_connection(session, caller.actor, connection_id, caller.company_id):
            raise _no_connection(connection_id)


async def _shown(session: Session, state: ConnectionChanged) -> Connection:
    (shown,) = await _all_shown(session, [state])
    return shown


async def _all_shown(session: Session, states: Sequence[ConnectionChanged]) -> list[Connection]:
    names = await find_names(session, {one for state in states for one in (state.supplier_id, state.retailer_id)})
    return [
        Connection(
            id=state.connection_id,
            supplier_name=names[state.supplier_id],
            retailer_name=names[state.retailer_id],
            **state.model_dump(exclude={"connection_id"}),
        )
        for state in states
    ]


def _ref_taken(error: store.RefTakenError) -> ProblemError:
    errors = [FieldError(field="external_ref", detail=str(error))]
    return ProblemError(409, "external_ref_taken", str(error), errors=errors)


def _no_connection(connection_id: int) -> ProblemError:
    return ProblemError(404, "connection_not_found", f"You have no connection {connection_id}.")
