"""A user's token is renewed in time, and goes on until its end where no new one is to be had."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.console import frame
from services.console.api import Api, RefusedError
from services.console.session import Credential
from services.console.visits import Visit
from tests.integration.console.conftest import SaidApi

NOW = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
RENEWED = "another token"


def token_of(begun: datetime, minutes: int = 15) -> Credential:
    claims = {"sub": "5", "iat": begun, "exp": begun + timedelta(minutes=minutes)}
    return Credential("user", jwt.encode(claims, "a secret that nobody but the services knows", "HS256"))


@pytest.fixture
async def said() -> SaidApi:
    return SaidApi({"/v1/stock": (200, {"items": []}), "/v1/sessions/refresh": (200, {"token": RENEWED})})


@pytest.fixture
async def api(said: SaidApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr("shared.clock.utc_now", lambda: NOW)
    served = web.Application()
    served.router.add_route("*", "/{path:.*}", said.answer)
    async with TestServer(served) as server, aiohttp.ClientSession() as http:
        yield Api(http, str(server.make_url("")).rstrip("/"), None)


async def test_a_token_is_renewed_when_half_of_its_time_is_over(said: SaidApi, api: Api) -> None:
    for minutes_ago, asked in ((7, ["/v1/stock"]), (8, ["/v1/sessions/refresh", "/v1/stock"])):
        api.credential = token_of(NOW - timedelta(minutes=minutes_ago))
        said.asked.clear()
        await api.get("/v1/stock")
        assert [request.path for request in said.asked] == asked
    assert said.asked[-1].headers["Authorization"] == f"Bearer {RENEWED}"


async def test_while_catalog_is_away_the_token_goes_on_until_its_end(said: SaidApi, api: Api) -> None:
    said.answers["/v1/sessions/refresh"] = (503, {"detail": "Catalog is starting.", "code": "not_ready"})
    api.credential = token_of(NOW - timedelta(minutes=14))
    assert await api.get("/v1/stock") == {"items": []}
    api.credential = token_of(NOW - timedelta(minutes=15))
    with pytest.raises(RefusedError, match="Catalog is starting"):
        await api.get("/v1/stock")


async def test_who_was_disabled_is_out_at_once(said: SaidApi, api: Api) -> None:
    said.answers["/v1/sessions/refresh"] = (401, {"detail": "This user is disabled.", "code": "invalid_token"})
    api.credential = token_of(NOW - timedelta(minutes=8))
    with pytest.raises(RefusedError, match="disabled"):
        await api.get("/v1/stock")


async def test_a_page_on_which_somebody_types_for_long_keeps_its_token(
    said: SaidApi, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = []
    drawn_with = SimpleNamespace(timer=lambda seconds, tick, **_: ticks.append((seconds, tick)))
    monkeypatch.setattr(frame, "ui", drawn_with)
    frame.keep_signed_in(Visit(api, {"user": None}, "/products/new"))
    assert ticks == [], "API keys end when they end"
    frame.keep_signed_in(Visit(api, {"user": {"email": "clerk@supplier-a.example"}}, "/products/new"))
    ((seconds, tick),) = ticks
    # The shortest life of a token is a minute (BASESTOCK_TOKEN_MINUTES): twice in the second half of it.
    assert seconds < 30
    api.credential = token_of(NOW - timedelta(minutes=8))
    said.answers["/v1/sessions/refresh"] = (503, {})
    await tick()
    said.answers["/v1/sessions/refresh"] = (200, {"token": RENEWED})
    await tick()
    assert api.credential == Credential("user", RENEWED)
