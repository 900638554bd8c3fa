"""The console before the API on one port: whose a path is, and what every answer of the console says to browsers."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The first part of every path of the console's; all others are the API's. nginx has the same list
# (deploy/nginx.conf.template).
FIRST_PARTS = frozenset(
    {
        *("", "sign-in", "sign-out", "session", "console", "_nicegui", "_nicegui_ws", "favicon.ico"),
        *("inventory", "products", "orders", "webhooks", "suppliers", "account", "company", "platform"),
    }
)
# Numbers in addresses are read: longer ones are no numbers to Python.
ADDRESS_LIMIT_BYTES = 4_000
# Files to import come in parts of a form (FILE_LIMIT_BYTES in file_imports.py); forms of ours are a few fields.
UPLOADS, UPLOAD_LIMIT_BYTES, FORM_LIMIT_BYTES = "/_nicegui/client/", 257 * 1024 * 1024, 64 * 1024
SOCKET, SOCKET_LIMIT_BYTES = "/_nicegui_ws/", 1_000_000
SAFE_METHODS = frozenset({"GET", "HEAD"})
# NiceGUI compiles templates in the browser and starts with a script in the page.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'"
)


def is_of_console(path: str) -> bool:
    """Whether the console has this path."""
    return path.lstrip("/").split("/", 1)[0] in FIRST_PARTS


class Front:
    """ASGI app: hands each request to the console or to the API; what is no request is the API's."""

    def __init__(self, console: ASGIApp, api: ASGIApp) -> None:
        """Stand before `api`."""
        self._console, self._api = Guarded(console), api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or socket."""
        is_console = scope["type"] in {"http", "websocket"} and is_of_console(scope["path"])
        await (self._console if is_console else self._api)(scope, receive, send)


class Guarded:
    """ASGI middleware of the console: nothing from other sites changes anything or shows it in a frame."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or socket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        # The socket, which changes what pages do, begins as requests where there are no sockets.
        may_change = scope["path"].startswith(SOCKET) or scope.get("method") not in SAFE_METHODS
        if may_change and _is_from_elsewhere(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                answer = PlainTextResponse("This form was sent from another site.", status_code=403)
                await answer(scope, receive, send)
            return

        if (refusal := _too_long(scope)) is not None:
            await refusal(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(
                    {
                        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                        "X-Content-Type-Options": "nosniff",
                        "Referrer-Policy": "same-origin",
                    }
                )
            await send(message)

        await self._app(scope, _bounded(scope, receive), send_guarded)


def _limit(scope: Scope) -> int:
    if scope["path"].startswith(UPLOADS):
        return UPLOAD_LIMIT_BYTES
    return SOCKET_LIMIT_BYTES if scope["path"].startswith(SOCKET) else FORM_LIMIT_BYTES


def _too_long(scope: Scope) -> Response | None:
    """The answer to a request whose address or body is longer than any of ours."""
    if len(scope["path"]) + len(scope["query_string"]) > ADDRESS_LIMIT_BYTES:
        return PlainTextResponse("This address is too long.", status_code=414)
    length = Headers(scope=scope).get("content-length", "")
    if length.isdigit() and int(length) > _limit(scope):
        return PlainTextResponse("This is too much at once.", status_code=413)
    return None


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """What is received, up to the limit: what comes in chunks, without saying how much it will be, ends there."""
    if scope["type"] != "http":
        return receive
    read, limit = 0, _limit(scope)

    async def receive_bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        return message if read <= limit else {"type": "http.disconnect"}

    return receive_bounded


def _is_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that a page of another site sent this (the `Origin` of RFC 6454)."""
    origin = headers.get("origin")
    if origin is None:  # no browser, or one that says so otherwise
        return headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    return urlsplit(origin).netloc != headers.get("host", "")
