"""Values that waited for their product, when it comes: they are taken and written in the transaction that brings it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.inventory.as_of import as_of_now, look_up
from services.inventory.base_stock import find_base_stock_or_wait
from services.inventory.domain.external_imports import KINDS, REPLACED, Found, Outcome, replaced, write_value
from services.inventory.domain.stock import Cause, Stock
from services.inventory.store import pending_values as store
from services.inventory.store.pending_values import PendingValue
from shared.database import Session
from shared.events.catalog import ProductChanged

# A row of an import: its id, and the row's number.
Row = tuple[int, int]


class DueValue(NamedTuple):
    """A value that waits no more: the item that it is written to, or why it is not."""

    value: PendingValue
    found: Found

    @property
    def row(self) -> Row:
        """Where its outcome belongs."""
        return self.value.import_id, self.value.row_number


async def take_due(session: Session, news: Mapping[int, ProductChanged]) -> list[DueValue]:
    """Take what waited for one of these (locked) products and waits no more, in the order in which it was sent.

    The owners' locks of `store.pending_values` are shared already.
    """
    named = {(event.owner_id, name) for event in news.values() for name in (event.sku, str(event.product_id))}
    waiting = await store.find(session, news, named)
    found: dict[int, Found] = {}
    for supplier_id in sorted({one.supplier_id for one in waiting}):
        own = [one for one in waiting if one.supplier_id == supplier_id]
        by_key = await find_base_stock_or_wait(session, supplier_id, {(one.product, one.variant) for one in own})
        found |= {one.value_id: by_key[one.product, one.variant] for one in own}
    if not waiting:
        return []
    taken = await store.take(session, [one.value_id for one in waiting if not found[one.value_id].is_open])
    still = [(one.value_id, found[one.value_id].waits_for) for one in waiting if found[one.value_id].is_open]
    await store.wait_for(session, still)
    return [DueValue(one, found[one.value_id]) for one in waiting if one.value_id in taken]


async def write_due(session: Session, stock: Stock, due: Sequence[DueValue]) -> dict[Row, Outcome]:
    """Write them to their items, which are locked; an absolute value is as of when it was sent."""
    outcomes: dict[Row, Outcome] = {}
    ready: list[tuple[DueValue, int]] = []
    for one in due:
        if one.found.product_id is None:
            outcomes[one.row] = Outcome("refused", note=("product", one.found.problem or ""))
        else:
            ready.append((one, one.found.product_id))
    levels = [(product_id, one.value.location_id) for one, product_id in ready]
    void = replaced([(level, one.value.operation) for level, (one, _) in zip(levels, ready, strict=True)])
    as_of = [one.value.received_at if one.value.operation == "reset" else None for one, _ in ready]
    sinces = await look_up(session, stock, [(*level, moment) for level, moment in zip(levels, as_of, strict=True)])
    now = await as_of_now(session)
    for position, ((one, product_id), level, since) in enumerate(zip(ready, levels, sinces, strict=True)):
        value = one.value
        if position in void:
            outcomes[one.row] = Outcome("unchanged", product_id, note=("value", REPLACED))
            continue
        cause = Cause(KINDS[value.operation], value.actor, value.source, str(value.import_id))
        # The clock was set back where the moment is yet to come.
        moment = now if isinstance(since, str) else since
        outcomes[one.row] = write_value(stock, level, value.operation, value.quantity, since=moment, cause=cause)
    return outcomes
