"""Webhook endpoints over HTTP, and the whole service telling a retailer by itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from services.notifier import handlers, sender
from services.notifier.service import SERVICE
from services.notifier.signing import new_secret
from services.notifier.store import endpoints as endpoint_store
from shared.database import Database
from shared.messaging.in_process import InProcessBus
from shared.service import running
from tests.app import Client
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SUPPLIER_A,
    connection,
    notifier_settings,
    stock_changed,
)
from tests.integration.notifier.running import ADMIN_KEY, Running, running_notifier
from tests.receiver import receiver

TOLD = "select 1 from attempts where kind = 'stock_level'"


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


async def test_a_retailer_registers_a_url_and_hears_of_the_next_change_and_reads_the_log(notifier: Running) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client:
        registered = await client.post("/v1/webhook-endpoints", {"url": shop.url})
        assert registered.status == 201
        shop.secrets.append(registered.body["secret"])
        endpoint = f"/v1/webhook-endpoints/{registered.body['id']}"

        await notifier.publish(stock_changed(100, 10, 1, previous=12))
        await shop.wait_for_calls(1)
        assert shop.calls[0].stock == [
            {
                "quantity_available": 10,
                "linked": [
                    {"product": {"id": 100, "sku": "T01-S"}, "variant": None},
                    {
                        "product": {"id": 300, "sku": "T01"},
                        "variant": {"attribute_1": {"name": "Size", "value": "Small"}, "sku": "T01-S"},
                    },
                ],
                "version": 1,
                "occurred_at": "2026-01-01T12:00:01.000000Z",
                "previous_quantity_available": 12,
                "changes": 1,
            }
        ]
        await notifier.publish(stock_changed(101, 5, 1))
        await shop.wait_for_calls(2)

        await notifier.wait_for_rows(2, TOLD)
        told = {"kind": "stock_level"}
        attempts = await client.get(f"{endpoint}/attempts", params=told)
        newest = attempts.body["items"][0]
        assert newest["products"] == [{"product_id": 101, "version": 1}]
        assert (newest["status"], newest["error"]) == (204, None)
        assert newest["request_body"].encode() == shop.calls[1].body
        first_page = await client.get(f"{endpoint}/attempts", params={**told, "limit": 1})
        second_page = await client.get(
            f"{endpoint}/attempts", params={**told, "limit": 1, "cursor": first_page.body["next_cursor"]}
        )
        assert [*first_page.body["items"], *second_page.body["items"]] == attempts.body["items"]
        assert second_page.body["next_cursor"] is None


async def test_more_slow_retailers_than_lanes_keep_nobody_waiting(
    notifier: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "QUICK_LANES", 2)
    async with receiver() as slow, receiver() as shop, notifier.client(RETAILER_A) as client:
        slow.hold()
        for target in (slow, slow, slow, shop):
            registered = await client.post("/v1/webhook-endpoints", {"url": target.url})
            target.secrets.append(registered.body["secret"])
        await notifier.publish(stock_changed(100, 10, 1))
        await shop.wait_for_calls(1)
        await slow.wait_for_calls(3)


async def test_a_restart_lets_the_call_under_way_end(database_dsn: str) -> None:
    settings = notifier_settings(database_dsn)
    bus = InProcessBus(publish_timeout_seconds=settings.publish_timeout_seconds)
    async with receiver() as shop, running(SERVICE, settings, bus) as context:
        async with context.database.transaction() as session:
            await handlers.copy_connections(session, [connection("active", 1)])
            secret = new_secret()
            await endpoint_store.add(session, RETAILER_A, shop.url, secret, 0)
            await handlers.keep_stock(session, [stock_changed(100, 10, 1)])
        shop.secrets.append(secret)
        shop.hold()
        await shop.wait_for_calls(1)
        asyncio.get_running_loop().call_later(0.2, shop.release)  # while the service is stopping
    database = Database("notifier", database_dsn, pool_size=2)
    async with database.transaction() as session:
        slot = (await session.execute(text("select acked_version, dirty, lease_id from slots"))).one()
    assert tuple(slot) == (1, False, None)
    await database.close()
    await bus.close()


async def test_many_retailers_are_told_and_none_is_left_waiting(notifier: Running) -> None:
    async with receiver() as shop, receiver() as slow, notifier.client(RETAILER_A) as client:
        slow.hold()
        for target in (slow, *(shop for _ in range(19))):
            registered = await client.post("/v1/webhook-endpoints", {"url": target.url})
            target.secrets.append(registered.body["secret"])
        for version, product_id in enumerate((100, 101, 200), 1):
            await notifier.publish(stock_changed(product_id, 10, version))
            await shop.wait_for_calls(19 * version)
        assert len(slow.calls) == 1
        await notifier.wait_for_rows(57, TOLD)
        # Long after the others the slow one answers, and is told the rest in one call.
        slow.release()
        await notifier.wait_for_rows(59, TOLD)
        await notifier.wait_for_rows(0, "select 1 from slots where dirty or lease_id is not null")
        assert [call.available for call in slow.calls] == [{100: 10}, {101: 10, 200: 10}]


async def test_the_secret_is_shown_once(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client:
        registered = await client.post(
            "/v1/webhook-endpoints", {"url": "https://shop.example/stock", "window_seconds": 3600}
        )
        assert registered.body["secret"].startswith("whsec_")
        one = await client.get(f"/v1/webhook-endpoints/{registered.body['id']}")
        assert one.body == {name: value for name, value in registered.body.items() if name != "secret"}
        assert (one.body["window_seconds"], one.body["state"], one.body["company_id"]) == (3600, "active", RETAILER_A)
        everything = await client.get("/v1/webhook-endpoints")
        assert everything.body == {"items": [one.body], "next_cursor": None}


async def test_endpoints_are_listed_page_by_page(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client:
        ids = [
            (await client.post("/v1/webhook-endpoints", {"url": f"https://shop.example/{number}"})).body["id"]
            for number in range(3)
        ]
        first = await client.get("/v1/webhook-endpoints", params={"limit": 2})
        second = await client.get("/v1/webhook-endpoints", params={"limit": 2, "cursor": first.body["next_cursor"]})
        assert [item["id"] for page in (first, second) for item in page.body["items"]] == ids
        refused = await client.get("/v1/webhook-endpoints", params={"cursor": "nonsense"})
        assert (refused.status, refused.body["code"]) == (422, "invalid_cursor")


async def test_a_company_has_at_most_20_endpoints_however_many_it_registers_at_once(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client, notifier.client(RETAILER_B) as other:
        answers = await asyncio.gather(
            *(client.post("/v1/webhook-endpoints", {"url": f"https://shop.example/{number}"}) for number in range(25))
        )
        assert Counter(answer.status for answer in answers) == {201: 20, 409: 5}
        refused = next(answer for answer in answers if answer.status == 409)
        assert refused.body["code"] == "too_many_endpoints"
        assert "at most 20 webhook endpoints: remove one" in refused.body["detail"]
        mine = (await client.get("/v1/webhook-endpoints")).body["items"]
        assert len(mine) == 20
        assert (await other.post("/v1/webhook-endpoints", {"url": "https://other.example/"})).status == 201
        await client.delete(f"/v1/webhook-endpoints/{mine[0]['id']}")
        assert (await client.post("/v1/webhook-endpoints", {"url": "https://shop.example/new"})).status == 201


async def test_another_company_finds_nothing(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as mine, notifier.client(RETAILER_B) as other:
        registered = await mine.post("/v1/webhook-endpoints", {"url": "https://shop.example/stock"})
        path = f"/v1/webhook-endpoints/{registered.body['id']}"
        assert (await other.get("/v1/webhook-endpoints")).body["items"] == []
        answers = [await other.get(path), await other.get(f"{path}/attempts"), await other.delete(path)]
        assert [answer.status for answer in answers] == [404] * 3
        assert {answer.body["code"] for answer in answers} == {"unknown_endpoint"}
        refused = await other.get("/v1/webhook-endpoints", params={"company_id": RETAILER_A})
        assert (refused.status, refused.body["code"]) == (403, "foreign_company")
        assert (await mine.delete(path)).status == 204
        assert (await mine.get(path)).status == 404


async def test_each_role_has_its_formats_and_strangers_nothing(notifier: Running) -> None:
    url = "https://shop.example/"
    async with notifier.client(SUPPLIER_A) as supplier, notifier.client(RETAILER_A) as retailer:
        for format_ in ("stock_level", "variant_stock"):
            refused = await supplier.post("/v1/webhook-endpoints", {"url": url, "format": format_})
            assert (refused.status, refused.body["errors"][0]["field"]) == (403, "format")
            assert "for a retailer, and this is a supplier: register one of the format fulf" in refused.body["detail"]
        refused = await retailer.post("/v1/webhook-endpoints", {"url": url, "format": "fulfillment"})
        assert refused.status == 403
        assert "register one of the format stock_level or variant_stock" in refused.body["detail"]
        registered = await supplier.post("/v1/webhook-endpoints", {"url": url, "format": "fulfillment"})
        assert (registered.status, registered.body["acked_timestamp"]) == (201, 0)
        mine = (await supplier.get("/v1/webhook-endpoints")).body["items"]
        assert [item["id"] for item in mine] == [registered.body["id"]]
    async with Client(notifier.url) as stranger:
        assert (await stranger.post("/v1/webhook-endpoints", {"url": url})).status == 401


async def test_the_platform_admin_says_for_which_company_and_sees_all(notifier: Running) -> None:
    url = "https://shop.example/stock"
    async with Client(notifier.url, ADMIN_KEY) as admin:
        nobody = await admin.post("/v1/webhook-endpoints", {"url": url})
        assert (nobody.status, nobody.body["code"]) == (422, "company_required")
        supplier = await admin.post("/v1/webhook-endpoints", {"url": url, "company_id": SUPPLIER_A})
        assert (supplier.status, supplier.body["code"]) == (422, "format_of_another_role")
        unknown = await admin.post("/v1/webhook-endpoints", {"url": url, "company_id": 999})
        assert (unknown.status, unknown.body["code"]) == (422, "unknown_company")
        registered = await admin.post("/v1/webhook-endpoints", {"url": url, "company_id": RETAILER_B})
        assert (registered.status, registered.body["company_id"]) == (201, RETAILER_B)
        path = f"/v1/webhook-endpoints/{registered.body['id']}"
        assert (await admin.get(path)).status == 200
        listed = await admin.get("/v1/webhook-endpoints", params={"company_id": RETAILER_B})
        assert [item["id"] for item in listed.body["items"]] == [registered.body["id"]]
        async with notifier.client(RETAILER_A) as other:
            theirs = (await other.post("/v1/webhook-endpoints", {"url": url})).body["id"]
        everybodys = await admin.get("/v1/webhook-endpoints")
        assert [item["id"] for item in everybodys.body["items"]] == [registered.body["id"], theirs]
        assert (await admin.delete(path)).status == 204


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("https://[::1]/stock", "forbidden_address"),
        ("ftp://shop.example/", "invalid_url"),
        ("https://me:secret@shop.example/", "invalid_url"),
        ("http://2130706433/", "invalid_url"),
    ],
)
async def test_a_url_that_cannot_be_called_is_refused_with_the_reason(notifier: Running, url: str, code: str) -> None:
    async with notifier.client(RETAILER_A) as client:
        refused = await client.post("/v1/webhook-endpoints", {"url": url})
        assert (refused.status, refused.body["code"]) == (422, code)
        assert refused.body["errors"][0]["field"] == "url"
