"""Services served over a real port inside the test's own event loop, and a small client to call them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from shared.messaging.bus import Bus
from shared.serve import app_of, serve_app
from shared.service import Service
from shared.settings import Settings

# What these tests' notifiers encrypt webhook secrets with.
ENCRYPTION_KEY = "the key of these tests' webhook secrets"


@asynccontextmanager
async def serving(services: Sequence[Service], settings: Settings, bus: Bus) -> AsyncIterator[str]:
    """Run these services on `bus` and migrated databases, on one free port; yields the base URL once it answers.

    The bus stays the caller's: it is not closed here. A part of a service that dies of a bug ends the block with it.
    """
    async with app_of(services, settings, bus) as app:
        stop = asyncio.Event()
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve_app(app, "127.0.0.1", 0, stop, on_ready=url.set_result))
        try:
            waiting: list[asyncio.Future[Any]] = [server, url]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not url.done():
                await server  # raises what kept it from starting
            yield url.result()
        finally:
            stop.set()
            await server


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: `body` is parsed where it is JSON, else text; the case of headers' names does not matter."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Client:
    """Calls one base URL with one API key (or none); `async with Client(url, key) as client`."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Call `url` as whoever owns `key`."""
        self._url, self.key = url, key
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def __aenter__(self) -> Self:
        # Shorter than uvicorn's 5 s: a POST into a connection that is just being closed fails, on a busy machine often.
        connector = aiohttp.TCPConnector(keepalive_timeout=1)
        self._session = aiohttp.ClientSession(self._url, headers=self._headers, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, json: object = None, **options: Any) -> Answer:  # noqa: ANN401 - aiohttp's
        """Send one request; `options` are aiohttp's (`params`, `headers`, `data`)."""
        async with self._session.request(method, path, json=json, **options) as response:
            is_json = response.content_type.endswith(("/json", "+json"))
            body = await (response.json(content_type=None) if is_json else response.text())
            return Answer(response.status, body, response.headers)

    async def get(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - aiohttp's
        """GET."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: object = None, **options: Any) -> Answer:  # noqa: ANN401 - aiohttp's
        """POST a JSON body."""
        return await self.call("POST", path, json, **options)

    async def patch(self, path: str, json: object = None, **options: Any) -> Answer:  # noqa: ANN401 - aiohttp's
        """PATCH with a JSON body."""
        return await self.call("PATCH", path, json, **options)

    async def delete(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - aiohttp's
        """DELETE."""
        return await self.call("DELETE", path, **options)
