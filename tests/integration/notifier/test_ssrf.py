"""No call of ours reaches what is not the public internet: by no spelling, no name server, no redirect.

A canary listens on this machine and counts connections. What is allowed goes through the same deliverer, to 127.0.0.2.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import chain, repeat
from typing import Any

import pytest

from services.notifier import deliver
from services.notifier.deliver import Deliverer, delivering
from services.notifier.domain.calls import Outcome
from shared import clock, network_guard
from shared.network_guard import FORBIDDEN

ALLOWED = (ip_network("127.0.0.2/32"),)
CALL_SECONDS = 10
# As getaddrinfo has it.
Found = Callable[..., Sequence[tuple[Any, ...]]]

# Each of them is this machine to some resolver, library or kernel.
SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "0",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "user@127.0.0.1",
    "user:password@localhost",
    "8.8.8.8@127.0.0.1",
    "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT SEVEN}.0.0.1",
    "\N{CIRCLED DIGIT ONE}\N{CIRCLED DIGIT TWO}\N{CIRCLED DIGIT SEVEN}.0.0.1",
    "127\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}1",
    "\N{CIRCLED LATIN SMALL LETTER L}ocalhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::1%25lo]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
]


class Machine:
    """A canary on both loopback addresses, and an endpoint at 127.0.0.2, all at one port."""

    def __init__(self) -> None:
        self.port = 0
        self.canary_connections = 0
        self.calls = 0
        self.answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"

    async def count(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.canary_connections += 1
        writer.close()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.splitlines() if line.lower().startswith(b"content-length: "))
        await reader.readexactly(length)
        self.calls += 1
        writer.write(self.answer)
        writer.close()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    listening = Machine()
    async with await asyncio.start_server(listening.take, "127.0.0.2", 0) as endpoint:
        listening.port = endpoint.sockets[0].getsockname()[1]
        async with (
            await asyncio.start_server(listening.count, "127.0.0.1", listening.port),
            await asyncio.start_server(listening.count, "::1", listening.port),
        ):
            yield listening


@asynccontextmanager
async def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deliverer]:
    """A deliverer that looks a name up for each call, as it does after a while."""
    monkeypatch.setattr(deliver, "DNS_CACHE_SECONDS", 0)
    async with delivering(ALLOWED) as deliverer:
        yield deliverer


async def post(deliverer: Deliverer, url: str) -> Outcome:
    return await deliverer.post(url, {}, b"{}", clock.monotonic() + CALL_SECONDS)


def answers(port: int, *addresses: str) -> Found:
    """A name server whose answers are these, one after the other, the last one for ever."""
    coming: Iterator[str] = chain(addresses[:-1], repeat(addresses[-1]))

    def look_up(*_: object) -> Sequence[tuple[Any, ...]]:
        address = next(coming)
        if ":" in address:
            return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    return look_up


async def test_no_spelling_of_this_machine_is_called(machine: Machine) -> None:
    async with delivering(ALLOWED) as deliverer:
        for host in SPELLINGS:
            outcome = await post(deliverer, f"http://{host}:{machine.port}/")
            assert (outcome.error, outcome.may_have_arrived) in {("forbidden", False), ("dns", False)}, (host, outcome)
        assert machine.canary_connections == 0
        assert (await post(deliverer, f"http://127.0.0.2:{machine.port}/")).delivered
    assert (machine.calls, machine.canary_connections) == (1, 0)


@pytest.mark.parametrize("network", FORBIDDEN, ids=str)
async def test_no_address_of_a_special_range_is_called_as_it_is_or_by_a_name(
    network: network_guard.Network, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = network[0], network[-1]
    middle = network[network.num_addresses // 2]
    async with nothing_cached(monkeypatch) as deliverer:
        for address in (first, middle, last):
            literal = f"[{address}]" if address.version == 6 else str(address)
            assert (await post(deliverer, f"http://{literal}:{machine.port}/")).error == "forbidden", address
            monkeypatch.setattr(socket, "getaddrinfo", answers(machine.port, str(address)))
            named = await post(deliverer, f"http://shop.example:{machine.port}/")
            assert (named.error, named.charged) == ("dns", True), (address, named)
    assert machine.canary_connections == 0


async def test_a_name_inside_is_not_told_from_one_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> Sequence[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    outcomes = []
    async with nothing_cached(monkeypatch) as deliverer:
        for look_up in (answers(80, "10.0.0.1"), unknown):
            monkeypatch.setattr(socket, "getaddrinfo", look_up)
            outcomes.append(await post(deliverer, "http://db.corp.example/"))
    assert outcomes[0] == outcomes[1]
    assert "10.0.0.1" not in str(outcomes[0].detail)


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_elsewhere_at_the_next_call_is_not_followed(
    inside: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers(machine.port, "127.0.0.2", inside))
    async with nothing_cached(monkeypatch) as deliverer:
        url = f"http://shop.example:{machine.port}/"
        assert (await post(deliverer, url)).delivered
        for _ in range(3):
            assert not (await post(deliverer, url)).may_have_arrived
    assert (machine.calls, machine.canary_connections) == (1, 0)


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_whatever_a_resolver_lets_through_is_not_dialled(
    inside: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The look-up that is checked says one thing, the address that is dialled is another.
    monkeypatch.setattr(socket, "getaddrinfo", answers(machine.port, inside))
    checked = network_guard.check

    def blind(address: str, _: Sequence[network_guard.Network]) -> None:
        in_resolver.append(address)

    in_resolver: list[str] = []
    resolve = network_guard.GuardedResolver.resolve

    async def unchecked(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as resolve has it
        monkeypatch.setattr(network_guard, "check", blind)
        try:
            return await resolve(*arguments, **named)
        finally:
            monkeypatch.setattr(network_guard, "check", checked)

    monkeypatch.setattr(network_guard.GuardedResolver, "resolve", unchecked)
    async with nothing_cached(monkeypatch) as deliverer:
        outcome = await post(deliverer, f"http://shop.example:{machine.port}/")
        assert (in_resolver, outcome.error) == ([inside], "forbidden")
    assert machine.canary_connections == 0


async def test_whatever_would_be_dialled_is_not_resolved(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_guard.GuardedSockets, "__call__", lambda _, info: socket.socket(*info[:3]))
    monkeypatch.setattr(socket, "getaddrinfo", answers(machine.port, "127.0.0.1"))
    async with nothing_cached(monkeypatch) as deliverer:
        outcome = await post(deliverer, f"http://shop.example:{machine.port}/")
    assert (outcome.error, machine.canary_connections) == ("dns", 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_into_this_machine_is_not_followed(status: int, machine: Machine) -> None:
    async with delivering(ALLOWED) as deliverer:
        for host in ("127.0.0.1", "[::1]", "localhost", "127.0.0.2"):
            machine.answer = (
                f"HTTP/1.1 {status} Elsewhere\r\nLocation: http://{host}:{machine.port}/\r\n"
                "Content-Length: 0\r\nConnection: close\r\n\r\n"
            ).encode()
            before = machine.calls
            outcome = await post(deliverer, f"http://127.0.0.2:{machine.port}/")
            assert (outcome.error, outcome.status, machine.calls) == ("http", status, before + 1)
    assert machine.canary_connections == 0
