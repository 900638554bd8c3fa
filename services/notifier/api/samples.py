"""Trying an endpoint out over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel

from services.notifier.api.attempts import AttemptAnswer, attempt_answer
from services.notifier.api.requests import PREFIX, CallerOf, ContextOf, EndpointId, find_endpoint
from services.notifier.pinging import new_sample_id
from services.notifier.store import attempts as attempt_store
from services.notifier.store import pings as ping_store
from services.notifier.store.attempts import LoggedAttempt
from shared import clock
from shared.errors import ProblemError
from shared.idempotency import OnceRoute, commit_with_answer
from shared.service_context import Context

router = APIRouter(prefix=PREFIX, route_class=OnceRoute)

WAIT_LIMIT_SECONDS = 10
POLL_SECONDS = 0.1

Wait = Annotated[
    float,
    Query(ge=0, le=WAIT_LIMIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for what came of it"),
]


class SampleAnswer(BaseModel):
    """A sample that is sent; `attempt` is what came of it, null until it is known."""

    webhook_id: str
    attempt: AttemptAnswer | None


@router.post(
    "/{endpoint_id}/test",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Send a sample",
    responses={200: {"model": SampleAnswer, "description": "It was sent, and this came of it"}},
)
async def send_sample(
    *,
    endpoint_id: EndpointId,
    request: Request,
    response: Response,
    caller: CallerOf,
    context: ContextOf,
    wait: Wait = 0,
) -> SampleAnswer:
    """Send a sample of its format, signed as any call, with `"test": true` in it.

    It is sent once, whatever the endpoint's state, and what comes of it changes nothing but the log. One that waits
    already is not sent twice. Answers 202 at once, or with `wait` 200 when it was sent. 409 `sample_under_way` while
    the one before, or the ping of a new endpoint, is being sent.
    """
    async with context.database.transaction() as session:
        await find_endpoint(session, endpoint_id, caller)
        before = await attempt_store.newest_id(session, endpoint_id)
        webhook_id = await ping_store.enqueue(session, endpoint_id, new_sample_id(), "test")
        if webhook_id is None:
            detail = f"A sample is being sent to webhook endpoint {endpoint_id}: ask again when it has been answered."
            raise ProblemError(409, "sample_under_way", detail)
    answer = SampleAnswer(webhook_id=webhook_id, attempt=None)
    if not wait:
        return answer
    response.status_code = status.HTTP_202_ACCEPTED
    await commit_with_answer(request, response, answer)
    attempt = await _when_sent(context, endpoint_id, webhook_id, before, wait)
    if attempt is None:
        return answer
    response.status_code = status.HTTP_200_OK
    return SampleAnswer(webhook_id=webhook_id, attempt=attempt_answer(attempt))


async def _when_sent(
    context: Context, endpoint_id: int, webhook_id: str, before: int, wait_seconds: float
) -> LoggedAttempt | None:
    deadline = clock.monotonic() + wait_seconds
    while True:
        async with context.database.transaction() as session:
            attempt = await attempt_store.find_by_webhook_id(session, endpoint_id, webhook_id, before)
        if attempt is not None or clock.monotonic() >= deadline or context.draining.is_set():
            return attempt
        await clock.sleep(POLL_SECONDS)
