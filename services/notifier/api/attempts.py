"""The log of attempts over HTTP."""

import base64
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.notifier.api.requests import (
    BEFORE_ALL,
    PREFIX,
    CallerOf,
    ContextOf,
    Cursor,
    EndpointId,
    Limit,
    cursor_of,
    find_endpoint,
    position_of,
)
from services.notifier.store import attempts as attempt_store
from services.notifier.store.attempts import LoggedAttempt
from services.notifier.tables import CallKind
from shared.errors import ProblemError
from shared.idempotency import OnceRoute
from shared.moments import Moment

router = APIRouter(prefix=PREFIX, route_class=OnceRoute)


class ToldProduct(BaseModel):
    """The version of a base stock product that a call told."""

    product_id: int
    version: int


class AttemptAnswer(BaseModel):
    """One call as it was made: `error` is null for an answer of 2xx, `response_body` its first KiB.

    `error` is `dns`, `forbidden`, `refused`, `tls` or `late` where nothing was sent (`late`: by our own fault), and
    `timeout`, `reset` or `http` where it may have arrived. `charged` failures count for disabling the endpoint.
    """

    id: int
    webhook_id: str
    kind: CallKind = Field(description="A format, or a sample: `ping`, `test`.")
    products: list[ToldProduct]
    at: datetime
    duration_milliseconds: int
    request_headers: dict[str, str] = Field(description="As they were sent; the endpoint's own header is masked.")
    request_body: str
    request_body_base64: str | None = Field(description="The bytes that were sent, where they are not UTF-8.")
    status: int | None
    response_body: str | None
    error: str | None
    detail: str | None
    charged: bool


class AttemptPage(BaseModel):
    """Some of the attempts, newest first; `next_cursor` leads to older ones."""

    items: list[AttemptAnswer]
    next_cursor: str | None


class AttemptFilters(BaseModel):
    """Which attempts to list; all given conditions hold."""

    kind: CallKind | None = None
    delivered: bool | None = Field(None, description="Answered 2xx, or not.")
    product_id: EndpointId | None = Field(None, description="That told of this base stock product.")
    since: Moment | None = Field(None, description="Made at this time or later.")
    until: Moment | None = Field(None, description="Made before this time.")
    limit: Limit = 50
    cursor: Cursor = None


@router.get("/{endpoint_id}/attempts", summary="List attempts")
async def list_attempts(
    endpoint_id: EndpointId, filters: Annotated[AttemptFilters, Query()], caller: CallerOf, context: ContextOf
) -> AttemptPage:
    """The calls made to it as long as they are kept (30 days, unless this system says otherwise), newest first."""
    wanted = filters.model_dump(exclude={"limit", "cursor"})
    async with context.database.transaction() as session:
        await find_endpoint(session, endpoint_id, caller)
        before = position_of(filters.cursor, BEFORE_ALL)
        found = await attempt_store.page_of_attempts(session, endpoint_id, before, filters.limit + 1, wanted)
    page = found[: filters.limit]
    more = cursor_of(page[-1].attempt_id) if len(found) > filters.limit else None
    return AttemptPage(items=[attempt_answer(attempt) for attempt in page], next_cursor=more)


@router.get("/{endpoint_id}/attempts/{attempt_id}", summary="Show an attempt")
async def get_attempt(
    endpoint_id: EndpointId, attempt_id: EndpointId, caller: CallerOf, context: ContextOf
) -> AttemptAnswer:
    """One call as it was made."""
    async with context.database.transaction() as session:
        await find_endpoint(session, endpoint_id, caller)
        attempt = await attempt_store.find_attempt(session, endpoint_id, attempt_id)
    if attempt is None:
        raise unknown_attempt(endpoint_id, attempt_id)
    return attempt_answer(attempt)


def unknown_attempt(endpoint_id: int, attempt_id: int) -> ProblemError:
    """404: no such call was made to this endpoint, or not lately."""
    return ProblemError(
        404, "unknown_attempt", f"Webhook endpoint {endpoint_id} has no attempt {attempt_id} (any more)."
    )


def attempt_answer(attempt: LoggedAttempt) -> AttemptAnswer:
    """The attempt as the API shows it."""
    told = zip(attempt.product_ids, attempt.versions, strict=True)
    body = attempt.request_body.decode(errors="replace")
    is_text = body.encode() == attempt.request_body
    return AttemptAnswer(
        id=attempt.attempt_id,
        webhook_id=attempt.webhook_id,
        kind=attempt.kind,
        products=[ToldProduct(product_id=product_id, version=version) for product_id, version in told],
        at=attempt.at,
        duration_milliseconds=attempt.duration_milliseconds,
        request_headers=attempt.request_headers,
        request_body=body,
        request_body_base64=None if is_text else base64.b64encode(attempt.request_body).decode(),
        status=attempt.status,
        response_body=attempt.response_body,
        error=attempt.error,
        detail=attempt.detail,
        charged=attempt.charged,
    )
