"""The log of attempts and replays over HTTP."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from services.notifier.store.attempts import LIST_ATTEMPTS
from shared import clock
from tests.integration.notifier.conftest import RETAILER_A, RETAILER_B, SUPPLIER_A, Desk, stock_changed
from tests.integration.notifier.running import Running, running_notifier
from tests.receiver import receiver

PATH = "/v1/webhook-endpoints"
BEFORE_YEAR_1, AFTER_YEAR_9999 = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


async def test_attempts_are_filtered_and_shown_one_by_one_to_their_company_alone(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client, notifier.client(RETAILER_B) as other:
        made = (await client.post(PATH, {"url": shop.url})).body
        shop.secrets.append(made["secret"])
        path = f"{PATH}/{made['id']}/attempts"
        await shop.wait_for_samples(1)
        await notifier.wait_for_rows(1, "select 1 from attempts")
        await notifier.publish(stock_changed(100, 10, 1))
        await notifier.wait_for_rows(2, "select 1 from attempts")
        between = clock.utc_now().isoformat()
        shop.answer_with(503, b"later")
        await notifier.publish(stock_changed(101, 5, 1))
        await notifier.wait_for_rows(3, "select 1 from attempts")

        async def found(**filters: object) -> list[tuple[str, int]]:
            answer = await client.get(path, params={name: str(value) for name, value in filters.items()})
            assert answer.status == 200, answer.body
            return [(item["kind"], item["status"]) for item in answer.body["items"]]

        told, failed, ping = ("stock_level", 204), ("stock_level", 503), ("ping", 204)
        assert await found() == [failed, told, ping]
        assert await found(kind="ping") == [ping]
        assert await found(delivered="true") == [told, ping]
        assert await found(delivered="false") == [failed]
        assert await found(product_id=100) == [told]
        assert await found(product_id=100, delivered="false") == []
        assert await found(since=between) == [failed]
        assert await found(until=between) == [told, ping]
        for name, moment in (("since", "yesterday"), ("since", BEFORE_YEAR_1), ("until", AFTER_YEAR_9999)):
            wrong = await client.get(path, params={name: moment})
            assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, name)

        newest = (await client.get(path, params={"limit": 1})).body["items"][0]
        one = await client.get(f"{path}/{newest['id']}")
        assert one.body == newest
        assert (newest["response_body"], newest["error"], newest["detail"]) == ("later", "http", "answered 503")
        assert (newest["request_body"].encode(), newest["request_body_base64"]) == (shop.calls[1].body, None)
        theirs = (await other.post(PATH, {"url": "https://shop.example/"})).body["id"]
        for foreign in (f"{path}/{newest['id']}", f"{PATH}/{theirs}/attempts/{newest['id']}"):
            refused = await other.get(foreign)
            assert refused.status == 404
            assert (await other.post(f"{foreign}/resend")).status == 404
        async with notifier.database.transaction() as session:
            await session.execute(text("update attempts set request_body = '\\xff00'"))
        odd = (await client.get(f"{path}/{newest['id']}")).body
        assert odd["request_body_base64"] == "/wA="


async def test_a_replay_tells_again_what_is_now_when_the_window_is_over(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client, notifier.client(SUPPLIER_A) as supplier:
        made = (await client.post(PATH, {"url": shop.url})).body
        shop.secrets.append(made["secret"])
        path = f"{PATH}/{made['id']}"
        await notifier.publish(stock_changed(100, 10, 1))
        await notifier.publish(stock_changed(101, 5, 1))
        await notifier.wait_for_rows(2, "select 1 from slots where not dirty and lease_id is null")
        (told,) = (await client.get(f"{path}/attempts", params={"product_id": 100})).body["items"]
        resent = await client.post(f"{path}/attempts/{told['id']}/resend")
        products = {product["product_id"] for product in told["products"]}
        assert (resent.status, resent.body["marked"], resent.body["deltas_left"]) == (202, len(products), 0)
        await notifier.wait_for_rows(
            len(products), "select 1 from slots where dirty and acked_version = 0 and not_before > db_now()"
        )
        assert (await client.post(f"{path}/replay", {"product_ids": [101]})).body["marked"] == 1
        asked = await client.post(f"{path}/replay")
        assert (asked.status, asked.body) == (202, {"marked": None, "deltas_left": None, "acked_timestamp": None})
        await notifier.wait_for_rows(2, "select 1 from slots where dirty and acked_version = 0")
        await notifier.wait_for_rows(0, "select 1 from endpoints where replay_after is not null")
        assert (await client.get(path)).body["is_replaying"] is False
        now = clock.utc_now().isoformat()
        for body in (
            {"since": now, "product_ids": [1]},
            {"after": 1},
            {"since": "2026-01-01T00:00:00"},
            {"all": True},
            {"product_ids": ["100"]},
            {"since": BEFORE_YEAR_1},
        ):
            assert (await client.post(f"{path}/replay", body)).status == 422, body
        (ping,) = (await client.get(f"{path}/attempts", params={"kind": "ping"})).body["items"]
        refused = await client.post(f"{path}/attempts/{ping['id']}/resend")
        assert (refused.status, refused.body["code"]) == (409, "nothing_to_resend")

        feed = (await supplier.post(PATH, {"url": shop.url, "format": "fulfillment", "after": 9})).body
        shop.secrets.append(feed["secret"])
        replay = f"{PATH}/{feed['id']}/replay"
        assert (await supplier.post(replay, {"after": 4})).body == {"marked": 0, "deltas_left": 0, "acked_timestamp": 4}
        for wanted in ({}, {"product_ids": [1]}):
            refused = await supplier.post(replay, wanted)
            assert (refused.status, refused.body["errors"][0]["field"]) == (422, "after")
        # Forth as well: over what its owner has from elsewhere.
        assert (await supplier.post(replay, {"after": 12})).body["acked_timestamp"] == 12
        assert (await client.post(replay, {"after": 4})).status == 404


async def test_failures_are_found_along_their_own_index(desk: Desk) -> None:
    await desk.execute(
        """insert into attempts (endpoint_id, webhook_id, kind, product_ids, versions, at, duration_milliseconds,
            request_headers, request_body, status)
        select 1, 'msg_' || n, 'stock_level', '{1}', '{1}', db_now(), 5, '{}', '', 204
        from generate_series(1, 3000) n"""
    )
    await desk.execute("analyze attempts")
    wanted = {"kind": None, "product_id": None, "since": None, "until": None}
    plan = await desk.execute(f"explain {LIST_ATTEMPTS[False].text}", endpoint_id=1, before=2**62, limit=51, **wanted)
    assert "ix_attempts_failed" in str(plan)
