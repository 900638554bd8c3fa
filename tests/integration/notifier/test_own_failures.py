"""Failures of our own machine and network: told from those of endpoints, which are not charged for them."""

import asyncio
import errno
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from services.notifier import deliver
from services.notifier.deliver import NAMES_SECONDS, Deliverer, NameServers, delivering
from services.notifier.domain.calls import Outcome
from shared import clock, network_guard
from shared.network_guard import GuardedSockets
from tests.receiver import receiver

LOOPBACK = (ip_network("127.0.0.0/8"),)
CALL_SECONDS = 10


async def post(deliverer: Deliverer, url: str) -> Outcome:
    return await deliverer.post(url, {}, b"{}", clock.monotonic() + CALL_SECONDS)


@pytest.mark.parametrize(
    "number",
    [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL],
    ids=errno.errorcode.get,
)
async def test_what_this_machine_lacks_is_not_charged(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(number, "it is not there")

    monkeypatch.setattr(GuardedSockets, "__call__", fail)
    async with delivering(LOOPBACK) as deliverer:
        outcome = await post(deliverer, "http://127.0.0.1:1/")
    assert (outcome.error, outcome.charged, outcome.may_have_arrived) == ("refused", False, False)


async def test_what_endpoints_do_is_charged() -> None:
    async with receiver() as gone:
        pass
    async with receiver() as plain, delivering(LOOPBACK) as deliverer:
        plain.answer_with(500)
        plain.verify = lambda: None  # type: ignore[method-assign] # these calls carry no signature
        tls = await post(deliverer, plain.url.replace("http://", "https://"))
        inside = await post(deliverer, "http://10.0.0.1/")
        failed = [tls, inside, await post(deliverer, gone.url), await post(deliverer, plain.url)]
    assert [outcome.error for outcome in failed] == ["tls", "forbidden", "refused", "http"]
    assert all(outcome.charged for outcome in failed)


IPV6 = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("2001:4860:4860::8888", 9))


async def test_a_receiver_that_has_ipv6_alone_is_charged_and_told_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliver, "has_way", lambda family, _: family == socket.AF_INET)
    async with delivering(LOOPBACK) as deliverer:
        outcome = await post(deliverer, "http://[2001:4860:4860::8888]:9/")
    assert (outcome.error, outcome.charged, outcome.may_have_arrived) == ("refused", True, False)
    assert "give the host an IPv4 address as well" in str(outcome.detail)


@pytest.mark.parametrize("ways", [(), (socket.AF_INET6,), (socket.AF_INET, socket.AF_INET6)], ids=str)
def test_a_network_that_is_away_or_has_ipv6_is_asked_to_dial(
    ways: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network dialling fails, and that is our own failure."""
    monkeypatch.setattr(deliver, "has_way", lambda family, _: family in ways)
    deliver.Sockets(LOOPBACK)(IPV6).close()


def test_there_is_a_way_where_packets_could_go() -> None:
    assert deliver.has_way(socket.AF_INET, ("127.0.0.1", 9))
    assert not deliver.has_way(socket.AF_INET, ("255.255.255.255", 9)), "not without asking for it"


async def test_who_was_too_slow_was_we() -> None:
    async with delivering(LOOPBACK) as deliverer:
        outcome = await deliverer.post("http://127.0.0.1:1/", {}, b"{}", clock.monotonic())
    assert (outcome.error, outcome.charged) == ("late", False)


async def test_a_zone_that_does_not_answer_is_its_retailers_while_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, *_: object) -> Sequence[tuple[Any, ...]]:
        if host == "broken.example":
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    monkeypatch.setattr(deliver, "DNS_CACHE_SECONDS", 0)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with delivering(LOOPBACK) as deliverer:

        async def is_charged(host: str) -> bool:
            outcome = await post(deliverer, f"http://{host}:1/")
            assert not outcome.may_have_arrived
            return outcome.charged

        assert not await is_charged("broken.example"), "nobody has answered yet"
        assert await is_charged("unknown.example"), "somebody answered, and knows it not"
        assert await is_charged("127.0.0.1"), "it is there and refuses"
        assert not await is_charged("broken.example"), "that took no name server"
        assert await is_charged("fine.example")
        assert await is_charged("broken.example")
        now += NAMES_SECONDS + 1
        assert not await is_charged("broken.example"), "that was too long ago"


async def test_what_a_name_server_that_hangs_keeps_waiting_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, let_go = threading.Event(), threading.Event()

    def look_up(host: str, port: int, *_: object) -> Sequence[tuple[Any, ...]]:
        if host == "hanging.example":
            hangs.set()
            let_go.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(network_guard, "RESOLVER_THREADS", 1)
    monkeypatch.setattr(deliver, "DNS_CACHE_SECONDS", 0)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with delivering(LOOPBACK) as deliverer:
        try:
            assert (await post(deliverer, "http://fine.example:1/")).error == "refused", "there are name servers"
            monkeypatch.setattr(network_guard, "LOOK_UP_SECONDS", 1.0)
            first = asyncio.create_task(post(deliverer, "http://hanging.example:1/"))
            await asyncio.to_thread(hangs.wait)
            monkeypatch.setattr(network_guard, "LOOK_UP_SECONDS", 0.01)
            busy = await post(deliverer, "http://other.example:1/")
            assert (busy.error, busy.charged, busy.may_have_arrived) == ("dns", False, False), "no thread was left"
            hanging = await first
            assert (hanging.error, hanging.charged, hanging.may_have_arrived) == ("dns", True, False)
        finally:
            let_go.set()


def test_a_name_says_nothing_about_itself() -> None:
    servers = NameServers()
    assert not servers.answer_for_others("a.example")
    servers.found("a.example")
    assert not servers.answer_for_others("a.example")
    assert servers.answer_for_others("b.example")
    for name in ("b.example", "a.example", "a.example"):
        servers.found(name)
    assert servers.answer_for_others("a.example")
    assert servers.answer_for_others("b.example")
