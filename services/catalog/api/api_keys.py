"""A company's API keys."""

from datetime import datetime
from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.catalog.accounts import KEYS_PER_COMPANY
from services.catalog.api.companies import no_company
from services.catalog.api.managing import managed_company
from services.catalog.api.requests import Calling, Cursor, Here, IdInPath, Limit, after, next_cursor
from services.catalog.fields import Body, Text
from services.catalog.store import api_keys as store
from services.catalog.store.companies import find_company, lock_company
from shared.access import new_key, sha256_of
from shared.errors import FieldError, ProblemError
from shared.events.catalog import KeyRole
from shared.idempotency import OnceRoute, ShowsSecret
from shared.moments import Moment
from shared.scopes import ALL_SCOPES, AREA_SCOPES, Scope

router = APIRouter(prefix="/v1", route_class=OnceRoute)


class KeyBody(Body):
    """A new API key: without `scopes` it has all but `admin`, without `expires_at` it lives until it is revoked."""

    label: Text | None = Field(None, description="What it is for, for people.")
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=len(ALL_SCOPES))
    expires_at: Moment | None = None


class ApiKey(BaseModel):
    """An API key, without the key."""

    id: int
    company_id: int | None
    role: KeyRole
    label: str | None
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="At any service; told about a minute late.")
    version: int

    @classmethod
    def of(cls, key: store.StoredKey) -> Self:
        """As it is shown: neither the key nor its hash."""
        return cls(id=key.key_id, **key.model_dump(exclude={"key_id"}))


class NewApiKey(ApiKey, ShowsSecret):
    """An API key with the key itself, which is shown this once."""

    key: str


class ApiKeys(BaseModel):
    """A page of API keys."""

    items: list[ApiKey]
    next_cursor: str | None


@router.post("/companies/{company_id}/api-keys", status_code=201)
async def create_api_key(
    company_id: IdInPath, caller: Calling, context: Here, body: KeyBody | None = None
) -> NewApiKey:
    """Make an API key for a company: its own with the scope `admin`, any for the platform admin.

    The answer shows the key, and nothing ever does again.
    """
    wanted, key = body or KeyBody(), new_key()
    async with context.database.transaction() as session:
        await managed_company(session, caller, company_id)
        company = await find_company(session, company_id)
        if company is None or not await lock_company(session, company_id):
            raise no_company(company_id)
        if await store.count_live_keys(session, company_id) >= KEYS_PER_COMPANY:
            detail = f"A company may have {KEYS_PER_COMPANY} API keys at a time; revoke one that nobody uses any more."
            raise ProblemError(409, "too_many_api_keys", detail)
        added = await store.add_key(
            session,
            caller.actor,
            sha256_of(key),
            company.role,
            company_id,
            AREA_SCOPES if wanted.scopes is None else [scope for scope in ALL_SCOPES if scope in wanted.scopes],
            label=wanted.label,
            expires_at=wanted.expires_at,
        )
    if added is None:
        detail = "The key would have expired already: expires_at must lie in the future."
        errors = [FieldError(field="expires_at", detail=detail)]
        raise ProblemError(422, "invalid_api_key", detail, errors=errors)
    return NewApiKey(key=key, **ApiKey.of(added).model_dump())


@router.get("/companies/{company_id}/api-keys")
async def list_api_keys(
    company_id: IdInPath, caller: Calling, context: Here, limit: Limit = 50, cursor: Cursor = None
) -> ApiKeys:
    """A company's API keys, revoked ones too, never the keys themselves; who may make them sees them."""
    async with context.database.transaction() as session:
        await managed_company(session, caller, company_id)
        if await find_company(session, company_id) is None:
            raise no_company(company_id)
        found = await store.list_keys(session, company_id, after(cursor), limit + 1)
    return ApiKeys(
        items=[ApiKey.of(key) for key in found[:limit]],
        next_cursor=next_cursor((key.key_id for key in found), limit),
    )


@router.delete("/companies/{company_id}/api-keys/{key_id}", status_code=204)
async def revoke_api_key(company_id: IdInPath, key_id: IdInPath, caller: Calling, context: Here) -> None:
    """Revoke an API key, everywhere and for ever; who may make them may. Again is harmless."""
    async with context.database.transaction() as session:
        await managed_company(session, caller, company_id)
        if not await store.revoke_key(session, caller.actor, company_id, key_id):
            raise ProblemError(404, "api_key_not_found", f"Company {company_id} has no API key {key_id}.")
