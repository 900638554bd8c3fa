"""What an import of a system outside states: which level each row is about, and what comes of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.inventory.domain.stock import Stock


class StatedRow(NamedTuple):
    """On hand of a product (its SKU or id) at a location; `problem` says why the row cannot be read."""

    row_number: int
    location: str | None
    product: str | None
    on_hand: int | None
    problem: str | None = None


class Target(NamedTuple):
    """The level that a row is about, and what is on hand there."""

    row_number: int
    product_id: int
    location_id: int
    on_hand: int

    @property
    def pair(self) -> tuple[int, int]:
        """`(product id, location id)`."""
        return self.product_id, self.location_id


class RowOutcome(NamedTuple):
    """What came of a row: the level as it is then, and the allocations (units) that ended; or `problem`, why not."""

    row_number: int
    product_id: int | None = None
    available: int | None = None
    allocations_removed: int | None = None
    problem: str | None = None


def resolve(
    rows: Sequence[StatedRow], product_ids: Mapping[str, int], stock: Stock
) -> tuple[list[Target], list[RowOutcome]]:
    """Which levels the rows are about, and which rows are refused; `product_ids` are the supplier's items by name."""
    targets: dict[tuple[int, int], Target] = {}
    refused: list[RowOutcome] = []
    for row in rows:
        found = _resolve(row, product_ids, stock)
        if isinstance(found, Target) and found.pair in targets:
            first = targets[found.pair].row_number
            found = f"Row {first} states the same product at the same location."
        if isinstance(found, Target):
            targets[found.pair] = found
        else:
            refused.append(RowOutcome(row.row_number, problem=found))
    return list(targets.values()), refused


def _resolve(row: StatedRow, product_ids: Mapping[str, int], stock: Stock) -> Target | str:
    if row.problem is not None or row.product is None or row.location is None or row.on_hand is None:
        return row.problem or "This row is not complete."
    product_id = product_ids.get(row.product)
    if product_id is None:
        return f"You keep no stock of a product {row.product!r}."
    location = stock.location(stock.items[product_id].supplier_id, row.location)
    if location is None:
        return f"You have no location {row.location!r}."
    return Target(row.row_number, product_id, location.location_id, row.on_hand)


def waits_for(complete_until: int, last: int | None) -> str | None:
    """What an import waits for whose range ends at `last`, in words; `None` when it need not wait.

    All items of the supplier's logical timestamps from 1 to `complete_until` have come, and are applied.
    """
    if last is None or last <= complete_until:
        return None
    heard = f"those from 1 to {complete_until} have come" if complete_until else "none has come"
    return f"It waits for the fulfillment item with the logical timestamp {complete_until + 1}: {heard}."
