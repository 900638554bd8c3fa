"""Endpoints that fail: how often they are called, and that nobody else notices."""

import asyncio
from http import HTTPStatus

import pytest
from structlog.testing import capture_logs

from services.notifier import deliver
from services.notifier.domain.calls import Outcome
from services.notifier.finishing import finish
from tests.integration.notifier.conftest import RETAILER_A, RETAILER_B, WINDOW_SECONDS, Desk, connection, stock_changed
from tests.receiver import receiver


async def test_a_failed_call_uses_up_the_window_and_comes_again_with_the_newest_state(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(503)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(100, 9, 2))
        await desk.move(WINDOW_SECONDS - 2)
        assert await desk.tell() == []
        shop.answer_with(200)
        await desk.move(2)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}, {100: 9}]
        assert shop.calls[0].headers["webhook-id"] != shop.calls[1].headers["webhook-id"]


async def test_a_retry_of_the_same_state_has_the_same_id(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(500)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        assert len(shop.calls) == 2
        assert len({call.headers["webhook-id"] for call in shop.calls}) == 1


async def test_an_endpoint_that_is_not_there_is_tried_again_within_seconds(desk: Desk) -> None:
    async with receiver() as gone:
        pass
    endpoint_id = await desk.register_url(gone.url, RETAILER_A)
    await desk.hear_stock(stock_changed(100, 10, 1))
    assert [item.outcome.error for item in await desk.tell()] == ["refused"]
    for wait_seconds in (5, 30, 120, 300, 300):
        await desk.move(wait_seconds - 1)
        assert await desk.tell() == []
        await desk.move(1)
        assert [item.outcome.error for item in await desk.tell()] == ["refused"]
    async with receiver() as shop:
        await desk.execute("update endpoints set url = :url", url=shop.url)
        (row,) = await desk.execute("select secret from endpoints where endpoint_id = :id", id=endpoint_id)
        shop.secrets.append(desk.vault.decrypt(row.secret))
        await desk.move(300)
        await desk.tell()
        assert [call.available for call in shop.calls] == [{100: 10}]


async def test_retry_after_lengthens_the_wait(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(429, headers={"Retry-After": "3600"})
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.move(3598)
        assert await desk.tell() == []
        await desk.move(3)
        assert len(await desk.tell()) == 1


async def test_a_date_that_cannot_be_is_no_reason_to_stop_calling(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(503, headers={"Retry-After": "Mon, 20 Nov 1995 19:12:08 +99999999999999999999"})
        await desk.hear_stock(stock_changed(100, 10, 1))
        assert [item.outcome.status for item in await desk.tell()] == [503]
        await desk.move(WINDOW_SECONDS + 1)
        assert len(await desk.tell()) == 1


async def test_a_call_that_breaks_the_sender_counts_as_sent_and_harms_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_at(status: int, *_: object) -> Outcome:
        if status == HTTPStatus.IM_A_TEAPOT:
            message = "an answer that nobody thought of"
            raise RuntimeError(message)
        return Outcome(None, status)

    monkeypatch.setattr(deliver, "_answered", break_at)
    async with receiver() as odd, receiver() as shop:
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        await desk.register(odd, RETAILER_A)
        await desk.register(shop, RETAILER_B)
        odd.answer_with(HTTPStatus.IM_A_TEAPOT)
        await desk.hear_stock(stock_changed(100, 10, 1))
        with capture_logs() as logged:
            await desk.tell()
        (broke,) = [line for line in logged if line["event"] == "webhook_call_broke"]
        assert (broke["log_level"], broke["exc_info"]) == ("error", True)
        attempts = await desk.execute("select error, detail from attempts order by endpoint_id")
        assert [tuple(attempt) for attempt in attempts] == [("reset", "the sender failed: RuntimeError"), (None, None)]
        await desk.move(WINDOW_SECONDS - 2)
        assert await desk.tell() == []
        await desk.move(3)
        assert len(await desk.tell()) == 1


async def test_an_endpoint_that_is_gone_is_disabled_and_owed_what_it_missed(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(410)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        await desk.move(WINDOW_SECONDS + 1)
        await desk.hear_stock(stock_changed(100, 9, 2), stock_changed(101, 5, 1))
        assert await desk.tell() == []
        (endpoint,) = await desk.execute("select state, reason, version from endpoints")
        assert (endpoint.state, endpoint.reason, endpoint.version) == ("disabled", "it answered 410 Gone", 2)
        slots = await desk.execute("select product_id, dirty from slots order by product_id")
        assert [(slot.product_id, slot.dirty) for slot in slots] == [(100, True), (101, True)]


async def test_a_slow_retailer_has_one_call_under_way_and_delays_nobody(desk: Desk) -> None:
    async with receiver() as slow, receiver() as quick:
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        await desk.register(slow, RETAILER_A)
        await desk.register(quick, RETAILER_B)
        slow.hold()
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        calls = await desk.claim()
        to_slow, to_quick = (asyncio.create_task(desk.send([call])) for call in calls)
        await finish(desk.database, await to_quick)
        await slow.wait_for_calls(1)

        await desk.hear_stock(stock_changed(101, 5, 1), stock_changed(200, 7, 1))
        assert len(await desk.tell()) == 1
        assert [call.available for call in quick.calls] == [{100: 10}, {101: 5, 200: 7}]
        assert len(slow.calls) == 1

        slow.release()
        await finish(desk.database, await to_slow)
        await desk.tell()
        assert [call.available for call in slow.calls] == [{100: 10}, {101: 5, 200: 7}]


async def test_every_attempt_is_logged_as_it_was_made(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        shop.answer_with(500, b"out of \0 order" + b"!" * 5000)
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 5, 4))
        await desk.tell()
        (logged,) = await desk.execute("select * from attempts")
        (received,) = shop.calls
        assert logged.endpoint_id == endpoint_id
        assert (logged.product_ids, logged.versions) == ([100, 101], [1, 4])
        assert logged.request_body == received.body
        assert logged.webhook_id == received.headers["webhook-id"]
        for name, value in logged.request_headers.items():
            assert received.headers[name] == value
        assert (logged.status, logged.error, logged.detail) == (500, "http", "answered 500")
        assert logged.response_body.startswith("out of \N{REPLACEMENT CHARACTER} order!")
        assert len(logged.response_body) == 1024
