"""How a retailer hears of stock: at once, then at most once per window, always the last state, never an older one."""

from dataclasses import replace

from services.notifier import fan_out
from services.notifier.finishing import finish
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    TIMEOUT_SECONDS,
    WINDOW_SECONDS,
    Desk,
    connection,
    product,
    stock_changed,
    stock_removed,
)
from tests.receiver import receiver


async def test_the_first_change_goes_at_once_and_ten_more_within_the_window_make_one_further_call(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1, previous=11))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}]
        assert shop.calls[0].stock[0]["previous_quantity_available"] == 11

        for version in range(2, 12):
            await desk.hear_stock(stock_changed(100, 12 - version, version, previous=13 - version))
            await desk.tell()
        await desk.move(WINDOW_SECONDS - 2)
        await desk.tell()
        assert len(shop.calls) == 1

        await desk.move(2)
        await desk.tell()
        await desk.move(10 * WINDOW_SECONDS)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 1}]
        item = shop.calls[1].stock[0]
        assert (item["version"], item["previous_quantity_available"], item["changes"]) == (11, 10, 10)


async def test_what_is_stocked_no_more_is_told_as_none_available_and_then_again_as_it_is(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.hear_stock(stock_removed(100, 3, previous=9), stock_changed(100, 9, 2, previous=10))
        await desk.move(WINDOW_SECONDS)
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 12, 4))
        await desk.move(WINDOW_SECONDS)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 0}, {100: 12}]
        assert [call.stock[0]["version"] for call in shop.calls] == [1, 3, 4]


async def test_products_that_change_all_the_time_keep_none_behind_them_waiting(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(101, 7, 1))
        fan_out_next = fan_out.in_rounds(desk.database)
        for version in range(1, 3):
            await desk.hear_stock(stock_changed(100, 40 - version, version))
            await fan_out_next(1)
        await desk.send(await desk.claim())
        assert [call.available for call in shop.calls] == [{100: 38, 101: 7}]


async def test_an_endpoint_can_lengthen_the_window_but_not_shorten_it(desk: Desk) -> None:
    async with receiver() as patient, receiver() as hasty:
        await desk.register(patient, window_seconds=3600)
        await desk.register(hasty, window_seconds=1)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 9, 2))
        await desk.move(WINDOW_SECONDS - 2)
        await desk.tell()
        assert (len(patient.calls), len(hasty.calls)) == (1, 1)
        await desk.move(2)
        await desk.tell()
        assert (len(patient.calls), len(hasty.calls)) == (1, 2)
        await desk.move(3600 - WINDOW_SECONDS)
        await desk.tell()
        assert [call.available for call in patient.calls] == [{100: 10}, {100: 9}]


async def test_a_new_endpoint_counts_the_changes_from_when_it_came(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.hear_stock(*(stock_changed(100, 20 - version, version) for version in range(1, 6)))
        await desk.tell()
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 14, 6), stock_changed(100, 13, 7))
        await desk.tell()
        assert [call.stock[0]["changes"] for call in shop.calls] == [2]


async def test_each_product_has_a_window_of_its_own(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 9, 2), stock_changed(101, 5, 1))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {101: 5}]


async def test_duplicates_and_late_events_tell_nothing_twice_and_never_go_back(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 7, 3), stock_changed(100, 9, 1))
        await desk.tell()
        for _ in range(2):
            await desk.hear_stock(stock_changed(100, 8, 2))
            await desk.hear_stock(stock_changed(100, 7, 3))
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
        assert [(item["version"], item["quantity_available"]) for call in shop.calls for item in call.stock] == [(3, 7)]


async def test_a_late_event_does_not_make_a_retry_tell_an_older_state(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(503)
        await desk.hear_stock(stock_changed(100, 7, 3))
        await desk.tell()
        shop.answer_with(200)
        await desk.hear_stock(stock_changed(100, 8, 2))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [(item["version"], item["quantity_available"]) for call in shop.calls for item in call.stock] == [
            (3, 7),
            (3, 7),
        ]


async def test_a_change_that_leaves_available_as_it_was_tells_nobody(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        await desk.hear_stock(stock_changed(100, 10, 2, previous=10))
        assert await desk.tell() == []
        await desk.hear_stock(stock_changed(100, 8, 3, previous=10))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 8}]


async def test_stock_that_is_back_where_it_was_when_the_window_ends_is_not_told_again(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 8, 2, previous=10))
        await desk.fan_out()
        await desk.hear_stock(stock_changed(100, 10, 3, previous=8))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert len(shop.calls) == 1
        await desk.hear_stock(stock_changed(100, 9, 4, previous=10))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 9}]


async def test_changes_that_cancel_out_before_they_are_fanned_out_touch_no_slot(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        (before,) = await desk.execute("select xmin from slots")
        await desk.hear_stock(stock_changed(100, 8, 2, previous=10))
        await desk.hear_stock(stock_changed(100, 10, 3, previous=8))
        await desk.fan_out()
        (after,) = await desk.execute("select xmin from slots")
        assert before == after


async def test_a_hot_product_costs_one_write_per_window_and_endpoint(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 100, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 99, 2))
        await desk.fan_out()
        (before,) = await desk.execute("select xmin from slots")
        for version in range(3, 20):
            await desk.hear_stock(stock_changed(100, 100 - version, version))
            await desk.fan_out()
        (after,) = await desk.execute("select xmin from slots")
        assert before == after


async def test_a_state_that_may_have_arrived_is_corrected_even_when_the_stock_went_back(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        shop.answer_with(500)
        await desk.hear_stock(stock_changed(100, 8, 2, previous=10))
        await desk.tell()
        shop.answer_with(200)
        await desk.hear_stock(stock_changed(100, 10, 3, previous=8))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 8}, {100: 10}]


async def test_a_sender_that_dies_after_the_claim_delays_the_call_by_a_window_and_makes_it_once(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        assert len(await desk.claim()) == 1  # and the process is gone
        await desk.move(WINDOW_SECONDS + TIMEOUT_SECONDS - 2)
        assert await desk.tell() == []
        await desk.move(3)
        await desk.tell()
        await desk.move(2 * WINDOW_SECONDS)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}]


async def test_a_sender_that_slept_past_its_lease_sends_nothing_and_spoils_nothing(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        (asleep,) = await desk.claim()
        await desk.move(WINDOW_SECONDS + TIMEOUT_SECONDS + 1)
        await desk.hear_stock(stock_changed(100, 9, 2))
        (awake,) = await desk.claim()
        answered = await desk.send([awake])
        # It wakes up, and reports, after another sender took over: the lease is not its own any more.
        await finish(desk.database, [replace(answered[0], call=asleep)])
        (slot,) = await desk.execute("select sent_version, acked_version, lease_id from slots")
        assert (slot.sent_version, slot.acked_version, slot.lease_id) == (2, 0, awake.lease.lease_id)
        await finish(desk.database, answered)
        (slot,) = await desk.execute("select acked_version, dirty from slots")
        assert (slot.acked_version, slot.dirty) == (2, False)
        assert [call.available for call in shop.calls] == [{100: 9}]


async def test_an_acknowledgement_of_one_version_does_not_wipe_out_the_next(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 5, 5))
        await desk.fan_out()
        answered = await desk.send(await desk.claim())
        await desk.hear_stock(stock_changed(100, 6, 6))
        await desk.fan_out()
        await finish(desk.database, answered)
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 5}, {100: 6}]


async def test_one_call_carries_what_is_due_for_one_endpoint_up_to_a_hundred_products(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(*(stock_changed(product_id, 1, 1) for product_id in range(1000, 1250)))
        await desk.tell()
        told = [call.available for call in shop.calls]
        assert [len(products) for products in told] == [100, 100, 50]
        assert sorted(product_id for products in told for product_id in products) == list(range(1000, 1250))


async def test_a_call_stays_under_256_kib_and_the_rest_follows(desk: Desk) -> None:
    ids = range(1000, 1060)
    # Retailer A's versions have very long names.
    await desk.hear_products(
        *(product(number, f"S-{number}") for number in ids),
        *(
            product(1000 + number, "x" * 8000, type="virtual", owner_id=RETAILER_A, base_product_id=number)
            for number in ids
        ),
    )
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(*(stock_changed(number, 1, 1) for number in ids))
        await desk.tell()
        assert len(shop.calls) == 2
        assert all(len(call.body) <= 256 * 1024 for call in shop.calls)
        assert sorted(number for call in shop.calls for number in call.available) == list(ids)


async def test_only_retailers_with_an_active_connection_are_told(desk: Desk) -> None:
    async with receiver() as mine, receiver() as stranger:
        await desk.register(mine, RETAILER_A)
        await desk.register(stranger, RETAILER_B)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        assert (len(mine.calls), len(stranger.calls)) == (1, 0)


async def test_a_paused_connection_tells_nothing_and_a_resumed_one_catches_up(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 20, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 9, 2))
        await desk.fan_out()  # owed when the connection is paused
        await desk.hear_connections(connection("paused", 2))
        await desk.hear_stock(stock_changed(101, 19, 2))  # changed while it is
        await desk.move(WINDOW_SECONDS + 1)
        assert await desk.tell() == []
        slots = await desk.execute("select product_id, dirty from slots order by product_id")
        assert [tuple(slot) for slot in slots] == [(100, True), (101, False)]
        await desk.hear_connections(connection("active", 3))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10, 101: 20}, {100: 9, 101: 19}]


async def test_a_connection_heard_of_after_the_stock_tells_the_current_levels_once(desk: Desk) -> None:
    async with receiver() as mine, receiver() as shop:
        await desk.register(mine, RETAILER_A)
        await desk.register(shop, RETAILER_B)
        await desk.hear_stock(stock_changed(100, 11, 1, previous=12), stock_changed(101, 20, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 10, 2, previous=11))
        await desk.tell()
        assert shop.calls == []
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10, 101: 20}]
        item = shop.calls[0].stock[0]
        assert (item["version"], item["previous_quantity_available"], item["changes"]) == (2, 11, 1)

        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert len(shop.calls) == 1
        # Whoever was connected all the time is told what changed, and no more.
        assert [call.available for call in mine.calls] == [{100: 11, 101: 20}, {100: 10}]


async def test_a_connection_heard_of_before_the_stock_is_fanned_out_tells_all_changes(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop, RETAILER_B)
        await desk.hear_stock(stock_changed(100, 11, 1, previous=12))
        await desk.hear_stock(stock_changed(100, 10, 2, previous=11))
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}]
        assert shop.calls[0].stock[0]["changes"] == 2


async def test_a_new_endpoint_is_told_from_the_next_change_on(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 20, 1))
        await desk.tell()
        await desk.register(shop)
        assert await desk.tell() == []
        await desk.hear_stock(stock_changed(100, 9, 2))
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 9}]


async def test_a_removed_endpoint_is_called_no_more(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        await desk.execute("delete from endpoints where endpoint_id = :id", id=endpoint_id)
        assert await desk.tell() == []
        assert shop.calls == []
