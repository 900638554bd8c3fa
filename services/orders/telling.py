"""Orders as their events tell of them."""

from typing import TypeVar

from services.orders.domain.life import StoredLine, StoredOrder
from shared.events.orders import OrderEvent, OrderLine

E = TypeVar("E", bound=OrderEvent)


def told_as(kind: type[E], order: StoredOrder) -> E:
    """The event that tells of an order as it stands.

    Of its lines only the units that are wanted; once it is cancelled, those that it had.
    """
    cancelled = order.state == "cancelled"
    return kind(
        order_id=order.order_id,
        seller_id=order.seller_id,
        external_ref=order.external_ref,
        state=order.state,
        source=order.source,
        placed_at=order.placed_at,
        lines=tuple(
            OrderLine(
                line_id=line.line_id,
                product_id=line.product_id,
                variant_sku=line.variant_sku,
                quantity=line.quantity if cancelled else line.wanted,
                location=line.location,
                checked=line.checked or _was_decided(line),
            )
            for line in order.lines
            if cancelled or line.wanted
        ),
        version=order.version,
    )


def _was_decided(line: StoredLine) -> bool:
    """Whether inventory has found that the seller may sell the line: an ended connection takes nothing back."""
    return line.outcome in {"allocated", "short", "untracked"}
