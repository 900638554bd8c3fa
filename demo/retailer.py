"""A retailer's end of the webhooks: a small server that verifies, prints and remembers every call."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from rich.console import Console
from rich.panel import Panel
from rich.text import Text
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from demo.options import LOOPBACK

SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook call: its body, its three signature headers, and whether the signature was right."""

    body: Any
    signature: dict[str, str]
    verified: bool


@dataclass(slots=True)
class Retailer:
    """The server at `url`; `calls` in order of arrival.

    `secret` (`whsec_...`) is handed out when the endpoint is registered, after the server is up; calls before that do
    not verify.
    """

    console: Console
    url: str = ""
    secret: str | None = None
    calls: list[Call] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 204 to a call whose signature is right, 401 to any other; print both."""
        raw = await request.read()
        headers = {name: request.headers.get(name, "") for name in SIGNATURE_HEADERS}
        call = Call(_parsed(raw), headers, verified=self._is_verified(raw, headers))
        if isinstance(call.body, dict) and call.body.get("type") == "ping":
            # The first call to a new endpoint: it tells nothing, and may come before the answer with the secret.
            return web.Response(status=204)
        self._print(call)
        async with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        return web.Response(status=204 if call.verified else 401)

    async def hears(self, wanted: Callable[[Call], bool], timeout_seconds: float) -> bool:
        """Whether a call, past or within the time, is `wanted`."""
        try:
            async with asyncio.timeout(timeout_seconds), self._arrived:
                await self._arrived.wait_for(lambda: any(wanted(call) for call in self.calls))
        except TimeoutError:
            return False
        return True

    def _is_verified(self, raw: bytes, headers: dict[str, str]) -> bool:
        if self.secret is None:
            return False
        try:
            Webhook(self.secret).verify(raw, headers)
        except (WebhookVerificationError, ValueError):  # ValueError: a header that is not even of the right shape
            return False
        return True

    def _print(self, call: Call) -> None:
        verdict = "[bold green]signature verified[/]" if call.verified else "[bold red]signature WRONG: refused[/]"
        headers = "\n".join(f"{name}: {value}" for name, value in call.signature.items())
        body = json.dumps(call.body, indent=2, ensure_ascii=False)
        text = Text.assemble((headers, "dim"), "\n\n", body)
        self.console.print(Panel(text, title=f"Webhook at {self.url}: {verdict}", title_align="left"))


def _parsed(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


@asynccontextmanager
async def demo_retailer(console: Console, host: str = LOOPBACK) -> AsyncIterator[Retailer]:
    """A retailer listening on a free port until the block ends.

    `host` is the name or address under which Basestock reaches this machine; unless it is loopback, the retailer
    listens on all of this machine's addresses.
    """
    retailer = Retailer(console)
    app = web.Application()
    app.router.add_post("/webhooks/stock", retailer.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK if host == LOOPBACK else "0.0.0.0", 0)
        await site.start()
        port = runner.addresses[0][1]
        retailer.url = f"http://{host}:{port}/webhooks/stock"
        yield retailer
    finally:
        await runner.cleanup()
