"""Pings and samples: sent once, whatever the endpoint's state, and nothing comes of them but a line in the log."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.notifier.calls import Answered
from services.notifier.domain.calls import Outcome
from services.notifier.encryption import vault_of
from services.notifier.finishing import finish
from services.notifier.pinging import claim_samples, new_sample_id
from services.notifier.store import pings as ping_store
from services.notifier.store.pings import SampleKind
from tests.integration.notifier.conftest import RETAILER_A, SUPPLIER_A, Desk
from tests.integration.notifier.running import Running, running_notifier
from tests.receiver import receiver

PATH = "/v1/webhook-endpoints"

SAMPLES: list[tuple[str, dict[str, object]]] = [
    ("format = 'variant_stock'", {"event_type": "variant_stock.updated", "quantity": 100}),
    (
        "format = 'variant_stock', event_types = '{variant_stock_delta.updated}'",
        {"event_type": "variant_stock_delta.updated", "quantity": 5},
    ),
    (
        "format = 'variant_stock', event_types = '{variant_stock_delta.updated}', delta_semantics = 'total'",
        {"event_type": "variant_stock_delta.updated", "quantity": 100},
    ),
    ("format = 'fulfillment', dotted_names = true", {"type": "fulfillment_request.items_completed"}),
]


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


async def test_a_new_endpoint_is_pinged_and_a_test_is_waited_for(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": shop.url, "legacy_key": True})).body
        shop.secrets.append(made["secret"])
        path = f"{PATH}/{made['id']}"
        await shop.wait_for_samples(1)
        await notifier.wait_for_rows(1, "select 1 from attempts")
        ping = json.loads(shop.samples[0].body)
        assert (ping["type"], ping["data"]) == ("ping", {"endpoint_id": made["id"]})
        await client.post(f"{path}/pause")
        shop.answer_with(500, b"no")
        tested = await client.post(f"{path}/test", params={"wait": 10})
        assert tested.status == 200
        attempt = tested.body["attempt"]
        assert (attempt["kind"], attempt["webhook_id"]) == ("test", tested.body["webhook_id"])
        assert (attempt["status"], attempt["error"], attempt["charged"]) == (500, "http", False)
        assert attempt["request_body"].encode() == shop.samples[1].body
        sample = json.loads(shop.samples[1].body)
        assert sample["test"] is True
        assert sample["stock"][0]["quantity_availble"] == sample["stock"][0]["quantity_available"]
        assert shop.calls == [], "nobody takes samples for stock"
        at_once = await client.post(f"{path}/test")
        assert (at_once.status, at_once.body["attempt"]) == (202, None)
        await shop.wait_for_samples(3)
        assert shop.samples[2].headers["webhook-id"] == at_once.body["webhook_id"]
        shown = (await client.get(path)).body
        assert (shown["state"], shown["failures"], shown["failing_since"]) == ("paused", 0, None)
        kinds = [item["kind"] for item in (await client.get(f"{path}/attempts")).body["items"]]
        assert kinds in (["test", "ping"], ["test", "test", "ping"])


async def test_a_test_that_gets_no_answer_in_time_is_answered_without_one(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(SUPPLIER_A) as client:
        made = (await client.post(PATH, {"url": shop.url, "format": "fulfillment"})).body
        shop.secrets.append(made["secret"])
        await notifier.wait_for_rows(1, "select 1 from attempts")
        shop.hold()
        tested = await client.post(f"{PATH}/{made['id']}/test", params={"wait": 0.2})
        assert (tested.status, tested.body["attempt"]) == (202, None)
        shop.release()
        await shop.wait_for_samples(2)
        assert json.loads(shop.samples[1].body)["type"] == "fulfillment_request_completed"


async def test_one_sample_at_a_time_is_under_way(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": shop.url})).body
        shop.secrets.append(made["secret"])
        await notifier.wait_for_rows(1, "select 1 from attempts")
        shop.hold()
        path = f"{PATH}/{made['id']}/test"
        tested = await client.post(path)
        await notifier.wait_for_rows(1, "select 1 from pings where lease_until is not null")
        refused = await client.post(path)
        assert (refused.status, refused.body["code"]) == (409, "sample_under_way")
        shop.release()
        await notifier.wait_for_rows(2, "select 1 from attempts")
        assert (await client.post(path)).body["webhook_id"] != tested.body["webhook_id"]


async def ask_for(desk: Desk, endpoint_id: int, kind: SampleKind) -> str | None:
    async with desk.database.transaction() as session:
        return await ping_store.enqueue(session, endpoint_id, new_sample_id(), kind)


async def test_a_sample_is_claimed_by_one_sender_and_sent_once(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await ask_for(desk, endpoint_id, "ping")
        first = await ask_for(desk, endpoint_id, "test")
        assert await ask_for(desk, endpoint_id, "test") == first, "it waits already"
        claimed = await asyncio.gather(*(claim_samples(desk.database, desk.settings, 10) for _ in range(2)))
        assert sorted(len(calls) for calls in claimed) == [0, 1]
        (call,) = [call for calls in claimed for call in calls]
        assert (call.kind, call.webhook_id) == ("test", first)
        shop.answer_with(410)
        await finish(desk.database, await desk.send([call]))
        assert await claim_samples(desk.database, desk.settings, 10) == [], "never again"
        (row,) = await desk.execute("select state, failures from endpoints")
        assert tuple(row) == ("active", 0), "what is answered to a sample counts for nothing"
        (attempt,) = await desk.execute("select kind, status, charged, product_ids from attempts")
        assert tuple(attempt) == ("test", 410, False, [])
        assert len(shop.samples) == 1


async def test_a_sample_whose_sender_died_is_not_sent_again_and_the_next_one_may_be(desk: Desk) -> None:
    endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A)
    await ask_for(desk, endpoint_id, "ping")
    (lost,) = await claim_samples(desk.database, desk.settings, 10)
    assert await ask_for(desk, endpoint_id, "test") is None
    await desk.move(desk.settings.webhook_timeout_seconds + 1)
    tested = await ask_for(desk, endpoint_id, "test")
    assert tested not in {None, lost.webhook_id}
    (call,) = await claim_samples(desk.database, desk.settings, 10)
    assert (call.webhook_id, call.kind) == (tested, "test")
    await finish(desk.database, [Answered(lost, {}, Outcome(None, 204), 0.1)])
    assert await ask_for(desk, endpoint_id, "test") is None, "what comes late ends no other one"
    await desk.move(desk.settings.webhook_timeout_seconds + 1)
    assert await claim_samples(desk.database, desk.settings, 10) == []
    assert await desk.execute("select * from pings") == []


async def test_a_sample_has_the_shape_of_its_endpoints_format(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        for columns, told in SAMPLES:
            await desk.execute(f"update endpoints set {columns}")
            await ask_for(desk, endpoint_id, "test")
            await finish(desk.database, await desk.send(await claim_samples(desk.database, desk.settings, 10)))
            body = json.loads(shop.samples[-1].body)
            assert body.pop("test") is True
            assert told.items() <= (body | body.get("payload", {})).items()
        assert len(shop.samples) == len(SAMPLES)


async def test_a_sample_that_cannot_be_signed_is_not_sent_and_the_log_says_so(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        foreign = vault_of((SecretStr("x" * 32),)).encrypt(shop.secrets[0])
        await desk.execute("update endpoints set secret = :secret", secret=foreign)
        await ask_for(desk, endpoint_id, "test")
        await finish(desk.database, await desk.send(await claim_samples(desk.database, desk.settings, 10)))
        (attempt,) = await desk.execute("select error, detail, request_headers from attempts")
        assert tuple(attempt) == ("late", "nothing was sent: we cannot read a secret of this endpoint", {})
        assert shop.samples == []


async def test_a_sample_that_waits_is_forgotten_with_its_endpoint(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client, notifier.database.transaction() as session:
        made = (await client.post(PATH, {"url": "https://shop.example/"})).body
        await session.execute(text("delete from endpoints where endpoint_id = :id"), {"id": made["id"]})
        assert not (await session.execute(text("select 1 from pings"))).all()
