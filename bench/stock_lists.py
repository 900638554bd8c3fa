"""How quick the lists of stock are at 100,000 items at two locations: each order and filter, first page and deep.

`python -m bench stock_lists [items]`. One supplier has so many items, nineteen others as many together; each item is
drawn on by two variants of a printed product but one in twenty, and a few are low, out, removed.
"""

import statistics
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.servers import filled
from services.inventory.store.stock_lists import (
    KEYS,
    Order,
    Position,
    StockFilter,
    find_page,
    page_statement,
    summarize,
)
from shared import clock
from shared.database import Database, Session

SUPPLIER, ITEMS, LIMIT, ROUNDS = 1, 100_000, 51, 9

FILL = """
    insert into locations (supplier_id, code, priority)
        select n, code, priority
        from generate_series(1, 20) n, (values ('main', 0), ('warehouse', 1)) l (code, priority);
    insert into products (product_id, owner_id, type, sku, title, barcode, visibility, visible_to, version,
            state_version)
        select n, case when n <= :count then 1 else 2 + n % 19 end, 'stock',
            'S' || lpad(cast(n * 7919 % 10000019 as text), 8, '0'),
            (array['Mug', 'Shirt', 'Poster', 'Shirt', 'Case', 'Cushion', 'Shirt', 'Bag', 'Print', 'Cap'])[1 + n % 10]
                || ' ' || (array['red', 'blue', 'green', 'black', 'white', 'grey', 'pink'])[1 + n * 31 % 7]
                || ' model' || n,
            case when n % 3 > 0 then '40' || lpad(cast(n as text), 11, '0') end, 'private', '{}', 1, 1
        from generate_series(1, 2 * cast(:count as bigint)) n;
    insert into products (product_id, owner_id, type, sku, title, visibility, visible_to, version, state_version)
        select 1000000000 + product_id, owner_id, 'customisable', 'C' || product_id, 'Printed ' || product_id,
            'connected', '{}', 1, 1 from products;
    insert into product_parts (product_id, variant_sku, attributes, component_ids, quantities)
        select product_id, '', cast('[]' as jsonb), array[product_id], array[1] from products where type = 'stock'
        union all
        select product_id, 'V' || k, '[]', array[product_id - 1000000000], array[1]
        from products, generate_series(1, 2) k where type = 'customisable' and product_id % 20 > 0;
    insert into stock_items (product_id, supplier_id, low_stock_threshold, lead_time_days, version)
        select product_id, owner_id, case when product_id % 4 = 0 then 10 end,
            case when product_id % 5 = 0 then product_id % 30 end, 1 from products where type = 'stock';
    insert into stock_levels (product_id, location_id, on_hand, allocated, reserved, safety_stock, removed_at)
        select i.product_id, l.location_id, i.product_id * 31 % 1000 - 20, i.product_id % 7, i.product_id % 3,
            i.product_id % 5, case when i.product_id % 200 = 1 or i.product_id % 50 = 1 and priority = 1 then now() end
        from stock_items i join locations l using (supplier_id);
    update stock_items i set on_hand = n.on_hand, allocated = n.allocated, reserved = n.reserved,
        safety_stock = n.safety_stock, stocked_locations = n.stocked_locations
        from (select product_id, sum(on_hand) on_hand, sum(allocated) allocated, sum(reserved) reserved,
                sum(safety_stock) safety_stock, count(*) stocked_locations
            from stock_levels where removed_at is null group by 1) n where n.product_id = i.product_id;
    update stock_items set stocked_locations = 0 where product_id % 200 = 1;
    update stock_items set is_unlinked = true where product_id % 20 = 0;
    analyze
"""

FILTERS = {
    "all": StockFilter(SUPPLIER),
    "q, one item": StockFilter(SUPPLIER, q="del99123"),
    "q, two words, many": StockFilter(SUPPLIER, q="shirt red"),
    "location": StockFilter(SUPPLIER, location="warehouse"),
    "sku": StockFilter(SUPPLIER, sku="S00000147"),
    "low": StockFilter(SUPPLIER, state="low"),
    "out": StockFilter(SUPPLIER, state="out"),
    "backordered": StockFilter(SUPPLIER, state="backordered"),
    "unlinked": StockFilter(SUPPLIER, state="unlinked"),
    "removed": StockFilter(SUPPLIER, state="removed"),
}
ORDERS = {sign + column: Order(column, descending=bool(sign)) for column in KEYS for sign in ("", "-")}
SUMMARIES = {
    "all": StockFilter(SUPPLIER),
    "q, one item": FILTERS["q, one item"],
    "q, two words, many": FILTERS["q, two words, many"],
    "location": FILTERS["location"],
}


class Measured(NamedTuple):
    """Milliseconds, the median and the worst, of the first page (or of the numbers) and of one behind nine tenths."""

    what: str
    first: tuple[float, float]
    deep: tuple[float, float] | None


async def measure(dsn: str, count: int = ITEMS) -> list[Measured]:
    """Every order of all items, every filter in two orders, and the numbers, on an empty database."""
    pages = [(f"all, by {name}", FILTERS["all"], order) for name, order in ORDERS.items()]
    for what, wanted in list(FILTERS.items())[1:]:
        pages += [(f"{what}, by {name}", wanted, ORDERS[name]) for name in ("product_id", "-available")]
    async with filled("inventory", FILL, dsn, count) as database:
        measured = [await _page(database, *page) for page in pages]
        for what, wanted in SUMMARIES.items():
            taken = await _timed(database, partial(summarize, wanted=wanted))
            measured.append(Measured(f"numbers: {what}", taken, None))
        return measured


async def _page(database: Database, what: str, wanted: StockFilter, order: Order) -> Measured:
    whole, values = page_statement(wanted, order, None, 10 * ITEMS)
    async with database.transaction() as session:
        rows = (await session.execute(whole, values)).all()
    last = rows[len(rows) * 9 // 10] if rows else None
    after = None if last is None else Position(last.sort_key, last.product_id)

    def page(behind: Position | None) -> Callable[[Session], Awaitable[object]]:
        return lambda session: find_page(session, wanted, order, behind, LIMIT)

    return Measured(what, await _timed(database, page(None)), await _timed(database, page(after)))


async def _timed(database: Database, ask: Callable[[Session], Awaitable[object]]) -> tuple[float, float]:
    taken = []
    for _ in range(ROUNDS):
        started = clock.monotonic()
        async with database.transaction() as session:
            await ask(session)
        taken.append(1000 * (clock.monotonic() - started))
    return statistics.median(taken), max(taken)


def show(measured: list[Measured]) -> None:
    """Print the table."""
    table = Table("list", "first page: median, worst ms", "after nine tenths")
    for item in measured:
        first, deep = ("" if one is None else f"{one[0]:,.1f}  {one[1]:,.1f}" for one in (item.first, item.deep))
        table.add_row(item.what, first, deep)
    Console(width=120).print(table)
