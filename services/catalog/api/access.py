"""Companies, their API keys, and the dropship connections between them."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, StringConstraints

from services.catalog.api.requests import (
    Body,
    Calling,
    ChosenId,
    Cursor,
    Here,
    Id,
    IdInPath,
    Limit,
    Moment,
    Text,
    after,
    next_cursor,
    refuse,
)
from services.catalog.domain import connection_violations
from services.catalog.store import access as store
from shared import clock
from shared.access import new_key, sha256_of
from shared.errors import FieldError, ProblemError
from shared.events.catalog import (
    ApiKeyChanged,
    CompanyChanged,
    CompanyRole,
    ConnectionChanged,
    ConnectionState,
    KeyRole,
    OversellPolicy,
)

router = APIRouter(prefix="/v1")

# It is the user name of `Authorization: Basic REF:KEY` and stands in addresses.
Ref = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class CompanyBody(Body):
    """A new company; `oversell_policy` is the default for the base stock products of a supplier."""

    id: ChosenId | None = None
    ref: Ref
    name: Text
    role: CompanyRole
    oversell_policy: OversellPolicy = "backorder"


class Company(BaseModel):
    """A supplier or a retailer."""

    id: int
    ref: str
    name: str
    role: CompanyRole
    oversell_policy: OversellPolicy
    version: int

    @classmethod
    def of(cls, state: CompanyChanged) -> Self:
        """As it is shown."""
        return cls(
            id=state.company_id, name=state.display_name, **state.model_dump(exclude={"company_id", "display_name"})
        )


class Companies(BaseModel):
    """A page of companies."""

    items: list[Company]
    next_cursor: str | None


class KeyBody(Body):
    """A new API key; without `expires_at` it lives until it is revoked."""

    expires_at: Moment | None = None


class ApiKey(BaseModel):
    """An API key, without the key."""

    id: int
    company_id: int | None
    role: KeyRole
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    version: int

    @classmethod
    def of(cls, state: ApiKeyChanged) -> Self:
        """As it is shown: neither the key nor its hash."""
        return cls(id=state.key_id, **state.model_dump(exclude={"key_id", "key_sha256"}))


class NewApiKey(ApiKey):
    """An API key with the key itself, which is shown this once."""

    key: str


class ApiKeys(BaseModel):
    """A page of API keys."""

    items: list[ApiKey]
    next_cursor: str | None


class ConnectionBody(Body):
    """A new dropship connection; `default_location` is where the retailer's orders draw from first."""

    supplier_id: Id
    retailer_id: Id
    external_ref: Text | None = None
    default_location: Text | None = None


class Connection(BaseModel):
    """A dropship connection: while it is active, the retailer sells what the supplier stocks."""

    id: int
    supplier_id: int
    retailer_id: int
    external_ref: str | None
    default_location: str | None
    state: ConnectionState
    version: int

    @classmethod
    def of(cls, state: ConnectionChanged) -> Self:
        """As it is shown."""
        return cls(id=state.connection_id, **state.model_dump(exclude={"connection_id"}))


class Connections(BaseModel):
    """A page of connections."""

    items: list[Connection]
    next_cursor: str | None


@router.post("/companies", status_code=201)
async def create_company(body: CompanyBody, caller: Calling, context: Here) -> Company:
    """Add a supplier or a retailer (platform admin)."""
    caller.require()
    async with context.database.transaction() as session:
        added = await store.add_company(
            session,
            body.id,
            ref=body.ref,
            display_name=body.name,
            role=body.role,
            oversell_policy=body.oversell_policy,
        )
    if added is None:
        taken = f"ref {body.ref!r}" if body.id is None else f"ref {body.ref!r} or id {body.id}"
        raise ProblemError(409, "company_exists", f"There is a company with {taken} already.")
    return Company.of(added)


@router.get("/companies")
async def list_companies(caller: Calling, context: Here, limit: Limit = 50, cursor: Cursor = None) -> Companies:
    """All companies (platform admin)."""
    caller.require()
    async with context.database.transaction() as session:
        found = await store.list_companies(session, after(cursor), limit + 1)
    return Companies(
        items=[Company.of(state) for state in found[:limit]],
        next_cursor=next_cursor((state.company_id for state in found), limit),
    )


@router.get("/companies/{company_id}")
async def show_company(company_id: IdInPath, caller: Calling, context: Here) -> Company:
    """One company: any for the platform admin, its own for a company."""
    async with context.database.transaction() as session:
        found = await store.find_company(session, caller.company(company_id))
    if found is None:
        raise _no_company(company_id)
    return Company.of(found)


@router.post("/companies/{company_id}/api-keys", status_code=201)
async def create_api_key(
    company_id: IdInPath, caller: Calling, context: Here, body: KeyBody | None = None
) -> NewApiKey:
    """Make an API key for a company (platform admin). The answer shows it, and nothing ever does again."""
    caller.require()
    expires_at = body.expires_at if body else None
    if expires_at is not None and expires_at <= clock.utc_now():
        detail = "The key would have expired already: expires_at must lie in the future."
        errors = [FieldError(field="expires_at", detail=detail)]
        raise ProblemError(422, "invalid_api_key", detail, errors=errors)
    key = new_key()
    async with context.database.transaction() as session:
        company = await store.find_company(session, company_id)
        if company is None:
            raise _no_company(company_id)
        added = await store.add_key(session, sha256_of(key), company.role, company_id, expires_at)
    return NewApiKey(key=key, **ApiKey.of(added).model_dump())


@router.get("/companies/{company_id}/api-keys")
async def list_api_keys(
    company_id: IdInPath, caller: Calling, context: Here, limit: Limit = 50, cursor: Cursor = None
) -> ApiKeys:
    """A company's API keys, revoked ones too, never the keys themselves (platform admin)."""
    caller.require()
    async with context.database.transaction() as session:
        if await store.find_company(session, company_id) is None:
            raise _no_company(company_id)
        found = await store.list_keys(session, company_id, after(cursor), limit + 1)
    return ApiKeys(
        items=[ApiKey.of(state) for state in found[:limit]],
        next_cursor=next_cursor((state.key_id for state in found), limit),
    )


@router.delete("/companies/{company_id}/api-keys/{key_id}", status_code=204)
async def revoke_api_key(company_id: IdInPath, key_id: IdInPath, caller: Calling, context: Here) -> None:
    """Revoke an API key, everywhere and for ever (platform admin); again is harmless."""
    caller.require()
    async with context.database.transaction() as session:
        if not await store.revoke_key(session, company_id, key_id):
            raise ProblemError(404, "api_key_not_found", f"Company {company_id} has no API key {key_id}.")


@router.post("/connections", status_code=201)
async def create_connection(body: ConnectionBody, caller: Calling, context: Here) -> Connection:
    """Connect a retailer with a supplier (platform admin); one that ended comes back under its old id."""
    caller.require()
    async with context.database.transaction() as session:
        roles = await store.find_roles(session, {body.supplier_id, body.retailer_id})
        refuse("invalid_connection", connection_violations(roles.get(body.supplier_id), roles.get(body.retailer_id)))
        made = await store.connect(
            session, body.supplier_id, body.retailer_id, body.external_ref, body.default_location
        )
    if made is None:
        detail = f"Supplier {body.supplier_id} and retailer {body.retailer_id} are connected already."
        raise ProblemError(409, "connection_exists", detail)
    return Connection.of(made)


@router.get("/connections")
async def list_connections(caller: Calling, context: Here, limit: Limit = 50, cursor: Cursor = None) -> Connections:
    """The caller's connections, ended ones too; the platform admin sees all."""
    async with context.database.transaction() as session:
        found = await store.list_connections(session, caller.company_id, after(cursor), limit + 1)
    return Connections(
        items=[Connection.of(state) for state in found[:limit]],
        next_cursor=next_cursor((state.connection_id for state in found), limit),
    )


@router.get("/connections/{connection_id}")
async def show_connection(connection_id: IdInPath, caller: Calling, context: Here) -> Connection:
    """One of the caller's connections."""
    async with context.database.transaction() as session:
        found = await store.find_connection(session, connection_id, caller.company_id)
    if found is None:
        raise _no_connection(connection_id)
    return Connection.of(found)


@router.delete("/connections/{connection_id}", status_code=204)
async def end_connection(connection_id: IdInPath, caller: Calling, context: Here) -> None:
    """End a connection; either of the two companies may, and the platform admin. Again is harmless."""
    async with context.database.transaction() as session:
        if not await store.end_connection(session, connection_id, caller.company_id):
            raise _no_connection(connection_id)


def _no_company(company_id: int) -> ProblemError:
    return ProblemError(404, "company_not_found", f"There is no company {company_id}.")


def _no_connection(connection_id: int) -> ProblemError:
    return ProblemError(404, "connection_not_found", f"You have no connection {connection_id}.")
