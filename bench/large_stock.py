"""The tables of S8: 1,000,000 products with stock, and 10,000,000 entries in their ledger."""

import asyncpg

PRODUCTS, ENTRIES = 1_000_000, 10_000_000
# As the first product and its stock are, so are all.
COPY_OF_FIRST = """
    insert into inventory.{table}
    select (jsonb_populate_record(f, jsonb_build_object({changes}))).*
    from inventory.{table} f, generate_series({first}, {last}) as n where f.product_id = 1
"""
COPIES = {
    "products": "'product_id', n, 'sku', 'S' || n",
    "product_parts": "'product_id', n, 'component_ids', array[n]",
    "stock_items": "'product_id', n",
    "stock_levels": "'product_id', n",
}
FILL_LEDGER = """
    insert into inventory.stock_ledger (product_id, location_id, item_version, kind, on_hand_delta, allocated_delta,
        reserved_delta, on_hand, allocated, reserved, actor, source, reference, occurred_at)
    select 1 + n % {products}, l.location_id, 1 + n / {products}, 'order', -1, 0, 0, -1 - n / {products}, 0, 0,
        'order', 'amqp', md5(n::text), clock_timestamp()
    from generate_series(0, {entries} - 1) as n,
        (select min(location_id) as location_id from inventory.locations) as l
"""
SETTLE = """
    update inventory.stock_levels set on_hand = -{each};
    update inventory.stock_items set version = {each}, on_hand = -{each}, stocked_locations = 1;
    vacuum analyze
"""


async def fill(dsn: str, known: int) -> None:
    """Fill inventory's tables, in which the products 1 to `known` are already."""
    connection = await asyncpg.connect(dsn)
    try:
        for table, changes in COPIES.items():
            copy = COPY_OF_FIRST.format(table=table, changes=changes, first=known + 1, last=PRODUCTS)
            await connection.execute(copy, timeout=600)
        await connection.execute(FILL_LEDGER.format(products=PRODUCTS, entries=ENTRIES), timeout=1200)
        for statement in SETTLE.format(each=ENTRIES // PRODUCTS).split(";"):
            await connection.execute(statement, timeout=1200)
    finally:
        await connection.close()
