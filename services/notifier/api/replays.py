"""Having an endpoint told again, over HTTP: as it is now, never old bytes."""

from typing import Annotated

from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict, Field

from services.notifier.api.attempts import unknown_attempt
from services.notifier.api.requests import (
    PREFIX,
    CallerOf,
    ContextOf,
    EndpointId,
    StatedId,
    find_endpoint,
    forgotten_events,
    lock_endpoint,
)
from services.notifier.store import attempts as attempt_store
from services.notifier.store import feeds as feed_store
from services.notifier.store.endpoints import Endpoint
from services.notifier.store.replay import Replayed, ask_to_replay, replay_products
from shared.access import Caller
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute
from shared.moments import Moment

router = APIRouter(prefix=PREFIX, route_class=OnceRoute)

PRODUCTS_LIMIT = 1000


class Replay(BaseModel):
    """What to tell again: nothing said is everything that the endpoint may hear of, also what it was never told."""

    model_config = ConfigDict(extra="forbid")

    since: Moment | None = Field(None, description="What it acknowledged, or what changed, since this time.")
    product_ids: Annotated[list[StatedId], Field(min_length=1, max_length=PRODUCTS_LIMIT)] | None = Field(
        None, description="These base stock products."
    )
    after: int | None = Field(
        None, ge=0, lt=2**63, strict=True, description="fulfillment: what comes after this logical timestamp."
    )


class ReplayAnswer(BaseModel):
    """What will be told again, each product when its window is over.

    `marked` products (at a location, for variant_stock), or of a feed all after `acked_timestamp`. `deltas_left` are
    changes, which are never told twice: they would be added twice. Both are null where it is a matter of more than
    some products: these are looked for after the answer, in parts, while the endpoint `is_replaying`.
    """

    marked: int | None
    deltas_left: int | None
    acked_timestamp: int | None


@router.post("/{endpoint_id}/replay", status_code=status.HTTP_202_ACCEPTED, summary="Tell again")
async def replay_endpoint(
    endpoint_id: EndpointId, caller: CallerOf, context: ContextOf, body: Replay | None = None
) -> ReplayAnswer:
    """Have it told again: what it was told since a time, some products, or everything.

    What is sent is the state of then, never old bytes; windows hold. A fulfillment feed goes on after a logical
    timestamp. Without `product_ids` it is only noted here, and done in parts; one that is under way is made part of it.
    """
    wanted = body or Replay()
    async with context.database.transaction() as session:
        endpoint = await lock_endpoint(session, endpoint_id, caller)
        _check(wanted, endpoint)
        if wanted.after is not None:
            oldest = await feed_store.rewind(session, endpoint_id, wanted.after)
            if oldest is not None:
                raise forgotten_events(oldest)
            return await _answer(session, Replayed(0, 0), endpoint_id, caller)
        if wanted.product_ids is not None:
            marked = await replay_products(session, endpoint_id, wanted.product_ids)
            return await _answer(session, marked, endpoint_id, caller)
        await ask_to_replay(session, endpoint_id, wanted.since)
        return ReplayAnswer(marked=None, deltas_left=None, acked_timestamp=None)


@router.post(
    "/{endpoint_id}/attempts/{attempt_id}/resend", status_code=status.HTTP_202_ACCEPTED, summary="Resend an attempt"
)
async def resend_attempt(
    endpoint_id: EndpointId, attempt_id: EndpointId, caller: CallerOf, context: ContextOf
) -> ReplayAnswer:
    """Have it told again of the products of one call: as they are now, when their windows are over.

    409 `nothing_to_resend` for a sample, and for a fulfillment event (replay it after its logical timestamp).
    """
    async with context.database.transaction() as session:
        await lock_endpoint(session, endpoint_id, caller)
        attempt = await attempt_store.find_attempt(session, endpoint_id, attempt_id)
        if attempt is None:
            raise unknown_attempt(endpoint_id, attempt_id)
        if not attempt.product_ids:
            instead = "test" if attempt.kind in {"ping", "test"} else "replay"
            detail = f"Attempt {attempt_id} told of no product. POST {PREFIX}/{endpoint_id}/{instead} instead."
            raise ProblemError(409, "nothing_to_resend", detail)
        marked = await replay_products(session, endpoint_id, sorted(set(attempt.product_ids)))
        return await _answer(session, marked, endpoint_id, caller)


async def _answer(session: Session, marked: Replayed, endpoint_id: int, caller: Caller) -> ReplayAnswer:
    endpoint = await find_endpoint(session, endpoint_id, caller)
    return ReplayAnswer(marked=marked.marked, deltas_left=marked.deltas_left, acked_timestamp=endpoint.acked_timestamp)


def _check(wanted: Replay, endpoint: Endpoint) -> None:
    """Raise a 422 problem unless this can be replayed to such an endpoint."""
    is_feed = endpoint.format == "fulfillment"
    if is_feed and (wanted.after is None or wanted.since or wanted.product_ids):
        _refuse("after", 'A fulfillment feed is replayed by {"after": LOGICAL_TIMESTAMP}, and by nothing else.')
    if not is_feed and wanted.after is not None:
        _refuse("after", "It is for fulfillment feeds: use since, or product_ids, or neither.")
    if wanted.since and wanted.product_ids:
        _refuse("since", "Say either since or product_ids.")


def _refuse(field: str, detail: str) -> None:
    raise ProblemError(422, "invalid_replay", detail, errors=[FieldError(field=field, detail=detail)])
