"""Options of endpoints over HTTP: each where it means something, changed with If-Match, shown without secrets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from tests.app import Client
from tests.integration.notifier.conftest import RETAILER_A, SUPPLIER_A, stock_changed
from tests.integration.notifier.running import ADMIN_KEY, Running, running_notifier
from tests.receiver import receiver

URL = "https://shop.example/stock"
PATH = "/v1/webhook-endpoints"
STOCK_LEVEL = {
    "window_seconds": 3600,
    "legacy_key": True,
    "early_retry": True,
    "supplier_ids": [1, 7],
    "product_ids": [100, 200],
    "only": ["back_in_stock", "out"],
    "calls_at_once": 3,
    "calls_per_second": 0.5,
}
VARIANT_STOCK = {"delta_semantics": "total", "event_types": ["variant_stock_delta.updated"], "window_seconds": 5}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": "variant_stock", "legacy_key": True}, "legacy_key"),
    ({"format": "variant_stock", "only": ["out"]}, "only"),
    ({"delta_semantics": "total"}, "delta_semantics"),
    ({"event_types": ["variant_stock.updated"]}, "event_types"),
    ({"dotted_names": True}, "dotted_names"),
    ({"after": 3}, "after"),
    ({"format": "fulfillment", "window_seconds": 5}, "window_seconds"),
    ({"format": "fulfillment", "product_ids": [1]}, "product_ids"),
    ({"calls_at_once": 11}, "calls_at_once"),
    ({"calls_per_second": 0.001}, "calls_per_second"),
    ({"supplier_ids": []}, "supplier_ids"),
    *[({name: True}, name) for name in ("window_seconds", "calls_at_once", "calls_per_second", "company_id")],
    *[({name: "1"}, name) for name in ("window_seconds", "calls_at_once", "legacy_key", "early_retry")],
    ({"format": "fulfillment", "after": True}, "after"),
    ({"format": "fulfillment", "dotted_names": 1}, "dotted_names"),
    ({"product_ids": [100, True]}, "product_ids[1]"),
    ({"supplier_ids": ["7"]}, "supplier_ids[0]"),
    ({"secret": "whsec_mine"}, "secret"),
    ({"auth_header": {"name": "Webhook-Id", "value": "1"}}, "auth_header.name"),
    ({"auth_header": {"name": "content-length", "value": "1"}}, "auth_header.name"),
    ({"auth_header": {"name": "X Key", "value": "1"}}, "auth_header.name"),
    ({"auth_header": {"name": "X-Key", "value": "a\r\nHost: b"}}, "auth_header.value"),
]


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


async def test_all_options_are_kept_and_shown_and_no_secret_is(notifier: Running) -> None:
    header = {"name": "X-Api-Key", "value": "open sesame"}
    async with notifier.client(RETAILER_A) as client:
        made = await client.post(PATH, {"url": URL, "auth_header": header, **STOCK_LEVEL})
        assert (made.status, made.headers["ETag"]) == (201, '"1"')
        one = await client.get(made.headers["Location"])
        assert one.body == {name: value for name, value in made.body.items() if name != "secret"}
        assert STOCK_LEVEL.items() <= one.body.items()
        assert (one.body["format"], one.body["auth_header_name"]) == ("stock_level", "X-Api-Key")
        assert one.body["secrets"] == [{"until": None}]
        assert "open sesame" not in str(one.body)
        variants = await client.post(PATH, {"url": URL, "format": "variant_stock", **VARIANT_STOCK})
        assert VARIANT_STOCK.items() <= variants.body.items(), "the platform's window is for stock levels"
        listed = await client.get(PATH, params={"format": "variant_stock", "state": "active"})
        assert [item["id"] for item in listed.body["items"]] == [variants.body["id"]]
        assert (await client.get(PATH, params={"state": "disabled"})).body["items"] == []
        feed = {"url": URL, "format": "fulfillment", "dotted_names": True, "after": 7, "company_id": SUPPLIER_A}
        async with Client(notifier.url, ADMIN_KEY) as admin:
            registered = await admin.post(PATH, feed)
            wrong_role = await admin.post(PATH, feed | {"company_id": RETAILER_A})
        assert (registered.body["dotted_names"], registered.body["acked_timestamp"]) == (True, 7)
        assert (wrong_role.status, wrong_role.body["code"]) == (422, "format_of_another_role")


async def test_what_cannot_be_is_refused_and_the_field_is_named(notifier: Running) -> None:
    async with Client(notifier.url, ADMIN_KEY) as admin:
        for body, field in WRONG:
            refused = await admin.post(PATH, {"url": URL, "company_id": RETAILER_A, **body})
            assert refused.status == 422, body
            assert [error["field"] for error in refused.body["errors"]] == [field]


async def test_a_change_says_which_version_it_saw_and_leaves_the_rest(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": URL, **STOCK_LEVEL})).body
        path = f"{PATH}/{made['id']}"
        changed = await client.patch(path, {"only": None, "calls_at_once": 1}, headers={"If-Match": '"1"'})
        assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
        expected = {name: value for name, value in made.items() if name != "secret"}
        assert changed.body == expected | {"only": None, "calls_at_once": 1, "version": 2}
        late = await client.patch(path, {"legacy_key": False}, headers={"If-Match": '"1"'})
        assert (late.status, late.body["code"], late.headers["ETag"]) == (412, "version_changed", '"2"')
        nothing = await client.patch(path, {})
        assert nothing.body == changed.body
        nullable = ("auth_header", "supplier_ids", "product_ids", "calls_per_second")
        taken_away = await client.patch(path, dict.fromkeys(nullable))
        assert {taken_away.body[name] for name in nullable if name in taken_away.body} == {None}
        changed = taken_away
        refusals = {
            "url": {"url": "http://127.0.0.2.nip.example:99999/"},
            "format": {"format": "variant_stock"},
            **{name: {name: None} for name in ("url", "window_seconds", "legacy_key", "early_retry", "calls_at_once")},
            "dotted_names": {"dotted_names": True},
        }
        for field, body in refusals.items():
            refused = await client.patch(path, body)
            assert (refused.status, refused.body["errors"][0]["field"]) == (422, field), refused.body
        assert (await client.patch(path, {"url": "http://169.254.169.254/"})).body["code"] == "forbidden_address"
        assert (await client.get(path)).body == changed.body


async def test_the_header_of_an_endpoint_is_sent_and_masked_in_the_log(
    notifier: Running, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiver() as shop, notifier.client(RETAILER_A) as client:
        header = {"name": "Authorization", "value": "Bearer open-sesame"}
        made = (await client.post(PATH, {"url": shop.url, "auth_header": header})).body
        shop.secrets.append(made["secret"])
        await notifier.publish(stock_changed(100, 10, 1))
        await shop.wait_for_calls(1)
        assert shop.calls[0].headers["Authorization"] == "Bearer open-sesame"
        await notifier.wait_for_rows(2, "select 1 from attempts")
        attempts = await client.get(f"{PATH}/{made['id']}/attempts")
        for attempt in attempts.body["items"]:
            assert attempt["request_headers"]["Authorization"] == "***"
        assert (await client.patch(f"{PATH}/{made['id']}", {"auth_header": None})).body["auth_header_name"] is None
        async with notifier.database.transaction() as session:
            rows = (
                await session.execute(
                    text("select e::text, (select jsonb_agg(a) from attempts a)::text from endpoints e")
                )
            ).all()
        said = f"{rows} {caplog.text} {capsys.readouterr()}"
        assert "open-sesame" not in said
        assert shop.calls[0].headers["webhook-signature"].startswith("v1,")
