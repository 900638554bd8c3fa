"""Who was told of a base stock product, and when, over HTTP."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.notifier.api.requests import CallerOf, ContextOf, Cursor, EndpointId, Limit, cursor_of, position_of
from services.notifier.domain.tellings import TellingState
from services.notifier.store import tellings as telling_store
from services.notifier.store.tellings import Telling
from services.notifier.tables import Format

router = APIRouter(prefix="/v1/tellings")


class TellingAnswer(BaseModel):
    """What a retailer was told of a base stock product last, and when: by which of its endpoints only itself reads.

    `state`: `told` all that it asked for; `due` now, or `waiting` for its window, from `next_at`; `failing`, so that
    it may not hear of it; `paused` by itself, or not connected any more; `never` told, and nothing to tell.
    `is_current`: what it was told is what is available now.
    """

    retailer_id: int
    endpoint_id: int | None = Field(None, description="Not in what a supplier reads.")
    format: Format
    told_at: datetime | None
    told_available: int | None
    is_current: bool
    next_at: datetime | None
    state: TellingState


class TellingPage(BaseModel):
    """Some of them, by retailer for its supplier, else by endpoint; `next_cursor` leads on."""

    items: list[TellingAnswer]
    next_cursor: str | None


@router.get("", summary="Who was told of a product", response_model_exclude_unset=True)
async def list_tellings(
    product_id: Annotated[EndpointId, Query(description="A base stock product.")],
    caller: CallerOf,
    context: ContextOf,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> TellingPage:
    """For its supplier an item for each connected retailer that wants to hear of it; for a retailer one per endpoint.

    The platform admin reads those of all endpoints. A product that is none of the caller's business has none.
    """
    after, is_supplier = position_of(cursor, 0), caller.role == "supplier"
    async with context.database.transaction() as session:
        if is_supplier:
            found = await telling_store.list_of_supplier(session, product_id, caller.company(), after, limit + 1)
        else:
            found = await telling_store.list_of_retailer(session, product_id, caller.company_id, after, limit + 1)
    items = [_shown(telling, is_supplier=is_supplier) for telling in found[:limit]]
    if len(found) <= limit:
        return TellingPage(items=items, next_cursor=None)
    last = found[limit - 1]
    return TellingPage(items=items, next_cursor=cursor_of(last.retailer_id if is_supplier else last.endpoint_id))


def _shown(telling: Telling, *, is_supplier: bool) -> TellingAnswer:
    answer = TellingAnswer(
        retailer_id=telling.retailer_id,
        format=telling.format,
        told_at=telling.told_at,
        told_available=telling.told_available,
        is_current=telling.is_current,
        next_at=telling.next_at,
        state=telling.state,
    )
    # Left out for a supplier, and not null: what is not set is not answered.
    return answer if is_supplier else answer.model_copy(update={"endpoint_id": telling.endpoint_id})
