"""Every service in a process of its own on this machine, behind one port: the system as it is operated, on one's desk.

PostgreSQL and RabbitMQ are the given ones, else private ones that keep their data in the data folder; nginx makes one
port of the services. Whatever dies is started again. The services end first and in order, then their servers.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from services.all_in_one import (
    SERVICES,
    left_when,
    migrate,
    names_all_databases,
    with_encryption_key,
    with_token_secret,
)
from shared import clock
from shared.embedded_postgres import EmbeddedPostgres
from shared.kept_running import KeptRunning
from shared.machine import can_listen, free_ports, own
from shared.private_nginx import find_nginx, nginx_command
from shared.private_rabbitmq import RabbitNode, RabbitNodeError
from shared.serve import address_in_url, bus_of, reached_at
from shared.service import wait_for
from shared.settings import Settings

log = structlog.get_logger()

CONSOLE = "console"
BROKER_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where something of the system runs: `address` is host:port, `log` a file or words."""

    name: str
    pid: int | None
    address: str
    log: str


@dataclass(frozen=True, slots=True)
class Servers:
    """PostgreSQL and RabbitMQ: settings that name them, and those of them that are private."""

    settings: Settings
    postgres: EmbeddedPostgres | None
    broker: RabbitNode | None


async def run(
    settings: Settings, stop: asyncio.Event, at_once: asyncio.Event, *, on_ready: Callable[[str, list[Place]], None]
) -> None:
    """Run everything until `stop` is set, then drain; `at_once` cuts that short and raises `KeyboardInterrupt`.

    `on_ready` gets the base URL, once it answers, and what runs where. Raises `RuntimeError`, in words, when something
    does not start.
    """
    host, port = settings.host, settings.port or free_ports(1)[0]
    listen, called = address_in_url(host, port), reached_at(host, port)
    if not can_listen(host, port):
        message = f"Cannot listen on {listen}: is something else running there? Choose another with --port."
        raise RuntimeError(message)
    async with AsyncExitStack() as stack:
        async with left_when(stop):
            servers = await stack.enter_async_context(_servers(with_token_secret(settings), at_once))
            children = await stack.enter_async_context(_children(servers.settings, listen, called, at_once))
            on_ready(f"http://{called}", _places(servers, children))
        await stop.wait()
        log.info("stopping", hint="open work is finished first; another Ctrl-C ends at once")
    if at_once.is_set():
        raise KeyboardInterrupt


@asynccontextmanager
async def _servers(settings: Settings, at_once: asyncio.Event) -> AsyncIterator[Servers]:
    """Database and broker, both answering, and the schemas at their newest version."""
    folder = settings.data_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.callback(own(folder).close)
        postgres = broker = None
        if not names_all_databases(settings):
            # Not the database of `basestock up`: its bus knows nothing of messages that wait at the broker here.
            postgres = EmbeddedPostgres(folder / "postgres")
            log.info("starting", name="PostgreSQL", folder=str(folder / "postgres"))
            settings = settings.model_copy(update={"dsn": await stack.enter_async_context(postgres)})
        if settings.broker_url is None:
            broker = await stack.enter_async_context(_private_broker(folder / "rabbitmq", at_once))
            settings = settings.model_copy(update={"broker_url": broker.url})
        await migrate(settings)
        await _until_broker_answers(settings)
        yield Servers(with_encryption_key(settings), postgres, broker)


@asynccontextmanager
async def _private_broker(folder: Path, at_once: asyncio.Event) -> AsyncIterator[RabbitNode]:
    """A node that is started again whenever it dies."""
    log.info("starting", name="RabbitMQ", folder=str(folder))
    node = await asyncio.to_thread(RabbitNode, folder)
    watching = None
    try:
        await asyncio.to_thread(node.start)
        watching = asyncio.create_task(_start_again(node))
        yield node
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await _ended(asyncio.to_thread(node.close), at_once, node.kill)


async def _start_again(node: RabbitNode) -> None:
    while True:
        await clock.sleep(BROKER_POLL_SECONDS)
        if node.pid is None:
            log.warning("broker_died", folder=str(node.folder))
            try:
                await asyncio.to_thread(node.start)
            except (RabbitNodeError, OSError) as error:
                log.error("broker_does_not_start", error=str(error))  # noqa: TRY400 - the message says it all
            else:
                log.warning("broker_started_again", pid=node.pid)


async def _until_broker_answers(settings: Settings) -> None:
    bus = bus_of(settings)
    try:
        await wait_for("the broker", bus.check, clock.monotonic() + settings.start_seconds)
    finally:
        await bus.close()


@asynccontextmanager
async def _children(
    settings: Settings, listen: str, called: str, at_once: asyncio.Event
) -> AsyncIterator[list[KeptRunning]]:
    """The services, and nginx before them, all answering."""
    nginx = await asyncio.to_thread(find_nginx)
    names = [*(service.name for service in SERVICES), CONSOLE]
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    settings = settings.model_copy(update={"console_api_url": f"http://{called}"})
    services = [_service(name, address, settings) for name, address in addresses.items()]
    proxy = KeptRunning(
        "nginx",
        nginx_command(nginx, settings.data_dir.absolute() / "nginx", listen, addresses),
        ready_url=f"http://{called}/livez",
        last_signal=signal.SIGTERM,  # killed, it would leave its workers
    )
    try:
        for service in services:
            service.start()
        for service in services:
            await service.until_ready()
        proxy.start()
        await proxy.until_ready()
        yield [*services, proxy]
    finally:
        await _stop(services, at_once)
        await _stop([proxy], at_once)  # until then it says who is away


async def _stop(children: Sequence[KeptRunning], at_once: asyncio.Event) -> None:
    def kill() -> None:
        for child in children:
            child.kill()

    await _ended(asyncio.gather(*(child.stop() for child in children)), at_once, kill)


async def _ended(ending: Awaitable[object], at_once: asyncio.Event, kill: Callable[[], None]) -> None:
    """Wait for an orderly end; once `at_once` is set, `kill` shortens it."""
    waiting = asyncio.ensure_future(ending)
    hurrying = asyncio.create_task(at_once.wait())
    await asyncio.wait([waiting, hurrying], return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not waiting.done():
        kill()
    await waiting


def _service(name: str, address: str, settings: Settings) -> KeptRunning:
    host, _, port = address.rpartition(":")
    changes = {
        "host": host,
        "port": port,
        "token_secret": ",".join(secret.get_secret_value() for secret in settings.token_secret),
        "webhook_encryption_key": ",".join(secret.get_secret_value() for secret in settings.webhook_encryption_key),
        "dsn": settings.dsn,
        "broker_url": settings.broker_url,
        "console_api_url": settings.console_api_url,
        "log_format": settings.log_format,
    }
    return KeptRunning(
        name,
        [sys.executable, "-m", f"services.{name}"],
        # The console keeps nothing: it is ready as soon as it answers.
        ready_url=f"http://{address}/{'livez' if name == CONSOLE else 'readyz'}",
        environment=os.environ | {f"BASESTOCK_{setting.upper()}": value for setting, value in changes.items() if value},
    )


def _places(servers: Servers, children: Sequence[KeptRunning]) -> list[Place]:
    """What runs where, for people."""
    places = [Place(child.name, child.pid, child.address, "here") for child in children]
    postgres, broker = servers.postgres, servers.broker
    pid, written_to = (postgres.pid, str(postgres.home / "log")) if postgres else (None, "")
    databases = sorted({_address(servers.settings.dsn_of(service.name)) for service in SERVICES})
    places += [Place("PostgreSQL", pid, address, written_to) for address in databases]
    pid, written_to = (broker.pid, str(broker.folder / "log")) if broker else (None, "")
    places.append(Place("RabbitMQ", pid, _address(str(servers.settings.broker_url)), written_to))
    return places


def _address(url: str) -> str:
    """Host, port and name in a server's URL, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
