"""Stock that people and their systems write: levels, settings, and what is not stocked any more."""

from collections.abc import Mapping
from typing import Any

from services.inventory.domain.stock import Cause, Level, Stock


def delta_of(level: Level, *, on_hand: int | None, available: int | None, adjustment: int | None) -> int:
    """By how much on hand changes when exactly one of the three is stated (rule 12)."""
    if on_hand is not None:
        return on_hand - level.on_hand
    if available is not None:
        return available - level.available
    if adjustment is not None:
        return adjustment
    message = "one of on_hand, available and adjustment must be stated"
    raise ValueError(message)


def write_on_hand(stock: Stock, product_id: int, location_id: int, delta: int, cause: Cause) -> None:
    """Change on hand by `delta` units; a location that the item was removed from stocks it again, even at delta 0."""
    level = stock.level(product_id, location_id)
    if level.removed:
        level.removed = False
        stock.restate(product_id, location_id, cause._replace(kind="relisted"))
    stock.move(product_id, location_id, cause, on_hand=delta)


def remove(stock: Stock, product_id: int, location_id: int | None, cause: Cause) -> None:
    """Stock the item no more at this location, or anywhere (rule 16); what is removed already stays so.

    No unit goes: orders that were taken still hold theirs.
    """
    for one, level in sorted(stock.items[product_id].levels.items()):
        if location_id in {None, one} and not level.removed:
            level.removed = True
            stock.restate(product_id, one, cause)


def change_settings(stock: Stock, product_id: int, location_id: int, changes: Mapping[str, Any], cause: Cause) -> None:
    """Set these attributes of the item, and `safety_stock` of its level at the location.

    Entered as one change, whose reason says what was and what is; no change where all is so already.
    """
    item, level = stock.items[product_id], stock.level(product_id, location_id)
    told = []
    for name, value in changes.items():
        changed: Any = level if name == "safety_stock" else item
        before = getattr(changed, name)
        if before != value:
            setattr(changed, name, value)
            told.append(f"{name.removeprefix('own_')} {_said(before)} -> {_said(value)}")
    if told:
        stock.restate(product_id, location_id, cause._replace(reason=", ".join(told)))


def _said(value: object) -> str:
    return "none" if value is None else str(value)
