"""Suppliers take their stock home as a file."""

import asyncio
import csv
import io
import socket
from collections.abc import Awaitable, Callable

import aiohttp

from services.inventory.api.export import EXPORTS_AT_ONCE
from tests.app import Client
from tests.end_to_end.system import eventually
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.world import SUPPLIER, World, order, stock_product

EXPORT = "/v1/stock/export"
MANY = 60_000


async def exported(client: Client, **params: str) -> str:
    answer = await client.get(EXPORT, params=params)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8"), answer.body
    return str(answer.body)


async def table(client: Client, **params: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(await exported(client, **params), newline="")))


async def test_it_has_exactly_the_two_columns_that_can_be_imported_again(world: World, callers: Callers) -> None:
    await world.hear(order((102, "T01-S", 2)))
    await world.locate("shop")
    await callers.supplier.patch("/v1/stock/101", {"safety_stock": 4})
    await callers.supplier.post("/v1/stock/100/adjustments", {"location": "shop", "on_hand": 5, "reason": "moved"})
    assert await exported(callers.supplier) == "sku,quantity_available\r\nT01-S,8\r\nT01-L,6\r\nS7,10\r\n"


async def test_more_columns_stand_behind_them_and_with_locations_a_row_for_each(world: World, callers: Callers) -> None:
    await world.locate("shop")
    await callers.supplier.post("/v1/stock/100/adjustments", {"location": "shop", "on_hand": 5, "reason": "moved"})
    rows = await table(callers.supplier, columns="allocated,name, on_hand,barcode,location,id")
    assert list(rows[0]) == ["sku", "quantity_available", "location", "barcode", "name", "on_hand", "allocated", "id"]
    assert [(row["id"], row["sku"], row["location"], row["on_hand"]) for row in rows] == [
        ("100", "T01-S", "main", "10"),
        ("100", "T01-S", "shop", "5"),
        ("101", "T01-L", "main", "10"),
        ("200", "S7", "main", "10"),
        # Its SKU leads to 200, so it only has a row where its id stands in it.
        ("202", "S7", "main", "10"),
    ]
    wrong = await callers.supplier.get(EXPORT, params={"columns": "colour"})
    assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "columns")
    assert "'colour'" in wrong.body["detail"]


async def test_text_is_never_a_formula_and_numbers_are_numbers(world: World, callers: Callers) -> None:
    skus = ["=1+1", "+1", "-1", "@A1", "'=x", "'plain", 'in"quotes', "a,b;c", "two\nlines", "Grüße"]
    await world.hear(*(stock_product(1000 + n, sku) for n, sku in enumerate(skus)))
    await world.count(_1000=-5)
    rows = await table(callers.supplier)
    assert [row["sku"] for row in rows[3:]] == ["'=1+1", "'+1", "'-1", "'@A1", "''=x", *skus[5:]]
    assert rows[3]["quantity_available"] == "-5"


async def test_what_is_not_stocked_is_not_in_it(callers: Callers) -> None:
    await callers.supplier.delete("/v1/stock/100")
    assert [row["sku"] for row in await table(callers.supplier)] == ["T01-L", "S7"]


async def test_everybody_gets_their_own_and_the_admin_says_whose(callers: Callers) -> None:
    assert [row["sku"] for row in await table(callers.other_supplier, columns="id")] == ["T01-S"]
    assert (await table(callers.admin, supplier_id=str(OTHER_SUPPLIER), columns="id"))[0]["id"] == "900"
    assert (await callers.admin.get(EXPORT)).status == 422
    assert (await callers.retailer.get(EXPORT)).status == 403
    assert (await callers.supplier.get(EXPORT, params={"supplier_id": str(OTHER_SUPPLIER)})).status == 403


async def add_many(world: World) -> None:
    """So much stock that no buffer on the way holds the file."""
    for statement in (
        f"""insert into products (product_id, owner_id, type, sku, title, version)
            select n, {SUPPLIER}, 'stock', 'SKU-' || n || repeat('x', 400), 'Thing', 1
            from generate_series(10000, {9999 + MANY}) n""",
        f"""insert into stock_items (product_id, supplier_id)
            select n, {SUPPLIER} from generate_series(10000, {9999 + MANY}) n""",
        f"""insert into stock_levels (product_id, location_id, on_hand)
            select n, location_id, 1 from generate_series(10000, {9999 + MANY}) n, locations
            where supplier_id = {SUPPLIER} and code = 'main'""",
    ):
        async with world.database.transaction() as session:
            await (await session.connection()).exec_driver_sql(statement)


def slow_reader(url: str) -> aiohttp.ClientSession:
    """A client on whose side no megabytes wait to be read."""

    def small(address: aiohttp.connector.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        return made

    connector = aiohttp.TCPConnector(socket_factory=small)
    return aiohttp.ClientSession(url, headers={"Authorization": "Bearer bsk_7"}, connector=connector)


def nobody_reads(world: World) -> Callable[[], Awaitable[bool]]:
    """Whether no export's transaction is open."""

    async def ended() -> bool:
        reading = """select 1 from pg_stat_activity where datname = current_database()
            and state in ('active', 'idle in transaction') and query like '%join stock_levels v%'
            and pid <> pg_backend_pid()"""
        return not await world.rows(reading)

    return ended


async def test_a_client_that_goes_away_ends_the_query(world: World, callers: Callers) -> None:
    await add_many(world)
    url = callers.supplier._url
    for _ in range(EXPORTS_AT_ONCE + 1):
        async with slow_reader(url) as session:
            answer = await session.get(EXPORT)
            assert await answer.content.readline() == b"sku,quantity_available\r\n"
            assert await answer.content.readline() == b"T01-S,10\r\n"
            assert not await nobody_reads(world)()
            answer.close()
        await eventually("nothing is read any more", nobody_reads(world))
    assert len(await table(callers.supplier)) == MANY + 3


async def test_it_is_one_snapshot_whatever_is_written_meanwhile(world: World, callers: Callers) -> None:
    await add_many(world)
    url = callers.supplier._url
    async with (
        slow_reader(url) as session,
        session.get(EXPORT) as answer,
    ):
        lines = [await answer.content.readline(), await answer.content.readline()]
        async with world.database.transaction() as writing:
            await (await writing.connection()).exec_driver_sql("update stock_levels set on_hand = 2")
        rest = await answer.content.read()
    assert lines[1] == b"T01-S,10\r\n"
    assert {line.rpartition(b",")[2] for line in rest.splitlines() if line.startswith(b"SKU-")} == {b"1"}


async def test_more_exports_at_once_than_there_is_room_for_are_told_to_come_again(
    world: World, callers: Callers
) -> None:
    await add_many(world)
    url = callers.supplier._url
    async with slow_reader(url) as session:
        slow = [await session.get(EXPORT) for _ in range(EXPORTS_AT_ONCE)]
        await asyncio.gather(*(one.content.readline() for one in slow))
        busy = await callers.supplier.get(EXPORT)
        assert (busy.status, busy.body["code"], busy.headers["Retry-After"]) == (503, "busy", "5")
        assert (await callers.supplier.get("/v1/stock/100")).status == 200
        for one in slow:
            one.close()
    await eventually("nothing is read any more", nobody_reads(world))
