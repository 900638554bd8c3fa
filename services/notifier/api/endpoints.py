"""Webhook endpoints over HTTP: companies register, look at, change and remove theirs."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from pydantic import BaseModel

from services.notifier.api.options import EndpointChange, NewEndpoint, stored_options
from services.notifier.api.requests import (
    PREFIX,
    CallerOf,
    ContextOf,
    Cursor,
    EndpointId,
    Limit,
    cursor_of,
    find_endpoint,
    forgotten_events,
    lock_endpoint,
    position_of,
    unknown_endpoint,
    vault,
)
from services.notifier.api.shown import EndpointAnswer, shown, tagged
from services.notifier.domain.options import FILTERS, wrong_role
from services.notifier.pinging import new_sample_id
from services.notifier.signing import new_secret
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import feeds as feed_store
from services.notifier.store import pings as ping_store
from services.notifier.store import stock as stock_store
from services.notifier.tables import EndpointState, Format
from shared.access import Caller
from shared.database import Session
from shared.entity_tags import VERSION_CHANGED, IfMatch, require_version
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute, ShowsSecret

router = APIRouter(prefix=PREFIX, route_class=OnceRoute)

# Each one is a slot per product and a call per window: a company needs a few, and must not be a burden to the others.
COMPANY_ENDPOINTS_LIMIT = 20


class RegisteredEndpoint(EndpointAnswer, ShowsSecret):
    """A new webhook endpoint, with the secret that its calls are signed with: shown this once."""

    secret: str


class EndpointPage(BaseModel):
    """Some of the endpoints; `next_cursor` leads on, and is null at the end."""

    items: list[EndpointAnswer]
    next_cursor: str | None


@router.post("", status_code=status.HTTP_201_CREATED, summary="Register an endpoint")
async def register_endpoint(
    body: NewEndpoint, response: Response, caller: CallerOf, context: ContextOf
) -> RegisteredEndpoint:
    """Register a URL that is called from the next change on; a signed `ping` is sent to it at once.

    Retailers hear of the stock of connected suppliers, suppliers of what happens to the items they send. The secret is
    not shown again. At most 20 per company.
    """
    if not caller.is_admin:
        _require_role(body.format, caller.role, caller)
    company_id = caller.company(body.company_id)
    options = stored_options(body, body.format, context.settings, vault(context))
    secret = new_secret()
    async with context.database.transaction() as session:
        if caller.is_admin:
            _require_role(body.format, await _role_of(session, company_id), caller)
        if await endpoint_store.count_and_lock(session, company_id) >= COMPANY_ENDPOINTS_LIMIT:
            detail = f"A company has at most {COMPANY_ENDPOINTS_LIMIT} webhook endpoints: remove one, then add this."
            raise ProblemError(409, "too_many_endpoints", detail)
        stored = vault(context).encrypt(secret)
        endpoint = await endpoint_store.add(session, company_id, secret=stored, format_=body.format, **options)
        if body.format == "fulfillment":
            oldest = await feed_store.open_feed(session, endpoint.endpoint_id, company_id, body.after)
            if oldest is not None:
                raise forgotten_events(oldest)
            endpoint = await find_endpoint(session, endpoint.endpoint_id, caller)
        await ping_store.enqueue(session, endpoint.endpoint_id, new_sample_id(), "ping")
    response.headers["Location"] = f"{PREFIX}/{endpoint.endpoint_id}"
    return RegisteredEndpoint(**tagged(response, endpoint, context.settings).model_dump(), secret=secret)


@router.get("", summary="List endpoints")
async def list_endpoints(  # noqa: PLR0913 - each is a part of the request
    *,
    caller: CallerOf,
    context: ContextOf,
    company_id: Annotated[EndpointId | None, Query(description="For the platform admin only.")] = None,
    state: EndpointState | None = None,
    format_: Annotated[Format | None, Query(alias="format")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> EndpointPage:
    """The company's endpoints, oldest first; the platform admin gets those of all, or of the company it names."""
    whose = company_id if caller.is_admin else caller.company(company_id)
    after = position_of(cursor, 0)
    async with context.database.transaction() as session:
        found = await endpoint_store.page(session, whose, after, limit + 1, state=state, format_=format_)
    page = found[:limit]
    more = cursor_of(page[-1].endpoint_id) if len(found) > limit else None
    return EndpointPage(items=[shown(endpoint, context.settings) for endpoint in page], next_cursor=more)


@router.get("/{endpoint_id}", summary="Show an endpoint")
async def get_endpoint(
    endpoint_id: EndpointId, response: Response, caller: CallerOf, context: ContextOf
) -> EndpointAnswer:
    """One endpoint with all its options and how its calls went lately, without its secrets."""
    async with context.database.transaction() as session:
        return tagged(response, await find_endpoint(session, endpoint_id, caller), context.settings)


@router.patch("/{endpoint_id}", summary="Change an endpoint", responses=VERSION_CHANGED)
async def change_endpoint(
    *,
    endpoint_id: EndpointId,
    body: EndpointChange,
    response: Response,
    if_match: IfMatch,
    caller: CallerOf,
    context: ContextOf,
) -> EndpointAnswer:
    """Change its URL or its options; its format stays. What filters let through now is told as of any change."""
    async with context.database.transaction() as session:
        before = await lock_endpoint(session, endpoint_id, caller)
        require_version(f"webhook endpoint {endpoint_id}", before.version, if_match)
        options = stored_options(body, before.format, context.settings, vault(context))
        if options:
            floor_seconds = context.settings.webhook_window_seconds
            await endpoint_store.change(session, endpoint_id, options, floor_seconds)
        if FILTERS & set(options):
            await stock_store.ask_to_catch_up(session, endpoint_id)
        return tagged(response, await find_endpoint(session, endpoint_id, caller), context.settings)


@router.delete("/{endpoint_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Remove an endpoint")
async def remove_endpoint(endpoint_id: EndpointId, caller: CallerOf, context: ContextOf) -> None:
    """Stop calling it, and forget it. A call that is under way is not called back."""
    async with context.database.transaction() as session:
        if not await endpoint_store.remove(session, endpoint_id, caller.company_id):
            raise unknown_endpoint(endpoint_id)


async def _role_of(session: Session, company_id: int) -> str:
    role = await endpoint_store.find_role(session, company_id)
    if role is None:
        detail = f"There is no company {company_id} here (yet)."
        raise ProblemError(422, "unknown_company", detail, errors=[FieldError(field="company_id", detail=detail)])
    return role


def _require_role(format_: Format, role: str, caller: Caller) -> None:
    wrong = wrong_role(format_, role)
    if wrong is not None:
        status_code, code = (422, "format_of_another_role") if caller.is_admin else (403, "forbidden")
        raise ProblemError(status_code, code, wrong, errors=[FieldError(field="format", detail=wrong)])
