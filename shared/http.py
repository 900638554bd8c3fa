"""The HTTP side of a process: one app for the services it runs, with health, readiness, metrics and the documents."""

from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import clear_contextvars

from shared import clock
from shared.errors import Problem, ProblemError, install_problem_handlers
from shared.faults import is_infrastructure
from shared.logs import bind_trace, new_traceparent
from shared.messaging.bus import BusUnavailableError
from shared.service import Service
from shared.service_context import Context

REQUESTS = Counter("basestock_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram("basestock_http_request_seconds", "Time to answer", ["method", "route"])

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 404, 409, 422, 503)
}


def create_app(services: Sequence[Service], contexts: Mapping[str, Context]) -> FastAPI:
    """An app with the routes of these services; `contexts` holds each one's running context under its name."""
    names = ", ".join(service.name for service in services)
    app = FastAPI(
        title="Basestock" if len(services) > 1 else f"Basestock {names}",
        summary="; ".join(service.summary for service in services),
        version="1",
        responses=PROBLEMS,
    )
    app.state.contexts = contexts
    install_problem_handlers(app)
    app.add_middleware(Observed)
    for service in services:
        for router in service.routers:
            app.include_router(router, tags=[service.name])
    _add_operations(app, contexts)
    return app


class Observed:
    """ASGI middleware: gives each request a trace, counts it and times it."""

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
                MutableHeaders(scope=message)["traceparent"] = traceparent
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            REQUESTS.labels(scope["method"], route, status).inc()
            REQUEST_SECONDS.labels(scope["method"], route).observe(clock.monotonic() - started)


def _add_operations(app: FastAPI, contexts: Mapping[str, Context]) -> None:
    @app.get("/livez", tags=["operations"])
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["operations"])
    async def readyz() -> dict[str, str]:
        """Database and bus answer, so work sent here will be done; else 503 with what is away."""
        for context in contexts.values():
            for what, check in (("database", context.database.check), ("bus", context.bus.check)):
                try:
                    await check()
                except Exception as error:
                    if not isinstance(error, BusUnavailableError) and not is_infrastructure(error):
                        raise
                    raise ProblemError(503, "not_ready", f"{context.service}: the {what} is away: {error}") from error
        return {"status": "ready"}

    @app.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        """Prometheus metrics of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
