"""`basestock keys` as a user runs it, against a system that runs."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.app import Client
from tests.end_to_end.system import ADMIN_KEY, System
from tests.end_to_end.test_command_line import output_of

ADMIN = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}


async def test_a_key_is_made_and_printed_once(embedded_system: System) -> None:
    arguments = ["keys", "create", "--company", "supplier-a", "--url", embedded_system.url + "/"]

    status, said = await output_of(*arguments, "--scopes", "catalog:read, stock:write", "--label", "till", **ADMIN)
    key = said.splitlines()[0]
    assert (status, key[:4], said.count("bsk_")) == (0, "bsk_", 1), said
    status, said = await output_of(*arguments, "--scopes", "admin", "--expires-in-days", "30", "--json", **ADMIN)
    made = json.loads(said)
    assert (status, made["scopes"], made["company_id"]) == (0, ["admin"], 1)

    async with Client(embedded_system.url, key) as client:
        me = (await client.get("/v1/me")).body
        assert (me["scopes"], me["company"]["ref"]) == (["catalog:read", "stock:write"], "supplier-a")
    async with Client(embedded_system.url, made["key"]) as client:
        listed = (await client.get("/v1/companies/1/api-keys")).body["items"]
    assert [(item["label"], item["expires_at"] is None) for item in listed[-2:]] == [("till", True), (None, False)]


@pytest.mark.parametrize(
    ("company", "scopes", "environment", "words"),
    [
        ("nobody", "admin", ADMIN, "There is no company with the ref 'nobody'"),
        ("supplier-a", "catalog:rule", ADMIN, "scopes[0]"),
        ("supplier-a", "", ADMIN, "scopes"),
        ("supplier-a", "admin", {"BASESTOCK_ADMIN_KEY": "bsk_wrong"}, "This API key is not known"),
        ("supplier-a", "admin", {}, "BASESTOCK_ADMIN_KEY"),
    ],
)
async def test_mistakes_are_told_in_words(
    embedded_system: System, company: str, scopes: str, environment: dict[str, str], words: str
) -> None:
    arguments = ["keys", "create", "--company", company, "--scopes", scopes, "--url", embedded_system.url]
    status, said = await output_of(*arguments, **environment)
    assert (status, "Traceback" in said) == (1, False), said
    assert words in said


@pytest.mark.parametrize("body", ["[]", "{}", '"Hello"', "<html>", '{"items": [{"id": "/../x"}]}', "\xff"])
async def test_that_something_else_answers_is_told_in_words(body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body.encode("latin-1"), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        status, said = await output_of("keys", "create", "--company", "x", "--scopes", "admin", "--url", url, **ADMIN)
    assert (status, "Traceback" in said) == (1, False), said
    assert f"What answers at {url} is not Basestock" in said


@pytest.mark.parametrize("key", ["bsk_one\nbsk_two", " bsk_blank-before", "bsk_blank between", "bsk_ü", "bsk_1"])
async def test_a_key_that_nobody_could_send_is_told_in_words(key: str) -> None:
    arguments = ["keys", "create", "--company", "x", "--scopes", "admin", "--url", "http://127.0.0.1:9"]
    status, said = await output_of(*arguments, BASESTOCK_ADMIN_KEY=key)
    assert (status, "Traceback" in said) == (2, False), said
    assert "setting BASESTOCK_ADMIN_KEY" in said
    assert key not in said


async def test_a_key_does_not_live_for_a_million_days() -> None:
    arguments = ["keys", "create", "--company", "x", "--scopes", "admin", "--expires-in-days", "36501"]
    status, said = await output_of(*arguments, **ADMIN)
    assert (status, "Traceback" in said) == (2, False), said
    assert "36500" in said


async def test_that_nobody_answers_is_told_in_words() -> None:
    arguments = ["keys", "create", "--company", "x", "--scopes", "admin", "--url", "http://127.0.0.1:9"]
    status, said = await output_of(*arguments, **ADMIN)
    assert (status, "Traceback" in said) == (1, False), said
    assert "Nothing of Basestock answers at http://127.0.0.1:9" in said
