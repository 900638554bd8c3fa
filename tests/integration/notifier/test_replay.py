"""Replay: an endpoint is told again what is now, of what it was told or what changed since."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from services.notifier import fan_out
from services.notifier.finishing import finish
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store.replay import Replayed, ask_to_replay, replay_products
from tests.integration.notifier.conftest import RETAILER_A, WINDOW_SECONDS, Desk, connection, stock_at, stock_changed
from tests.receiver import receiver

WAITING = "select product_id from slots where dirty and acked_version = 0 and kind <> 'variant_stock_delta'"


async def ask_again(desk: Desk, endpoint_id: int, *, since: datetime | None = None) -> None:
    """Ask for a replay, in a transaction of its own."""
    async with desk.database.transaction() as session:
        await ask_to_replay(session, endpoint_id, since)


async def replayed(desk: Desk, endpoint_id: int, *, since: datetime | None = None) -> int:
    """Replay it, all parts; returns how many slots wait for it now."""
    await ask_again(desk, endpoint_id, since=since)
    await desk.catch_up()
    return len(await desk.execute(WAITING))


async def replayed_products(desk: Desk, endpoint_id: int, product_ids: Sequence[int]) -> Replayed:
    """Replay these products, in a transaction of its own."""
    async with desk.database.transaction() as session:
        return await replay_products(session, endpoint_id, product_ids)


async def now(desk: Desk) -> datetime:
    """The database's clock."""
    (row,) = await desk.execute("select db_now() as now")
    moment: datetime = row.now
    return moment


async def test_everything_is_told_again_as_it_is_now_and_what_was_never_told_too(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 20, 1))
        await desk.tell()
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 9, 2))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        assert await replayed(desk, endpoint_id) == 2
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 9}, {100: 9, 101: 20}]
        await desk.move(WINDOW_SECONDS + 1)
        assert await desk.tell() == []


@pytest.mark.parametrize("format_", ["stock_level", "variant_stock"])
async def test_the_same_state_told_again_is_another_message(desk: Desk, format_: str) -> None:
    """Whoever takes each `webhook-id` once, as it should, must not drop what it asked for."""
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.ask_for(endpoint_id, format=format_)
        await desk.hear_stock(stock_at(100, 1, {"main": 10}))
        await desk.tell()
        for _ in range(2):
            await replayed(desk, endpoint_id)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
        assert len(shop.calls) == 3
        assert len({call.headers["webhook-id"] for call in shop.calls}) == 3


async def test_windows_hold(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        assert await replayed(desk, endpoint_id) == 1
        assert await desk.tell() == []
        await desk.hear_stock(stock_changed(100, 8, 2))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 8}]


async def test_what_waits_for_a_replay_already_is_not_written_again(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 20, 1))
        await desk.tell()
        await replayed_products(desk, endpoint_id, [100])
        before = await desk.execute("select product_id, xmin, xmax from slots order by 1")
        assert await replayed(desk, endpoint_id) == 2
        after = await desk.execute("select product_id, xmin, xmax from slots order by 1")
        assert (after[0] == before[0], after[1] == before[1]) == (True, False)


async def test_since_a_moment_it_is_what_was_acknowledged_or_changed_from_then_on(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        old, new = datetime.fromisoformat("2026-01-01T00:00Z"), await now(desk)
        await desk.hear_stock(*(stock_changed(number, 1, 1, occurred_at=old) for number in (100, 101, 200)))
        await desk.tell()
        await desk.move(10 * WINDOW_SECONDS)
        moment = await now(desk)
        assert await replayed(desk, endpoint_id, since=moment) == 0
        # 100 is told after that moment, what changed of 101 nobody was told of.
        await desk.hear_stock(stock_changed(100, 2, 2, occurred_at=old))
        await desk.tell()
        await desk.hear_stock(stock_changed(101, 1, 2, previous=1, occurred_at=moment))
        assert await replayed(desk, endpoint_id, since=moment) == 2
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls][2:] == [{100: 2, 101: 1}]
        assert new < moment


async def test_of_some_products(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(101, 2, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        assert await replayed_products(desk, endpoint_id, [101, 9999]) == Replayed(marked=1, deltas_left=0)
        await desk.tell()
        assert [call.available for call in shop.calls][1:] == [{101: 2}]


async def test_nothing_is_told_that_is_not_wanted_or_of_a_stranger(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 1, 1), stock_changed(101, 2, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        await desk.ask_anew(endpoint_id, product_ids=[100])
        assert await replayed(desk, endpoint_id) == 1
        await desk.tell()
        await desk.hear_connections(connection("paused", 2))
        assert await replayed(desk, endpoint_id) == 0
        assert await replayed_products(desk, endpoint_id, [100]) == Replayed(marked=0, deltas_left=0)
        await desk.move(WINDOW_SECONDS + 1)
        assert await desk.tell() == []
        assert await replayed(desk, 999) == 0


async def test_whoever_hears_of_crossings_only_is_told_all_of_it(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.ask_for(endpoint_id, only=["out"])
        await desk.hear_stock(stock_changed(100, 0, 1, previous=2), stock_changed(101, 5, 1, previous=6))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 7, 2))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert await replayed(desk, endpoint_id) == 2
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 0}, {100: 7, 101: 5}]
        # And then of crossings only, as before.
        await desk.hear_stock(stock_changed(100, 6, 3), stock_changed(101, 0, 2))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert [call.available for call in shop.calls][2:] == [{101: 0}]


async def test_a_call_under_way_tells_it_again(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 1, 1))
        await desk.fan_out()
        answered = await desk.send(await desk.claim())
        assert await replayed(desk, endpoint_id) == 1
        await finish(desk.database, answered)
        await desk.move(WINDOW_SECONDS + 1)
        assert await desk.tell() == []


async def test_a_new_endpoint_of_variants_asks_for_all_that_there_is(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 1}))
        await desk.tell()
        endpoint_id = await desk.register(shop)
        await desk.ask_for(endpoint_id, format="variant_stock")
        assert await replayed(desk, endpoint_id) == 2
        await desk.tell()
        assert len(shop.calls) == 2


class TestInParts:
    async def test_a_part_is_a_transaction_and_whoever_dies_between_two_loses_nothing(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.hear_stock(*(stock_changed(number, 1, 1) for number in range(100, 105)))
            await desk.tell()
            await ask_again(desk, endpoint_id)
            assert await desk.execute(WAITING) == [], "the request touches no slot"
            for count in (2, 4, 5):
                # A worker that has heard of nothing, as the one before it died.
                assert await fan_out.catch_up_one(desk.database, slots=2)
                assert len(await desk.execute(WAITING)) == count
            assert not await fan_out.catch_up_one(desk.database, slots=2)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [sorted(call.available) for call in shop.calls] == [[100, 101, 102, 103, 104]] * 2

    async def test_the_endpoint_says_so_until_it_is_done(self, desk: Desk) -> None:
        async def is_replaying() -> bool:
            async with desk.database.transaction() as session:
                found = await endpoint_store.find(session, endpoint_id, RETAILER_A)
            return found is not None and found.is_replaying

        endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A)
        assert not await is_replaying()
        await ask_again(desk, endpoint_id)
        assert await is_replaying()
        await desk.catch_up()
        assert not await is_replaying()

    async def test_one_that_is_asked_for_meanwhile_begins_anew(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.hear_stock(*(stock_changed(number, 1, 1) for number in (100, 101, 200)))
            await desk.tell()
            await ask_again(desk, endpoint_id)
            assert await fan_out.catch_up_one(desk.database, slots=1)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell_due()
            await desk.move(WINDOW_SECONDS + 1)
            await ask_again(desk, endpoint_id)
            await desk.tell()
            assert [sorted(call.available) for call in shop.calls] == [[100, 101, 200], [100], [100, 101, 200]]

    @pytest.mark.parametrize("first", ["2026-01-01T00:00Z", "2026-03-01T00:00Z", None])
    @pytest.mark.parametrize("second", ["2026-01-01T00:00Z", "2026-03-01T00:00Z", None])
    async def test_of_two_that_meet_the_wider_one_is_done(
        self, desk: Desk, first: str | None, second: str | None
    ) -> None:
        endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A)
        asked = [None if one is None else datetime.fromisoformat(one) for one in (first, second)]
        for since in asked:
            await ask_again(desk, endpoint_id, since=since)
        (row,) = await desk.execute("select replay_after, replay_since from endpoints")
        moments = [one for one in asked if one is not None]
        assert tuple(row) == (0, min(moments) if len(moments) == len(asked) else None)

    async def test_what_is_stocked_at_many_locations_comes_in_smaller_parts(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.ask_for(endpoint_id, format="variant_stock")
            levels = {f"shop {number}": 1 for number in range(3)}
            await desk.hear_stock(*(stock_at(number, 1, levels) for number in (100, 101, 200)))
            await desk.fan_out()
            await desk.execute("update slots set dirty = false, acked_version = 1, sent_version = 1")
            await ask_again(desk, endpoint_id)
            for count in (6, 9):
                assert await fan_out.catch_up_one(desk.database, slots=4)
                assert len(await desk.execute(WAITING)) == count
            assert not await fan_out.catch_up_one(desk.database)
