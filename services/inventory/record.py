"""Saving changed stock and telling of it, for everything that changes stock."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.inventory.domain.stock import Entry, Item, Stock, crossings
from services.inventory.store import stock as stock_store
from shared import clock
from shared.database import Session
from shared.events import Event
from shared.events.inventory import StockChanged, StockRemoved
from shared.messaging.outbox import publish


async def record(session: Session, stock: Stock, events: Mapping[str, Event] | None = None) -> None:
    """Save the changes made to `stock` and publish one `StockChanged`, or `StockRemoved`, for each changed item.

    `events` are those being handled, by the reference under which they are entered in the ledger: the first one that
    changed an item hands its trace on.
    """
    if not stock.entries and not stock.restated:
        return
    await stock_store.save_stock(session, stock)
    by_item: dict[int, list[Entry]] = {}
    for entry in stock.entries:
        by_item.setdefault(entry.product_id, []).append(entry)
    codes = stock.location_codes()
    now = clock.utc_now()
    told = [_told(stock.items[product_id], entries, codes, now) for product_id, entries in by_item.items()]
    if events is None:
        publish(session, *told)
        return
    for event, entries in zip(told, by_item.values(), strict=True):
        publish(session, event, caused_by=events.get(entries[0].cause.reference))


def _told(item: Item, entries: Sequence[Entry], codes: Mapping[int, str], now: datetime) -> StockChanged | StockRemoved:
    if any(entry.cause.kind == "removed" for entry in entries) and item.is_removed:
        return _stock_removed(item, entries, now)
    return _stock_changed(item, entries, codes, now)


def _stock_changed(item: Item, entries: Sequence[Entry], codes: Mapping[int, str], now: datetime) -> StockChanged:
    levels = []
    on_hand = allocated = reserved = safety_stock = available = 0
    for location_id, level in item.levels.items():
        if level.removed:
            continue
        level_available = level.available
        on_hand += level.on_hand
        allocated += level.allocated
        reserved += level.reserved
        safety_stock += level.safety_stock
        available += level_available
        levels.append(
            {
                "location": codes[location_id],
                "on_hand": level.on_hand,
                "allocated": level.allocated,
                "reserved": level.reserved,
                "available": level_available,
                "safety_stock": level.safety_stock,
            }
        )
    # Its levels are checked with it: made one by one, they would cost as much again.
    return StockChanged.model_validate(
        {
            "base_stock_product_id": item.product_id,
            "supplier_id": item.supplier_id,
            "sku": item.sku,
            "on_hand": on_hand,
            "allocated": allocated,
            "reserved": reserved,
            "available": available,
            "previous_available": item.previous_available,
            "levels": levels,
            "changes": len(entries),
            "causes": list(dict.fromkeys(entry.cause.kind for entry in entries)),
            "occurred_at": now,
            "version": item.version + 1,
            "safety_stock": safety_stock,
            "policy": item.policy,
            "low_stock_threshold": item.low_stock_threshold,
            "lead_time_days": item.lead_time_days,
            "daily_capacity": item.daily_capacity,
            "crossings": crossings(item, available),
        }
    )


def _stock_removed(item: Item, entries: Sequence[Entry], now: datetime) -> StockRemoved:
    return StockRemoved(
        base_stock_product_id=item.product_id,
        supplier_id=item.supplier_id,
        sku=item.sku,
        previous_available=item.previous_available,
        changes=len(entries),
        causes=tuple(dict.fromkeys(entry.cause.kind for entry in entries)),
        occurred_at=now,
        version=item.version + 1,
    )
