"""What a row of a file does to stock."""

from typing import Literal, NamedTuple

from services.inventory.domain.stock import LEVEL_LIMIT, TOO_MUCH, Cause, Stock
from services.inventory.domain.writing import Since, adjust, moved_available, moved_on_hand, state

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
    stock: Stock, product_id: int, location_id: int, writes: Writes, quantity: int, *, since: Since, cause: Cause
) -> Written:
    """Write `quantity` units to a locked item at a location, as they were at the moment of `since`.

    What has moved since then comes on top, and where what was there later is known already nothing changes. An
    absolute quantity is stated also where it makes no difference. What was removed before then is stocked again.
    """
    level = stock.level(product_id, location_id)
    on_hand, available, removed = level.on_hand, level.available, level.removed
    if writes == "adjustment":
        delta = quantity
    elif writes == "on_hand":
        delta = quantity + moved_on_hand(level, since) - on_hand
    else:
        delta = quantity + moved_available(level, since) - available
    if abs(on_hand + delta) > LEVEL_LIMIT:
        return Written(is_changed=False, problem=TOO_MUCH)
    if writes == "adjustment":
        adjust(stock, product_id, location_id, quantity, cause)
    elif writes == "on_hand":
        state(stock, product_id, location_id, since, cause, on_hand=quantity)
    else:
        state(stock, product_id, location_id, since, cause, available=quantity)
    is_changed = level.on_hand != on_hand or level.removed != removed
    return Written(is_changed, on_hand, level.on_hand, available, level.available)
