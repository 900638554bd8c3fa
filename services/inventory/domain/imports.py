"""What a row of a file does to stock."""

from typing import Literal, NamedTuple

from services.inventory.domain.stock import LEVEL_LIMIT, TOO_MUCH, Cause, Stock
from services.inventory.domain.writing import Since, adjust, state

# What the numbers of a file are (rule 12).
Writes = Literal["quantity_available", "on_hand", "adjustment"]


class Written(NamedTuple):
    """What a row did to a level, in units; `problem` says why it did nothing where it may not."""

    is_changed: bool
    on_hand_before: int = 0
    on_hand_after: int = 0
    available_before: int = 0
    available_after: int = 0
    problem: str | None = None


def write_row(  # noqa: PLR0913 - what is written, where, as of when and why
    stock: Stock, product_id: int, location_id: int, writes: Writes, quantity: int, *, now: Since, cause: Cause
) -> Written:
    """Write `quantity` units to a locked item at a location; one that was removed there is stocked there again.

    An absolute quantity is stated as of `now`, also where it makes no difference.
    """
    level = stock.level(product_id, location_id)
    on_hand, available = level.on_hand, level.available
    delta = quantity - {"quantity_available": available, "on_hand": on_hand, "adjustment": 0}[writes]
    if abs(on_hand + delta) > LEVEL_LIMIT:
        return Written(is_changed=False, problem=TOO_MUCH)
    is_changed = delta != 0 or level.removed
    if writes == "adjustment":
        adjust(stock, product_id, location_id, quantity, cause)
    elif writes == "on_hand":
        state(stock, product_id, location_id, now, cause, on_hand=quantity)
    else:
        state(stock, product_id, location_id, now, cause, available=quantity)
    return Written(is_changed, on_hand, on_hand + delta, available, available + delta)
