"""The payload format `fulfillment`: one event of a supplier's fulfillment requests in each call.

A call carries exactly what `GET /v1/fulfillment-events` lists under the same names, so that whoever takes the webhooks
and reads on by polling, after a failure or to begin with, needs one reader for both.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shared.events.orders import (
    FulfillmentItem,
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
)

# Under its own name, and as the event stream of NewStore calls it (an endpoint's `dotted_names`).
TYPES: Mapping[type[FulfillmentItem], str] = {
    FulfillmentRequestAssigned: "fulfillment_request_assigned",
    FulfillmentRequestCompleted: "fulfillment_request_completed",
    FulfillmentRequestFailed: "fulfillment_request_failed",
}
DOTTED = {
    "fulfillment_request_assigned": "fulfillment_request.assigned",
    "fulfillment_request_completed": "fulfillment_request.items_completed",
    "fulfillment_request_failed": "fulfillment_request.items_failed",
}
# In the order in which they are sent: the database gives them back in another one.
FIELDS = (
    "type",
    "logical_timestamp",
    "occurred_at",
    "supplier_id",
    "request_id",
    "request_ref",
    "line_id",
    "quantity",
    "location",
    "reason",
    "order_id",
    "external_ref",
    "seller_id",
    "product_id",
    "variant_sku",
)
JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def fields_of(event: FulfillmentItem) -> dict[str, Any]:
    """The event as JSON has it, under the names of `FIELDS`."""
    told = event.model_dump(mode="json") | {"type": TYPES[type(event)]}
    # Only a failure has a reason.
    return {name: told.get(name) for name in FIELDS}


def body(fields: Mapping[str, Any], *, dotted_names: bool) -> bytes:
    """The payload of one call: the same event is the same bytes, whenever and by whichever sender it is sent."""
    told = {name: fields[name] for name in FIELDS}
    if dotted_names:
        told["type"] = DOTTED[told["type"]]
    return JSON.encode(told).encode()


def webhook_id(endpoint_id: int, logical_timestamp: int) -> str:
    """The id of the call that tells this endpoint of the event: the same for every attempt, also when it is set back.

    Opaque and without a dot, as it is signed dot-separated (Standard Webhooks).
    """
    told = f"{endpoint_id}:fulfillment:{logical_timestamp}"
    return f"msg_{hashlib.sha256(told.encode()).hexdigest()[:32]}"
