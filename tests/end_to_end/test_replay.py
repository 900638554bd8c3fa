"""Catalog tells all again: lost copies become whole, healthy ones stay as they are, waiting lines go through."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from services.commands.replay import replay_catalog
from shared.database import Database
from tests.end_to_end.copies import COPIES, differences, until_whole
from tests.end_to_end.system import System, eventually
from tests.end_to_end.test_story import order
from tests.environment import environment_of_a_user

TABLES = ("companies", "api_keys", "connections", "products", "product_parts")


async def replay(system: System, since: datetime | None = None) -> dict[str, int]:
    database = Database("catalog", system.dsn, pool_size=1)
    try:
        return {str(kind): count for kind, count in (await replay_catalog(database, since, gives_way=True)).items()}
    finally:
        await database.close()


async def empty(system: System, service: str) -> None:
    for table in TABLES:
        await system.rows(service, f"delete from {table}")


async def test_emptied_copies_become_whole_and_lines_that_waited_go_through(system: System) -> None:
    await system.set_on_hand(100, 10)
    await system.admin.delete("/v1/products/202")
    await until_whole(system.dsn, *COPIES)
    ledger = await system.rows("inventory", "select * from stock_ledger order by entry_id")
    await empty(system, "inventory")
    parked = await system.retailer.post("/v1/orders?wait=10", order("R-1", 102, "T01-S", 3))
    assert parked.body["status"] == "parked", parked.body
    for service in ("orders", "notifier"):
        await empty(system, service)
    assert (await system.retailer.get("/v1/orders")).status == 401

    counts = await replay(system)

    assert counts == {"companies": 2, "API keys": 2, "connections": 1, "products": 7}
    await until_whole(system.dsn, *COPIES)

    async def taken() -> bool:
        return await system.available(100) == 7

    await eventually("the order that waited lowers the stock", taken)
    entries = await system.rows("inventory", "select * from stock_ledger order by entry_id")
    assert entries[: len(ledger)] == ledger, "what happened to the stock stays as it was"
    assert len(entries) == len(ledger) + 1


async def test_a_removed_product_is_known_again_with_what_it_was(embedded_system: System) -> None:
    system = embedded_system
    await system.set_on_hand(202, 5)
    await system.admin.delete("/v1/products/202")
    await until_whole(system.dsn, "inventory")
    before = (await system.supplier.get("/v1/stock/202")).body
    await empty(system, "inventory")

    await replay(system)

    await until_whole(system.dsn, *COPIES)
    assert (await system.supplier.get("/v1/stock/202")).body == before
    refused = await system.retailer.post("/v1/orders", order("R-1", 202, None, 1))
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "lines[0].product_id")


async def test_healthy_copies_stay_as_they_are_and_since_tells_only_what_was_changed(embedded_system: System) -> None:
    system = embedded_system
    await until_whole(system.dsn, *COPIES)
    tables = [(service, table) for service in COPIES for table in TABLES]
    # xmin names the transaction that wrote a row last.
    before = {one: await system.rows(one[0], f"select xmin::text, * from {one[1]} order by 2, 3") for one in tables}
    started = datetime.now(UTC)
    await system.admin.patch("/v1/products/201", {"name": "Newer"})

    counts = [await replay(system, since=started), await replay(system, since=started + timedelta(hours=1))]
    await replay(system)

    assert [count["products"] for count in counts] == [1, 0]
    assert [sum(count.values()) for count in counts] == [1, 0]

    async def all_heard() -> bool:
        return not await system.rows("catalog", "select 1 from outbox")

    await eventually("everything was sent", all_heard)
    await until_whole(system.dsn, *COPIES)
    for one, rows in before.items():
        now = await system.rows(one[0], f"select xmin::text, * from {one[1]} order by 2, 3")
        assert [row for row in now if row[1] != 201] == [row for row in rows if row[1] != 201], one


async def test_the_command_replays_a_database_and_refuses_other_services(embedded_system: System) -> None:
    system = embedded_system
    await empty(system, "orders")
    environment = environment_of_a_user()

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "services", "replay", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    done = await asyncio.to_thread(run, "catalog", "--dsn", system.dsn)
    wrong = await asyncio.to_thread(run, "orders", "--dsn", system.dsn)

    assert done.returncode == 0, done.stderr
    assert "products 7. A running catalog" in done.stderr
    assert (wrong.returncode, "say catalog" in wrong.stderr) == (2, True)
    await until_whole(system.dsn, *COPIES)
    assert await differences(system.dsn, "orders") == []
