"""The calls that notifier makes, for the OpenAPI document: what a receiver gets."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field

from services.notifier.api.options import EventType
from services.notifier.domain import samples

router = APIRouter()

ANSWERS: dict[int | str, dict[str, Any]] = {
    410: {"description": "The endpoint is gone: it is disabled at once"},
    "4XX": {"description": "Not told: it is called again, with the state of then"},
    "5XX": {"description": "Not told: it is called again, with the state of then"},
}

WebhookId = Annotated[
    str, Header(alias="webhook-id", description="The same for every attempt at the same state: an idempotency key")
]
WebhookTimestamp = Annotated[
    int, Header(alias="webhook-timestamp", description="Unix seconds of this attempt: refuse what is 5 minutes off")
]
WebhookSignature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and base64 of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`, "
        "one for each valid secret, with blanks between",
    ),
]


class LinkedProduct(BaseModel):
    """A product that draws on the base stock product, and its variant if it is one of a variant."""

    product: dict[str, Any] = Field(description="`id` and `sku`")
    variant: dict[str, Any] | None = Field(description="`attribute_1` and so on, and `sku`")


class StockLevel(BaseModel):
    """A base stock product as it is now: the base stock product first, then what you may see that draws on it."""

    quantity_available: int
    linked: list[LinkedProduct]
    linked_more: bool = Field(
        default=False, description="Only where `linked` does not name everything, and true there: `GET /stock` does."
    )
    version: int
    occurred_at: datetime
    previous_quantity_available: int
    changes: int


class StockLevels(BaseModel):
    """The payload of the format `stock_level`."""

    model_config = {"json_schema_extra": {"example": {"stock": [dict(samples.STOCK_LEVEL)]}}}

    stock: list[StockLevel]
    test: bool = Field(default=False, description="Only in samples, and true there.")


class VariantStock(BaseModel):
    """The payload of the format `variant_stock`: one event."""

    model_config = {
        "json_schema_extra": {
            "example": {
                "event_type": "variant_stock.updated",
                "payload": dict(samples.VARIANT_STOCK["variant_stock.updated"]),
            }
        }
    }

    event_type: EventType
    payload: dict[str, Any]
    test: bool = Field(default=False, description="Only in samples, and true there.")


class Fulfillment(BaseModel):
    """The payload of the format `fulfillment`: one event, with its logical timestamp."""

    model_config = {
        "extra": "allow",
        "json_schema_extra": {"example": {"type": "fulfillment_request_completed", **samples.FULFILLMENT}},
    }

    type: str
    logical_timestamp: int
    test: bool = Field(default=False, description="Only in samples, and true there.")


class Ping(BaseModel):
    """What a new endpoint is sent first."""

    type: Literal["ping"]
    timestamp: datetime
    data: dict[str, int] = Field(description="`endpoint_id`")


@router.post("stock_level", status_code=204, responses=ANSWERS, summary="Stock levels")
def stock_level(
    body: StockLevels, webhook_id: WebhookId, webhook_timestamp: WebhookTimestamp, webhook_signature: WebhookSignature
) -> None:
    """The newest state of base stock products. Keep the highest version of each; any 2xx within 15 s is an answer."""


@router.post("variant_stock", status_code=204, responses=ANSWERS, summary="Stock of a variant at a location")
def variant_stock(
    body: VariantStock, webhook_id: WebhookId, webhook_timestamp: WebhookTimestamp, webhook_signature: WebhookSignature
) -> None:
    """One event of Enad's stock webhook. Any 2xx within 15 s is an answer."""


@router.post("fulfillment", status_code=204, responses=ANSWERS, summary="Fulfillment event")
def fulfillment(
    body: Fulfillment, webhook_id: WebhookId, webhook_timestamp: WebhookTimestamp, webhook_signature: WebhookSignature
) -> None:
    """What happened to an item that a supplier sends: each in its turn, without a gap."""


@router.post("ping", status_code=204, responses=ANSWERS, summary="Ping")
def ping(
    body: Ping, webhook_id: WebhookId, webhook_timestamp: WebhookTimestamp, webhook_signature: WebhookSignature
) -> None:
    """The first call to a new endpoint, signed like all others; it is sent once, whatever is answered."""
