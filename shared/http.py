"""The HTTP side of a process: one app for the services it runs, with health, readiness, metrics and the documents."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import clear_contextvars

from shared import asyncapi, clock
from shared.access import refusal_of
from shared.errors import Problem, ProblemError, install_problem_handlers, problem_response
from shared.faults import is_infrastructure
from shared.logs import bind_trace, new_traceparent
from shared.messaging.bus import BusUnavailableError
from shared.rate_limit import RateLimiter, headers_of
from shared.service import Service
from shared.service_context import Context

log = structlog.get_logger()

REQUESTS = Counter("basestock_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram("basestock_http_request_seconds", "Time to answer", ["method", "route"])

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 409, 413, 422, 429, 503)
}


PROBLEM_CONTENT = {"schema": {"$ref": "#/components/schemas/Problem"}}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# What answers without a key: health, metrics and the documents.
OPEN_PATHS = {
    "/livez",
    "/readyz",
    "/metrics",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
    "/openapi.json",
    asyncapi.PATH,
}
SIGN_IN_PATH = "/v1/sessions"
# 10,000 rows of a bulk write are about 1 MiB. Routes that read their bodies piece by piece may take more.
BODY_LIMIT_BYTES = 8 * 1024 * 1024


def too_large(limit_bytes: int) -> ProblemError:
    """The problem of a body longer than this."""
    limit = f"{limit_bytes // 1024**2} MiB" if limit_bytes >= 1024**2 else f"{limit_bytes // 1024} KiB"
    return ProblemError(413, "body_too_large", f"A request here may have {limit} at most.")


def create_app(services: Sequence[Service], contexts: Mapping[str, Context]) -> FastAPI:
    """An app with the routes of these services; `contexts` holds each one's running context under its name."""
    names = ", ".join(service.name for service in services)
    app = App(
        title="Basestock" if len(services) > 1 else f"Basestock {names}",
        summary="; ".join(service.summary for service in services),
        version="1",
        responses=PROBLEMS,
    )
    app.state.contexts = contexts
    app.state.rate_limiter = RateLimiter()
    install_problem_handlers(app)
    limits_bytes = {path: limit for service in services for path, limit in service.body_limits_bytes.items()}
    admin_key = next((context.settings.admin_key for context in contexts.values()), None)  # the same for all
    basic_paths = frozenset[str]().union(*(service.basic_paths for service in services))
    query_key_paths = frozenset[str]().union(*(service.query_key_paths for service in services))
    app.add_middleware(
        Bounded,
        limits_bytes=limits_bytes,
        admin_key=admin_key,
        basic_paths=basic_paths,
        query_key_paths=query_key_paths,
    )
    app.add_middleware(Observed)
    for service in services:
        for router in service.routers:
            app.include_router(router, tags=[service.name])
        if service.webhooks is not None:
            app.webhooks.include_router(service.webhooks, tags=[service.name])
    _add_operations(app, contexts)
    _add_asyncapi(app, [service.name for service in services])
    return app


class App(FastAPI):
    """An app whose document says that problems are `application/problem+json`: FastAPI takes them for plain JSON."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            for operation in (one for path in document["paths"].values() for one in path.values()):
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    if content.get("application/json") == PROBLEM_CONTENT:
                        content["application/problem+json"] = content.pop("application/json")
        return self.openapi_schema or {}


class Bounded:
    """ASGI middleware: refuses bodies that are too big, and before it reads them what cannot be a key or a token.

    Whether a key is known, and who signed a token, only the route finds out: FastAPI reads and parses a body first. So
    whoever sends what looks like a key costs us the parsing of a body within the limit before it is answered 401.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits_bytes: Mapping[str, int],
        admin_key: SecretStr | None,
        basic_paths: Collection[str],
        query_key_paths: Collection[str],
    ) -> None:
        """Wrap `app`; bodies sent to the paths in `limits_bytes` may have so many bytes, others `BODY_LIMIT_BYTES`.

        Those in `basic_paths` take a company's ref and key as well, those in `query_key_paths` take them in the query.
        """
        self._app, self._limits_bytes, self._admin_key = app, limits_bytes, admin_key
        self._basic_paths, self._query_key_paths = basic_paths, query_key_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        if path not in OPEN_PATHS | {SIGN_IN_PATH}:
            refusal = refusal_of(
                headers.get("authorization", ""),
                self._admin_key,
                takes_basic=path in self._basic_paths,
                query=QueryParams(scope["query_string"]) if path in self._query_key_paths else None,
            )
            if refusal is not None:
                await problem_response(refusal)(scope, receive, send)
                return
        length, limit = headers.get("content-length", ""), self._limits_bytes.get(path, BODY_LIMIT_BYTES)
        if length.isdigit() and int(length) > limit:
            await problem_response(too_large(limit))(scope, receive, send)
            return
        read = 0

        async def receive_bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:  # sent in chunks, without saying how much it would be
                raise too_large(limit)
            return message

        await self._app(scope, receive_bounded, send)


class Observed:
    """ASGI middleware: gives each request a trace, counts it and times it; its answer tells of the key's limit."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; everything else (start-up, shut-down) passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clear_contextvars()
        traceparent = new_traceparent(Headers(scope=scope).get("traceparent"))
        bind_trace(traceparent)
        started, status = clock.monotonic(), 500

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({"traceparent": traceparent, **headers_of(scope)})
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            # A method that a client invents must not become a series of its own.
            method = scope["method"] if scope["method"] in METHODS else "other"
            REQUESTS.labels(method, route, status).inc()
            REQUEST_SECONDS.labels(method, route).observe(clock.monotonic() - started)


def _add_asyncapi(app: FastAPI, services: Sequence[str]) -> None:
    document = asyncapi.document(services)

    @app.get(asyncapi.PATH, include_in_schema=False)
    async def messages() -> JSONResponse:
        """The AsyncAPI document."""
        return JSONResponse(document)


def _add_operations(app: FastAPI, contexts: Mapping[str, Context]) -> None:
    @app.get("/livez", tags=["operations"])
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["operations"])
    async def readyz() -> dict[str, str]:
        """Database and bus answer, so work sent here will be done; else, or while it is ending, 503 with the reason."""
        for context in contexts.values():
            if context.draining.is_set():
                raise ProblemError(503, "draining", f"{context.service} is ending: send new work elsewhere")
            for what, check in (("database", context.database.check), ("bus", context.bus.check)):
                try:
                    await check()
                except Exception as error:
                    if not isinstance(error, BusUnavailableError) and not is_infrastructure(error):
                        raise
                    # Why is for the log: drivers' words may name hosts and users.
                    log.warning("not_ready", service=context.service, what=what, error=repr(error))
                    raise ProblemError(503, "not_ready", f"{context.service}: the {what} is away") from error
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["operations"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Prometheus metrics of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
