"""Publishers over HTTP: users of the broker, and the company that each sends orders for."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from services.orders.api.requests import Calling, Here
from services.orders.store import publishers as store
from services.orders.store.companies import find_unknown_companies
from shared import clock
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1", route_class=OnceRoute)

# What needs no escaping in a URL, and no quoting anywhere.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
NAME_CHARACTERS = 100
Name = Annotated[str, Path(pattern=NAME, max_length=NAME_CHARACTERS)]


class NewPublisher(BaseModel):
    """A user of the broker, whose messages are orders of the company."""

    amqp_user: str = Field(pattern=NAME, max_length=NAME_CHARACTERS)
    company_id: int = Field(gt=0, lt=2**63, strict=True)


class Publisher(BaseModel):
    """A user of the broker, and the company that it sends orders for."""

    amqp_user: str
    company_id: int
    created_at: datetime


class Publishers(BaseModel):
    """Publishers by name."""

    items: list[Publisher]


@router.post(
    "/publishers", status_code=201, responses={200: {"model": Publisher, "description": "It was here already"}}
)
async def add_publisher(body: NewPublisher, response: Response, caller: Calling, context: Here) -> Publisher:
    """Say that a user of the broker sends orders of a company; `basestock broker add-publisher` makes the user, too.

    A name stays with its company, also when it was removed: what it sent is that company's to see.
    """
    caller.require()
    user, company_id = body.amqp_user, body.company_id
    async with context.database.transaction() as session:
        if await find_unknown_companies(session, {company_id}):
            detail = f"No company {company_id} is known to orders: create it in catalog."
            raise ProblemError(422, "unknown_company", detail, errors=[FieldError(field="company_id", detail=detail)])
        other = await store.find_company_with_ref(session, user, company_id)
        is_new = None if other is not None else await store.add_publisher(session, user, company_id, clock.utc_now())
        if is_new is None:
            whose = f"the ref of company {other}" if other is not None else "that of another company's publisher"
            detail = f"The name {user} is {whose}: take another one."
            raise ProblemError(409, "name_taken", detail, errors=[FieldError(field="amqp_user", detail=detail)])
        (row,) = await store.find_publishers(session, amqp_user=user)
    response.status_code = 201 if is_new else 200
    return Publisher.model_validate(row, from_attributes=True)


@router.get("/publishers")
async def list_publishers(
    caller: Calling, context: Here, company_id: Annotated[int | None, Query(gt=0, lt=2**63)] = None
) -> Publishers:
    """The company's publishers by name; the platform admin sees those of all companies, or of `company_id`."""
    company = company_id if caller.is_admin else caller.company(company_id)
    async with context.database.transaction() as session:
        rows = await store.find_publishers(session, company_id=company)
    return Publishers(items=[Publisher.model_validate(row, from_attributes=True) for row in rows])


@router.delete("/publishers/{amqp_user}", status_code=204)
async def remove_publisher(amqp_user: Name, caller: Calling, context: Here) -> None:
    """From now on refuse what this user sends; to log in to the broker it needs its user there."""
    caller.require()
    async with context.database.transaction() as session:
        if not await store.remove_publisher(session, amqp_user, clock.utc_now()):
            raise ProblemError(404, "publisher_not_found", f"There is no publisher {amqp_user}.")
