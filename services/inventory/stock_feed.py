"""Stock for connected retailers that poll: page by page, each as it is when it is read."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog

from services.inventory.store import stock_feed as store
from shared.database import Database, Session
from shared.linked_products import LinkedPart, find_linked
from shared.repeating import repeat
from shared.service_context import Context

log = structlog.get_logger()

# Items that are read by one transaction where all are asked for.
ITEMS_AT_ONCE = 500
# How often the transactions under way are noted: so long, and as long as these ran, back goes what is told twice.
MARK_SECONDS = 5
# Whoever asks for changes since before that is told everything.
KEEP_MARKS_DAYS = 7


class Wanted(NamedTuple):
    """What a retailer asks for: all connections or one, all items or those changed since a time, or a part of a SKU."""

    retailer_id: int
    connection_id: int | None = None
    open_since: datetime | None = None
    q: str | None = None


async def read_page(
    session: Session, wanted: Wanted, after_product_id: int, limit: int
) -> tuple[list[dict[str, object]], int | None]:
    """The next items, as they are told, and the product id after which more follow (`None`: no more)."""
    rows = await store.list_items(
        session,
        wanted.retailer_id,
        connection_id=wanted.connection_id,
        open_since=wanted.open_since,
        q=wanted.q,
        after_product_id=after_product_id,
        limit=limit + 1,
    )
    page = rows[:limit]
    keys = [(wanted.retailer_id, row["product_id"]) for row in page]
    linked = await find_linked(session, keys) if keys else {}
    items = [_item(row, linked[key].parts) for key, row in zip(keys, page, strict=True)]
    return items, page[-1]["product_id"] if len(rows) > limit else None


async def read_all(database: Database, wanted: Wanted) -> AsyncIterator[bytes]:
    """The body with all items, so many at a time."""
    yield b'{"stock":['
    after: int | None = 0
    is_first = True
    while after is not None:
        async with database.transaction() as session:
            items, after = await read_page(session, wanted, after, ITEMS_AT_ONCE)
        if items:
            encoded = json.dumps(items, separators=(",", ":"), ensure_ascii=False)[1:-1]
            yield (encoded if is_first else "," + encoded).encode()
            is_first = False
    yield b"]}"


async def mark_changes(context: Context) -> None:
    """Worker: note again and again which changes are under way, and forget old notes."""
    await repeat("mark_changes", lambda: _mark(context), idle_seconds=MARK_SECONDS)


async def _mark(context: Context) -> None:
    async with context.database.transaction() as session:
        await store.add_mark(session)
        await store.forget_marks(session, KEEP_MARKS_DAYS)


def _item(row: store.Row, linked: Sequence[LinkedPart]) -> dict[str, object]:
    itself = {"id": row["product_id"], "supplier_sku": row["sku"], "retail_sku": ""}
    return {
        "linked": [{"product": itself, "variant": None}, *(_linked(part) for part in linked)],
        "quantity_available": int(row["available"]),
        "lead_time_days": row["lead_time_days"],
        "daily_capacity": row["daily_capacity"],
    }


def _linked(part: LinkedPart) -> dict[str, object]:
    """A supplier's product has its SKU; a retailer's own version both, that of the supplier's product behind it too."""
    supplier_sku, retail_sku = (part.end_sku, part.sku) if part.is_own else (part.sku, "")
    product = {"id": part.product_id, "supplier_sku": supplier_sku, "retail_sku": retail_sku}
    return {"product": product, "variant": part.variant}
