"""What a row of a file does to stock."""

from typing import Literal, NamedTuple

from services.inventory.domain.stock import LEVEL_LIMIT, TOO_MUCH, Cause, Level, Stock
from services.inventory.domain.writing import delta_of, write_on_hand

# What the numbers of a file are (rule 12).
Writes = Literal["quantity_available", "on_hand", "adjustment"]

ARGUMENTS = {"quantity_available": "available", "on_hand": "on_hand", "adjustment": "adjustment"}


class Written(NamedTuple):
    """What a row did to a level, in units; `problem` says why it did nothing where it may not."""

    is_changed: bool
    on_hand_before: int = 0
    on_hand_after: int = 0
    available_before: int = 0
    available_after: int = 0
    problem: str | None = None


def write_row(stock: Stock, product_id: int, location_id: int, writes: Writes, quantity: int, cause: Cause) -> Written:
    """Write `quantity` units to a locked item at a location; one that was removed there is stocked there again."""
    level = stock.items[product_id].levels.get(location_id) or Level(stored=False)
    before = level.on_hand, level.available
    stated: dict[str, int | None] = {"on_hand": None, "available": None, "adjustment": None}
    delta = delta_of(level, **stated | {ARGUMENTS[writes]: quantity})
    if abs(level.on_hand + delta) > LEVEL_LIMIT:
        return Written(is_changed=False, problem=TOO_MUCH)
    is_changed = delta != 0 or level.removed
    if is_changed:
        write_on_hand(stock, product_id, location_id, delta, cause)
    return Written(is_changed, before[0], before[0] + delta, before[1], before[1] + delta)
