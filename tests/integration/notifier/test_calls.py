"""One call on a real network: what is sent, where it may go, and how each way to fail is told from the others."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from services.notifier.deliver import delivering, retry_after_seconds
from services.notifier.domain.calls import Outcome
from services.notifier.signing import new_secret, signed_headers
from shared import clock
from tests.receiver import Receiver, receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
DEADLINE_SECONDS = 20
BODY = b'{"stock":[]}'

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def call(url: str, shop: Receiver | None = None, *, seconds: float = 5, public_only: bool = False) -> Outcome:
    secret = new_secret()
    if shop is not None:
        shop.secrets.append(secret)
    headers = signed_headers([secret], "msg_1", int(clock.utc_now().timestamp()), BODY)
    async with delivering(() if public_only else LOOPBACK) as deliverer, asyncio.timeout(seconds + DEADLINE_SECONDS):
        return await deliverer.post(url, headers, BODY, clock.monotonic() + seconds)


@asynccontextmanager
async def server_that(talk: Talk) -> "AsyncIterator[str]":
    """A raw TCP server on 127.0.0.1 that does `talk` with each connection; yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_call_carries_the_exact_body_and_asks_for_no_compression() -> None:
    async with receiver() as shop:
        outcome = await call(shop.url, shop)
        assert outcome == Outcome(None, 204, response_body="")
        (received,) = shop.calls
        assert received.body == BODY
        assert received.headers["Content-Type"] == "application/json"
        assert received.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in received.headers


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with receiver() as elsewhere, receiver() as shop:
        shop.answer_with(307, headers={"Location": elsewhere.url})
        outcome = await call(shop.url, shop)
        assert (outcome.error, outcome.status) == ("http", 307)
        assert elsewhere.calls == []


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as shop:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert (await call(shop.url, shop)).delivered
        assert proxy.calls == []


async def test_an_endpoint_that_cannot_be_reached_was_provably_not_told() -> None:
    async with receiver() as gone:
        url = gone.url
    refused = await call(url)
    assert (refused.error, refused.may_have_arrived) == ("refused", False)
    unknown = await call("http://no-such-shop.invalid/")
    assert (unknown.error, unknown.may_have_arrived) == ("dns", False)
    async with receiver() as plain:
        no_tls = await call(plain.url.replace("http://", "https://"))
        assert (no_tls.error, no_tls.may_have_arrived) == ("tls", False)


async def test_an_endpoint_that_does_not_answer_in_time_may_have_been_told() -> None:
    async with receiver() as slow:
        slow.hold()
        outcome = await call(slow.url, slow, seconds=0.2)
        assert (outcome.error, outcome.may_have_arrived) == ("timeout", True)


async def test_an_answer_that_drips_does_not_outlast_the_limit() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n1")
        await reader.read()

    async with server_that(drip) as url:
        assert (await call(url, seconds=0.2)).error == "timeout"


async def test_a_connection_that_breaks_off_may_have_told() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with server_that(hang_up) as url:
        outcome = await call(url)
        assert (outcome.error, outcome.may_have_arrived) == ("reset", True)


async def test_an_answer_that_is_not_http_is_a_failure() -> None:
    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()

    async with server_that(chat) as url:
        outcome = await call(url)
        assert (outcome.error, outcome.may_have_arrived) == ("http", True)


async def test_an_endless_answer_is_read_up_to_the_limit_only() -> None:
    cut_off = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except ConnectionError:
            cut_off.set()

    async with server_that(flood) as url:
        outcome = await call(url)
        assert (outcome.delivered, outcome.response_body) == (True, "x" * 1024)
        await asyncio.wait_for(cut_off.wait(), 5)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    async with receiver() as shop:
        packed = gzip.compress(b"0" * 1_000_000)
        shop.answer_with(200, packed, {"Content-Encoding": "gzip"})
        outcome = await call(shop.url, shop)
        assert outcome.delivered
        assert outcome.response_body is not None
        assert "0000" not in outcome.response_body
        assert "\0" not in outcome.response_body  # PostgreSQL would refuse it


async def test_past_its_deadline_nothing_is_sent() -> None:
    async with receiver() as shop:
        outcome = await call(shop.url, seconds=0)
        assert (outcome.error, outcome.may_have_arrived) == ("late", False)
        assert shop.calls == []


async def test_retry_after_is_heard_as_seconds_or_as_a_date() -> None:
    async with receiver() as busy:
        busy.answer_with(429, headers={"Retry-After": "1200"})
        outcome = await call(busy.url, busy)
        assert (outcome.status, outcome.retry_after_seconds) == (429, 1200)
    assert retry_after_seconds("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert (retry_after_seconds("Fri, 31 Dec 2100 23:59:59 GMT") or 0) > 86_400
    assert retry_after_seconds("soon") is None
    assert retry_after_seconds("Mon, 20 Nov 1995 19:12:08 +99999999999999999999") is None
    assert retry_after_seconds("Mon Nov 20 19:12:07777777777778 1995") is None
    assert retry_after_seconds(None) is None
