"""RabbitMQ's management HTTP API, as far as publishers need it (https://www.rabbitmq.com/docs/management#http-api)."""

import re
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from yarl import URL

from shared.messaging.bus import INTAKE_EXCHANGE

# Whom we made, and may change and remove: nobody else's user.
TAG = "basestock-publisher"
TOPIC = "orders.submitted"
NOTHING = "^$"
NOT_FOUND = 404


class RabbitManagement:
    """One virtual host of a RabbitMQ, through its HTTP API; a context manager. All raise `RuntimeError` in words."""

    def __init__(self, url: str, vhost: str) -> None:
        """Talk to `http(s)://user:password@host:port`."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._root = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/api"
        self._vhost = quote(vhost, safe="")
        auth = aiohttp.BasicAuth(unquote(parts.username or ""), unquote(parts.password or ""))
        self._client = aiohttp.ClientSession(auth=auth, timeout=aiohttp.ClientTimeout(total=30))

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._client.close()

    async def is_publisher(self, user: str) -> bool:
        """Whether there is such a user; refuses one that was not made for a publisher."""
        found = await self._find(f"users/{user}")
        if found is None:
            return False
        tags = found["tags"] if isinstance(found["tags"], list) else found["tags"].split(",")
        if TAG not in tags:
            message = f"The broker has a user {user} already, which is no publisher's: take another name."
            raise RuntimeError(message)
        return True

    async def may_publish(self, user: str) -> bool:
        """Whether the user has its rights, which it gets last."""
        return await self._find(f"permissions/{self._vhost}/{user}") is not None

    async def put_publisher(self, user: str, password: str) -> None:
        """Make the user, or give it this password; it may publish orders, and nothing else."""
        await self._send("PUT", f"users/{user}", {"password": password, "tags": TAG})
        topic = {"exchange": INTAKE_EXCHANGE, "write": f"^{re.escape(TOPIC)}$", "read": NOTHING}
        await self._send("PUT", f"topic-permissions/{self._vhost}/{user}", topic)
        rights = {"configure": NOTHING, "write": f"^{re.escape(INTAKE_EXCHANGE)}$", "read": NOTHING}
        await self._send("PUT", f"permissions/{self._vhost}/{user}", rights)

    async def delete_user(self, user: str) -> None:
        """Remove the user; the broker closes its connections."""
        await self._send("DELETE", f"users/{user}", None)

    async def _find(self, path: str) -> dict[str, Any] | None:
        url = URL(f"{self._root}/{path}", encoded=True)
        try:
            async with self._client.get(url) as answer:
                if answer.status == NOT_FOUND:
                    return None
                await self._require(answer)
                found: dict[str, Any] = await answer.json()
                return found
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._silent(error) from error

    async def _send(self, method: str, path: str, body: object) -> None:
        try:
            async with self._client.request(method, URL(f"{self._root}/{path}", encoded=True), json=body) as answer:
                await self._require(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._silent(error) from error

    async def _require(self, answer: aiohttp.ClientResponse) -> None:
        if not answer.ok:
            said = (await answer.text())[:300]
            message = f"The broker's management API at {self._root} refuses: {answer.status} {said}"
            raise RuntimeError(message)

    def _silent(self, error: Exception) -> RuntimeError:
        return RuntimeError(f"The broker's management API at {self._root} does not answer ({error!r}).")
