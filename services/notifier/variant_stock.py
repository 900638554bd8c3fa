"""The payload format `variant_stock`: the stock events of the Enad page, one in each call (compatibility.md C)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.notifier.domain.variants import state_event_type, update_source
from services.notifier.stock_level import JSON
from services.notifier.tables import DeltaSemantics
from shared.linked_products import LinkedPart


@dataclass(frozen=True, slots=True)
class VariantNow:
    """A base stock product at one location, as it is now, and what one endpoint last acknowledged of it.

    `quantity` is `None` where it is not stocked, `told_quantity` also where nothing was ever told.
    """

    product_id: int
    sku: str
    location: str
    quantity: int | None
    told_quantity: int | None
    occurred_at: datetime
    causes: Sequence[str]

    @property
    def inventory_id(self) -> str:
        """The record that the event is about: the location and the item."""
        return f"{self.location}:{self.product_id}"


def state_event(variant: VariantNow, linked: Sequence[LinkedPart]) -> bytes:
    """`variant_stock.updated`, or `.deleted` where it is not stocked.

    Its parent is the first of `linked` that has variants, else the base stock product itself.
    """
    parent_id = next((part.product_id for part in linked if part.variant_sku), variant.product_id)
    payload: dict[str, object] = {
        "inventory_id": variant.inventory_id,
        "product_parent_id": str(parent_id),
        "product_variant_id": str(variant.product_id),
        "product_variant_number": variant.sku,
    }
    if variant.quantity is not None:
        payload |= {
            "quantity": variant.quantity,
            "inventory_date": variant.occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "update_source": update_source(variant.causes),
            "available_online": variant.quantity > 0,
            "stock_updated": variant.quantity != variant.told_quantity,
        }
    return _body(state_event_type(variant.quantity), payload)


def delta_event(variant: VariantNow, semantics: DeltaSemantics) -> bytes:
    """`variant_stock_delta.updated`: the difference to what was last acknowledged, to nothing where nothing was.

    `quantity` is that change, or the new total, as the endpoint understands it.
    """
    quantity_after = variant.quantity or 0
    delta = quantity_after - (variant.told_quantity or 0)
    payload = {
        "inventory_id": variant.inventory_id,
        "product_variant_number": variant.sku,
        "quantity": delta if semantics == "change" else quantity_after,
        "available_online": quantity_after > 0,
        "delta": delta,
        "quantity_after": quantity_after,
    }
    return _body("variant_stock_delta.updated", payload)


def _body(event_type: str, payload: dict[str, object]) -> bytes:
    return JSON.encode({"event_type": event_type, "payload": payload}).encode()
