"""The console's client of the services' HTTP APIs, with the rights of one credential."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from services.console.session import Credential
from shared import clock

UNAUTHORIZED = 401
ANSWER_SECONDS = 30
# A large file is sent while it is read and kept at the other end.
UPLOAD_SECONDS = 900
# No list of the API gives more at once than the shortest of them.
PAGE_ITEMS = 100
NO_ANSWER = "Basestock does not answer. Try again in a moment."

Query = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: its JSON, the version that it tells of (`ETag`), to be sent back as `If-Match`, and its next page.

    `next_address` is where a list goes on that says so in a header (`Link`).
    """

    body: Any
    etag: str | None
    next_address: str | None = None


class RefusedError(Exception):
    """An answer that is no success: `status`, `code` for programs, `detail` for people, and what is wrong by field."""

    def __init__(self, status: int, code: str, detail: str, errors: Mapping[str, str] | None = None) -> None:
        """Keep what was answered."""
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors = status, code, detail, errors or {}

    def __str__(self) -> str:
        """The detail, and each field's error that it does not say itself."""
        more = [f"{field}: {detail}" for field, detail in self.errors.items() if detail not in self.detail]
        return "; ".join([self.detail, *more])


class Api:
    """Calls the services at `base_url` with a credential; every method raises `RefusedError`.

    A user's token is renewed in time; `credential` is the newest.
    """

    def __init__(self, http: aiohttp.ClientSession, base_url: str, credential: Credential | None) -> None:
        """Call with this credential, or with none (to sign in)."""
        self._http, self.base_url, self.credential = http, base_url.rstrip("/"), credential

    async def get(self, path: str, **query: str | int | None) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to GET; a parameter that is `None` or empty is left out."""
        return (await self.call("GET", path, query=query)).body

    async def post(self, path: str, body: object = None, *, once: str | None = None, **query: str | int | None) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to POST of a JSON body; with `once` a second one does no more."""
        return (await self.call("POST", path, body, query=query, once=once)).body

    async def patch(self, path: str, body: object, if_match: str | int | None = None) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to PATCH; with `if_match` only where that is still the version."""
        return (await self.call("PATCH", path, body, if_match=if_match)).body

    async def delete(self, path: str, if_match: str | int | None = None) -> None:
        """DELETE."""
        await self.call("DELETE", path, if_match=if_match)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        if_match: str | int | None = None,
        once: str | None = None,
    ) -> Answer:
        """Any call with a JSON body (or bytes of a file), and its answer; with `once` a second one does no more."""
        await self.renew_in_time()
        headers = self._headers()
        if once is not None:
            headers["Idempotency-Key"] = once
        if if_match is not None:
            headers["If-Match"] = if_match if isinstance(if_match, str) else f'"{if_match}"'
        sent: dict[str, Any] = {"json": body}
        if isinstance(body, bytes | AsyncIterator):
            headers["Content-Type"] = "application/octet-stream"
            sent = {"data": body, "timeout": aiohttp.ClientTimeout(total=UPLOAD_SECONDS)}
        try:
            async with self._http.request(
                method, f"{self.base_url}{path}", params=_given(query), headers=headers, **sent
            ) as response:
                answer = await _json(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RefusedError(503, "no_answer", NO_ANSWER) from error
        if not response.ok:
            raise _refused(response.status, answer)
        following = response.links.get("next")
        return Answer(answer, response.headers.get("ETag"), str(following["url"]) if following else None)

    async def pages(self, path: str, limit: int, **query: str | int | None) -> list[Any]:
        """At most `limit` items of a list that comes in pages, which every service gives 100 of at once."""
        items: list[Any] = []
        cursor: str | int | None = None
        while True:
            page = await self.get(path, **query, cursor=cursor, limit=min(limit - len(items), PAGE_ITEMS))
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None or len(items) >= limit:
                return items

    async def stream(self, path: str, query: Query) -> AsyncIterator[bytes]:
        """The body of a long answer, piece by piece."""
        await self.renew_in_time()
        try:
            async with self._http.get(
                f"{self.base_url}{path}",
                params=_given(query),
                headers=self._headers(),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=ANSWER_SECONDS),
            ) as response:
                if not response.ok:
                    raise _refused(response.status, await _json(response))
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RefusedError(503, "no_answer", NO_ANSWER) from error

    async def renew_in_time(self) -> None:
        """Take a new token for a user's when half of its time is over.

        Until all of it is over, the old one goes on where none is to be had: catalog may be away, others need not be.
        """
        renew_at, ends_at = (self.credential.renew_at, self.credential.ends_at) if self.credential else (None, None)
        now = clock.utc_now()
        if not renew_at or not ends_at or now < renew_at:
            return
        try:
            self.credential = await self._renewed()
        except RefusedError as error:
            if error.status == UNAUTHORIZED or now >= ends_at:
                raise

    async def _renewed(self) -> Credential:
        try:
            async with self._http.post(f"{self.base_url}/v1/sessions/refresh", headers=self._headers()) as response:
                answer = await _json(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RefusedError(503, "no_answer", NO_ANSWER) from error
        if not response.ok:
            raise _refused(response.status, answer)
        return Credential("user", answer["token"])

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.credential.secret}"} if self.credential else {}


def _given(query: Query | None) -> dict[str, str | int]:
    return {name: value for name, value in (query or {}).items() if value is not None and value != ""}


async def _json(response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 - JSON
    if not response.content_type.endswith("json"):
        return await response.text(errors="replace") or None
    try:
        return await response.json(content_type=None)
    except ValueError as error:
        raise RefusedError(502, "no_answer", NO_ANSWER) from error


def _refused(status: int, answer: Any) -> RefusedError:  # noqa: ANN401 - JSON
    if not isinstance(answer, dict) or "detail" not in answer:
        return RefusedError(status, "", f"Basestock answered {status}.")
    errors = {error["field"]: error["detail"] for error in answer.get("errors", [])}
    return RefusedError(status, answer.get("code", ""), answer["detail"], errors)
