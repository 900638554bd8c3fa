"""Rotating the secret of an endpoint over HTTP."""

from typing import ClassVar

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from services.notifier.api.requests import PREFIX, CallerOf, ContextOf, EndpointId, find_endpoint, lock_endpoint, vault
from services.notifier.api.shown import ValidSecret, tagged
from services.notifier.signing import new_secret
from services.notifier.store import secrets as secret_store
from shared.errors import ProblemError
from shared.idempotency import OnceRoute, ShowsSecret

router = APIRouter(prefix=PREFIX, route_class=OnceRoute)

# Standard Webhooks: a day is enough to bring a new secret to all receivers.
OVERLAP_HOURS, OVERLAP_LIMIT_HOURS = 24, 168
# Each is a signature more in every call.
OLD_SECRETS_LIMIT = 5


class Rotation(BaseModel):
    """How a secret is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: int = Field(
        OVERLAP_HOURS,
        ge=0,
        le=OVERLAP_LIMIT_HOURS,
        strict=True,
        description="How much longer older secrets sign, at most; 0 ends them all at once.",
    )


class RotatedSecret(ShowsSecret):
    """The new secret, shown this once; `id` is the endpoint's, `secrets` are all that sign now."""

    SHOWN_BEFORE: ClassVar[str] = (
        "webhook endpoint {id} signs with a new secret. It was shown then, is not kept and cannot be shown again. If "
        "you do not have it, rotate again"
    )

    id: int
    secret: str
    secrets: list[ValidSecret]


@router.post("/{endpoint_id}/rotate-secret", summary="Rotate the secret")
async def rotate_secret(
    endpoint_id: EndpointId,
    response: Response,
    caller: CallerOf,
    context: ContextOf,
    body: Rotation | None = None,
) -> RotatedSecret:
    """Sign with a new secret from now on; the old one signs too for 24 hours, or as long as you say.

    Receivers accept a call when any of its signatures is right, so none is lost while they change over. At most 5 old
    ones: 409 `too_many_secrets`.
    """
    overlap_hours = (body or Rotation()).overlap_hours
    secret = new_secret()
    async with context.database.transaction() as session:
        await lock_endpoint(session, endpoint_id, caller)
        if await secret_store.count_kept(session, endpoint_id, overlap_hours) > OLD_SECRETS_LIMIT:
            detail = (
                f"{OLD_SECRETS_LIMIT} older secrets still sign: wait until one of them has ended, or end all of them "
                'now with {"overlap_hours": 0}.'
            )
            raise ProblemError(409, "too_many_secrets", detail)
        await secret_store.rotate(session, endpoint_id, vault(context).encrypt(secret), overlap_hours)
        endpoint = await find_endpoint(session, endpoint_id, caller)
    return RotatedSecret(id=endpoint_id, secret=secret, secrets=tagged(response, endpoint, context.settings).secrets)
