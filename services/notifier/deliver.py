"""Makes one webhook call and says what came of it."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult

from services.notifier.domain.calls import CallError, Outcome
from shared import clock
from shared.network_guard import (
    AddressInfo,
    ForbiddenAddressError,
    GuardedResolver,
    GuardedSockets,
    Network,
    ResolverBusyError,
)

CONNECT_SECONDS = 5.0
# What an endpoint may answer: it says yes or no, we have no use for more.
RESPONSE_LIMIT_BYTES = 16_384
LOGGED_BYTES = 1024
# Shorter than any server's own limit that we know of (Node.js closes after 5 s): a request sent into a connection
# that is just being closed may have arrived or not, and would cost a window.
KEEP_ALIVE_SECONDS = 2.0
DNS_CACHE_SECONDS = 10
# Identity: nothing to unpack, so nothing that unpacks to gigabytes.
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "basestock-webhooks/1"}

# The first that fits counts. Not just any TLS error is `tls`: later ones come when the request may have arrived.
CLASSES: tuple[tuple[type[Exception], CallError], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.InvalidURL, "dns"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorError, "refused"),
    (aiohttp.ConnectionTimeoutError, "refused"),
    (TimeoutError, "timeout"),
    (aiohttp.ClientResponseError, "http"),
)
# No fault of any endpoint's: this machine has no sockets left, or no way out.
OWN_ERRNOS = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL),
}
# One text for all of it: what leads into our own network must not be told from what does not exist.
NOT_FOUND = "the host name was not found, or leads to an address that is not public"
NO_IPV6 = "our network has no IPv6: give the host an IPv4 address as well"
# Any that is no network's own (TEST-NET-1); nothing is sent there.
ANY_IPV4 = ("192.0.2.1", 9)
# When a name server does not answer, others that were asked within this time tell whether any does.
NAMES_SECONDS = 60.0


class NameServers:
    """Tells a retailer's broken zone from our own broken name servers, by whether other names can be looked up."""

    def __init__(self) -> None:
        """Nothing has been looked up."""
        # When the last two names were, the newest last: one of them is another than whichever is asked about.
        self._found_at: dict[str, float] = {}

    def found(self, name: str) -> None:
        """Note that `name` was looked up."""
        self._found_at.pop(name, None)
        self._found_at[name] = clock.monotonic()
        if len(self._found_at) > 2:  # noqa: PLR2004 - see above
            del self._found_at[next(iter(self._found_at))]

    def answer_for_others(self, name: str) -> bool:
        """Whether any other name than this was found lately."""
        since = clock.monotonic() - NAMES_SECONDS
        return any(other != name and at >= since for other, at in self._found_at.items())


class NotingResolver(GuardedResolver):
    """A resolver that notes which names it found; literal addresses do not come here."""

    def __init__(self, exceptions: Sequence[Network], name_servers: NameServers) -> None:
        """Let addresses in `exceptions` pass as well."""
        super().__init__(exceptions)
        self._name_servers = name_servers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises as `GuardedResolver` does."""
        found = await super().resolve(host, port, family)
        self._name_servers.found(host)
        return found


def has_way(family: int, address: Any) -> bool:  # noqa: ANN401 - a socket's address
    """Whether this machine knows a way to the address; sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError:
        return False
    return True


class Sockets(GuardedSockets):
    """Makes the sockets of calls, to public addresses only, and to none that no call can reach from here."""

    def __call__(self, info: AddressInfo) -> socket.socket:
        """A socket to dial `info`; raises `ForbiddenAddressError`, or an `OSError` without a way to any IPv6 address.

        Where the network is there and has no IPv6, it is no failure that passes: no receiver that has nothing else will
        ever be called from here. So it counts as the receiver's, who alone can mend it, and is told how in the log of
        its calls: it is called less and less often, and disabled in the end, as one whose name leads nowhere is. A day
        without IPv6 of a network that has it is too short for that. A network that is away altogether is our own.
        """
        made = super().__call__(info)
        family, address = info[0], info[4]
        if family == socket.AF_INET6 and not has_way(family, address) and has_way(socket.AF_INET, ANY_IPV4):
            made.close()
            raise OSError(errno.EAFNOSUPPORT, NO_IPV6)
        return made


class Deliverer:
    """Calls webhooks over one pool of connections; made by `delivering`."""

    def __init__(self, session: aiohttp.ClientSession, name_servers: NameServers | None = None) -> None:
        """Call through `session`, which keeps out of private networks and notes in `name_servers` what it found."""
        self._session = session
        self._name_servers = name_servers or NameServers()

    async def post(self, url: str, headers: dict[str, str], body: bytes, deadline: float) -> Outcome:
        """Send `body`, exactly, and hear the answer, all before `deadline` on the monotonic clock.

        Past the deadline nothing is sent: whoever slept that long no longer holds the lease. Raises nothing that an
        endpoint can cause.
        """
        seconds = deadline - clock.monotonic()
        if seconds <= 0:
            return Outcome("late", detail="the sender was too slow: nothing was sent", charged=False)
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(url, headers=headers, data=body, allow_redirects=False) as response,
            ):
                return _answered(response.status, response.headers, await _read(response))
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a time-out is an OSError
            charged = not _is_own(error, self._name_servers)
            return Outcome(_class_of(error), detail=_in_words(error, seconds), charged=charged)


@asynccontextmanager
async def delivering(allow_networks: Sequence[Network]) -> AsyncIterator[Deliverer]:
    """A deliverer that reaches public addresses and `allow_networks`, open until the block ends."""
    name_servers = NameServers()
    connector = aiohttp.TCPConnector(
        # The sender bounds how many calls are under way.
        limit=0,
        resolver=NotingResolver(allow_networks, name_servers),
        socket_factory=Sockets(allow_networks),
        ttl_dns_cache=DNS_CACHE_SECONDS,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        headers=HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=RESPONSE_LIMIT_BYTES,
        # The whole exchange is limited by the deadline.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
    ) as session:
        yield Deliverer(session, name_servers)


async def _read(response: aiohttp.ClientResponse) -> str:
    """The first KiB of the answer; what lies beyond the limit is not read, and the connection is given up."""
    read = bytearray()
    async for chunk in response.content.iter_any():
        read += chunk
        if len(read) > RESPONSE_LIMIT_BYTES:
            response.close()
            break
    # PostgreSQL's text takes no NUL.
    return read[:LOGGED_BYTES].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _answered(status: int, headers: Mapping[str, str], start: str) -> Outcome:
    if 200 <= status < 300:  # noqa: PLR2004 - the definition of success
        return Outcome(None, status, response_body=start)
    redirected = " (redirects are not followed)" if "Location" in headers else ""
    return Outcome(
        "http",
        status,
        detail=f"answered {status}{redirected}",
        response_body=start,
        retry_after_seconds=retry_after_seconds(headers.get("Retry-After")),
    )


def retry_after_seconds(value: str | None) -> float | None:
    """`Retry-After` as seconds from now (RFC 9110, 10.2.3: a number or a date); `None` when absent or nonsense."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for numbers that no date has
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - clock.utc_now()).total_seconds())


def _class_of(error: Exception) -> CallError:
    found: CallError = next((name for kind, name in CLASSES if isinstance(error, kind)), "reset")
    if found == "refused" and isinstance(getattr(error, "os_error", None), ForbiddenAddressError):
        return "forbidden"
    return found


def _is_own(error: Exception, name_servers: NameServers) -> bool:
    """Whether the failure is our machine's or our network's, and says nothing about the endpoint."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ResolverBusyError):
        return True
    if isinstance(cause, socket.gaierror):
        name = error.host if isinstance(error, aiohttp.ClientConnectorError) else ""
        return cause.errno == socket.EAI_AGAIN and not name_servers.answer_for_others(name)
    return isinstance(cause, OSError) and cause.errno in OWN_ERRNOS


def _in_words(error: Exception, seconds: float) -> str:
    if _class_of(error) == "dns":
        return NOT_FOUND
    if isinstance(error, TimeoutError) and not str(error):
        return f"no complete answer within {seconds:.1f} s"
    return f"{type(error).__name__}: {error}".replace("\0", "")[:500]
