"""How quick the list of products is at 1,000,000 products: each filter, first page and deep, for whoever reads.

`python -m bench catalog_lists [products]`. The products lie as they do in life and as is hardest: types and brands one
after the other, most of them private, one supplier with nine tenths of all.
"""

import statistics
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from sqlalchemy import Select, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from bench.servers import filled
from services.catalog.store.product_lists import (
    Position,
    ProductFilter,
    SortBy,
    find_reader,
    list_products,
    page_of,
)
from shared import clock
from shared.database import Database, Session, plan_anew

SUPPLIER, RETAILER, OTHER_RETAILER, ADMIN = 1, 1001, 1002, None
PRODUCTS, LIMIT, ROUNDS = 1_000_000, 50, 9

FILL = """
    insert into companies (company_id, ref, display_name, role, oversell_policy, version)
        select n, 'c' || n, 'Company ' || n, case when n > 1000 then 'retailer' else 'supplier' end, 'backorder', 1
        from generate_series(1, 1002) n;
    insert into connections (connection_id, supplier_id, retailer_id, state, version)
        select n, n, 1001, 'active', 1 from generate_series(1, 20) n;
    insert into products (product_id, owner_id, type, is_tracked, is_unlinked, sku, title, barcode, base_product_id,
        visibility, visible_to, version)
    select n, owner_id, type, type in ('stock', 'stock_customisable'),
        type = 'customisable' and n % 1000 = 7,
        'P' || lpad(cast(n * 7919 % 10000019 as text), 8, '0'),
        (array['Mug', 'Shirt', 'Poster', 'Shirt', 'Case', 'Cushion', 'Shirt', 'Bag', 'Print', 'Cap'])[1 + n % 10]
            || ' ' || (array['red', 'blue', 'green', 'black', 'white', 'grey', 'pink'])[1 + n * 31 % 7]
            || case when n > :count * 0.8 then ' autumn' else '' end || ' model' || n,
        case when n % 3 = 0 then '40' || lpad(cast(n as text), 11, '0') end,
        case when type = 'virtual' then 1 + n % 1000 end,
        visibility, cast(case when visibility <> 'listed' then '{}' when n % 100 = 1 then '{1001}' else '{1002}' end
            as bigint[]), 1
    from (
        select n, case when n % 100 = 99 and n > :count * 0.9 then 1001 when n % 10 = 3 then 2 + n % 997 else 1 end
                as owner_id,
            case when n % 100 = 99 and n > :count * 0.9 then 'virtual' when n = :count / 2 then 'stock_customisable'
                when n <= :count * 0.4 then 'stock' else 'customisable' end as type,
            case when n % 100 = 5 then 'connected' when n % 20 = 1 then 'listed' else 'private' end as visibility
        from generate_series(1, cast(:count as bigint)) n
    ) p;
    insert into components (product_id, owner_id, base_stock_product_id, quantity)
        select p.product_id, p.owner_id, b.product_id, 1
        from products p join products b on b.is_tracked and b.owner_id = p.owner_id
            and b.product_id = case when p.product_id % 1000 < 2 then 1 else p.product_id * 2 / 5 end
        where p.type = 'customisable' and not p.is_unlinked;
    analyze
"""


SORTS: tuple[SortBy, ...] = ("id", "sku", "name")


class Case(NamedTuple):
    """A list somebody asks for."""

    what: str
    company_id: int | None
    wanted: ProductFilter
    sort: SortBy = "id"


CASES = [
    *(Case(f"all, by {sort}", who, ProductFilter(), sort) for who in (SUPPLIER, RETAILER, ADMIN) for sort in SORTS),
    *(
        Case(what, who, wanted)
        for who in (SUPPLIER, RETAILER, ADMIN)
        for what, wanted in (
            ("type, many", ProductFilter(type="customisable")),
            ("type, hardly any", ProductFilter(type="stock_customisable")),
            ("owner_id", ProductFilter(owner_id=SUPPLIER)),
            ("sku", ProductFilter(sku="P00237570")),
            ("barcode", ProductFilter(barcode="4000000000300")),
            ("q, one product", ProductFilter(q="model12345")),
            ("q, SKU's beginning", ProductFilter(q="p0000")),
            ("q, a third of all", ProductFilter(q="shirt")),
            ("q and type, for a link", ProductFilter(q="shirt", type="stock")),
            ("name, two words", ProductFilter(name="shirt autumn")),
            ("linked_to", ProductFilter(linked_to=1)),
            ("unlinked", ProductFilter(unlinked=True)),
        )
    ),
]


class Measured(NamedTuple):
    """Milliseconds of a page, the median and the worst, at the start of the list and behind nine tenths of it."""

    case: Case
    products: int
    first: tuple[float, float]
    deep: tuple[float, float]
    indexes: list[str]


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _compile_explain(element: _Explain, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"explain (format json) {compiler.process(element.statement, **options)}"


async def plan_of(
    session: Session, case: Case, after: Position | None = None, limit: int = LIMIT
) -> list[dict[str, Any]]:
    """The nodes of a page's plan, outermost first."""
    await plan_anew(session)
    reader = await find_reader(session, case.company_id)
    statement, values = page_of(reader, case.wanted, sort=case.sort, after=after, limit=limit)
    (explained,) = (await session.execute(_Explain(statement), values)).scalar_one()
    nodes, found = [explained["Plan"]], []
    while nodes:
        node = nodes.pop(0)
        found.append(node)
        nodes += node.get("Plans", [])
    return found


def indexes_in(plan: list[dict[str, Any]]) -> list[str]:
    """The indexes of a plan, each once."""
    return sorted({node["Index Name"] for node in plan if "Index Name" in node})


async def measure(dsn: str, count: int = PRODUCTS) -> list[Measured]:
    """Every case, on an empty database."""
    async with filled("catalog", FILL, dsn, count) as database:
        return [await _measure(database, case) for case in CASES]


async def _measure(database: Database, case: Case) -> Measured:
    async with database.transaction() as session:
        products, deep = await _count(session, case), await deep_position(session, case)
        plan = await plan_of(session, case)
    return Measured(
        case, products, await _timed(database, case, None), await _timed(database, case, deep), indexes_in(plan)
    )


async def deep_position(session: Session, case: Case) -> Position | None:
    """Behind nine tenths of a list; `None` for an empty one."""
    whole, values = page_of(
        await find_reader(session, case.company_id), case.wanted, sort=case.sort, after=None, limit=PRODUCTS
    )
    products = await _count(session, case)
    row = (await session.execute(whole.limit(1).offset(products * 9 // 10), values)).one_or_none()
    return row and Position(row.sort_key, row.product_id)


async def _count(session: Session, case: Case) -> int:
    whole, values = page_of(
        await find_reader(session, case.company_id), case.wanted, sort=case.sort, after=None, limit=PRODUCTS
    )
    count: int = (await session.execute(select(func.count()).select_from(whole.subquery()), values)).scalar_one()
    return count


async def _timed(database: Database, case: Case, after: Position | None) -> tuple[float, float]:
    taken = []
    for _ in range(ROUNDS):
        started = clock.monotonic()
        async with database.transaction() as session:
            await list_products(session, case.company_id, case.wanted, sort=case.sort, after=after, limit=LIMIT)
        taken.append(1000 * (clock.monotonic() - started))
    return statistics.median(taken), max(taken)


def show(measured: list[Measured]) -> None:
    """Print the table."""
    who = {SUPPLIER: "owner", RETAILER: "retailer", ADMIN: "admin"}
    table = Table("list", "reader", "products", "first page: median, worst ms", "deep page", "indexes")
    for item in measured:
        first, deep = (f"{median:,.1f}  {worst:,.1f}" for median, worst in (item.first, item.deep))
        table.add_row(
            item.case.what, who[item.case.company_id], f"{item.products:,}", first, deep, ", ".join(item.indexes)
        )
    Console(width=200).print(table)
