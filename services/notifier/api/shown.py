"""An endpoint as the API shows it."""

from datetime import datetime

from fastapi import Response
from pydantic import BaseModel, Field

from services.notifier.store.endpoints import Endpoint
from services.notifier.tables import DeltaSemantics, EndpointState, Format
from shared.entity_tags import etag_of
from shared.settings import Settings


class ValidSecret(BaseModel):
    """A secret that signs, which is not shown: until when, null for the newest."""

    until: datetime | None


class EndpointAnswer(BaseModel):
    """A webhook endpoint with all its options, without its secrets.

    `window_seconds` is the one that counts. `state` is `paused` by the company, `disabled` by us: `reason` says why.
    `failing_since` and `failures` are of the calls that failed since one arrived, `next_call_at` is when it is called
    again, if that is not at once. `acked_timestamp` is how far a fulfillment feed is. `secrets` are those that sign.
    While it `is_replaying`, what it asked to be told again is still being looked for.
    """

    id: int
    company_id: int
    url: str
    format: Format
    window_seconds: int
    auth_header_name: str | None = Field(description="The value of its header is not shown.")
    legacy_key: bool
    delta_semantics: DeltaSemantics
    dotted_names: bool
    early_retry: bool
    event_types: list[str] | None
    supplier_ids: list[int] | None
    product_ids: list[int] | None
    only: list[str] | None
    calls_at_once: int
    calls_per_second: float | None
    state: EndpointState
    reason: str | None
    failing_since: datetime | None
    failures: int
    next_call_at: datetime | None
    acked_timestamp: int | None
    is_replaying: bool
    secrets: list[ValidSecret] = Field(description="Newest first.")
    version: int
    created_at: datetime


def shown(endpoint: Endpoint, settings: Settings) -> EndpointAnswer:
    """The endpoint for whoever may see it."""
    floor_seconds = settings.webhook_window_seconds if endpoint.format == "stock_level" else 0
    return EndpointAnswer(
        id=endpoint.endpoint_id,
        company_id=endpoint.company_id,
        url=endpoint.url,
        format=endpoint.format,
        window_seconds=max(endpoint.window_seconds, floor_seconds),
        auth_header_name=endpoint.auth_header_name,
        legacy_key=endpoint.legacy_key,
        delta_semantics=endpoint.delta_semantics,
        dotted_names=endpoint.dotted_names,
        early_retry=endpoint.early_retry,
        event_types=endpoint.event_types,
        supplier_ids=endpoint.supplier_ids,
        product_ids=endpoint.product_ids,
        only=endpoint.only,
        calls_at_once=endpoint.calls_at_once,
        calls_per_second=endpoint.calls_per_second,
        state=endpoint.state,
        reason=endpoint.reason,
        failing_since=endpoint.failing_since,
        failures=endpoint.failures,
        next_call_at=endpoint.next_call_at,
        acked_timestamp=endpoint.acked_timestamp,
        is_replaying=endpoint.is_replaying,
        secrets=[ValidSecret(until=None), *(ValidSecret(until=until) for until in endpoint.old_secrets_until)],
        version=endpoint.version,
        created_at=endpoint.created_at,
    )


def tagged(response: Response, endpoint: Endpoint, settings: Settings) -> EndpointAnswer:
    """The same, with its version as `ETag`."""
    response.headers["ETag"] = etag_of(endpoint.version)
    return shown(endpoint, settings)
