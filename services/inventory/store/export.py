"""All of a supplier's stock, read through a cursor: one snapshot, however long it takes, and never held whole."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from services.inventory.domain.stock import DEFAULT_LOCATION
from services.inventory.store.stock_lists import StockFilter
from shared.database import Session

ROWS_AT_ONCE = 5_000

COLUMNS: Mapping[str, str] = {
    "sku": "p.sku",
    "quantity_available": "v.on_hand - v.allocated - v.reserved - v.safety_stock",
    "location": "l.code",
    "barcode": "p.barcode",
    "name": "p.title",
    "on_hand": "v.on_hand",
    "allocated": "v.allocated",
    "id": "i.product_id",
}
# What is listed (`stock_lists`). An item that its SKU does not lead to (rule 9: `stock` comes before
# `stock_customisable`) has a row only where its id stands in it: by its SKU it would be written to the other one.
STOCK = """
    select {columns} from stock_items i
    join products p on p.product_id = i.product_id
    join stock_levels v on v.product_id = i.product_id and v.removed_at is null
    join locations l on l.location_id = v.location_id
    where {conditions} and (:all_locations or l.code = :at)
      and (:with_ids or p.type = 'stock' or not exists (select from products o
        join stock_items s on s.product_id = o.product_id
        where o.owner_id = p.owner_id and o.sku = p.sku and o.type = 'stock' and not o.removed))
    order by i.product_id, l.location_id
"""
# A cursor is planned for its first rows unless it is told that all of them are wanted.
READ_TO_THE_END = text("select set_config('cursor_tuple_fraction', '1', true)")


async def stream_stock(
    session: Session, wanted: StockFilter, columns: Sequence[str]
) -> AsyncGenerator[Sequence[Sequence[Any]]]:
    """Stock by product id, the values of these columns, many rows at a time.

    At the location of the filter, else at `main`; else, with the column `location`, at each that stocks an item.
    """
    await session.execute(READ_TO_THE_END)
    conditions, values = wanted.conditions()
    statement = text(STOCK.format(columns=", ".join(COLUMNS[name] for name in columns), conditions=conditions))
    parameters = values | {
        "all_locations": "location" in columns and wanted.location is None,
        "at": wanted.location or DEFAULT_LOCATION,
        "with_ids": "id" in columns,
    }
    result = await session.stream(statement, parameters, execution_options={"yield_per": ROWS_AT_ONCE})
    async for rows in result.partitions(ROWS_AT_ONCE):
        yield rows
