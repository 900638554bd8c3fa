"""Pausing endpoints, going on, and enabling those that were disabled, over HTTP."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from services.notifier import fan_out
from services.notifier.store import endpoints as endpoint_store
from tests.integration.notifier.conftest import (
    RETAILER_A,
    SUPPLIER_A,
    WINDOW_SECONDS,
    Desk,
    stock_changed,
)
from tests.integration.notifier.running import Running, running_notifier
from tests.receiver import receiver

PATH = "/v1/webhook-endpoints"


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


DISABLE = text("update endpoints set state = 'disabled', reason = :reason where endpoint_id = :endpoint_id")


async def test_a_paused_endpoint_is_not_called_and_hears_the_last_state_once_when_it_goes_on(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": shop.url})).body
        shop.secrets.append(made["secret"])
        await shop.wait_for_samples(1)
        path = f"{PATH}/{made['id']}"
        paused = await client.post(f"{path}/pause")
        assert (paused.status, paused.body["state"], paused.headers["ETag"]) == (200, "paused", '"2"')
        assert (await client.post(f"{path}/pause")).body == paused.body
        assert (await client.post(f"{path}/enable")).body["code"] == "endpoint_paused"
        for version in (1, 2):
            await notifier.publish(stock_changed(100, 10 + version, version))
        await notifier.wait_for_rows(1, "select 1 from stock_products where version = 2 and fanned_out_version = 2")
        await notifier.wait_for_rows(1, "select 1 from slots where dirty")
        assert shop.calls == []
        resumed = await client.post(f"{path}/resume")
        assert (resumed.body["state"], resumed.body["version"]) == ("active", 3)
        await shop.wait_for_calls(1)
        assert [call.available for call in shop.calls] == [{100: 12}]
        assert (await client.post(f"{path}/enable")).body["version"] == 3, "it is active"


async def test_one_that_was_disabled_says_why_and_is_enabled_as_new(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": "https://shop.example/"})).body
        async with notifier.database.transaction() as session:
            await session.execute(DISABLE, {"endpoint_id": made["id"], "reason": "it answered 410 Gone"})
            await session.execute(
                text(
                    "update endpoints set failing_since = db_now(), failures = 7, warned = 3, products_per_call = 1, "
                    "next_call_at = db_now() + interval '1 hour'"
                )
            )
        path = f"{PATH}/{made['id']}"
        shown = (await client.get(path)).body
        assert (shown["state"], shown["reason"], shown["failures"]) == ("disabled", "it answered 410 Gone", 7)
        assert shown["failing_since"] < shown["next_call_at"]
        for change in ("pause", "resume"):
            refused = await client.post(f"{path}/{change}")
            assert (refused.status, refused.body["code"]) == (409, "endpoint_disabled")
            assert "it answered 410 Gone. Mend it, then POST" in refused.body["detail"]
        enabled = (await client.post(f"{path}/enable")).body
        assert (enabled["state"], enabled["reason"], enabled["failures"], enabled["failing_since"]) == (
            "active",
            None,
            0,
            None,
        )
        assert enabled["next_call_at"] < shown["next_call_at"], "soon"
        await notifier.wait_for_rows(1, "select 1 from endpoints where warned = 0 and products_per_call = 100")


class TestBacklog:
    @pytest.fixture
    async def endpoint_id(self, desk: Desk) -> int:
        """One that was disabled, with 250 products that wait for it."""
        endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A)
        await desk.hear_stock(*(stock_changed(1000 + number, 5, 1) for number in range(250)))
        await desk.fan_out()
        await desk.execute("update endpoints set state = 'disabled', reason = 'it failed'")
        return endpoint_id

    async def test_to_enable_it_touches_no_slot_and_calls_begin_soon(self, desk: Desk, endpoint_id: int) -> None:
        slots = await desk.execute("select product_id, xmin, xmax from slots order by product_id")
        await enable(desk, endpoint_id)
        assert await desk.execute("select product_id, xmin, xmax from slots order by product_id") == slots
        (row,) = await desk.execute("select next_call_at - db_now() < interval '10 s' as is_soon from endpoints")
        assert row.is_soon

    async def test_it_comes_a_hundred_products_a_second_and_all_else_as_ever(
        self, desk: Desk, endpoint_id: int
    ) -> None:
        await enable(desk, endpoint_id)
        await stop_the_clock(desk)
        pauses = [await self._pause_after(desk, products=products) for products in (100, 100, 50)]
        assert pauses == [1, 1, 0.5]
        await desk.hear_stock(*(stock_changed(2000 + number, 5, 1) for number in range(150)))
        await desk.fan_out()
        assert await self._pause_after(desk, products=100) == 0
        assert await desk.execute("select 1 from endpoints where backlog_until is not null") == []

    async def _pause_after(self, desk: Desk, *, products: int) -> float:
        """How many seconds its next call waits after one that is made now, and carries so many products."""
        await desk.execute("update endpoints set next_call_at = '-infinity'")
        await desk.execute("update slots set lease_id = null, lease_until = null")
        (call,) = await desk.claim()
        assert len(call.slots) == products
        (row,) = await desk.execute("select extract(epoch from next_call_at - db_now()) as seconds from endpoints")
        return float(row.seconds)


async def stop_the_clock(desk: Desk) -> None:
    """No more time passes for the database."""
    (row,) = await desk.execute("select db_now() as now")
    await desk.execute(
        "create or replace function db_now() returns timestamptz language sql volatile as "
        f"'select cast(''{row.now.isoformat()}'' as timestamptz)'"
    )


async def test_waits_are_shortened_in_parts_and_the_request_touches_no_slot(desk: Desk) -> None:
    endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A)
    await desk.hear_stock(*(stock_changed(1000 + number, 5, 1) for number in range(5)))
    await desk.fan_out()
    await desk.execute("update slots set not_before = db_now() + interval '1 day'")
    shortened = f"select 1 from slots where not_before <= db_now() + interval '{WINDOW_SECONDS} s'"
    async with desk.database.transaction() as session:
        await endpoint_store.change(session, endpoint_id, {"window_seconds": 0}, WINDOW_SECONDS)
    for count in (0, 2, 4, 5):
        assert len(await desk.execute(shortened)) == count
        assert bool(await fan_out.catch_up_one(desk.database, slots=2)) == (count < 5)


@pytest.mark.parametrize("change", ["url", "window_seconds", "calls_per_second", "enable"])
async def test_nothing_waits_longer_than_a_window_for_what_its_endpoint_was_before(desk: Desk, change: str) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        shop.answer_with(503, headers={"Retry-After": "86400"})
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 10, 1))
        assert len(await desk.tell()) == 1
        await desk.execute("update slots set not_before = 'infinity' where product_id = 101")
        shop.answer_with(200)
        await make_it_another(desk, endpoint_id, change, shop.url)
        await desk.move(WINDOW_SECONDS - 5)
        assert await desk.tell() == [], "it may have arrived, so that the window holds"
        await desk.move(10)
        assert len(await desk.tell()) == 1
        assert list(shop.calls[-1].available) == [100], "the other one is parked"


@pytest.mark.parametrize("change", ["url", "enable"])
async def test_what_is_under_way_waits_as_it_was_claimed(desk: Desk, change: str) -> None:
    endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A, window_seconds=86_400)
    await desk.hear_stock(stock_changed(100, 10, 1))
    await desk.fan_out()
    assert len(await desk.claim()) == 1
    claimed = await desk.execute("select not_before from slots")
    await desk.ask_for(endpoint_id, window_seconds=0)
    await make_it_another(desk, endpoint_id, change, "https://new.example/")
    assert await desk.execute("select not_before from slots") == claimed


async def test_a_feed_does_not_wait_for_the_url_before(desk: Desk) -> None:
    endpoint_id = await desk.register_url("https://shop.example/", SUPPLIER_A)
    await desk.ask_for(endpoint_id, format="fulfillment")
    await desk.execute(
        "insert into feeds (endpoint_id, acked_timestamp, not_before) values (:id, 0, db_now() + interval '1 day')",
        id=endpoint_id,
    )
    await make_it_another(desk, endpoint_id, "url", "https://new.example/")
    assert len(await desk.execute("select 1 from feeds where not_before <= db_now()")) == 1


async def enable(desk: Desk, endpoint_id: int) -> None:
    """As `POST /{id}/enable` does."""
    async with desk.database.transaction() as session:
        await endpoint_store.enable(session, endpoint_id, WINDOW_SECONDS)


async def make_it_another(desk: Desk, endpoint_id: int, change: str, url: str) -> None:
    """Give it a new URL, or this option, as `PATCH` does; or enable it."""
    async with desk.database.transaction() as session:
        if change == "enable":
            await session.execute(DISABLE, {"endpoint_id": endpoint_id, "reason": "it failed"})
            await endpoint_store.enable(session, endpoint_id, WINDOW_SECONDS)
        else:
            options = {"url": url, "window_seconds": 0, "calls_per_second": None}
            await endpoint_store.change(session, endpoint_id, {change: options[change]}, WINDOW_SECONDS)
    await desk.catch_up()
