"""Keeps calls to addresses that companies choose out of networks that are not the public internet (SSRF).

A company chooses the URL (of webhooks, of files to import), so the address behind it is checked each time a connection
is made: in the resolver, which covers names, and when the socket is made, which covers literal addresses and whatever
a resolver might let through. The ranges are IANA's special-purpose registries.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# As aiohttp hands it to a socket factory: family, type, protocol, canonical name, socket address.
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]

FORBIDDEN: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # ::, ::1 and the long deprecated form that has an IPv4 address inside.
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/32",
        "2001:2::/48",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)

URL_LIMIT_CHARACTERS = 2048
# A host whose last label is a number is an IPv4 address to some resolvers: 127.1, 2130706433, 0x7f.1.
NUMERIC_LABEL = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")
# A look-up that hangs holds its thread for as long as the resolver tries, whatever we do: retailers with dead name
# servers must not use up the threads of all others.
RESOLVER_THREADS = 64
# Most resolvers have asked two name servers by then, and it leaves two thirds of a webhook's usual time for the call.
LOOK_UP_SECONDS = 5.0


class ForbiddenAddressError(OSError):
    """The address is not one that may be called."""


class ResolverBusyError(socket.gaierror):
    """The name was not looked up, as other look-ups hang: no fault of its own."""


class UrlError(ValueError):
    """The text cannot be a URL to call; says why."""


def canonical(address: Address) -> Address:
    """The address that packets go to: `::ffff:10.0.0.1` is 10.0.0.1."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def is_allowed(address: Address, exceptions: Sequence[Network]) -> bool:
    """Whether it may be called: it is public, or in one of `exceptions` (`webhook_allow_networks`)."""
    target = canonical(address)
    return any(target in network for network in exceptions) or not any(target in network for network in FORBIDDEN)


def check(address: str, exceptions: Sequence[Network]) -> None:
    """Raise `ForbiddenAddressError` unless this literal address may be called, with or without a scope id."""
    if not is_allowed(ip_address(address.partition("%")[0]), exceptions):
        message = f"{address} is not a public address"
        raise ForbiddenAddressError(message)


def check_url(url: str, exceptions: Sequence[Network]) -> None:
    """Raise `UrlError` or `ForbiddenAddressError` unless `url` can be called.

    A name is only known to be good when it is resolved, which happens at each connection.
    """
    if len(url) > URL_LIMIT_CHARACTERS or not url.isprintable() or " " in url:
        message = f"a URL has at most {URL_LIMIT_CHARACTERS} characters, no spaces and no control characters"
        raise UrlError(message)
    try:
        # The sender's own parser: two of them could disagree on where the host is.
        parsed = URL(url)
        port, host = parsed.explicit_port, parsed.host
    except ValueError as error:
        message = f"not a URL: {error}"
        raise UrlError(message) from error
    if parsed.scheme not in {"http", "https"} or not host:
        message = "the URL starts with https:// (or http://) and names a host"
        raise UrlError(message)
    if parsed.user is not None or parsed.password is not None:
        message = "no user or password in the URL: it is kept and shown"
        raise UrlError(message)
    if port == 0:
        message = "port 0 cannot be called"
        raise UrlError(message)
    _check_host(host, exceptions)


def _check_host(host: str, exceptions: Sequence[Network]) -> None:
    try:
        check(host, exceptions)
    except ForbiddenAddressError:
        raise
    except ValueError:
        if NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
            message = f"write the address {host} as four decimal numbers, or use a name"
            raise UrlError(message) from None
        try:
            host.encode("idna")
        except UnicodeError as error:
            message = f"{host} is no name that can be looked up: {error}"
            raise UrlError(message) from error


class GuardedResolver(AbstractResolver):
    """Resolves names to public addresses only."""

    def __init__(self, exceptions: Sequence[Network]) -> None:
        """Let addresses in `exceptions` pass as well."""
        self._exceptions = exceptions
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="guarded-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises `ForbiddenAddressError` if any of them is not public.

        Raises `socket.gaierror` when it is not found, or not within `LOOK_UP_SECONDS`.
        """
        try:
            found = await self._look_up(host, port, family)
        except UnicodeError as error:
            message = f"{host!r} cannot be looked up: {error}"
            raise OSError(message) from error
        for *_, address in found:
            check(str(address[0]), self._exceptions)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> Sequence[AddressInfo]:
        has_begun = threading.Event()

        def look_up() -> Sequence[AddressInfo]:
            has_begun.set()
            return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)

        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        except TimeoutError as error:
            if not has_begun.is_set():
                raise ResolverBusyError(socket.EAI_AGAIN, "too many other names are being looked up") from error
            message = f"no answer within {LOOK_UP_SECONDS:g} s"
            raise socket.gaierror(socket.EAI_AGAIN, message) from error

    async def close(self) -> None:
        """Stop the threads; those that hang end with their look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class GuardedSockets:
    """Makes the sockets of connections to public addresses only: aiohttp asks for one right before it dials."""

    def __init__(self, exceptions: Sequence[Network]) -> None:
        """Let addresses in `exceptions` pass as well."""
        self._exceptions = exceptions

    def __call__(self, info: AddressInfo) -> socket.socket:
        """A socket to dial `info`; raises `ForbiddenAddressError`."""
        family, kind, protocol, _, address = info
        check(str(address[0]), self._exceptions)
        return socket.socket(family, kind, protocol)
