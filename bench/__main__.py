"""`make bench`: measure on private servers with real durability, and print each figure beside its ceiling.

`ARGS=catalog_import` (or `orders_queue`, `webhooks`, `fan_out`, `stock_files`) measures only that; `ARGS=catalog_lists`
the lists of products, `ARGS=order_lists` those of orders, `ARGS=stock_lists` those of stock, `ARGS=console_pages` the
pages of the console, in tables of their own.
"""

import asyncio
import sys
from collections.abc import Sequence
from itertools import chain
from types import ModuleType

from rich.console import Console
from rich.table import Table

from bench import (
    catalog_import,
    catalog_lists,
    console_pages,
    fan_out,
    order_lists,
    orders_queue,
    report,
    stock_files,
    stock_lists,
    webhooks,
)
from bench.servers import private_postgres
from shared.private_rabbitmq import RabbitNode
from shared.serve import tune_garbage_collection

MEASUREMENTS = ("orders_queue", "webhooks", "fan_out", "catalog_import", "stock_files")
# How many of what each measures may be given.
ALONE = {
    "catalog_lists": catalog_lists,
    "order_lists": order_lists,
    "stock_lists": stock_lists,
    "console_pages": console_pages,
}


async def measure(names: Sequence[str]) -> dict[str, Sequence[report.Row]]:
    """The rows of the measurements of these names, one after the other; each gets a database of its own."""
    tune_garbage_collection()  # as every process that serves does
    rows: dict[str, Sequence[report.Row]] = {}
    async with private_postgres() as server:
        if "orders_queue" in names:
            rows["orders_queue"] = await _orders_queue(server)
        if "webhooks" in names:
            rows["webhooks"] = [await webhooks.measure(await orders_queue.fresh_database(server, "webhooks"))]
        if "fan_out" in names:
            rows["fan_out"] = await fan_out.measure(await orders_queue.fresh_database(server, "fan_out"))
        if "catalog_import" in names:
            dsn = await orders_queue.fresh_database(server, "catalog_import")
            rows["catalog_import"] = await catalog_import.measure(dsn)
        if "stock_files" in names:
            dsn = await orders_queue.fresh_database(server, "stock_files")
            rows["stock_files"] = await stock_files.measure(dsn)
            with RabbitNode() as broker:
                dsn = await orders_queue.fresh_database(server, "stock_files_alone")
                rows["stock_files"] = [*rows["stock_files"], *await stock_files.measure_alone(dsn, broker.url)]
    return rows


async def _orders_queue(server: str) -> list[report.Row]:
    """S1, S3, S2 and S8."""
    rows: list[report.Row] = []
    with RabbitNode() as broker:
        for bar, products in (("S1 orders on 5,000 products", orders_queue.PRODUCTS), ("S3 orders on one product", 1)):
            dsn = await orders_queue.fresh_database(server, f"orders_{products}")
            result = await orders_queue.measure(dsn, broker.url, products=products)
            beside = f"{result.inventory / result.one_by_one:.0f} x one by one ({result.one_by_one:.0f})"
            rows.append(_orders(bar, result.inventory, result.drain, "bare aio-pika drain", beside))
        dsn = await orders_queue.fresh_database(server, "orders_batches")
        figure, sql = await orders_queue.measure_batches(dsn, broker.url)
        rows.append(_orders("S2 orders in messages of 100", figure, sql, "the batched SQL alone", ""))
        dsn = await orders_queue.fresh_database(server, "orders_large")
        on_the_same, on_any = await orders_queue.measure_large(dsn, broker.url)
        small = rows[0]["figure"]
        assert isinstance(small, int)
        rows.append(_orders("S8 the orders of S1 beside 10 M entries and 1 M products", on_the_same, small, "S1", ""))
        rows.append(_orders("as many, on any of the 1 M products", on_any, small, "S1", ""))
    return rows


def _orders(bar: str, figure: float, ceiling: float, ceiling_is: str, beside: str) -> dict[str, object]:
    return {
        "bar": bar,
        "unit": "orders/s",
        "figure": round(figure),
        "ceiling": round(ceiling),
        "ceiling_is": ceiling_is,
        "ratio": round(figure / ceiling, 2),
        "beside": beside,
    }


async def measure_alone(what: ModuleType, count: int | None) -> None:
    """What has a table of its own, on a database of its own; printed, not kept."""
    async with private_postgres() as server:
        dsn = await orders_queue.fresh_database(server, what.__name__.rpartition(".")[2])
        measured = await (what.measure(dsn) if count is None else what.measure(dsn, count))
    what.show(measured)


def main() -> None:
    """Print the table, and keep it."""
    if sys.argv[1:] and sys.argv[1] in ALONE:
        count = int(sys.argv[2]) if len(sys.argv) > 2 else None
        asyncio.run(measure_alone(ALONE[sys.argv[1]], count))
        return
    names = sys.argv[1:] or MEASUREMENTS
    if unknown := set(names) - set(MEASUREMENTS):
        known = ", ".join([*MEASUREMENTS, *ALONE])
        sys.exit(f"There is no measurement {min(unknown)!r}; there are: {known}.")
    measured = asyncio.run(measure(names))
    table = Table("bar", "figure", "ceiling", "ratio", "beside")
    for row in chain(*measured.values()):
        table.add_row(
            str(row["bar"]),
            f"{row['figure']:,} {row['unit']}",
            f"{row['ceiling']:,} ({row['ceiling_is']})",
            str(row["ratio"]),
            str(row["beside"]),
        )
    Console().print(table)
    report.keep(measured)


if __name__ == "__main__":
    main()
