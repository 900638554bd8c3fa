"""How long a file of 1,000,000 levels takes, in and out, beside `COPY` of the same file alone (bar S7).

`python -m bench stock_files`, or `python -m bench.stock_files DSN [ROWS]` (an empty database) for all four services in
one process on the in-process bus, as `basestock up` runs them. With `measure_alone` inventory is a process of its own,
and what it tells waits in RabbitMQ. The products are put into inventory's tables directly.
"""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import asyncpg

from bench.catalog_import import (
    ADMIN_KEY,
    client_of,
    cpu_seconds,
    database_cpu_seconds,
    peak_mib,
    postmaster_of,
    running_system,
)
from bench.servers import private_postgres
from shared import clock
from shared.machine import free_ports
from shared.migrations import upgrade

ROWS = 1_000_000
IMPORT_SECONDS, EXPORT_SECONDS, TARGET_MIB = 60, 20, 300
START_SECONDS = 60
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
    """All four services in one process: the figures, as rows of the bench's table. `dsn` is an empty database."""
    return await _measure(running_system(dsn), dsn, rows, "all four services")


async def measure_alone(dsn: str, broker_url: str, rows: int = ROWS) -> list[dict[str, object]]:
    """Inventory alone in its process: the same figures. `dsn` is an empty database."""
    return await _measure(_inventory(dsn, broker_url), dsn, rows, "inventory alone")


@asynccontextmanager
async def _inventory(dsn: str, broker_url: str) -> AsyncIterator[tuple[int, str]]:
    """`basestock serve inventory`; yields its process id and URL."""
    await upgrade("inventory", dsn)
    [port] = free_ports(1)
    command = [sys.executable, "-m", "services", "serve", "inventory", "--port", str(port)]
    servers = {"BASESTOCK_DSN": dsn, "BASESTOCK_BROKER_URL": broker_url}
    said = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY, "BASESTOCK_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(*command, env=said | servers)
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(START_SECONDS):
            while not await _is_ready(url):
                await clock.sleep(0.1)
        yield process.pid, url
    finally:
        process.terminate()
        await process.wait()


async def _is_ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession(url) as client, client.get("/readyz") as response:
            return response.ok
    except aiohttp.ClientError:
        return False


async def _measure(
    running: AbstractAsyncContextManager[tuple[int, str]], dsn: str, rows: int, who: str
) -> list[dict[str, object]]:
    body = b"sku,quantity_available\n" + b"".join(b"SKU-%d,%d\n" % (n, n % 1000 + 1) for n in range(1, rows + 1))
    async with running as (process_id, url), client_of(url) as client:
        copied = await _copy(dsn, body, rows)
        idle_mib = peak_mib(process_id)
        postmaster = await postmaster_of(dsn)
        idle_cpu, idle_database_cpu = cpu_seconds(process_id), database_cpu_seconds(postmaster)
        imported, uploaded = await _import(client, body, changed=rows)
        cpu, database_cpu = cpu_seconds(process_id) - idle_cpu, database_cpu_seconds(postmaster) - idle_database_cpu
        import_mib = peak_mib(process_id)
        again, _ = await _import(client, body, changed=0)
        exported, size_mib = await _export(client, rows)
        export_mib = peak_mib(process_id)
    beside = f"processor time {cpu:.0f} s, of PostgreSQL {database_cpu:.0f} s; COPY alone {copied:.2f} s"
    print(
        f"{who}, {rows:,} rows: processor time until imported {cpu:.1f} s, of PostgreSQL {database_cpu:.1f} s; "
        f"COPY alone {copied:.2f} s; uploaded {uploaded:.1f} s, imported {imported:.1f} s, the same {again:.1f} s, "
        f"exported {exported:.1f} s; peak {import_mib:.0f} MiB after the import, "
        f"{export_mib:.0f} MiB after all ({idle_mib:.0f} before); load {os.getloadavg()[0]:.1f}"
    )
    return [
        _row(f"S7 {rows:,} levels imported, {who}", imported, IMPORT_SECONDS, "s", beside),
        _row(f"the same file again, unchanged, {who}", again, IMPORT_SECONDS, "s", beside),
        _row(f"S7 {rows:,} levels exported, {who}", exported, EXPORT_SECONDS, "s", f"{size_mib:.0f} MiB of CSV"),
        _row(f"memory, {who}", export_mib, TARGET_MIB, "MiB", f"{idle_mib:.0f} MiB before"),
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
