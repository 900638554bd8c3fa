"""How long a file of 100,000 products takes: upload, import, until inventory knows them all; and their export.

`python -m bench catalog_import` or `python -m bench.catalog_import DSN` (an empty database). All four services run in
one process on the in-process bus, as `basestock up` runs them; the client is a process of its own.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from bench.servers import private_postgres, system_in_process
from shared import clock

ADMIN_KEY = "bsk_the-bench"
STOCK, CUSTOMISABLE, VIRTUAL = 60_000, 38_000, 2_000
PRODUCTS = STOCK + CUSTOMISABLE + VIRTUAL
TARGET_SECONDS, TARGET_MIB = 60, 300
WAIT_SECONDS = 900


def products() -> list[dict[str, Any]]:
    """The assortment of a supplier, shuffled: links stand before and behind what they lead to."""
    chance = random.Random(7)
    rows: list[dict[str, Any]] = [
        {"type": "stock", "sku": f"S-{number}", "name": f"Blank item number {number}", "barcode": f"{number:013d}"}
        for number in range(STOCK)
    ]
    for number in range(CUSTOMISABLE):
        variants = [
            {
                "sku": f"C-{number}-{size}",
                "attributes": [{"name": "Size", "value": size}, {"name": "Colour", "value": "Red"}],
                "base_stock_sku": f"S-{chance.randrange(STOCK)}",
            }
            for size in ("Small", "Medium", "Large")[: 2 + number % 2]
        ]
        row = {"type": "customisable", "sku": f"C-{number}", "name": f"Printed item number {number}"}
        rows.append(row | {"variants": variants, "visibility": "connected"})
    for number in range(VIRTUAL):
        base = f"V-{number - 1}" if number % 4 else f"C-{chance.randrange(CUSTOMISABLE)}"
        rows.append({"type": "virtual", "sku": f"V-{number}", "name": f"Season's item {number}", "base_sku": base})
    chance.shuffle(rows)
    return rows


async def measure(dsn: str) -> list[dict[str, object]]:
    """The figures, as rows of the bench's table. `dsn` is an empty database."""
    # First: while it is made nothing else runs here, and a connection that idles for long is closed by the server.
    body = b"".join(json.dumps(row).encode() + b"\n" for row in products())
    async with running_system(dsn) as (process_id, url), client_of(url) as client:
        await _post(client, "/v1/companies", {"id": 1, "ref": "s", "name": "Supplier", "role": "supplier"})
        postmaster = await postmaster_of(dsn)
        idle_mib, idle_cpu, idle_database_cpu = (
            peak_mib(process_id),
            cpu_seconds(process_id),
            database_cpu_seconds(postmaster),
        )
        started = clock.monotonic()
        job = await _post(client, "/v1/products/import?owner_id=1", body)
        uploaded = clock.monotonic() - started
        imported = await _until_imported(client, job["id"]) - started
        known = await _until_known(dsn, client) - started
        cpu = cpu_seconds(process_id) - idle_cpu
        database_cpu = database_cpu_seconds(postmaster) - idle_database_cpu
        most_mib = peak_mib(process_id)
        again = await _time_to_import_again(client, body)
        exported, exported_mib = await _time_to_export(client)
        after_mib = peak_mib(process_id)
    print(
        f"upload {uploaded:.1f} s, imported {imported:.1f} s, known {known:.1f} s; "
        f"processor time until then {cpu:.0f} s, of PostgreSQL {database_cpu:.0f} s; "
        f"the same again {again:.1f} s, export {exported:.1f} s; "
        f"peak {most_mib:.0f} MiB ({idle_mib:.0f} before, {after_mib:.0f} after all)"
    )
    file_mib = f"file of {len(body) / 2**20:.0f} MiB"
    return [
        _row("products imported", imported, TARGET_SECONDS, "s", f"{file_mib}, uploaded in {uploaded:.1f} s"),
        _row(
            "until the other services know them", known, TARGET_SECONDS, "s", f"{cpu:.0f} s of processor time in it all"
        ),
        _row("memory of all four services", most_mib, TARGET_MIB, "MiB", f"{idle_mib:.0f} MiB before"),
        _row("products exported", exported, TARGET_SECONDS, "s", f"{exported_mib:.0f} MiB of CSV"),
    ]


def _row(what: str, figure: float, target: float, unit: str, beside: str) -> dict[str, object]:
    return {
        "bar": f"100,000 {what}" if what.startswith("products") else what,
        "unit": unit,
        "figure": round(figure, 1),
        "ceiling": target,
        "ceiling_is": "target, not to be passed",
        "ratio": round(figure / target, 2),
        "beside": beside,
    }


def running_system(dsn: str) -> AbstractAsyncContextManager[tuple[int, str]]:
    """`basestock up` in a process of its own; gives its process id and URL."""
    return system_in_process("services", "up", "--port", "0", "--dsn", dsn, BASESTOCK_ADMIN_KEY=ADMIN_KEY)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of this URL with the admin's key."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with aiohttp.ClientSession(url, headers=headers, timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS)) as client:
        yield client


async def _post(client: aiohttp.ClientSession, path: str, body: dict[str, Any] | bytes) -> Any:  # noqa: ANN401 - JSON
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
    async with client.post(path, data=data, headers={"Content-Type": kind}) as response:
        assert response.ok, await response.text()
        return await response.json()


async def _until_imported(client: aiohttp.ClientSession, import_id: int) -> float:
    while True:
        async with client.get(f"/v1/products/imports/{import_id}") as response:
            job = await response.json()
        if job["state"] in {"done", "failed"}:
            assert job["state"] == "done", job
            assert job["created"] + job["unchanged"] == PRODUCTS, job
            return clock.monotonic()
        await clock.sleep(0.2)


async def _until_known(dsn: str, client: aiohttp.ClientSession) -> float:
    """Until every other service has its copy, and inventory keeps the stock."""
    counts = " and ".join(
        f"(select count(*) from {service}.products where version > 0) = {PRODUCTS}"
        for service in ("orders", "inventory", "notifier")
    )
    connection = await asyncpg.connect(dsn)
    try:
        while not await connection.fetchval(
            f"select {counts} and (select count(*) from inventory.stock_items) = {STOCK}"
            " and not exists (select from catalog.outbox)"
        ):
            await clock.sleep(0.2)
    finally:
        await connection.close()
    async with client.get("/v1/stock?limit=1") as response:
        assert response.ok, await response.text()
    return clock.monotonic()


async def _time_to_import_again(client: aiohttp.ClientSession, body: bytes) -> float:
    started = clock.monotonic()
    job = await _post(client, "/v1/products/import?owner_id=1", body)
    return await _until_imported(client, job["id"]) - started


async def _time_to_export(client: aiohttp.ClientSession) -> tuple[float, float]:
    started, size = clock.monotonic(), 0
    async with client.get("/v1/products/export?format=csv&owner_id=1") as response:
        async for piece in response.content.iter_any():
            size += len(piece)
    return clock.monotonic() - started, size / 2**20


def peak_mib(process_id: int) -> float:
    """The most memory that a process had so far."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _stat(process_id: int) -> list[int]:
    """The numbers of a process from the fourth (its parent) on: proc(5)."""
    return [int(word) for word in Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1:]]


def cpu_seconds(process_id: int) -> float:
    """Processor time of a process so far."""
    return sum(_stat(process_id)[10:12]) / os.sysconf("SC_CLK_TCK")


async def postmaster_of(dsn: str) -> int:
    """The process id of the server of this database."""
    connection = await asyncpg.connect(dsn)
    try:
        return _stat(await connection.fetchval("select pg_backend_pid()"))[0]
    finally:
        await connection.close()


def database_cpu_seconds(postmaster: int) -> float:
    """All of a PostgreSQL's processes, also those that have ended."""
    ticks = sum(_stat(postmaster)[10:14])
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            numbers = _stat(int(folder.name))
            ticks += sum(numbers[10:12]) if numbers[0] == postmaster else 0
    return ticks / os.sysconf("SC_CLK_TCK")


async def _main(arguments: list[str]) -> None:
    if arguments:
        await measure(arguments[0])
        return
    async with private_postgres() as dsn:
        await measure(dsn)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
