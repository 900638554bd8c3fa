"""`basestock listen` as somebody who tries out webhooks runs it."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from standardwebhooks import Webhook

from tests.end_to_end.test_command_line import command, output_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ANOTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
STOCK = {
    "stock": [
        {
            "quantity_available": 8,
            "linked": [{"product": {"id": 100, "sku": "T01-S"}, "variant": None}],
            "version": 3,
            "occurred_at": "2026-11-22T09:30:00Z",
            "previous_quantity_available": 10,
            "changes": 1,
        }
    ]
}
VARIANT = {
    "event_type": "variant_stock.updated",
    "payload": {"inventory_id": "main:100", "product_variant_number": "T01-S", "quantity": 5},
}
FULFILLMENT = {
    "type": "fulfillment_request_completed",
    "logical_timestamp": 12,
    "request_id": "01a222f4-e985-7498-be4f-454c98ddb9c5",
    "request_ref": "ff3",
    "quantity": 1,
    "product_id": 100,
    "variant_sku": None,
}


@dataclass
class Listener:
    """The command as it runs."""

    process: asyncio.subprocess.Process
    url: str
    greeting: str

    async def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode()

    async def call(
        self, body: object, *, secret: str = SECRET, at: datetime | None = None, path: str = "", signed: bool = True
    ) -> int:
        """Call it as Basestock does; returns the status of its answer."""
        raw, when = json.dumps(body), at or datetime.now(UTC)
        signature = Webhook(secret).sign("msg_1", when, raw)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": signature,
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, data=raw.encode(), headers=headers if signed else {}) as response,
        ):
            return response.status

    async def end(self) -> int | None:
        """Press Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            await self.process.communicate()
        return self.process.returncode


@asynccontextmanager
async def listening(*arguments: str) -> AsyncIterator[Listener]:
    process = await command("listen", "--port", "0", *arguments, COLUMNS="200")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            greeting = (await process.stdout.readline()).decode()
        found = re.search(r"Listening at (http://\S+)", greeting)
        assert found, greeting
        yield Listener(process, found[1], greeting)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_it_shows_each_call_and_whether_its_signature_is_right() -> None:
    async with listening("--secret", SECRET) as listener:
        told = (
            (STOCK, "stock_level", ["T01-S", "8", "10 before", "version 3"]),
            (VARIANT, "variant_stock.updated", ["main:100", "T01-S", "5"]),
            (FULFILLMENT, "fulfillment_request_completed", ["logical timestamp 12", "ff3", "1 of product 100"]),
            ({"type": "ping", "data": {"endpoint_id": 1}}, "ping", ['{"type": "ping", "data": {"endpoint_id": 1}}']),
            ({"stock": [1]}, "stock_level", ['{"stock": [1]}']),
        )
        for body, kind, cells in told:
            assert await listener.call(body) == 204
            assert re.fullmatch(rf"\d\d:\d\d:\d\d  {kind}  verified  answered 204\n", await listener.line())
            assert re.split(r"\s{2,}", (await listener.line()).strip()) == cells
        assert await listener.call({"test": True, **STOCK}) == 204
        assert "stock_level (a test)" in await listener.line()
        await listener.line()
        assert await listener.call(STOCK, secret=ANOTHER_SECRET) == 401
        assert "NOT verified: No matching signature found  answered 401" in await listener.line()
        assert await listener.end() == 0


async def test_for_programs_each_call_is_one_json_object() -> None:
    async with listening("--secret", SECRET, "--json", "--path", "/stock") as listener:

        async def heard() -> dict[str, Any]:
            told: dict[str, Any] = json.loads(await listener.line())
            return told

        assert listener.url.endswith("/stock")
        assert await listener.call(STOCK) == 204
        told = await heard()
        assert datetime.fromisoformat(told.pop("at")).tzinfo is not None
        assert told == {
            "path": "/stock",
            "webhook_id": "msg_1",
            "kind": "stock_level",
            "verified": True,
            "wrong": None,
            "answered": 204,
            "body": STOCK,
        }
        assert await listener.call(STOCK, at=datetime.now(UTC) - timedelta(minutes=6)) == 401
        assert (told := await heard())["verified"] is False
        assert told["wrong"] == "Message timestamp too old"
        assert await listener.call(STOCK, signed=False) == 401
        assert (await heard())["wrong"] == "Missing required headers"
        assert await listener.call(STOCK, path="/elsewhere") == 404
        assert await listener.end() == 0


async def test_without_a_secret_it_says_that_nothing_is_verified() -> None:
    async with listening() as listener:
        assert "not verified" in listener.greeting
        assert await listener.call(STOCK, signed=False, path="/any/path") == 204
        assert "not checked  answered 204" in await listener.line()


async def test_it_plays_a_shop_that_fails() -> None:
    async with listening("--secret", SECRET, "--answer", "503", "--json") as listener:
        assert await listener.call(STOCK) == 503
        assert json.loads(await listener.line())["verified"] is True
        assert await listener.call(STOCK, secret=ANOTHER_SECRET) == 401


async def test_what_is_no_secret_is_refused_in_words() -> None:
    status, said = await output_of("listen", "--secret", "whsec_")
    assert status == 2
    assert "it is not a secret like whsec_" in said
