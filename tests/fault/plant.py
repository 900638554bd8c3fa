"""The system as a platform team runs it: real servers, one process per service, and any of them can be killed."""

import asyncio
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from starlette.routing import Match, Route

from services.all_in_one import SERVICES, migrate
from shared import clock
from shared.private_rabbitmq import RabbitNode
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY, Answer, Client
from tests.environment import environment_of_a_user
from tests.fault.forked import Fork, serve
from tests.servers.postgres import PostgresServer, postgres_server

ADMIN_KEY = "bsk_the-admin-of-the-plant"
READY_SECONDS = 60
# The services drain within 30 s of SIGTERM; whoever takes longer is stuck.
DRAIN_SECONDS = 30
POLL_SECONDS = 0.02
LOG_TAIL_CHARACTERS = 3000


class ServiceProcess:
    """One service in a process of its own, on a port it keeps over restarts; its output goes to `log`."""

    def __init__(self, service: str, number: int, folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare replica `number` of `service`; `launch` runs it."""
        self.service = service
        self.name = f"{service}-{number}"
        self.log = folder / f"{self.name}.log"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**environment, "BASESTOCK_PORT": str(self.port)}
        self._process: Fork | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id, dead or alive."""
        assert self._process is not None, f"{self.name} was never launched"
        return self._process.pid

    def launch(self) -> None:
        """Start the process."""
        assert not self.is_running, f"{self.name} runs already"
        self._process = self._spawn()

    def _spawn(self) -> Fork:
        return Fork(serve, (self.service,), self._environment, self.log)

    async def until_ready(self) -> None:
        """Wait until it answers that it, its database and its broker can be used."""
        deadline = clock.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while clock.monotonic() < deadline:
                assert self.is_running, f"{self.name} ended while it started:\n{self.tail()}"
                try:
                    async with session.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(POLL_SECONDS)
        message = f"{self.name} is not ready after {READY_SECONDS} s:\n{self.tail()}"
        raise AssertionError(message)

    async def until_ended(self, within_seconds: float = DRAIN_SECONDS) -> int:
        """Wait for the process to end by itself; returns its exit status (-9 for kill -9)."""
        assert self._process is not None
        deadline = clock.monotonic() + within_seconds
        while (status := self._process.poll()) is None:
            assert clock.monotonic() < deadline, f"{self.name} still runs after {within_seconds} s:\n{self.tail()}"
            await asyncio.sleep(POLL_SECONDS)
        return status

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9; nothing happens when it is dead already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:] if self.log.exists() else ""


@dataclass(frozen=True, slots=True)
class Plant:
    """Running servers and service processes. Killing is up to the test, and so is launching what it killed."""

    postgres: PostgresServer
    broker: RabbitNode
    processes: tuple[ServiceProcess, ...]

    @property
    def dsn(self) -> str:
        """The one database of all services."""
        return self.postgres.dsn

    def of(self, service: str, number: int = 1) -> ServiceProcess:
        """Replica `number` of a service."""
        return next(process for process in self.processes if process.name == f"{service}-{number}")

    def url_of(self, method: str, path: str) -> str:
        """The absolute URL of a path: at the first replica of the service that has such a route."""
        scope = {"type": "http", "method": method, "path": path.partition("?")[0], "root_path": "", "headers": []}
        for service in SERVICES:
            routes = [route for router in service.routers for route in router.routes if isinstance(route, Route)]
            if any(route.matches(scope)[0] is Match.FULL for route in routes):
                return f"{self.of(service.name).url}{path}"
        message = f"no service has the route {method} {path}"
        raise LookupError(message)

    def client(self, key: str | None) -> "PlantClient":
        """A client for whoever owns `key`, that calls each path at the service that has it."""
        return PlantClient(self, key)

    async def start(self) -> None:
        """Launch what does not run, and wait until all of it is ready."""
        for process in self.processes:
            if not process.is_running:
                process.launch()
        for process in self.processes:
            await process.until_ready()

    async def until_database_answers(self) -> None:
        """Wait for PostgreSQL, whose supervisor starts it again after a kill."""
        deadline = clock.monotonic() + READY_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(self.dsn, timeout=5)
            except (OSError, asyncpg.PostgresError):
                assert clock.monotonic() < deadline, "PostgreSQL does not come back"
                await asyncio.sleep(POLL_SECONDS)
            else:
                await connection.close()
                return


class PlantClient(Client):
    """A `Client` of all services, each at its own port."""

    def __init__(self, plant: Plant, key: str | None) -> None:
        super().__init__(plant.processes[0].url, key)
        self._plant = plant

    async def call(self, method: str, path: str, json: object = None, **options: Any) -> Answer:  # noqa: ANN401
        """Send one request to the service that has this route."""
        return await super().call(method, self._plant.url_of(method, path), json, **options)


@contextmanager
def running_plant(
    replicas: Mapping[str, int] | None = None,
    process_type: type[ServiceProcess] = ServiceProcess,
    **settings: str,
) -> Iterator[Plant]:
    """PostgreSQL and RabbitMQ of its own, migrated, and the four services' processes, prepared but not launched.

    `replicas` is how many of a service instead of one; `settings` are environment variables without `BASESTOCK_`.
    It needs no event loop, so a plant may serve all tests of a module.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server(durable=True))
        broker = stack.enter_context(RabbitNode())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="basestock-plant-")))
        given = {
            "dsn": postgres.dsn,
            "broker_url": broker.url,
            "admin_key": ADMIN_KEY,
            "webhook_allow_networks": "127.0.0.0/8",
            "webhook_encryption_key": ENCRYPTION_KEY,
            **settings,
        }
        asyncio.run(migrate(Settings(dsn=postgres.dsn, _env_file=None)))
        inherited = environment_of_a_user()
        environment = inherited | {f"BASESTOCK_{name.upper()}": value for name, value in given.items()}
        processes = tuple(
            process_type(service.name, number, folder, environment)
            for service in SERVICES
            for number in range(1, (replicas or {}).get(service.name, 1) + 1)
        )
        for process in processes:
            stack.callback(process.kill)
        yield Plant(postgres, broker, processes)
