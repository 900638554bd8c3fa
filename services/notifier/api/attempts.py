"""The log of attempts over HTTP."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from services.notifier.api.requests import (
    BEFORE_ALL,
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
from shared.idempotency import OnceRoute

router = APIRouter(prefix="/v1/webhook-endpoints", route_class=OnceRoute)


class ToldProduct(BaseModel):
    """The version of a base stock product that a call told."""

    product_id: int
    version: int


class AttemptAnswer(BaseModel):
    """One call as it was made: `error` is null for an answer of 2xx, `response_body` its first KiB."""

    id: int
    webhook_id: str
    products: list[ToldProduct]
    at: datetime
    duration_milliseconds: int
    request_headers: dict[str, str]
    request_body: str
    status: int | None
    response_body: str | None
    error: str | None
    detail: str | None


class AttemptPage(BaseModel):
    """Some of the attempts, newest first; `next_cursor` leads to older ones."""

    items: list[AttemptAnswer]
    next_cursor: str | None


@router.get("/{endpoint_id}/attempts")
async def list_attempts(
    endpoint_id: EndpointId, caller: CallerOf, context: ContextOf, limit: Limit = 50, cursor: Cursor = None
) -> AttemptPage:
    """The calls made to it in the last 30 days, newest first."""
    async with context.database.transaction() as session:
        await find_endpoint(session, endpoint_id, caller)
        before = position_of(cursor, BEFORE_ALL)
        found = await attempt_store.page_of_attempts(session, endpoint_id, before, limit + 1)
    page = found[:limit]
    more = cursor_of(page[-1].attempt_id) if len(found) > limit else None
    return AttemptPage(items=[_attempt_answer(attempt) for attempt in page], next_cursor=more)


def _attempt_answer(attempt: LoggedAttempt) -> AttemptAnswer:
    told = zip(attempt.product_ids, attempt.versions, strict=True)
    return AttemptAnswer(
        id=attempt.attempt_id,
        webhook_id=attempt.webhook_id,
        products=[ToldProduct(product_id=product_id, version=version) for product_id, version in told],
        at=attempt.at,
        duration_milliseconds=attempt.duration_milliseconds,
        request_headers=attempt.request_headers,
        request_body=attempt.request_body.decode(),
        status=attempt.status,
        response_body=attempt.response_body,
        error=attempt.error,
        detail=attempt.detail,
    )
