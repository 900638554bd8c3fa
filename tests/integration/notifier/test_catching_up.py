"""Retailers that are connected, whatever else happens: in parts, from the first product on, each one in its turn."""

import asyncio

import pytest
from sqlalchemy import text

from services.notifier import fan_out, handlers
from shared.events.catalog import ConnectionChanged
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SUPPLIER_A,
    WINDOW_SECONDS,
    Desk,
    connection,
    stock_changed,
)
from tests.integration.notifier.test_races import DEADLINE_SECONDS
from tests.receiver import Receiver, receiver

SUPPLIER_B = 9
MANY_PRODUCTS = 25_000
STOCK_MANY = f"""
    insert into stock_products (product_id, supplier_id, sku, available, previous_available, occurred_at, version,
        changes, fanned_out_version, fanned_out_changes)
    select n, {SUPPLIER_A}, 'SKU-' || n, 1, 0, db_now(), 1, 1, 1, 1 from generate_series(1, {MANY_PRODUCTS}) as n
"""
MARKED = "select product_id from slots where dirty and not_before < 'infinity' order by product_id"


def with_supplier_b(retailer_id: int = RETAILER_B) -> ConnectionChanged:
    """A retailer's connection with Supplier B."""
    return ConnectionChanged(
        connection_id=90 + retailer_id, supplier_id=SUPPLIER_B, retailer_id=retailer_id, state="active", version=1
    )


async def marked(desk: Desk) -> list[int]:
    """The products of slots that are due."""
    return [row.product_id for row in await desk.execute(MARKED)]


def told(shop: Receiver) -> list[tuple[int, int]]:
    """`(product, available)` of all that it was told."""
    return sorted(item for call in shop.calls for item in call.available.items())


async def test_whoever_connects_a_supplier_of_many_products_touches_none_of_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "CATCH_UP_SLOTS", 4_000)
    async with receiver() as shop:
        await desk.register(shop, RETAILER_B)
        await desk.execute(STOCK_MANY)
        async with desk.database.transaction() as session:
            await handlers.copy_connections(session, [connection("active", 1, RETAILER_B)])
            touched = await session.execute(
                text(
                    "select relation::regclass::text from pg_catalog.pg_locks "
                    "where pid = pg_backend_pid() and relation in "
                    "('slots'::regclass, 'stock_products'::regclass, 'endpoints'::regclass)"
                )
            )
            assert list(touched) == []
        assert await fan_out.ask_connected(desk.database)
        for count in (4_000, 8_000, 12_000, 16_000, 20_000, 24_000, MANY_PRODUCTS):
            assert await fan_out.catch_up_one(desk.database)
            assert len(await marked(desk)) == count
        assert not await fan_out.catch_up_one(desk.database)


class TestBetweenParts:
    @pytest.fixture(autouse=True)
    def one_product_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fan_out, "CATCH_UP_SLOTS", 1)

    async def test_another_connection_has_it_begin_anew(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop, RETAILER_B)
            await desk.hear_stock(
                stock_changed(100, 1, 1, supplier_id=SUPPLIER_B), *(stock_changed(one, 2, 1) for one in (101, 200))
            )
            await desk.fan_out()
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            assert await fan_out.ask_connected(desk.database)
            assert await fan_out.catch_up_one(desk.database)
            assert await marked(desk) == [101]
            await desk.hear_connections(with_supplier_b())
            await desk.tell()
            assert told(shop) == [(100, 1), (101, 2), (200, 2)]

    async def test_a_connection_leaves_it_what_its_filters_let_in(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[1])
            await desk.hear_stock(
                stock_changed(99, 1, 1, supplier_id=SUPPLIER_B), *(stock_changed(one, 2, 1) for one in (100, 101))
            )
            await desk.fan_out()
            await desk.ask_for(endpoint_id, product_ids=None, catch_up=True)
            assert await fan_out.catch_up_one(desk.database)
            await desk.hear_connections(with_supplier_b(RETAILER_A))
            await desk.tell()
            assert told(shop) == [(99, 1), (100, 2), (101, 2)]

    async def test_a_connection_that_is_paused_and_resumed_meanwhile_is_told_whole(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop, RETAILER_B)
            await desk.hear_stock(*(stock_changed(one, 1, 1) for one in (100, 101, 200)))
            await desk.fan_out()
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            assert await fan_out.ask_connected(desk.database)
            assert await fan_out.catch_up_one(desk.database)
            await desk.hear_connections(connection("paused", 2, RETAILER_B))
            assert await desk.claim() == (), "100 is parked"
            assert await fan_out.catch_up_one(desk.database)
            await desk.hear_connections(connection("active", 3, RETAILER_B))
            await desk.tell()
            assert told(shop) == [(100, 1), (101, 1), (200, 1)]

    async def test_one_that_catches_up_with_a_lot_keeps_no_other_waiting(self, desk: Desk) -> None:
        async with receiver() as shop, receiver() as other:
            for one in (shop, other):
                await desk.register(one, RETAILER_B)
            await desk.hear_stock(*(stock_changed(number, 1, 1) for number in (100, 101, 200)))
            await desk.fan_out()
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            assert await fan_out.ask_connected(desk.database)
            catch_up_some = fan_out.in_turns(desk.database)
            assert (await catch_up_some(1), await catch_up_some(1)) == (True, True)
            assert await marked(desk) == [100, 100]
            while await catch_up_some(1):
                pass
            assert await marked(desk) == [100, 100, 101, 101, 200, 200]


class TestWhoIsTold:
    async def test_two_connections_of_a_batch_are_told_together_and_once(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop, RETAILER_B)
            await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(500, 5, 1, supplier_id=SUPPLIER_B))
            await desk.hear_connections(connection("active", 1, RETAILER_B), with_supplier_b())
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1, 500: 5}]

    async def test_of_the_supplier_that_is_connected_and_of_no_other(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(500, 5, 1, supplier_id=SUPPLIER_B))
            await desk.fan_out()
            await desk.register(shop)  # from the next change on
            await desk.hear_connections(with_supplier_b(RETAILER_A))
            await desk.tell()
            assert told(shop) == [(500, 5)]

    async def test_a_connection_that_was_active_before_tells_nothing(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.hear_stock(stock_changed(100, 1, 1))
            await desk.fan_out()
            await desk.register(shop)  # from the next change on
            await desk.hear_connections(connection("active", 2))
            await desk.tell()
            assert shop.calls == []

    async def test_an_endpoint_that_is_paused_is_told_when_it_goes_on(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop, RETAILER_B)
            await desk.hear_stock(stock_changed(100, 1, 1))
            await desk.ask_for(endpoint_id, state="paused")
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            assert await desk.tell() == []
            await desk.ask_for(endpoint_id, state="active")
            await desk.tell()
            assert told(shop) == [(100, 1)]

    async def test_an_endpoint_that_is_registered_while_its_company_is_connected_misses_nothing(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop:
            async with desk.database.transaction() as session:
                await handlers.copy_connections(session, [connection("active", 1, RETAILER_B)])
                await desk.register(shop, RETAILER_B)
                # The connection is written, and not committed: this is fanned out to nobody.
                await desk.hear_stock(stock_changed(100, 1, 1))
                await desk.fan_out()
            await desk.tell()
            assert told(shop) == [(100, 1)], "from the next change on"


async def test_workers_pass_on_who_was_connected_and_wake_the_sender(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop, RETAILER_B)
        await desk.hear_stock(stock_changed(100, 1, 1))
        await desk.fan_out()
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        woken = asyncio.Event()
        worker = asyncio.create_task(fan_out.run(desk.database, woken))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await marked(desk) != [100]:
                await woken.wait()
                woken.clear()
        worker.cancel()
        await asyncio.wait([worker])
