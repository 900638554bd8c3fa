"""A retailer's end of the webhooks: a real HTTP server that records every call and checks every signature."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared import clock

DEADLINE_SECONDS = 20
# From bytes in a socket to `handle` a call takes five turns of the event loop; each turn of a busy machine may last.
BEAT_SECONDS, BEATS_BEFORE_HANDLING = 0.005, 8


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """One call as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    arrived_at: float
    """Seconds on the monotonic clock, by which it had come."""
    arrived_after: float
    """Seconds on the monotonic clock, at which it may not have come yet: what waits for a busy loop came before."""

    @property
    def stock(self) -> list[dict[str, Any]]:
        """The items of a `stock_level` payload."""
        items: list[dict[str, Any]] = json.loads(self.body)["stock"]
        return items

    @property
    def available(self) -> dict[int, int]:
        """`{base stock product id: quantity_available}` of a `stock_level` payload."""
        return {item["linked"][0]["product"]["id"]: item["quantity_available"] for item in self.stock}


class Receiver:
    """What came in (`calls`, and `samples` apart), and how to answer.

    `secrets` are those of the endpoints that lead here.
    """

    def __init__(self) -> None:
        """Answer 204 to everything."""
        self.url = ""
        self.calls: list[ReceivedCall] = []
        self.samples: list[ReceivedCall] = []
        self.secrets: list[str] = []
        # Of an endpoint whose registration was not answered nobody knows the secret, and it was pinged all the same.
        self.paths_without_secret: set[str] = set()
        self._unverified: list[ReceivedCall] = []
        self._beats = deque([clock.monotonic()], maxlen=BEATS_BEFORE_HANDLING)
        self._answer: tuple[int, bytes, dict[str, str]] = (204, b"", {})
        self._status_of: Callable[[ReceivedCall], int] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._arrived = asyncio.Condition()

    def answer_with(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer like this from now on."""
        self._answer = (status, body, dict(headers or {}))
        self._status_of = None

    def answer_by(self, status_of: Callable[[ReceivedCall], int]) -> None:
        """Answer each call with the status that this says, from now on."""
        self._status_of = status_of

    def hold(self) -> None:
        """Take calls, but do not answer them until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Answer the calls that are held, and all later ones at once."""
        self._open.set()

    async def wait_for_calls(self, count: int) -> None:
        """Return once `count` calls came in; fails after a while."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    async def wait_for_samples(self, count: int) -> None:
        """Return once `count` samples came in; fails after a while."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.samples) >= count)

    async def beat(self) -> None:
        """Note how the event loop turns, until cancelled."""
        while True:
            self._beats.append(clock.monotonic())
            await clock.sleep(BEAT_SECONDS)

    async def handle(self, request: web.Request) -> web.Response:
        """Record one call and answer it."""
        arrived_at, arrived_after = clock.monotonic(), self._beats[0]
        call = ReceivedCall(request.path, dict(request.headers), await request.read(), arrived_at, arrived_after)
        async with self._arrived:
            (self.samples if _is_sample(call) else self.calls).append(call)
            self._unverified.append(call)
            self._arrived.notify_all()
        await self._open.wait()
        status, body, headers = self._answer
        if self._status_of is not None:
            status = self._status_of(call)
        return web.Response(status=status, body=body, headers=headers)

    def verify(self) -> None:
        """Raise unless each call was signed with one of `secrets`, by the reference library.

        It refuses signatures older than five minutes: verify a longer run in between.
        """
        for call in self._unverified:
            if call.path in self.paths_without_secret and call in self.samples:
                continue
            headers = {name.lower(): value for name, value in call.headers.items()}
            if not any(self._is_signed(call, headers, secret) for secret in self.secrets):
                message = f"call {call.path} is not signed with any secret of this receiver: {headers}"
                raise AssertionError(message)
        self._unverified.clear()

    @staticmethod
    def _is_signed(call: ReceivedCall, headers: dict[str, str], secret: str) -> bool:
        try:
            Webhook(secret).verify(call.body, headers)
        except WebhookVerificationError:
            return False
        return True


def _is_sample(call: ReceivedCall) -> bool:
    body = json.loads(call.body)
    return "test" in body or body.get("type") == "ping"


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port of 127.0.0.1; leaving checks that every call was signed."""
    received = Receiver()
    app = web.Application(client_max_size=1024 * 1024)
    app.router.add_route("*", "/{path:.*}", received.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    received.url = f"http://127.0.0.1:{port}/stock"
    beating = asyncio.create_task(received.beat())
    try:
        yield received
    finally:
        beating.cancel()
        received.release()
        await runner.cleanup()
    received.verify()
