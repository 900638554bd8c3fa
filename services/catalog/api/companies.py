"""Companies: suppliers and retailers."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, StringConstraints, field_validator

from services.catalog.api.managing import managed_company
from services.catalog.api.requests import Calling, Cursor, Here, IdInPath, Limit, after, next_cursor
from services.catalog.fields import Body, ChosenId, Text, not_null
from services.catalog.store import companies as store
from shared.errors import ProblemError
from shared.events.catalog import (
    CompanyChanged,
    CompanyRole,
    OversellPolicy,
)
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)

# It is the user name of `Authorization: Basic REF:KEY` and stands in addresses.
Ref = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class CompanyBody(Body):
    """A new company; `oversell_policy` is the default for the base stock products of a supplier."""

    id: ChosenId | None = None
    ref: Ref
    name: Text
    role: CompanyRole
    oversell_policy: OversellPolicy = "backorder"


class CompanyChange(Body):
    """A change of a company's settings: what is left out stays."""

    name: Text | None = None
    oversell_policy: OversellPolicy | None = None

    _not_null = field_validator("name", "oversell_policy", mode="before")(not_null)


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


@router.post("/companies", status_code=201)
async def create_company(body: CompanyBody, caller: Calling, context: Here) -> Company:
    """Add a supplier or a retailer (platform admin)."""
    caller.require()
    async with context.database.transaction() as session:
        added = await store.add_company(
            session,
            caller.actor,
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
async def list_companies(
    caller: Calling,
    context: Here,
    ref: Annotated[Text | None, Query(description="The one with this ref.")] = None,
    q: Annotated[Text | None, Query(description="Is part of the ref or the name, in any case.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Companies:
    """All companies (platform admin)."""
    caller.require()
    async with context.database.transaction() as session:
        found = await store.list_companies(session, after(cursor), limit + 1, ref=ref, q=q)
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
        raise no_company(company_id)
    return Company.of(found)


@router.patch("/companies/{company_id}")
async def change_company(company_id: IdInPath, body: CompanyChange, caller: Calling, context: Here) -> Company:
    """Change a company's settings; a change that changes nothing leaves its version as it is."""
    async with context.database.transaction() as session:
        found = await store.change_company(
            session,
            caller.actor,
            await managed_company(session, caller, company_id),
            display_name=body.name,
            oversell_policy=body.oversell_policy,
        )
    if found is None:
        raise no_company(company_id)
    return Company.of(found)


def no_company(company_id: int) -> ProblemError:
    """The 404 problem of a company that does not exist, or that the caller does not know of."""
    return ProblemError(404, "company_not_found", f"There is no company {company_id}.")
