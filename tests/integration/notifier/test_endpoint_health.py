"""How an endpoint's failures are counted, what becomes of it, and how much and how often it is called."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from services.notifier import alerting
from services.notifier.backlog import ENDPOINTS, OLDEST_DUE, measure
from services.notifier.calls import Answered
from services.notifier.domain.calls import Outcome
from services.notifier.domain.health import LEAST_FAILURES
from services.notifier.finishing import finish
from services.notifier.store import health as health_store
from services.notifier.tables import EndpointState
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from tests.integration.notifier.conftest import RETAILER_A, RETAILER_B, WINDOW_SECONDS, Desk, connection, stock_changed
from tests.receiver import Receiver, receiver

DAY_SECONDS = 86_400
EVENTS = "select topic, convert_from(body, 'utf8') as body from outbox order by created_at, message_id"


async def hear_many(desk: Desk, count: int, first_id: int = 1000) -> None:
    await desk.hear_stock(*(stock_changed(product_id, 1, 1) for product_id in range(first_id, first_id + count)))


async def endpoint(desk: Desk) -> Any:  # noqa: ANN401 - a row
    (row,) = await desk.execute("select * from endpoints")
    return row


async def age(desk: Desk, days: float) -> None:
    """The endpoint has failed for so long, in enough calls."""
    await desk.execute(
        "update endpoints set failing_since = db_now() - make_interval(secs => :seconds), failures = :failures",
        seconds=days * DAY_SECONDS,
        failures=LEAST_FAILURES,
    )


async def told(desk: Desk) -> list[dict[str, Any]]:
    """The events that wait to be published: their names and what they say."""
    found = []
    for row in await desk.execute(EVENTS):
        parsed = json.loads(row.body)
        events = parsed if isinstance(parsed, list) else [parsed]
        found += [{"name": row.topic, **event["data"]} for event in events]
    return found


class TestResting:
    async def test_an_endpoint_that_fails_is_left_alone_with_all_its_products(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            shop.answer_with(503)
            await hear_many(desk, 250)
            for calls, rest_seconds in enumerate((5, 30, 120), start=1):
                assert len(await desk.tell()) == 1
                assert len(shop.calls) == calls
                await desk.move(rest_seconds - 1)
                assert await desk.tell() == []
                await desk.move(2)

    async def test_it_ends_and_a_delivery_forgets_the_failures(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            shop.answer_with(503)
            await hear_many(desk, 250)
            await desk.tell()
            failing = await endpoint(desk)
            assert (failing.failures, failing.failing_since is not None) == (1, True)
            shop.answer_with(200)
            await desk.move(5.5)
            await desk.tell()
            assert len({product_id for call in shop.calls[1:] for product_id in call.available}) == 150
            await desk.move(WINDOW_SECONDS)
            await desk.tell()
            assert await desk.execute("select * from slots where dirty") == []
            well = await endpoint(desk)
            assert (well.failing_since, well.failures, well.warned) == (None, 0, 0)

    async def test_what_is_about_the_call_alone_does_not_delay_other_products(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            shop.answer_with(404)
            await hear_many(desk, 250)
            assert len(await desk.tell()) == 3

    async def test_retry_after_counts_for_all_its_products(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            shop.answer_with(429, headers={"Retry-After": "1200"})
            await hear_many(desk, 250)
            assert len(await desk.tell()) == 1
            await desk.move(1198)
            assert await desk.tell() == []
            shop.answer_with(200)
            await desk.move(3)
            assert len(await desk.tell()) == 3


class TestEarlyRetry:
    async def test_it_is_for_those_who_asked_for_it(self, desk: Desk) -> None:
        async with receiver() as patient, receiver() as hasty:
            await desk.register(patient)
            early = await desk.register(hasty)
            await desk.execute("update endpoints set early_retry = true where endpoint_id = :id", id=early)
            patient.answer_with(503)
            hasty.answer_with(503)
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.tell()
            for wait_seconds in (30, 120, 300):
                await desk.move(wait_seconds - 1)
                assert await desk.tell() == []
                await desk.move(2)
                assert len(await desk.tell()) == 1
            assert (len(patient.calls), len(hasty.calls)) == (1, 4)


class TestDisabling:
    async def test_after_five_days_it_is_disabled_and_operators_were_warned(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await desk.register(shop)
            await desk.execute("update endpoints set url = :url", url=f"{shop.url}?token=hidden")
            shop.answer_with(503)
            await desk.hear_stock(stock_changed(100, 10, 1))
            for days in (1, 2.6, 4, 4.6):
                await desk.tell()
                await age(desk, days)
                await desk.move(WINDOW_SECONDS + 1)
            assert (await endpoint(desk)).state == "active"
            await desk.tell()
            await age(desk, 5)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            disabled = await endpoint(desk)
            assert (disabled.state, disabled.version) == ("disabled", 2)
            assert disabled.reason.startswith(f"all of its last {LEAST_FAILURES + 1} calls failed, since ")
            assert disabled.reason.endswith(" UTC; the last one: http 503")
            events = await told(desk)
            assert [event["name"] for event in events] == ["notifier.endpoint_failing"] * 3 + [
                "notifier.endpoint_disabled"
            ]
            last = events[-1]
            assert (last["endpoint_id"], last["company_id"], last["host"]) == (endpoint_id, RETAILER_A, "127.0.0.1")
            assert (last["state"], last["failures"]) == ("disabled", LEAST_FAILURES + 1)
            assert (last["last_error"], last["last_status"]) == ("http", 503)
            assert "hidden" not in json.dumps(events)
            await desk.move(WINDOW_SECONDS + 1)
            assert await desk.tell() == []
            assert [row.dirty for row in await desk.execute("select dirty from slots")] == [True]

    async def test_one_that_is_gone_is_told_of_at_once(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            shop.answer_with(410)
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.tell()
            (event,) = await told(desk)
            assert (event["name"], event["state"], event["failures"]) == ("notifier.endpoint_disabled", "disabled", 1)

    @pytest.mark.parametrize("status", [410, 500])
    async def test_what_an_old_url_answers_says_nothing_about_the_new_one(self, desk: Desk, status: int) -> None:
        async with receiver() as old, receiver() as new:
            endpoint_id = await desk.register(old)
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.fan_out()
            calls = await desk.claim()
            old.answer_with(status)
            await desk.ask_for(endpoint_id, url=new.url)
            await finish(desk.database, await desk.send(calls))
            now = await endpoint(desk)
            assert (now.state, now.failures, now.failing_since) == ("active", 0, None)
            assert [attempt.status for attempt in await desk.execute("select status from attempts")] == [status]

    async def test_a_recovery_is_told_when_a_warning_was(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            shop.answer_with(503)
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.tell()
            await age(desk, 3)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            shop.answer_with(200)
            await desk.move(WINDOW_SECONDS + 1)
            await desk.tell()
            assert [event["name"] for event in await told(desk)] == [
                "notifier.endpoint_failing",
                "notifier.endpoint_recovered",
            ]

    async def test_failures_of_our_own_are_logged_and_count_for_nothing(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.fan_out()
            (call,) = await desk.claim()
            await age(desk, 6)
            own = Outcome("refused", detail="OSError: no buffer space", charged=False)
            await finish(desk.database, [Answered(call, {}, own, 0.0)])
            after = await endpoint(desk)
            assert (after.state, after.failures) == ("active", LEAST_FAILURES)
            assert await told(desk) == []
            (attempt,) = await desk.execute("select error, charged from attempts")
            assert (attempt.error, attempt.charged) == ("refused", False)
            await desk.move(4)
            assert await desk.claim() == ()
            await desk.move(2)
            assert len(await desk.tell()) == 1

    async def test_samples_count_for_nothing(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.fan_out()
            (call,) = await desk.claim()
            sample = replace(call, kind="test", slots=())
            for status in (503, 410):
                await finish(desk.database, [Answered(sample, {}, Outcome("http", status), 0.0)])
            after = await endpoint(desk)
            assert (after.state, after.failures) == ("active", 0)


class TestAlerts:
    async def disable_one(self, desk: Desk, shop: Receiver, *, with_alerts: bool) -> None:
        await desk.register(shop)
        shop.answer_with(410)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        await finish(desk.database, await desk.send(await desk.claim()), with_alerts=with_alerts)

    async def test_operators_are_told_until_they_say_so(self, desk: Desk) -> None:
        async with receiver() as shop, receiver() as chat, aiohttp.ClientSession() as session:
            chat.verify = lambda: None  # type: ignore[method-assign] # operators are sent no signature
            await self.disable_one(desk, shop, with_alerts=True)
            chat.answer_with(500)
            await alerting.tell_some(desk.database, session, chat.url)
            for wait_seconds in (5, 30, 120, 300, 300):
                await desk.move(wait_seconds - 1)
                await alerting.tell_some(desk.database, session, chat.url)
                before = len(chat.calls)
                await desk.move(2)
                await alerting.tell_some(desk.database, session, chat.url)
                assert len(chat.calls) == before + 1
            chat.answer_with(200)
            await desk.move(301)
            await alerting.tell_some(desk.database, session, chat.url)
            assert await desk.execute("select * from alerts") == []
            assert len(chat.calls) == 7
            body = json.loads(chat.calls[-1].body)
            assert body["type"] == "basestock.notifier.endpoint_disabled.v1"
            assert body["text"].startswith("Webhook endpoint 1 of company 2 (127.0.0.1) is disabled: it failed 1 calls")
            assert (body["endpoint_id"], body["last_status"]) == (1, 410)
            assert len({json.loads(call.body)["alert_id"] for call in chat.calls}) == 1

    async def test_two_replicas_tell_each_alert_once(self, desk: Desk) -> None:
        async with receiver() as shop, receiver() as chat, aiohttp.ClientSession() as session:
            chat.verify = lambda: None  # type: ignore[method-assign] # see above
            await self.disable_one(desk, shop, with_alerts=True)
            await asyncio.gather(*(alerting.tell_some(desk.database, session, chat.url) for _ in range(3)))
            assert len(chat.calls) == 1

    async def test_what_nobody_takes_for_a_week_is_dropped(self, desk: Desk) -> None:
        async with receiver() as shop, aiohttp.ClientSession() as session:
            await self.disable_one(desk, shop, with_alerts=True)
            await desk.move(7 * DAY_SECONDS + 1)
            await alerting.tell_some(desk.database, session, "http://127.0.0.1:1/")
            assert await desk.execute("select * from alerts") == []

    async def test_without_a_url_nothing_is_kept_and_nothing_runs(self, desk: Desk) -> None:
        async with receiver() as shop:
            await self.disable_one(desk, shop, with_alerts=False)
            assert await desk.execute("select * from alerts") == []
            bus = InProcessBus(publish_timeout_seconds=1)
            await alerting.tell_operators(Context("notifier", desk.settings, desk.database, bus))


class TestRefusals:
    """An endpoint that answers 400 to every call with a certain product in it, or 413 to more than some."""

    @staticmethod
    def refuse(shop: Receiver, *, product_id: int = 0, more_than: int = 1000) -> None:
        def answer(available: dict[int, int]) -> int:
            return 400 if product_id in available else 413 if len(available) > more_than else 200

        shop.answer_by(lambda call: answer(call.available))

    async def test_one_bad_product_is_soon_alone_and_all_others_are_delivered(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            self.refuse(shop, product_id=1042)
            await hear_many(desk, 100)
            for _ in range(7):
                await desk.tell()
                await desk.move(WINDOW_SECONDS + 1)
            owed = await desk.execute("select product_id, call_limit from slots where dirty")
            assert [(row.product_id, row.call_limit) for row in owed] == [(1042, 1)]

    async def test_it_stays_alone_and_costs_the_others_neither_size_nor_time(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            self.refuse(shop, product_id=1042)
            await hear_many(desk, 100)
            for _ in range(7):
                await desk.tell()
                await desk.move(WINDOW_SECONDS + 1)
            for version in range(2, 12):
                earlier = len(shop.calls)
                await desk.hear_stock(*(stock_changed(one, version, version) for one in range(1000, 1100)))
                await desk.tell()
                await desk.move(WINDOW_SECONDS + 1)
                delivered = [call for call in shop.calls[earlier:] if 1042 not in call.available]
                assert sum(len(call.available) for call in delivered) == 99
            assert len(delivered) == 1, "they go together again"
            self.refuse(shop)
            await desk.tell()
            assert await desk.execute("select * from slots where dirty or call_limit is not null") == []

    async def test_products_that_are_due_meanwhile_do_not_lead_it_back_into_bigger_calls(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            self.refuse(shop, product_id=1042)
            await hear_many(desk, 100)
            await desk.tell()
            for turn in range(1, 7):
                await hear_many(desk, 300, first_id=10_000 * turn)
                await desk.tell()
                await desk.move(WINDOW_SECONDS + 1)
                await desk.tell()
            owed = await desk.execute("select product_id from slots where dirty")
            assert [row.product_id for row in owed] == [1042]

    async def test_an_endpoint_that_takes_only_so_many_is_offered_no_more(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            self.refuse(shop, more_than=12)
            await hear_many(desk, 600)
            for _ in range(7):
                await desk.tell()
                await desk.move(WINDOW_SECONDS + 1)
            assert await desk.execute("select * from slots where dirty") == []
            earlier = len(shop.calls)
            await desk.hear_stock(*(stock_changed(one, 2, 2) for one in range(1000, 1600)))
            await desk.tell()
            sizes = [len(call.available) for call in shop.calls[earlier:]]
            assert max(sizes) <= 13
            assert sum(size for size in sizes if size <= 12) > 450


class TestLimits:
    async def test_as_many_calls_are_under_way_as_the_endpoint_wants(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            await desk.execute("update endpoints set calls_at_once = 3")
            await hear_many(desk, 450)
            await desk.fan_out()
            calls = [await desk.claim() for _ in range(5)]
            assert [len(claimed) for claimed in calls] == [1, 1, 1, 0, 0]
            carried = [product_id for (call,) in calls[:3] for product_id, _ in call.versions]
            assert len(set(carried)) == len(carried) == 300
            await finish(desk.database, await desk.send(calls[1]))
            assert [len(await desk.claim()) for _ in range(2)] == [1, 0]

    async def test_what_is_in_a_call_is_in_no_other_whoever_moves_its_turn(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            await desk.execute("update endpoints set calls_at_once = 3")
            await desk.hear_stock(stock_changed(100, 10, 1))
            await desk.fan_out()
            assert len(await desk.claim()) == 1
            await desk.execute("update slots set not_before = db_now()")
            assert await desk.claim() == ()

    async def test_of_many_replicas_that_claim_at_once_no_more_calls_come(self, desk: Desk) -> None:
        async with receiver() as shop:
            await desk.register(shop)
            await desk.execute("update endpoints set calls_at_once = 2")
            await hear_many(desk, 900)
            await desk.fan_out()
            claims = await asyncio.gather(*(desk.claim() for _ in range(4)))
            claims += [await desk.claim() for _ in range(3)]
            assert sum(len(calls) for calls in claims) == 2

    async def test_it_is_called_no_more_often_a_second_than_it_wants(self, desk: Desk) -> None:
        async with receiver() as slow, receiver() as quick:
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            limited = await desk.register(slow, RETAILER_A)
            await desk.register(quick, RETAILER_B)
            await desk.execute("update endpoints set calls_per_second = 0.1 where endpoint_id = :id", id=limited)
            await hear_many(desk, 300)
            for calls in range(1, 4):
                await desk.tell()
                assert len(slow.calls) == calls
                assert len(quick.calls) == 3
                await desk.move(8)
                assert await desk.tell() == []
                await desk.move(3)


async def test_the_age_of_what_is_due_is_measured(desk: Desk) -> None:
    async with receiver() as shop:
        await measure(Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)))
        assert OLDEST_DUE._value.get() == 0
        await desk.register(shop)
        await measure(Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)))
        assert OLDEST_DUE._value.get() == 0, "nothing is due"
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        await desk.move(50)
        await measure(Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)))
        assert 50 <= OLDEST_DUE._value.get() < 80
        assert ENDPOINTS.labels("active")._value.get() == 1
        await desk.execute("update endpoints set next_call_at = db_now() + interval '1 hour'")
        await measure(Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)))
        assert OLDEST_DUE._value.get() == 0, "it rests"
        await desk.execute("update endpoints set next_call_at = '-infinity'")
        await desk.execute("update slots set not_before = 'infinity'")
        await measure(Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)))
        assert OLDEST_DUE._value.get() == 0, "it is parked"


async def test_what_is_due_is_counted_at_endpoints_that_do_not_rest(desk: Desk) -> None:
    async def counted() -> tuple[int, int, Mapping[EndpointState, int]]:
        async with desk.database.transaction() as session:
            backlog = await health_store.count_backlog(session)
            return await health_store.count_due(session), backlog.failing, backlog.endpoints

    async with receiver() as shop:
        assert await counted() == (0, 0, {})
        first = await desk.register(shop)
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1), stock_changed(101, 10, 1))
        await desk.fan_out()
        assert await counted() == (4, 0, {"active": 2})
        await desk.execute(
            "update endpoints set failing_since = db_now(), failures = 1 where endpoint_id = :first", first=first
        )
        assert await counted() == (4, 1, {"active": 2})
        await desk.execute("update endpoints set next_call_at = db_now() + interval '1 hour' where failures > 0")
        assert await counted() == (2, 1, {"active": 2}), "it rests"
        await desk.execute("update endpoints set state = 'paused' where failures > 0")
        assert await counted() == (2, 0, {"active": 1, "paused": 1})
        await desk.tell()
        assert await counted() == (0, 0, {"active": 1, "paused": 1})


@pytest.mark.parametrize("state", ["paused", "disabled"])
async def test_one_that_is_not_called_is_not_late(desk: Desk, state: str) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.fan_out()
        reason = "gone" if state == "disabled" else None
        await desk.execute("update endpoints set state = :state, reason = :reason", state=state, reason=reason)
        await desk.move(50)
        await measure(Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)))
        assert OLDEST_DUE._value.get() == 0
