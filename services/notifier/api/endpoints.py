"""Webhook endpoints over HTTP: retailers register, look at and remove theirs, and read what was sent to them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, status
from pydantic import BaseModel, Field

from services.notifier.api.requests import (
    CallerOf,
    ContextOf,
    Cursor,
    EndpointId,
    Limit,
    cursor_of,
    find_endpoint,
    position_of,
    unknown_endpoint,
)
from services.notifier.signing import new_secret
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store.endpoints import Endpoint
from shared import network_guard
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute, ShowsSecret
from shared.settings import Settings

router = APIRouter(prefix="/v1/webhook-endpoints", route_class=OnceRoute)

# A week: past that a retailer is better served by asking.
WINDOW_LIMIT_SECONDS = 604_800
# Each one is a slot per product and a call per window: a retailer needs a few, and must not be a burden to the others.
COMPANY_ENDPOINTS_LIMIT = 20


class NewEndpoint(BaseModel):
    """A webhook endpoint to register."""

    url: str = Field(description="http:// or https://, to a public address")
    window_seconds: int = Field(
        0, ge=0, le=WINDOW_LIMIT_SECONDS, description="Least time between calls per product; can only lengthen ours."
    )
    company_id: EndpointId | None = Field(None, description="Whose it is; for the platform admin only.")


class EndpointAnswer(BaseModel):
    """A webhook endpoint; `window_seconds` is the one that counts, `reason` why it is disabled."""

    id: int
    company_id: int
    url: str
    window_seconds: int
    state: str
    reason: str | None
    version: int
    created_at: datetime


class RegisteredEndpoint(EndpointAnswer, ShowsSecret):
    """A new webhook endpoint, with the secret that its calls are signed with: shown this once."""

    secret: str


class EndpointPage(BaseModel):
    """Some of the endpoints; `next_cursor` leads on, and is null at the end."""

    items: list[EndpointAnswer]
    next_cursor: str | None


@router.post("", status_code=status.HTTP_201_CREATED)
async def register_endpoint(body: NewEndpoint, caller: CallerOf, context: ContextOf) -> RegisteredEndpoint:
    """Register a URL that is called with the stock of connected suppliers, from the next change on.

    The secret is not shown again. At most 20 per company.
    """
    caller.require("retailer")
    company_id = caller.company(body.company_id)
    _check_url(body.url, context.settings)
    secret = new_secret()
    async with context.database.transaction() as session:
        if caller.is_admin and not await endpoint_store.is_retailer(session, company_id):
            detail = f"There is no retailer {company_id} here (yet)."
            raise ProblemError(422, "unknown_retailer", detail, errors=[FieldError(field="company_id", detail=detail)])
        if await endpoint_store.count_and_lock(session, company_id) >= COMPANY_ENDPOINTS_LIMIT:
            detail = f"A retailer has at most {COMPANY_ENDPOINTS_LIMIT} webhook endpoints: remove one, then add this."
            raise ProblemError(409, "too_many_endpoints", detail)
        endpoint = await endpoint_store.add(session, company_id, body.url, secret, body.window_seconds)
    return RegisteredEndpoint(**_answer(endpoint, context.settings).model_dump(), secret=secret)


@router.get("")
async def list_endpoints(
    caller: CallerOf,
    context: ContextOf,
    company_id: Annotated[EndpointId | None, Query(description="For the platform admin only.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> EndpointPage:
    """The company's endpoints, oldest first."""
    caller.require("retailer")
    async with context.database.transaction() as session:
        found = await endpoint_store.page(session, caller.company(company_id), position_of(cursor, 0), limit + 1)
    page = found[:limit]
    more = cursor_of(page[-1].endpoint_id) if len(found) > limit else None
    return EndpointPage(items=[_answer(endpoint, context.settings) for endpoint in page], next_cursor=more)


@router.get("/{endpoint_id}")
async def get_endpoint(endpoint_id: EndpointId, caller: CallerOf, context: ContextOf) -> EndpointAnswer:
    """One endpoint, without its secret."""
    async with context.database.transaction() as session:
        return _answer(await find_endpoint(session, endpoint_id, caller), context.settings)


@router.delete("/{endpoint_id}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_endpoint(endpoint_id: EndpointId, caller: CallerOf, context: ContextOf) -> None:
    """Stop calling it, and forget it. A call that is under way is not called back."""
    async with context.database.transaction() as session:
        if not await endpoint_store.remove(session, endpoint_id, caller.company_id):
            raise unknown_endpoint(endpoint_id)


def _check_url(url: str, settings: Settings) -> None:
    try:
        network_guard.check_url(url, settings.webhook_allow_networks)
    except (network_guard.UrlError, network_guard.ForbiddenAddressError) as error:
        code = "invalid_url" if isinstance(error, network_guard.UrlError) else "forbidden_address"
        raise ProblemError(422, code, str(error), errors=[FieldError(field="url", detail=str(error))]) from error


def _answer(endpoint: Endpoint, settings: Settings) -> EndpointAnswer:
    return EndpointAnswer(
        id=endpoint.endpoint_id,
        company_id=endpoint.company_id,
        url=endpoint.url,
        window_seconds=max(endpoint.window_seconds, settings.webhook_window_seconds),
        state=endpoint.state,
        reason=endpoint.reason,
        version=endpoint.version,
        created_at=endpoint.created_at,
    )
