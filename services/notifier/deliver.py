"""Makes one webhook call and says what came of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp

from services.notifier.domain.calls import CallError, Outcome
from shared import clock
from shared.network_guard import ForbiddenAddressError, GuardedResolver, GuardedSockets, Network

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


class Deliverer:
    """Calls webhooks over one pool of connections; made by `delivering`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Call through `session`, which keeps out of private networks."""
        self._session = session

    async def post(self, url: str, headers: dict[str, str], body: bytes, deadline: float) -> Outcome:
        """Send `body`, exactly, and hear the answer, all before `deadline` on the monotonic clock.

        Past the deadline nothing is sent: whoever slept that long no longer holds the lease. Raises nothing that an
        endpoint can cause.
        """
        seconds = deadline - clock.monotonic()
        if seconds <= 0:
            return Outcome("late", detail="the sender was too slow: nothing was sent")
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(url, headers=headers, data=body, allow_redirects=False) as response,
            ):
                return _answered(response.status, response.headers, await _read(response))
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a time-out is an OSError
            return Outcome(_class_of(error), detail=_in_words(error, seconds))


@asynccontextmanager
async def delivering(allow_networks: Sequence[Network]) -> AsyncIterator[Deliverer]:
    """A deliverer that reaches public addresses and `allow_networks`, open until the block ends."""
    connector = aiohttp.TCPConnector(
        # The sender bounds how many calls are under way.
        limit=0,
        resolver=GuardedResolver(allow_networks),
        socket_factory=GuardedSockets(allow_networks),
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
        yield Deliverer(session)


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
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddressError):
        return "forbidden"
    return next((name for kind, name in CLASSES if isinstance(error, kind)), "reset")


def _in_words(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no complete answer within {seconds:.1f} s"
    return f"{type(error).__name__}: {error}".replace("\0", "")[:500]
