"""How long a file of 1,000,000 levels takes, in and out, beside `COPY` of the same file alone (bar S7).

`python -m bench stock_files` or `python -m bench.stock_files DSN [ROWS]` (an empty database). All four services run in
one process on the in-process bus, as `basestock up` runs them; the products are put into inventory's tables directly.
"""

import asyncio
import io
import os
import sys

import aiohttp
import asyncpg

from bench.catalog_import import client_of, peak_mib, running_system
from bench.servers import private_postgres
from shared import clock

ROWS = 1_000_000
IMPORT_SECONDS, EXPORT_SECONDS, TARGET_MIB = 60, 20, 300
SUPPLIER = 1
IMPORTS = "/v1/stock/imports"
PRODUCTS = (
    """insert into inventory.products (product_id, owner_id, type, sku, title, version, state_version)
       select n, 1, 'stock', 'SKU-' || n, 'Thing ' || n, 1, 1 from generate_series(1, {rows}) n""",
    "insert into inventory.locations (supplier_id, code) values (1, 'main')",
    "insert into inventory.stock_items (product_id, supplier_id) select n, 1 from generate_series(1, {rows}) n",
    """insert into inventory.stock_levels (product_id, location_id)
       select n, location_id from generate_series(1, {rows}) n, inventory.locations""",
    "analyze inventory.products, inventory.stock_items, inventory.stock_levels",
)


async def measure(dsn: str, rows: int = ROWS) -> list[dict[str, object]]:
    """The figures, as rows of the bench's table. `dsn` is an empty database."""
    body = b"sku,quantity_available\n" + b"".join(b"SKU-%d,%d\n" % (n, n % 1000 + 1) for n in range(1, rows + 1))
    async with running_system(dsn) as (process_id, url), client_of(url) as client:
        copied = await _copy(dsn, body, rows)
        idle_mib = peak_mib(process_id)
        imported, uploaded = await _import(client, body, changed=rows)
        import_mib = peak_mib(process_id)
        again, _ = await _import(client, body, changed=0)
        exported, size_mib = await _export(client, rows)
        export_mib = peak_mib(process_id)
    beside = f"COPY alone {copied:.2f} s; load {os.getloadavg()[0]:.1f}"
    print(
        f"{rows:,} rows: COPY alone {copied:.2f} s; uploaded {uploaded:.1f} s, imported {imported:.1f} s, the same "
        f"again {again:.1f} s, exported {exported:.1f} s; peak {import_mib:.0f} MiB after the import, "
        f"{export_mib:.0f} MiB after all ({idle_mib:.0f} before); load {os.getloadavg()[0]:.1f}"
    )
    return [
        _row(f"S7 {rows:,} levels imported", imported, IMPORT_SECONDS, "s", beside),
        _row("the same file again, unchanged", again, IMPORT_SECONDS, "s", beside),
        _row(f"S7 {rows:,} levels exported", exported, EXPORT_SECONDS, "s", f"{size_mib:.0f} MiB of CSV"),
        _row("memory of all four services", export_mib, TARGET_MIB, "MiB", f"{idle_mib:.0f} MiB before"),
    ]


def _row(what: str, figure: float, target: float, unit: str, beside: str) -> dict[str, object]:
    return {
        "bar": what,
        "unit": unit,
        "figure": round(figure, 1),
        "ceiling": target,
        "ceiling_is": "target, not to be passed",
        "ratio": round(figure / target, 2),
        "beside": beside,
    }


async def _copy(dsn: str, body: bytes, rows: int) -> float:
    """Make the products; seconds that `COPY` of the file into a bare table takes."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in PRODUCTS:
            await connection.execute(statement.format(rows=rows))
        await connection.execute("create table bare (sku text, quantity bigint)")
        started = clock.monotonic()
        await connection.copy_to_table("bare", source=io.BytesIO(body), format="csv", header=True)
        return clock.monotonic() - started
    finally:
        await connection.execute("drop table if exists bare")
        await connection.close()


async def _import(client: aiohttp.ClientSession, body: bytes, *, changed: int) -> tuple[float, float]:
    """Seconds until the import is done, and until the file was uploaded."""
    started = clock.monotonic()
    query = {"supplier_id": str(SUPPLIER)}
    async with client.post(IMPORTS, params=query, data=io.BytesIO(body)) as response:
        assert response.ok, await response.text()
        job = await response.json()
    uploaded = clock.monotonic() - started
    while job["state"] not in {"done", "failed"}:
        await clock.sleep(0.2)
        async with client.get(f"{IMPORTS}/{job['id']}") as response:
            job = await response.json()
    assert (job["state"], job["changed"], job["refused"]) == ("done", changed, 0), job
    return clock.monotonic() - started, uploaded


async def _export(client: aiohttp.ClientSession, rows: int) -> tuple[float, float]:
    """Seconds until the file was read, and its size in MiB."""
    started, size, lines = clock.monotonic(), 0, 0
    async with client.get("/v1/stock/export", params={"supplier_id": str(SUPPLIER)}) as response:
        async for piece in response.content.iter_any():
            size += len(piece)
            lines += piece.count(b"\n")
    assert lines == rows + 1, lines
    return clock.monotonic() - started, size / 2**20


async def _main(arguments: list[str]) -> None:
    if arguments:
        await measure(arguments[0], *map(int, arguments[1:]))
        return
    async with private_postgres() as dsn:
        await measure(dsn)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
