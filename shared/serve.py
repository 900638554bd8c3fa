"""Serve one or several services over HTTP until told to stop."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from shared.http import create_app
from shared.logs import configure_logs
from shared.messaging.bus import Bus
from shared.messaging.in_process import InProcessBus
from shared.messaging.rabbitmq import RabbitBus
from shared.program import run_to_end, settings_or_exit, stop_on_signals
from shared.service import Service, running
from shared.settings import Settings

log = structlog.get_logger()

# Open requests may finish, while everything else drains; the slowest are those whose client is.
SHUTDOWN_SECONDS = 12

# Who listens on all addresses is reached at these, by clients on this machine.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}

OnReady = Callable[[str], None]
Front = Callable[[ASGIApp], ASGIApp]


def address_in_url(host: str, port: int) -> str:
    """`host:port` as a URL has it: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reached_at(host: str, port: int) -> str:
    """Where clients on this machine reach whoever listens there, as `address_in_url` gives it."""
    return address_in_url(_REACHED_AT.get(host, host), port)


def bus_of(settings: Settings) -> Bus:
    """RabbitMQ where a broker URL is set, else the in-process bus."""
    if settings.broker_url is None:
        return InProcessBus(publish_timeout_seconds=settings.publish_timeout_seconds)
    return RabbitBus(
        settings.broker_url,
        publish_timeout_seconds=settings.publish_timeout_seconds,
        heartbeat_seconds=settings.broker_heartbeat_seconds,
    )


def tune_garbage_collection() -> None:
    """Let Python look for cyclic garbage less often; for processes that serve.

    A batch of events makes tens of thousands of objects that soon go by themselves. By default every 700th starts a
    collection that walks them all: measured on the orders queue, that was a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def app_of(services: Sequence[Service], settings: Settings, bus: Bus) -> AsyncIterator[FastAPI]:
    """Run these services on one bus, and yield the app with all their routes."""
    async with AsyncExitStack() as stack:
        contexts = {
            service.name: await stack.enter_async_context(running(service, settings, bus)) for service in services
        }
        yield create_app(services, contexts)


async def serve_services(
    services: Sequence[Service],
    settings: Settings,
    stop: asyncio.Event,
    *,
    on_ready: OnReady = lambda _: None,
    front: Front = lambda app: app,
) -> None:
    """Run these services on one port until `stop` is set; `on_ready` gets the base URL (`reached_at`) once it answers.

    `front` may put something else before their app.

    Set while they are still starting (waiting for a broker, say), `stop` ends it at once.
    """
    tune_garbage_collection()
    bus = bus_of(settings)
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - a coroutine always runs in a task
    giving_up = asyncio.create_task(_cancel_when(stop, this))
    try:
        async with app_of(services, settings, bus) as app:
            giving_up.cancel()
            await serve_app(app, settings.host, settings.port, stop, on_ready=on_ready, front=front)
    except asyncio.CancelledError:
        if not stop.is_set() or this.uncancel():
            raise
    finally:
        giving_up.cancel()
        await bus.close()


async def _cancel_when(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    await stop.wait()
    task.cancel()


async def serve_app(
    app: FastAPI,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    on_ready: OnReady = lambda _: None,
    front: Front = lambda app: app,
) -> None:
    """Serve `app` behind its `front` until `stop` is set, then drain: open requests and its services, at the same time.

    Raises `RuntimeError` if the port is taken.
    """
    config = uvicorn.Config(
        front(app),
        host=host,
        port=port,
        # The parser that the services' limits were tried with; others come along with the console.
        http="h11",
        # Whoever made the app runs it: started and ended twice, the console would end with an error.
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = Server(config, on_ready)
    stopping = asyncio.create_task(_drain_when(stop, app, server))
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way to say that it could not listen
        listen = address_in_url(host, port)
        message = f"Cannot listen on {listen}: is something else running there? Choose another with --port."
        raise RuntimeError(message) from error
    finally:
        stopping.cancel()


async def _drain_when(stop: asyncio.Event, app: FastAPI, server: uvicorn.Server) -> None:
    await stop.wait()
    for context in app.state.contexts.values():
        context.draining.set()
    server.should_exit = True


class Server(uvicorn.Server):
    """Uvicorn's server, telling when it answers, and leaving signals to whoever runs the process."""

    def __init__(self, config: uvicorn.Config, on_ready: OnReady) -> None:
        """Tell `on_ready` the base URL once requests are answered."""
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then tell."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_ready(f"http://{reached_at(host, port)}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `stop_on_signals` has them."""
        yield


def serve(service: Service) -> None:
    """Run one service by the settings of the environment: the body of every `__main__.py`."""
    settings = settings_or_exit()
    configure_logs(settings)
    if settings.broker_url is None:
        message = "One service alone needs BASESTOCK_BROKER_URL to meet the others; `basestock up` runs them all."
        raise SystemExit(message)

    async def run() -> None:
        await serve_services([service], settings, stop_on_signals())

    run_to_end(run())
