"""How much there is, roughly, and which changes of that an endpoint asked to be told of (`only`).

The crossings are those of inventory's events (shared/events/inventory.py). What is out of stock is low as well, whether
or not it has a threshold.
"""

from collections.abc import Collection, Iterable

from shared.events.inventory import Crossing

OUT, LOW, ENOUGH = 0, 1, 2


def band(available: int, low_stock_threshold: int | None) -> int:
    """Where `available` lies; without a threshold nothing is low that is not out of stock."""
    if available <= 0:
        return OUT
    return LOW if low_stock_threshold is not None and available <= low_stock_threshold else ENOUGH


def crossings(before: int, after: int) -> set[Crossing]:
    """What a product passed on its way from one band to another."""
    passed: set[Crossing] = set()
    if (before == OUT) != (after == OUT):
        passed.add("out" if after == OUT else "back_in_stock")
    if (before == ENOUGH) != (after == ENOUGH):
        passed.add("recovered" if after == ENOUGH else "low")
    return passed


def is_asked_for(only: Collection[str], known: Iterable[int], now: int) -> bool:
    """Whether an endpoint that may know any of the bands `known` asked to be told of the way from there to `now`."""
    return any(not crossings(before, now).isdisjoint(only) for before in known)
