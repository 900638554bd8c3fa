"""The console before an API that answers what a test says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.console.app import console_app
from services.console.front import Guarded
from shared.scopes import ALL_SCOPES
from shared.settings import Settings

URL = "http://console.example"
SECRET = "the secret that seals the cookies of these tests"
SUPPLIER = {"id": 1, "name": "Supplier A", "role": "supplier", "ref": "supplier-a", "oversell_policy": "backorder"}
KEY = {"role": "supplier", "company": SUPPLIER, "user": None, "key_id": 7, "actor": "key 7", "scopes": list(ALL_SCOPES)}


@dataclass
class SaidApi:
    """An API whose answers, `(status, body)` by path, a test says; all others are 404. `asked` are its requests."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=lambda: {"/v1/me": (200, KEY)})
    asked: list[web.Request] = field(default_factory=list)

    instead: Callable[[web.Request], Awaitable[web.Response]] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if self.instead is not None:
            return await self.instead(request)
        missing = (404, {"detail": "There is nothing.", "code": "not_found"})
        status, body = self.answers.get(request.path, missing)
        return web.json_response(body, status=status)


@dataclass(frozen=True)
class ConsoleOfTest:
    """The console's client, as a browser that keeps cookies, and the API behind it."""

    browser: httpx.AsyncClient
    api: SaidApi

    async def sign_in(self) -> httpx.Response:
        """Sign in with a key."""
        return await self.browser.post("/sign-in", data={"key": "bsk_1"}, headers={"Origin": URL})


@pytest.fixture
async def console() -> AsyncIterator[ConsoleOfTest]:
    api = SaidApi()
    served = web.Application()
    served.router.add_route("*", "/{path:.*}", api.answer)
    async with TestServer(served) as server:
        settings = Settings(token_secret=SECRET)
        async with console_app(settings, lambda: str(server.make_url(""))) as app:
            transport = httpx.ASGITransport(app=Guarded(app), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=URL) as browser:
                yield ConsoleOfTest(browser, api)
