"""How quick the lists of orders are at 5,000,000 orders: each filter, first page and deep, for whoever reads.

`python -m bench order_lists [orders]`. One seller has six tenths of all orders, one supplier seven; nearly all are
fulfilled, a few hundred wait for something; products are ordered unevenly, and one by a single small seller alone.
"""

import statistics
from typing import Any, NamedTuple
from uuid import UUID

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench.servers import filled
from services.orders.store.reading import find_orders, page_statement
from shared import clock
from shared.database import Database, Session

ORDERS, LIMIT, ROUNDS = 5_000_000, 51, 9
BIG_SELLER, SMALL_SELLER, BIG_SUPPLIER, SMALL_SUPPLIER = 1001, 1100, 1, 20
HOT_PRODUCT, RARE_PRODUCT = 1, 49_999
FIRST_MILLISECOND = 1_760_000_000_000

# An id as `clock.uuid7` makes it, three orders a millisecond; chance is the order's number.
FILL = """
    create unlogged table numbered as
        select n, cast(lpad(to_hex(1760000000000 + n / 3), 12, '0') || '7' || lpad(to_hex(n % 3), 3, '0') || '8'
                || substr(md5(cast(n as text)), 1, 15) as uuid) as order_id,
            case when n % 10 < 6 then 1001 else 1002 + n * 7919 % 99 end as seller_id,
            case when n % 10 in (1, 2, 3, 5, 6, 7, 8) then 1 else 2 + n * 31 % 19 end as supplier_id,
            case when n % 10007 = 5 then 'short' when n % 20011 = 7 then 'parked'
                when n > :count - 2000 then 'allocated' when n % 50 = 9 then 'cancelled' else 'fulfilled' end as status
        from generate_series(1, cast(:count as bigint)) n;
    insert into orders (order_id, seller_id, external_ref, fingerprint, source, state, status, placed_at, received_at,
        version, decision, decided_version)
        select order_id, seller_id, 'R-' || n, sha256('x'), case when n % 4 = 0 then 'amqp' else 'api' end,
            case when status = 'cancelled' then 'cancelled' else 'open' end, status, at, at, 1, 1, 1
        from numbered, lateral (select to_timestamp((1760000000000 + n / 3) / 1000.0) as at) as moment;
    insert into order_parts (order_id, supplier_id, status) select order_id, supplier_id, status from numbered;
    insert into order_lines (order_id, line_id, product_id, quantity, checked, supplier_id, outcome, fulfilled)
        select order_id, line_id,
            case when line_id = 1 and n % 5 = 1 then 1 else 2 + (n * 104729 + line_id) % 49900 end, 2, true,
            supplier_id, case when status in ('short', 'parked') then status else 'allocated' end,
            case when status = 'fulfilled' then 2 else 0 end
        from numbered, generate_series(1, 2) line_id;
    update order_lines set product_id = 49999
        where (order_id, line_id) in (select order_id, 1 from numbered where seller_id = 1100 and n % 99991 < 2000);
    drop table numbered;
    analyze
"""


class Case(NamedTuple):
    """A list somebody asks for."""

    what: str
    filters: dict[str, object]


Filters = dict[str, object]
SELLER: Filters = {"seller_id": BIG_SELLER}
PART: Filters = {"part_of": BIG_SUPPLIER}
NOTHING: Filters = {}
MONTH: Filters = {"from_id": "0199c82c-c000-7000-8000-000000000000", "below_id": "0199c83c-0240-7000-8000-000000000000"}
CASES = [
    *(
        Case(f"{who}: {what}", seen | wanted)
        for who, seen in (("seller", SELLER), ("supplier", PART), ("admin", NOTHING))
        for what, wanted in (
            ("all", NOTHING),
            ("status, nearly all", {"status": "fulfilled"}),
            ("status, hardly any", {"status": "parked"}),
            ("status, none", {"status": "returned"}),
            ("product, a fifth of all", {"product_id": HOT_PRODUCT}),
            ("product, of one small seller", {"product_id": RARE_PRODUCT}),
            ("product and status", {"product_id": HOT_PRODUCT, "status": "parked"}),
            ("external_ref", {"external_ref": "R-1234561"}),
            ("q, a tenth of all", {"q": "r-1"}),
            ("q, none", {"q": "nobody's"}),
            ("statuses, hardly any", {"statuses": ["short", "parked"]}),
            ("statuses, nearly all", {"statuses": ["fulfilled", "cancelled"]}),
            ("waiting", {"waiting": True}),
            ("time", MONTH),
        )
    ),
    Case("seller: supplier", SELLER | {"supplier_id": SMALL_SUPPLIER}),
    Case("seller: supplier and status", SELLER | {"supplier_id": SMALL_SUPPLIER, "status": "parked"}),
    Case("supplier: seller", PART | {"seller_id": SMALL_SELLER}),
    Case("small seller: all", {"seller_id": SMALL_SELLER}),
    Case("small seller: product of others", {"seller_id": SMALL_SELLER, "product_id": HOT_PRODUCT}),
    Case("small supplier: status, nearly all", {"part_of": SMALL_SUPPLIER, "status": "fulfilled"}),
]


class Measured(NamedTuple):
    """Milliseconds of a page, the median and the worst, at the start and after nine tenths of all orders."""

    case: Case
    first: tuple[float, float]
    deep: tuple[float, float]
    indexes: list[str]


async def measure(dsn: str, count: int = ORDERS) -> list[Measured]:
    """Every case, on an empty database."""
    async with filled("orders", FILL, dsn, count) as database:
        return [await _measure(database, case, count) for case in CASES]


def deep(filters: Filters, count: int) -> Filters:
    """The page behind nine tenths of `count` orders."""
    return filters | {"before": UUID(int=(FIRST_MILLISECOND + count // 30) << 80)}


async def _measure(database: Database, case: Case, count: int) -> Measured:
    async with database.transaction() as session:
        plan = await plan_of(session, case.filters)
    indexes = sorted({node["Index Name"] for node in plan if "Index Name" in node})
    return Measured(
        case, await _timed(database, case.filters), await _timed(database, deep(case.filters, count)), indexes
    )


async def plan_of(session: Session, filters: Filters) -> list[dict[str, Any]]:
    """The nodes of a page's plan, outermost first."""
    explain = text(f"explain (format json) {page_statement(filters)}")
    (explained,) = (await session.execute(explain, {**filters, "limit": LIMIT})).scalar_one()
    nodes, found = [explained["Plan"]], []
    while nodes:
        node = nodes.pop(0)
        found.append(node)
        nodes += node.get("Plans", [])
    return found


async def _timed(database: Database, filters: dict[str, object]) -> tuple[float, float]:
    taken = []
    for _ in range(ROUNDS):
        started = clock.monotonic()
        async with database.transaction() as session:
            await find_orders(session, filters, LIMIT)
        taken.append(1000 * (clock.monotonic() - started))
    return statistics.median(taken), max(taken)


def show(measured: list[Measured]) -> None:
    """Print the table."""
    table = Table("list", "first page: median, worst ms", "after nine tenths", "indexes")
    for item in measured:
        first, later = (f"{median:,.1f}  {worst:,.1f}" for median, worst in (item.first, item.deep))
        table.add_row(item.case.what, first, later, ", ".join(item.indexes))
    Console(width=200).print(table)
