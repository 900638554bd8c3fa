"""Which of the stock an endpoint hears of: of some suppliers, of some products, only when a threshold is crossed."""

import asyncio

from services.notifier import fan_out, handlers
from services.notifier.finishing import finish
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import stock as stock_store
from services.notifier.store.replay import replay_products
from shared.events.catalog import ConnectionChanged
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    WINDOW_SECONDS,
    Desk,
    connection,
    stock_at,
    stock_changed,
)
from tests.integration.notifier.test_races import DEADLINE_SECONDS, done_or_waiting_for_a_lock
from tests.receiver import receiver

SUPPLIER_B = 9
WITH_SUPPLIER_B = ConnectionChanged(
    connection_id=99, supplier_id=SUPPLIER_B, retailer_id=RETAILER_A, state="active", version=1
)


async def slots_of(desk: Desk) -> list[tuple[int, bool, bool]]:
    """`(product, dirty, parked)` of every slot."""
    rows = await desk.execute(
        "select product_id, dirty, not_before = 'infinity' as parked from slots order by product_id"
    )
    return [tuple(row) for row in rows]


class TestSuppliersAndProducts:
    async def test_others_get_no_slot_and_are_not_told(self, desk: Desk) -> None:
        async with receiver() as of_supplier, receiver() as of_product:
            await desk.hear_connections(WITH_SUPPLIER_B)
            await desk.ask_for(await desk.register(of_supplier), supplier_ids=[SUPPLIER_B])
            await desk.ask_for(await desk.register(of_product), product_ids=[100, 500])
            await desk.hear_stock(
                stock_changed(100, 1, 1), stock_changed(101, 2, 1), stock_changed(500, 5, 1, supplier_id=SUPPLIER_B)
            )
            await desk.tell()
            assert [call.available for call in of_supplier.calls] == [{500: 5}]
            assert [call.available for call in of_product.calls] == [{100: 1, 500: 5}]
            assert await slots_of(desk) == [(100, False, False), (500, False, False), (500, False, False)]

    async def test_a_filter_set_meanwhile_parks_what_was_owed_until_it_lets_it_in_again(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(101, 2, 1))
            await desk.fan_out()
            await desk.ask_anew(endpoint_id, product_ids=[100])
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1}]
            assert await slots_of(desk) == [(100, False, False), (101, True, True)]
            await desk.hear_stock(stock_changed(101, 3, 2))
            await desk.tell()
            await desk.ask_anew(endpoint_id, product_ids=None)
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1}, {101: 3}]

    async def test_what_a_filter_lets_in_is_told_once_and_what_is_known_is_not(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[100])
            await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(101, 2, 1))
            await desk.tell()
            await desk.ask_anew(endpoint_id, product_ids=[100, 101])
            await desk.tell()
            await desk.ask_anew(endpoint_id, supplier_ids=None)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1}, {101: 2}]

    async def test_a_resumed_connection_unparks_only_what_the_filter_lets_through(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(101, 2, 1))
            await desk.fan_out()
            await desk.ask_anew(endpoint_id, product_ids=[100])
            await desk.hear_connections(connection("paused", 2))
            assert await desk.tell() == []
            assert await slots_of(desk) == [(100, True, True), (101, True, True)]
            await desk.hear_connections(connection("active", 3))
            await desk.catch_up()
            assert await slots_of(desk) == [(100, True, False), (101, True, True)]
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1}]

    async def test_stock_that_changes_while_the_filter_does_is_told(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[101])
            async with desk.database.transaction() as session:
                await endpoint_store.find_and_lock(session, endpoint_id, None)
                await endpoint_store.change(session, endpoint_id, {"product_ids": None}, WINDOW_SECONDS)
                await stock_store.ask_to_catch_up(session, endpoint_id)
                # It is written, and not committed: this is fanned out by the filter of before, and to nobody.
                await desk.hear_stock(stock_changed(100, 1, 1))
                await desk.fan_out()
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1}]

    async def test_stock_whose_fan_out_read_the_old_filter_and_ends_after_the_catch_up_is_told_once(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[101])
            await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(101, 2, 1))
            async with desk.database.transaction() as session:
                await stock_store.fan_out(session, 0, most_products=10, slots=10)
                changing = asyncio.create_task(desk.ask_anew(endpoint_id, product_ids=None))
                # It waits for nothing but the slot that is being added.
                await done_or_waiting_for_a_lock(desk, changing)
            await changing
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 1, 101: 2}]

    async def test_the_fan_out_worker_looks_for_what_was_let_in_and_wakes_the_sender(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[101])
            await desk.hear_stock(stock_changed(100, 1, 1))
            await desk.fan_out()
            await desk.ask_for(endpoint_id, product_ids=None, catch_up=True)
            woken = asyncio.Event()
            worker = asyncio.create_task(fan_out.run(desk.database, woken))
            async with asyncio.timeout(DEADLINE_SECONDS):
                await woken.wait()
            worker.cancel()
            await asyncio.wait([worker])
            assert await slots_of(desk) == [(100, True, False)]

    async def test_nobodys_fan_out_waits_for_a_change_of_filters_or_a_replay(self, desk: Desk) -> None:
        async with receiver() as busy, receiver() as shop:
            busy_id = await desk.register(busy)
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            await desk.register(shop, RETAILER_B)
            await desk.hear_stock(stock_changed(100, 1, 1))
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.ask_for(busy_id, product_ids=[100], catch_up=True)
            await desk.hear_stock(stock_changed(101, 2, 1))
            async with desk.database.transaction() as session:
                await replay_products(session, busy_id, [100])
                assert await stock_store.catch_up(session, 0, 1000)
                await desk.tell()
                assert [call.available for call in shop.calls] == [{100: 1}, {101: 2}]

    async def test_what_a_filter_lets_in_is_looked_for_in_parts_and_anew_when_it_changes_again(
        self, desk: Desk
    ) -> None:
        async def look_on() -> int | None:
            async with desk.database.transaction() as session:
                return await stock_store.catch_up(session, 0, 1)

        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[])
            await desk.hear_stock(*(stock_changed(number, 1, 1) for number in (100, 101, 200)))
            await desk.fan_out()
            for wanted in ([101, 200], None):
                async with desk.database.transaction() as session:
                    await endpoint_store.find_and_lock(session, endpoint_id, None)
                    await endpoint_store.change(session, endpoint_id, {"product_ids": wanted}, WINDOW_SECONDS)
                    await stock_store.ask_to_catch_up(session, endpoint_id)
                assert await look_on()
            marked = await desk.execute("select product_id from slots")
            assert [row.product_id for row in marked] == [100], "from the first product on again"
            await desk.tell()
            assert sorted(number for call in shop.calls for number in call.available) == [100, 101, 200]
            assert not await look_on()

    async def test_a_connection_that_comes_while_the_filter_changes_is_told(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, product_ids=[100])
            await desk.hear_stock(stock_changed(500, 5, 1, supplier_id=SUPPLIER_B))
            await desk.fan_out()
            async with desk.database.transaction() as session:
                await handlers.copy_connections(session, [WITH_SUPPLIER_B])
                # It is written, and not committed: to catch up now would not see it.
                changing = asyncio.create_task(desk.ask_anew(endpoint_id, product_ids=[100, 500]))
                await done_or_waiting_for_a_lock(desk, changing)
            await changing
            await desk.tell()
            assert [call.available for call in shop.calls] == [{500: 5}]


class TestOnly:
    async def test_whoever_asks_for_crossings_hears_of_them_and_of_nothing_else(self, desk: Desk) -> None:
        async with receiver() as outs, receiver() as alarms, receiver() as everything:
            await desk.ask_for(await desk.register(outs), only=["out"])
            await desk.ask_for(await desk.register(alarms), only=["low", "back_in_stock"])
            await desk.register(everything)
            for version, available in enumerate([50, 40, 5, 4, 0, 0, 30, 3, 0], 1):
                await desk.hear_stock(stock_changed(100, available, version, previous=50, low_stock_threshold=5))
                await desk.tell()
                await desk.move(WINDOW_SECONDS + 1)
            assert [call.available[100] for call in outs.calls] == [0, 0]
            assert [call.available[100] for call in alarms.calls] == [5, 30, 3]
            assert [call.available[100] for call in everything.calls] == [50, 40, 5, 4, 0, 30, 3, 0]
            assert await desk.execute("select * from slots where dirty") == []
            # What was silent it does not know.
            assert outs.calls[1].stock[0]["previous_quantity_available"] == 0

    async def test_a_product_that_is_new_and_not_in_stock_crosses_nothing(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.ask_for(await desk.register(shop), only=["out", "back_in_stock"])
            await desk.hear_stock(stock_changed(100, 0, 1, previous=0))
            await desk.tell()
            await desk.hear_stock(stock_changed(100, 7, 2, previous=0))
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 7}]

    async def test_a_hot_product_that_crosses_nothing_writes_no_slot(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.ask_for(await desk.register(shop), only=["out"])
            for version in range(1, 10):
                await desk.hear_stock(stock_changed(100, 100 - version, version, previous=101 - version))
                await desk.fan_out()
            assert await slots_of(desk) == []

    async def test_what_crossed_and_came_back_within_the_window_is_silent_and_the_next_is_told(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop:
            await desk.ask_for(await desk.register(shop), only=["out"])
            await desk.hear_stock(stock_changed(100, 0, 1, previous=9))
            await desk.tell()
            for version, available in ((2, 6), (3, 0), (4, 8)):
                await desk.hear_stock(stock_changed(100, available, version))
                await desk.fan_out()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [0]
            await desk.hear_stock(stock_changed(100, 0, 5, previous=8))
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [0, 0]

    async def test_one_that_may_have_heard_that_it_is_out_hears_that_it_is_back(self, desk: Desk) -> None:
        async with receiver() as shop, receiver() as outs_only:
            await desk.ask_for(await desk.register(shop), only=["out", "back_in_stock"])
            await desk.ask_for(await desk.register(outs_only), only=["out"])
            for one in (shop, outs_only):
                one.answer_with(500)
            await desk.hear_stock(stock_changed(100, 0, 1, previous=9))
            await desk.tell()
            for one in (shop, outs_only):
                one.answer_with(204)
            await desk.hear_stock(stock_changed(100, 9, 2))
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [0, 9]
            assert [call.available[100] for call in outs_only.calls] == [0]
            assert await desk.execute("select * from slots where dirty") == []

    async def test_a_threshold_that_moves_is_a_crossing_too(self, desk: Desk) -> None:
        async with receiver() as lows, receiver() as everything:
            await desk.ask_for(await desk.register(lows), only=["low"])
            await desk.register(everything)
            await desk.hear_stock(stock_changed(100, 10, 1, previous=11))
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.hear_stock(stock_changed(100, 10, 2, previous=10, low_stock_threshold=20))
            await desk.tell()
            assert [call.available[100] for call in lows.calls] == [10]
            assert [call.stock[0]["version"] for call in everything.calls] == [1]

    async def test_a_crossing_during_the_call_that_tells_the_same_quantity_is_told(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.ask_for(await desk.register(shop), only=["low", "back_in_stock"])
            await desk.hear_stock(stock_changed(100, 7, 1, previous=0))
            await desk.fan_out()
            answered = await desk.send(await desk.claim())
            await desk.hear_stock(stock_changed(100, 7, 2, previous=7, low_stock_threshold=20))
            await desk.fan_out()
            await finish(desk.database, answered)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [call.stock[0]["version"] for call in shop.calls] == [1, 2]

    async def test_one_who_asks_for_everything_again_is_told_what_it_does_not_know(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.hear_stock(stock_changed(100, 10, 1, previous=11))
            await desk.tell()
            await desk.ask_anew(endpoint_id, only=["out"])
            await desk.hear_stock(stock_changed(100, 9, 2, previous=10))
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert len(shop.calls) == 1
            await desk.ask_anew(endpoint_id, only=None)
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [10, 9]

    async def test_one_who_asks_for_everything_again_is_told_of_the_crossing_that_it_did_not_ask_for(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, only=["out"])
            await desk.hear_stock(stock_changed(100, 0, 1, previous=5))
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.hear_stock(stock_changed(100, 9, 2))
            await desk.tell()
            await desk.ask_anew(endpoint_id, only=None)
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.ask_anew(endpoint_id, only=None)
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [0, 9]
            assert shop.calls[1].stock[0]["previous_quantity_available"] == 0

    async def test_one_who_asks_for_other_crossings_hears_of_them_from_what_it_was_told(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, only=["out"])
            await desk.hear_stock(stock_changed(100, 0, 1, previous=5))
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.hear_stock(stock_changed(100, 9, 2))
            await desk.tell()
            await desk.ask_anew(endpoint_id, only=["out", "back_in_stock"])
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [0, 9]

    async def test_one_who_may_have_heard_that_it_is_out_is_told_when_it_asks_for_everything(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.hear_stock(stock_changed(100, 9, 1))
            await desk.tell()
            await desk.ask_anew(endpoint_id, only=["out"])
            await desk.move(WINDOW_SECONDS + 1)
            shop.answer_with(500)
            await desk.hear_stock(stock_changed(100, 0, 2, previous=9))
            await desk.tell()
            shop.answer_with(204)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.hear_stock(stock_changed(100, 9, 3))
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [9, 0]
            await desk.ask_anew(endpoint_id, only=None)
            await desk.tell()
            assert [call.available[100] for call in shop.calls] == [9, 0, 9]

    async def test_connecting_tells_what_crossed_meanwhile(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.ask_for(await desk.register(shop), only=["out"])
            await desk.hear_stock(stock_changed(100, 0, 1, previous=3), stock_changed(101, 5, 1, previous=4))
            await desk.tell()
            await desk.move(WINDOW_SECONDS + 1)
            await desk.hear_stock(stock_changed(100, 6, 2, previous=0))
            await desk.tell()
            await desk.hear_connections(connection("paused", 2))
            await desk.hear_stock(stock_changed(100, 0, 3, previous=6), stock_changed(101, 4, 2, previous=5))
            await desk.tell()
            assert len(shop.calls) == 1
            await desk.hear_connections(connection("active", 3))
            await desk.tell()
            assert [call.available for call in shop.calls] == [{100: 0}, {100: 0}]


async def test_options_of_the_payload_are_those_of_the_endpoint(desk: Desk) -> None:
    async with receiver() as old, receiver() as new:
        await desk.ask_for(await desk.register(old), legacy_key=True)
        await desk.register(new)
        await desk.hear_stock(stock_at(100, 1, {"main": 4}))
        await desk.tell()
        assert old.calls[0].stock[0]["quantity_availble"] == old.calls[0].stock[0]["quantity_available"] == 4
        assert "quantity_availble" not in new.calls[0].stock[0]
