"""Pausing endpoints, going on, and enabling those that were disabled, over HTTP."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from services.notifier.store import endpoints as endpoint_store
from tests.integration.notifier.conftest import RETAILER_A, Desk, stock_changed
from tests.integration.notifier.running import Running, running_notifier
from tests.receiver import receiver

PATH = "/v1/webhook-endpoints"


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


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
            await session.execute(
                text(
                    "update endpoints set failing_since = db_now(), failures = 7, warned = 3, products_per_call = 1, "
                    "next_call_at = db_now() + interval '1 hour', state = 'disabled', reason = 'it answered 410 Gone'"
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
        assert enabled["next_call_at"] is None
        await notifier.wait_for_rows(1, "select 1 from endpoints where warned = 0 and products_per_call = 100")


async def test_what_waits_for_an_enabled_endpoint_comes_a_hundred_products_a_second(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(*(stock_changed(1000 + number, 5, 1) for number in range(250)))
        await desk.fan_out()
        await desk.execute("update endpoints set state = 'disabled', reason = 'it failed'")
        async with desk.database.transaction() as session:
            await endpoint_store.enable(session, endpoint_id)
        rows = await desk.execute(
            "select count(*), extract(epoch from not_before - min(not_before) over ()) as after, "
            "min(not_before) over () - db_now() < interval '10 s' as is_soon from slots group by not_before order by 2"
        )
        assert [(row.count, row.after, row.is_soon) for row in rows] == [(100, 0, True), (100, 1, True), (50, 2, True)]
