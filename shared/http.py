"""The HTTP side of a process: one app for the services it runs, with health, readiness, metrics and the documents."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
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
    app.middleware("http")(_observe)
    for service in services:
        for router in service.routers:
            app.include_router(router, tags=[service.name])
    _add_operations(app, contexts)
    return app


async def _observe(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    clear_contextvars()
    traceparent = new_traceparent(request.headers.get("traceparent"))
    bind_trace(traceparent)
    started = clock.monotonic()
    response = await call_next(request)
    route = getattr(request.scope.get("route"), "path", "none")
    REQUESTS.labels(request.method, route, response.status_code).inc()
    REQUEST_SECONDS.labels(request.method, route).observe(clock.monotonic() - started)
    response.headers["traceparent"] = traceparent
    return response


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
