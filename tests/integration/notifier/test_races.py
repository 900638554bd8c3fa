"""Transactions that meet: held open on purpose, so that each race is run the same way every time."""

import asyncio

import pytest

from services.notifier import handlers
from services.notifier.claiming import claim
from services.notifier.finishing import finish
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import slots as slot_store
from services.notifier.store import stock as stock_store
from services.notifier.store.due import find_due_endpoints
from services.notifier.store.slots import Finished
from tests.integration.notifier.conftest import RETAILER_B, WINDOW_SECONDS, Desk, connection, stock_changed
from tests.receiver import receiver

DEADLINE_SECONDS = 20


async def done_or_waiting_for_a_lock(desk: Desk, task: "asyncio.Task[None]") -> None:
    """Return once the task ended, or its transaction waits for another one's lock."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not task.done():
            found = await desk.execute(
                "select 1 from pg_catalog.pg_stat_activity "
                "where datname = current_database() and wait_event_type = 'Lock'"
            )
            if found:
                return


async def test_a_change_that_comes_while_the_last_one_is_being_acknowledged_is_told(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 5, 5))
        await desk.fan_out()
        (answered,) = await desk.send(await desk.claim())
        call = answered.call

        async def change_and_fan_out() -> None:
            await desk.hear_stock(stock_changed(100, 6, 6))
            await desk.fan_out()

        async with desk.database.transaction() as session:
            acknowledged = Finished(
                endpoint_id=call.endpoint.endpoint_id,
                product_id=100,
                lease_id=call.lease.lease_id,
                delivered=True,
                delay_seconds=WINDOW_SECONDS,
                attempt=0,
            )
            await slot_store.finish(session, [acknowledged])
            # The acknowledgement of version 5 is written, and not committed: here version 6 would be overlooked.
            change = asyncio.create_task(change_and_fan_out())
            await done_or_waiting_for_a_lock(desk, change)
        await change
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 5}, {100: 6}]


async def test_an_acknowledgement_that_comes_while_the_next_change_is_fanned_out_leaves_it_owed(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 5, 5))
        await desk.fan_out()
        answered = await desk.send(await desk.claim())
        await desk.hear_stock(stock_changed(100, 6, 6))
        async with desk.database.transaction() as session:
            await stock_store.fan_out(session, 0, most_products=10, slots=10)
            acknowledgement = asyncio.create_task(finish(desk.database, answered))
            await done_or_waiting_for_a_lock(desk, acknowledgement)
        await acknowledgement
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 5}, {100: 6}]


async def test_a_change_that_comes_while_the_last_one_is_fanned_out_is_told_to_all(desk: Desk) -> None:
    async with receiver() as patient, receiver() as shop:
        patient_id = await desk.register(patient, window_seconds=4 * WINDOW_SECONDS)
        shop_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        await desk.hear_stock(stock_changed(100, 9, 2))
        await desk.tell()
        await desk.move(3 * WINDOW_SECONDS)
        await desk.hear_stock(stock_changed(100, 10, 3))
        assert await desk.claim() == ()
        slots = await desk.execute("select endpoint_id, told_available, dirty from slots order by endpoint_id")
        # Back at 10, the patient one knows all there is; the other one is still to be marked.
        assert [tuple(slot) for slot in slots] == [(patient_id, 10, False), (shop_id, 9, False)]

        async with desk.database.transaction() as session:
            await stock_store.keep_stock(session, [stock_changed(100, 8, 4)])
            # Version 4 is written, and not committed: fanned out together with version 3 it would be overlooked.
            fanning_out = asyncio.create_task(desk.fan_out())
            await done_or_waiting_for_a_lock(desk, fanning_out)
        await fanning_out
        await desk.tell()
        assert [call.available for call in patient.calls] == [{100: 10}, {100: 8}]
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 9}, {100: 8}]


async def test_a_change_that_comes_while_a_claim_finds_nothing_owed_is_told(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 8, 2, previous=10))
        await desk.fan_out()
        await desk.hear_stock(stock_changed(100, 10, 3, previous=8))
        await desk.move(WINDOW_SECONDS + 1)

        async def change_and_fan_out() -> None:
            await desk.hear_stock(stock_changed(100, 7, 4, previous=10))
            await desk.fan_out()

        async with desk.database.transaction() as session:
            due = await find_due_endpoints(session, 0, 10, WINDOW_SECONDS)
            (slot,) = await slot_store.find_due_slots(session, due)
            assert not slot.is_news
            await slot_store.settle(session, [slot])
            # That nothing is owed is written, and not committed: here version 4 would be overlooked.
            change = asyncio.create_task(change_and_fan_out())
            await done_or_waiting_for_a_lock(desk, change)
        await change
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 7}]


async def test_what_one_sender_is_claiming_no_other_claims(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        async with desk.database.transaction() as session:
            found = await find_due_endpoints(session, 0, 10, WINDOW_SECONDS)
            assert len(await slot_store.find_due_slots(session, found)) == 1
            assert await desk.claim() == (), "two calls for one product would go within one window"


async def test_two_senders_never_have_two_calls_to_one_endpoint_under_way(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(*(stock_changed(product_id, 1, 1) for product_id in range(1000, 1400)))
        await desk.fan_out()
        claims = await asyncio.gather(*(desk.claim() for _ in range(3)))
        assert sum(len(calls) for calls in claims) == 1
        assert await desk.claim() == ()


async def test_a_sender_that_found_an_endpoint_before_another_claimed_it_leaves_it_alone(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(*(stock_changed(product_id, 1, 1) for product_id in range(1000, 1200)))
        await desk.fan_out()
        async with desk.database.transaction() as session:
            found = await find_due_endpoints(session, 0, 10, WINDOW_SECONDS)
        assert len(await desk.claim()) == 1
        async with desk.database.transaction() as session:
            assert await slot_store.find_due_slots(session, found) == []


async def test_endpoints_with_a_call_under_way_do_not_stand_in_the_way_of_others(desk: Desk) -> None:
    async with receiver() as shop:
        busy, idle = await desk.register(shop), await desk.register(shop)
        await desk.hear_stock(*(stock_changed(product_id, 1, 1) for product_id in range(1000, 1200)))
        await desk.fan_out()
        claims = [(await claim(desk.database, desk.settings, 0, 1)).calls for _ in range(3)]
        assert [[call.endpoint.endpoint_id for call in calls] for calls in claims] == [[busy], [idle], []]


async def test_a_connection_resumed_while_its_slots_are_parked_is_not_forgotten(desk: Desk) -> None:
    async def resume_and_catch_up() -> None:
        await desk.hear_connections(connection("active", 3))
        await desk.catch_up()

    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        await desk.hear_connections(connection("paused", 2))
        async with desk.database.transaction() as session:
            due = await find_due_endpoints(session, 0, 10, WINDOW_SECONDS)
            (slot,) = await slot_store.find_due_slots(session, due)
            assert not slot.is_connected
            await slot_store.park(session, [slot])
            # That it is parked is written, and not committed: to catch up now would find it due.
            resumed = asyncio.create_task(resume_and_catch_up())
            await done_or_waiting_for_a_lock(desk, resumed)
        await resumed
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}]


async def test_stock_that_is_new_while_its_supplier_is_being_connected_is_told(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop, RETAILER_B)
        async with desk.database.transaction() as session:
            await handlers.copy_connections(session, [connection("active", 1, RETAILER_B)])
            # The connection is written, and not committed: fanned out now the stock would find nobody to tell.
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.fan_out()
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}]


async def test_a_supplier_that_is_connected_while_its_stock_is_fanned_out_is_told_of_once(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop, RETAILER_B)
        await desk.hear_stock(stock_changed(100, 10, 1))
        async with desk.database.transaction() as session:
            # It finds nobody to tell. Nobody waits for it, and what it does not mark is marked beside it.
            await stock_store.fan_out(session, 0, most_products=10, slots=10)
            await stock_store.keep_stock(session, [stock_changed(101, 20, 1)])
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            await desk.catch_up()
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert sorted(told for call in shop.calls for told in call.available.items()) == [(100, 10), (101, 20)]


@pytest.mark.parametrize("step", ["fan-out", "connection"])
async def test_an_endpoint_that_is_removed_while_its_slots_are_added_is_left_out(desk: Desk, step: str) -> None:
    async with receiver() as gone, receiver() as shop:
        gone_id = await desk.register(gone)
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        if step == "connection":
            await desk.hear_connections(connection("paused", 2))
            await desk.fan_out()
        async with desk.database.transaction() as session:
            await endpoint_store.remove(session, gone_id, None)
            adding = asyncio.create_task(
                desk.fan_out() if step == "fan-out" else desk.hear_connections(connection("active", 3))
            )
            await done_or_waiting_for_a_lock(desk, adding)
        await adding
        await desk.tell()
        assert (gone.calls, [call.available for call in shop.calls]) == ([], [{100: 10}])
