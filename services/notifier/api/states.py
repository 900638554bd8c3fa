"""Pausing an endpoint, going on, and enabling one that was disabled, over HTTP."""

from fastapi import APIRouter, Response

from services.notifier.api.requests import PREFIX, CallerOf, ContextOf, EndpointId, find_endpoint, lock_endpoint
from services.notifier.api.shown import EndpointAnswer, tagged
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store.endpoints import Endpoint
from services.notifier.tables import EndpointState
from shared.access import Caller
from shared.errors import ProblemError
from shared.idempotency import OnceRoute
from shared.service_context import Context

router = APIRouter(prefix=PREFIX, route_class=OnceRoute)


@router.post("/{endpoint_id}/pause", summary="Pause an endpoint")
async def pause_endpoint(
    endpoint_id: EndpointId, response: Response, caller: CallerOf, context: ContextOf
) -> EndpointAnswer:
    """Call it no more until it is resumed; what changes meanwhile is told then, as it is then.

    409 `endpoint_disabled` for one that we disabled. To pause it again changes nothing.
    """
    return await _set_state(endpoint_id, "paused", response, caller, context)


@router.post("/{endpoint_id}/resume", summary="Resume an endpoint")
async def resume_endpoint(
    endpoint_id: EndpointId, response: Response, caller: CallerOf, context: ContextOf
) -> EndpointAnswer:
    """Call it again after a pause; 409 `endpoint_disabled` for one that we disabled. Again changes nothing."""
    return await _set_state(endpoint_id, "active", response, caller, context)


@router.post("/{endpoint_id}/enable", summary="Enable an endpoint")
async def enable_endpoint(
    endpoint_id: EndpointId, response: Response, caller: CallerOf, context: ContextOf
) -> EndpointAnswer:
    """Call one again that we disabled, as if it had never failed: what waits for it comes spread over time.

    409 `endpoint_paused` for one that its company paused. To enable an active one changes nothing.
    """
    async with context.database.transaction() as session:
        before = await lock_endpoint(session, endpoint_id, caller)
        if before.state == "paused":
            detail = f"Webhook endpoint {endpoint_id} is paused, not disabled: POST {PREFIX}/{endpoint_id}/resume."
            raise ProblemError(409, "endpoint_paused", detail)
        if before.state == "disabled":
            await endpoint_store.enable(session, endpoint_id, context.settings.webhook_window_seconds)
        return tagged(response, await find_endpoint(session, endpoint_id, caller), context.settings)


async def _set_state(
    endpoint_id: int, state: EndpointState, response: Response, caller: Caller, context: Context
) -> EndpointAnswer:
    async with context.database.transaction() as session:
        _require_not_disabled(await lock_endpoint(session, endpoint_id, caller))
        await endpoint_store.set_state(session, endpoint_id, state)
        return tagged(response, await find_endpoint(session, endpoint_id, caller), context.settings)


def _require_not_disabled(endpoint: Endpoint) -> None:
    if endpoint.state == "disabled":
        how = f"POST {PREFIX}/{endpoint.endpoint_id}/enable"
        detail = f"Webhook endpoint {endpoint.endpoint_id} is disabled: {endpoint.reason}. Mend it, then {how}."
        raise ProblemError(409, "endpoint_disabled", detail)
