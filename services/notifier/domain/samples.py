"""What an endpoint is sent to try it out: a ping, or a sample of its format.

The samples are those of the documents that the formats come from (docs/compatibility), with `test` at the top level,
so that nobody takes them for stock.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

VARIANT_STOCK: Mapping[str, Mapping[str, Any]] = {
    "variant_stock.updated": {
        "inventory_id": "INV-123",
        "product_parent_id": "123e4567-e89b-12d3-a456-426614174000",
        "product_variant_id": "123e4567-e89b-12d3-a456-426614174001",
        "product_variant_number": "VAR-123",
        "quantity": 100,
        "inventory_date": "2024-02-12T12:00:00.000000Z",
        "update_source": "manual",
        "available_online": True,
        "stock_updated": True,
    },
    "variant_stock.deleted": {
        "inventory_id": "INV-123",
        "product_parent_id": "123e4567-e89b-12d3-a456-426614174000",
        "product_variant_id": "123e4567-e89b-12d3-a456-426614174001",
        "product_variant_number": "VAR-123",
    },
    "variant_stock_delta.updated": {
        "inventory_id": "INV-123",
        "product_variant_number": "VAR-123",
        "quantity": 5,
        "available_online": True,
        "delta": 5,
        "quantity_after": 100,
    },
}
STOCK_LEVEL: Mapping[str, Any] = {
    "quantity_available": 10,
    "linked": [
        {"product": {"id": 100, "sku": "T01-S"}, "variant": None},
        {
            "product": {"id": 300, "sku": "T01"},
            "variant": {"attribute_1": {"name": "Size", "value": "Small"}, "sku": "T01-S"},
        },
    ],
    "version": 1,
    "occurred_at": "2024-02-12T12:00:00.000000Z",
    "previous_quantity_available": 12,
    "changes": 1,
}
FULFILLMENT: Mapping[str, Any] = {
    "logical_timestamp": 10,
    "occurred_at": "2024-02-12T12:00:00Z",
    "supplier_id": 1,
    "request_id": "123e4567-e89b-12d3-a456-426614174000",
    "request_ref": "ff1",
    "line_id": 1,
    "quantity": 1,
    "location": "main",
    "reason": None,
    "order_id": "123e4567-e89b-12d3-a456-426614174001",
    "external_ref": "SHOP-1",
    "seller_id": 2,
    "product_id": 100,
    "variant_sku": None,
}


def ping(endpoint_id: int, at: datetime) -> bytes:
    """The body of a ping, in the shape that Standard Webhooks recommends."""
    return _json(
        {"type": "ping", "timestamp": at.isoformat().replace("+00:00", "Z"), "data": {"endpoint_id": endpoint_id}}
    )


def stock_level(*, legacy_key: bool) -> bytes:
    """A sample stock level."""
    old = {"quantity_availble": STOCK_LEVEL["quantity_available"]} if legacy_key else {}
    return _json({"test": True, "stock": [{**STOCK_LEVEL, **old}]})


def variant_stock(event_types: Sequence[str] | None, *, delta_is_total: bool) -> bytes:
    """A sample of the first of these events (`None`: the usual ones); of a delta with what `quantity` means there."""
    event_type = next(one for one in VARIANT_STOCK if event_types is None or one in event_types)
    payload = dict(VARIANT_STOCK[event_type])
    if delta_is_total and "delta" in payload:
        payload["quantity"] = payload["quantity_after"]
    return _json({"test": True, "event_type": event_type, "payload": payload})


def fulfillment(*, dotted_names: bool) -> bytes:
    """A sample fulfillment event."""
    name = "fulfillment_request.items_completed" if dotted_names else "fulfillment_request_completed"
    return _json({"test": True, "type": name, **FULFILLMENT})


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
