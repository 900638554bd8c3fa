"""What a process answers to requests that nobody should send, and while its database is away."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from services.all_in_one import migrate
from services.orders.service import SERVICE
from shared.http import BODY_LIMIT_BYTES
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from tests.app import Client, serving
from tests.servers.postgres import postgres_server

ADMIN_KEY = "bsk_the-admin-of-the-tests"


@pytest.fixture
async def url(database_dsn: str) -> AsyncIterator[str]:
    settings = Settings(dsn=database_dsn, admin_key=ADMIN_KEY, _env_file=None)
    async with serving([SERVICE], settings, InProcessBus(publish_timeout_seconds=5)) as url:
        yield url


async def test_a_request_without_a_key_is_refused_before_its_body_is_read(url: str) -> None:
    async with Client(url) as nobody:
        answer = await nobody.call("POST", "/v1/orders", data=b"{oops", headers={"Content-Type": "application/json"})
        assert (answer.status, answer.body["code"]) == (401, "no_key")


@pytest.mark.parametrize("presented", ["nonsense", "a.b", "a.b.c.d", f"{ADMIN_KEY[4:]}"])
async def test_what_cannot_be_a_key_is_refused_before_its_body_is_read(url: str, presented: str) -> None:
    async with Client(url, presented) as nobody:
        answer = await nobody.call("POST", "/v1/orders", data=b"{oops", headers={"Content-Type": "application/json"})
        assert (answer.status, answer.body["code"]) == (401, "invalid_token")


async def test_an_admin_key_may_look_like_anything(database_dsn: str) -> None:
    settings = Settings(dsn=database_dsn, admin_key="correct-horse-battery", _env_file=None)
    async with (
        serving([SERVICE], settings, InProcessBus(publish_timeout_seconds=5)) as url,
        Client(url, "correct-horse-battery") as admin,
    ):
        assert (await admin.get("/v1/orders")).status == 200


@pytest.mark.parametrize("says_its_length", [True, False])
async def test_a_body_that_is_too_big_is_refused(url: str, *, says_its_length: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT_BYTES // 65_536 + 2):
            yield b" " * 65_536

    data = io.BytesIO(b" " * (BODY_LIMIT_BYTES + 1)) if says_its_length else chunks()
    async with Client(url, ADMIN_KEY) as admin:
        answer = await admin.call("POST", "/v1/orders", data=data, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.body["code"]) == (413, "body_too_large")


async def test_a_body_that_is_no_json_is_named_as_a_whole(url: str) -> None:
    async with Client(url, ADMIN_KEY) as admin:
        answer = await admin.call("POST", "/v1/orders", data=b"{oops", headers={"Content-Type": "application/json"})
        assert answer.status == 422
        assert [error["field"] for error in answer.body["errors"]] == ["body"]


async def test_invented_methods_do_not_become_series(url: str) -> None:
    async with Client(url, ADMIN_KEY) as admin:
        assert (await admin.call("BREW", "/v1/orders")).status == 405
        metrics = (await admin.get("/metrics")).body
        assert "BREW" not in metrics
        assert 'method="other"' in metrics


async def test_while_the_database_is_away_the_answer_is_503() -> None:
    with postgres_server(durable=True) as server:
        settings = Settings(dsn=server.dsn, admin_key=ADMIN_KEY, _env_file=None)
        await migrate(settings)
        async with (
            serving([SERVICE], settings, InProcessBus(publish_timeout_seconds=5)) as url,
            Client(url, ADMIN_KEY) as admin,
        ):
            assert (await admin.get("/v1/orders")).status == 200
            server.kill()
            answer = await admin.get("/v1/orders")
            assert (answer.status, answer.body["code"]) == (503, "unavailable")
            assert "Retry-After" in answer.headers
            async with asyncio.timeout(30):
                while (await admin.get("/v1/orders")).status != 200:
                    await asyncio.sleep(0.05)
