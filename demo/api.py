"""A small client of Basestock's public HTTP API: one base URL, one API key."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from shared import clock

# A new key reaches the other services by an event: milliseconds, but not none.
NEW_KEY_SECONDS = 5
ANSWER_SECONDS = 30
# A database that is away or too busy for longer is not the demo's to wait for.
BUSY_SECONDS = 60
NOT_FOUND = 404
NDJSON = {"Content-Type": "application/x-ndjson"}


class ApiError(RuntimeError):
    """A call that failed; the text has the call, the status and the problem's detail, row by row."""

    def __init__(self, call: str, status: int, code: str, detail: str) -> None:
        """Keep what was answered."""
        super().__init__(f"{call} answered {status} {code}: {detail}")
        self.status, self.code = status, code


class Api:
    """Calls one Basestock as the owner of one key; `async with Api(url, key) as api`.

    Every method raises `ApiError` for an answer that is no success, and `RuntimeError` when nothing answers.
    """

    def __init__(self, base_url: str, key: str) -> None:
        """Call `base_url` (`http://host:port`) with the API key `key`."""
        self._base_url, self._key = base_url.rstrip("/"), key

    async def __aenter__(self) -> Self:
        self._known_by = clock.monotonic() + NEW_KEY_SECONDS
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str | int) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to GET."""
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: object = None, **query: str | int) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to POST of a JSON body."""
        return await self._call("POST", path, body, query)

    async def post_rows(self, path: str, rows: Iterable[object], **query: str | int) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to POST of rows as NDJSON."""
        content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        return await self._call("POST", path, content, query)

    async def delete(self, path: str) -> None:
        """DELETE."""
        await self._call("DELETE", path)

    async def pages(self, path: str, **query: str | int) -> AsyncIterator[Any]:
        """Every item of a list that comes in pages."""
        cursor: dict[str, str | int] = {}
        while True:
            page = await self.get(path, **query, **cursor)
            for item in page["items"]:
                yield item
            if not page["next_cursor"]:
                return
            cursor = {"cursor": page["next_cursor"]}

    async def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        url = f"{self._base_url}{path}"
        is_file = isinstance(body, bytes)
        sent: dict[str, Any] = {"data": body, "headers": NDJSON} if is_file else {"json": body}
        patience_ends = clock.monotonic() + BUSY_SECONDS
        while True:
            try:
                async with self._session.request(method, url, params=query, **sent) as response:
                    answer = await _json(response)
            except (aiohttp.ClientError, TimeoutError) as error:
                message = f"{method} {url}: no answer ({str(error) or type(error).__name__})"
                raise RuntimeError(message) from error
            if response.ok:
                return answer
            failure = _failure(f"{method} {path}", response.status, answer)
            if failure.code == "unavailable" and clock.monotonic() < patience_ends:  # nothing was done
                await clock.sleep(float(response.headers.get("Retry-After", 1)))
            elif failure.code != "unknown_key" or clock.monotonic() > self._known_by:
                raise failure
            else:
                await clock.sleep(0.05)


async def _json(response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 - JSON
    """The parsed body, or its text where it is not JSON, or `None` where there is none."""
    if response.content_type.endswith("json"):
        return await response.json(content_type=None)
    return await response.text() or None


def _failure(call: str, status: int, answer: Any) -> ApiError:  # noqa: ANN401 - JSON
    if not isinstance(answer, dict) or "detail" not in answer:
        return ApiError(call, status, "", str(answer))
    rows = "".join(f"; {error['field']}: {error['detail']}" for error in answer.get("errors", []))
    return ApiError(call, status, answer.get("code", ""), f"{answer['detail']}{rows}")
