"""Saving changed stock and telling of it, for everything that changes stock."""

from collections.abc import Mapping

from services.inventory.domain import Entry, Item, Stock
from services.inventory.store import stock as stock_store
from shared import clock
from shared.database import Session
from shared.events import Event
from shared.events.inventory import Level, StockChanged
from shared.messaging.outbox import publish


async def record(session: Session, stock: Stock, events: Mapping[str, Event] | None = None) -> None:
    """Save the changes made to `stock` and publish one `StockChanged` for each changed item.

    `events` are those being handled, by the reference under which they are entered in the ledger: the first one that
    changed an item hands its trace on.
    """
    if not stock.entries:
        return
    await stock_store.save_stock(session, stock)
    by_item: dict[int, list[Entry]] = {}
    for entry in stock.entries:
        by_item.setdefault(entry.product_id, []).append(entry)
    codes = stock.location_codes()
    now = clock.utc_now()
    for product_id, entries in by_item.items():
        item = stock.items[product_id]
        levels = _levels(item, codes)
        event = StockChanged(
            base_stock_product_id=product_id,
            supplier_id=item.supplier_id,
            sku=item.sku,
            on_hand=sum(level.on_hand for level in levels),
            allocated=sum(level.allocated for level in levels),
            reserved=sum(level.reserved for level in levels),
            available=sum(level.available for level in levels),
            previous_available=item.previous_available,
            levels=levels,
            changes=len(entries),
            causes=tuple(dict.fromkeys(entry.cause.kind for entry in entries)),
            occurred_at=now,
            version=item.version + 1,
        )
        publish(session, event, caused_by=events.get(entries[0].cause.reference) if events else None)


def _levels(item: Item, codes: Mapping[int, str]) -> tuple[Level, ...]:
    return tuple(
        Level(
            location=codes[location_id],
            on_hand=level.on_hand,
            allocated=level.allocated,
            reserved=level.reserved,
            available=level.available,
        )
        for location_id, level in item.levels.items()
    )
