"""Fetches the file of an import from where its supplier says, and from no private network."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

import aiohttp
from yarl import URL

from services.inventory.sync_files import FILE_LIMIT_BYTES
from shared.network_guard import ForbiddenAddressError, GuardedResolver, GuardedSockets, Network, UrlError, check_url

FETCH_SECONDS = 60
CONNECT_SECONDS = 5
# Identity: what a server packs on its way could unpack to gigabytes.
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "basestock-imports/1"}
OK = 200


class FetchError(Exception):
    """The file cannot be had; says why."""


def check_items_url(url: str, allow_networks: Sequence[Network]) -> None:
    """Raise `UrlError` or `ForbiddenAddressError` unless a file can be fetched from `url`.

    Over TLS, but for addresses in `allow_networks` (development and tests).
    """
    check_url(url, allow_networks)
    parsed = URL(url)
    if parsed.scheme != "https" and not _is_in(parsed.host or "", allow_networks):
        message = "the URL of a file starts with https://"
        raise UrlError(message)


def _is_in(host: str, networks: Sequence[Network]) -> bool:
    with suppress(ValueError):  # a name
        return any(ip_address(host) in network for network in networks)
    return False


async def fetch(url: str, allow_networks: Sequence[Network]) -> bytes:
    """The file at `url`; raises `FetchError` when it does not come, comes in part, or is too long."""
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(allow_networks), socket_factory=GuardedSockets(allow_networks)
    )
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            aiohttp.ClientSession(
                connector=connector,
                headers=HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != OK:
                redirected = " (redirects are not followed)" if "Location" in response.headers else ""
                message = f"it was answered {response.status}{redirected}"
                raise FetchError(message)
            return await _read(response)
    except TimeoutError as error:
        message = f"it did not come in whole within {FETCH_SECONDS} s"
        raise FetchError(message) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchError(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    """Why it cannot be had; of an address that may not be called no more than that."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddressError):
        return "its host has no public address"
    return f"{type(error).__name__}: {error}".replace("\0", "")[:500]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > FILE_LIMIT_BYTES:
            message = f"it has more than {FILE_LIMIT_BYTES // 1024**2} MiB"
            raise FetchError(message)
    return bytes(content)
