"""Events of variant stock (compatibility.md C): which one tells what is now, and where a change came from."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Literal

EventType = Literal["variant_stock.updated", "variant_stock.deleted", "variant_stock_delta.updated"]
UpdateSource = Literal["manual", "system", "order", "import"]

# What an endpoint hears that does not say.
USUAL_EVENT_TYPES: tuple[EventType, ...] = ("variant_stock.updated", "variant_stock.deleted")
# Kinds of ledger entries, as `stock_changed` names them; all others are the system's own.
SOURCES: dict[str, UpdateSource] = {
    **dict.fromkeys(
        ("order", "order_amended", "order_cancelled", "fulfilled", "fulfillment_failed", "returned"), "order"
    ),
    **dict.fromkeys(("csv_import", "external_reset", "external_adjustment", "stock_sync"), "import"),
    **dict.fromkeys(("manual", "count", "settings", "removed", "relisted"), "manual"),
}


def state_event_type(quantity: int | None) -> EventType:
    """The event that tells what is available at a location; `None` is available where it is not stocked."""
    return "variant_stock.deleted" if quantity is None else "variant_stock.updated"


def is_asked_for(event_types: Collection[str] | None, quantity: int | None) -> bool:
    """Whether an endpoint with these `event_types` is told this state of a location."""
    return state_event_type(quantity) in (USUAL_EVENT_TYPES if event_types is None else event_types)


def update_source(causes: Sequence[str]) -> UpdateSource:
    """Where the last of a change's causes came from."""
    return SOURCES.get(causes[-1], "system") if causes else "system"


def event_webhook_id(endpoint_id: int, kind: str, product_id: int, location: str, state: str) -> str:
    """The id of a call with one event at this `state`: the same for every attempt at it, and of no other event.

    Opaque and without a dot, as it is signed dot-separated (Standard Webhooks).
    """
    event = f"{endpoint_id}:{kind}:{product_id}={state}:{location}"
    return f"msg_{hashlib.sha256(event.encode()).hexdigest()[:32]}"
