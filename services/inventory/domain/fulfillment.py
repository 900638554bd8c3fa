"""What fulfillment does to stock: an item that leaves, and one that will not be sent.

A line's open taking is for the units that are neither completed nor failed. Completing gives that much of it back and
takes what has left where it left from. Both are entered as one change: where the taking had lowered on hand there is
none, where it was an allocation on hand is lowered and the allocation ends. So an item that is completed before its
order is known, beyond what was ordered, or at another place than was drawn from, counts as it is.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from services.inventory.domain.orders import Taking
from services.inventory.domain.stock import Cause, Location, OrderEffect, Stock, default_location

ItemKind = Literal["failed", "completed"]


class RequestItem(NamedTuple):
    """`quantity` units of an order's line, of one unit drawing `components` (`(product id, quantity per unit)`).

    A `late` one had to wait for its product: its order was decided without its units meanwhile.
    """

    kind: ItemKind
    line_id: int
    quantity: int
    location: str
    components: tuple[tuple[int, int], ...]
    late: bool = False


class Completed(NamedTuple):
    """Units of a base stock product that have left a location; `held` is what stays allocated for them there."""

    product_id: int
    location_id: int
    quantity: int
    held: bool


def settle(
    item: RequestItem, takings: Sequence[Taking], stock: Stock, cause: Cause
) -> tuple[list[Taking], list[Completed]]:
    """Make the changes of an item; returns what its order still holds of `takings`, and what has left.

    A line ships what it took, as it was made of then. One that holds nothing ships what it is made of now.
    """
    own = [] if item.late else [taking for taking in takings if taking.line_id == item.line_id]
    left = [taking for taking in takings if taking not in own]
    # By (product id, location id): units on hand, units allocated.
    change: dict[tuple[int, int], tuple[int, int]] = {}
    for taking in own:
        back = min(taking.quantity, item.quantity * taking.per_unit)
        _add(change, (taking.product_id, taking.location_id), taking.effect, -back)
        if back < taking.quantity:
            left.append(taking._replace(quantity=taking.quantity - back))
    completed = _completed(item, own, stock) if item.kind == "completed" else []
    for one in completed:
        _add(change, (one.product_id, one.location_id), "allocate" if one.held else "decrement", one.quantity)
    for (product_id, location_id), (on_hand, allocated) in sorted(change.items()):
        stock.move(product_id, location_id, cause, on_hand, allocated, item.line_id)
    return left, completed


def _completed(item: RequestItem, own: Sequence[Taking], stock: Stock) -> list[Completed]:
    parts = [(taking.product_id, taking.per_unit) for taking in own] or item.components
    if not parts:
        return []
    location = _location(item, stock.items[parts[0][0]].supplier_id, own, stock)
    # What was drawn there keeps the effect that it was drawn with.
    drawn_as = {taking.effect for taking in own if taking.location_id == location.location_id}
    effect = drawn_as.pop() if drawn_as else location.order_effect
    held = effect == "allocate" and location.on_hand_owner == "external"
    return [
        Completed(product_id, location.location_id, item.quantity * per_unit, held) for product_id, per_unit in parts
    ]


def _location(item: RequestItem, supplier_id: int, own: Sequence[Taking], stock: Stock) -> Location:
    """Where the item left from; of a location that is not known, what was drawn from, else `main`: it has left."""
    locations = stock.locations[supplier_id]
    named = stock.location(supplier_id, item.location)
    drawn_from = next((one for one in locations if own and one.location_id == own[0].location_id), None)
    return named or drawn_from or default_location(locations)


def _add(change: dict[tuple[int, int], tuple[int, int]], key: tuple[int, int], effect: OrderEffect, taken: int) -> None:
    on_hand, allocated = change.get(key, (0, 0))
    change[key] = (on_hand - taken, allocated) if effect == "decrement" else (on_hand, allocated + taken)
