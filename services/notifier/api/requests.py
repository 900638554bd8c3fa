"""What the routes of notifier have in common: who calls, pages, and finding an endpoint."""

import base64
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from services.notifier.encryption import Vault, vault_of
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store.endpoints import Endpoint
from shared.access import Caller, caller_of
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.service_context import Context, context_of

CallerOf = Annotated[Caller, Depends(caller_of("notifier"))]
ContextOf = Annotated[Context, Depends(context_of("notifier"))]
EndpointId = Annotated[int, Field(gt=0, lt=2**63)]
# In a body, where a number is a number: neither text nor true.
StatedId = Annotated[int, Field(gt=0, lt=2**63, strict=True)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=100)]

PREFIX = "/v1/webhook-endpoints"
BEFORE_ALL = 2**63 - 1


def vault(context: Context) -> Vault:
    """What this service's secrets are encrypted with."""
    return vault_of(context.settings.webhook_encryption_key)


async def find_endpoint(session: Session, endpoint_id: int, caller: Caller) -> Endpoint:
    """The endpoint, if it is the caller's; `ProblemError` (404) otherwise."""
    return _found(await endpoint_store.find(session, endpoint_id, caller.company_id), endpoint_id)


async def lock_endpoint(session: Session, endpoint_id: int, caller: Caller) -> Endpoint:
    """As `find_endpoint`, for who is about to change it."""
    return _found(await endpoint_store.find_and_lock(session, endpoint_id, caller.company_id), endpoint_id)


def _found(endpoint: Endpoint | None, endpoint_id: int) -> Endpoint:
    if endpoint is None:
        raise unknown_endpoint(endpoint_id)
    return endpoint


def unknown_endpoint(endpoint_id: int) -> ProblemError:
    """404: the caller has no such endpoint."""
    return ProblemError(404, "unknown_endpoint", f"You have no webhook endpoint {endpoint_id}.")


def cursor_of(position: int) -> str:
    """The cursor that leads on after this id."""
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def position_of(cursor: str | None, start: int) -> int:
    """The id that a cursor stands for, `start` without one; `ProblemError` (422) for what is none."""
    if cursor is None:
        return start
    try:
        position = int(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError:
        position = -1
    if not 0 <= position <= BEFORE_ALL:
        raise ProblemError(422, "invalid_cursor", "Use the next_cursor of an earlier answer, unchanged.")
    return position


def forgotten_events(oldest: int) -> ProblemError:
    """409: the fulfillment events before this logical timestamp are not kept any more."""
    detail = (
        f"The oldest fulfillment event that is kept has the logical timestamp {oldest}: name {oldest - 1} or a later "
        "one as `after`. GET /v1/fulfillment-events has those before."
    )
    return ProblemError(409, "events_forgotten", detail, errors=[FieldError(field="after", detail=detail)])
