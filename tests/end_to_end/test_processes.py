"""Each service in a process of its own: `basestock run`, and how a process starts when its servers are late or away."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import aiohttp
import pytest

from services.all_in_one import migrate
from shared.embedded_postgres import EmbeddedPostgres
from shared.machine import free_ports
from shared.messaging.bus import EVENTS_EXCHANGE
from shared.private_rabbitmq import RabbitNode
from shared.settings import Settings
from tests.app import Client
from tests.conftest import GivenBroker
from tests.end_to_end.system import SUPPLIER, System, delete_queues, eventually, with_seeds
from tests.end_to_end.test_story import order
from tests.environment import environment_of_a_user

ROOT = Path(__file__).parent.parent.parent
ADMIN_KEY = "bsk_the-admin-of-the-processes"
NAMES = ["catalog", "orders", "inventory", "notifier", "console", "nginx", "PostgreSQL", "RabbitMQ"]
START_SECONDS = 120
END_SECONDS = 60


class Program:
    """A command of ours in a process of its own; what it says is in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process, self._log = process, log

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    async def until_it_says(self, pattern: str) -> re.Match[str]:
        async def has_said() -> bool:
            assert self.process.returncode is None or re.search(pattern, self.said), f"it ended:\n{self.said}"
            return re.search(pattern, self.said) is not None

        await eventually(f"it says {pattern}", has_said, START_SECONDS)
        found = re.search(pattern, self.said)
        assert found
        return found

    async def until_ended(self) -> int:
        async with asyncio.timeout(END_SECONDS):
            return await self.process.wait()

    async def end(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit status."""
        self.process.send_signal(number)
        return await self.until_ended()


@asynccontextmanager
async def program(log: Path, *arguments: str, **environment: str) -> AsyncIterator[Program]:
    inherited = environment_of_a_user()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, cwd=ROOT, env=inherited | environment, stdout=output, stderr=output
        )
    try:
        yield Program(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Run(Program):
    """`basestock run` once it answers: its base URL, and each part's process id and address, by name."""

    url: str
    pids: dict[str, int]
    addresses: dict[str, str]

    async def until_it_answers(self) -> None:
        self.url = (await self.until_it_says(r"Basestock answers at (http://\S+)"))[1]
        rows = re.findall(r"^(\w+) +(\d*)  (\S+:\d+\S*)", self.said, re.MULTILINE)
        self.pids = {name: int(pid) for name, pid, _ in rows if pid}
        self.addresses = {name: address for name, _, address in rows}


@asynccontextmanager
async def run(folder: Path, *options: str, **environment: str) -> AsyncIterator[Run]:
    environment = {
        "BASESTOCK_ADMIN_KEY": ADMIN_KEY,
        "BASESTOCK_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        **environment,
    }
    arguments = ["services", "run", "--port", "0", "--data-dir", str(folder), *options]
    async with program(folder.with_suffix(".log"), *arguments, **environment) as started:
        running = Run(started.process, folder.with_suffix(".log"))
        await running.until_it_answers()
        yield running


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is no mere entry that nobody has read yet."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def group_of(leader: int) -> list[int]:
    """The live processes of a process group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):  # ended meanwhile
            if os.getpgid(int(process.name)) == leader and lives(int(process.name)):
                found.append(int(process.name))
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="basestock-processes-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@asynccontextmanager
async def channel_of(running: Run, folder: Path) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """A channel of somebody else's at the private broker, who was told the password."""
    password = (folder / "data" / "rabbitmq" / "password").read_text()
    url = f"amqp://basestock:{password}@{running.addresses['RabbitMQ']}"
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        yield channel


async def test_five_processes_behind_one_port_and_all_of_it_is_there_the_next_time(folder: Path) -> None:
    keys: list[str] = []

    def client(key: str) -> Client:
        keys.append(key)
        return Client(first.url, key)

    async with run(folder / "data") as first:
        assert list(first.pids) == NAMES
        async with channel_of(first, folder) as channel:
            await channel.declare_exchange(EVENTS_EXCHANGE, "topic", durable=True)
            queue = await channel.declare_queue("someone.elses", durable=True)
            await queue.bind(EVENTS_EXCHANGE, "orders.order_created")
        async with with_seeds(first.url, "", client, ADMIN_KEY, "retailer-a") as system:
            await system.set_on_hand(100, 10)
            answer = await system.retailer.post("/v1/webhook-endpoints", {"url": system.webhooks.url})
            assert answer.status == 201, answer.body
            system.webhooks.secrets.append(answer.body["secret"])
            answer = await system.retailer.post("/v1/orders?wait=10", order("R-1", 102, "T01-S", 2))
            assert answer.status == 201, answer.body
            assert await system.available(100) == 8
            await what_catalog_signed_counts_everywhere(system)

            async def heard() -> bool:
                return bool(system.webhooks.calls)

            await eventually("the webhook arrives", heard)
            await one_dies_and_comes_back(first, system)
        await a_second_one_is_refused(first, folder)
        assert await first.end(signal.SIGINT) == 0, first.said
        assert [name for name, pid in first.pids.items() if lives(pid)] == []
        assert "Traceback" not in first.said
        assert (folder / "data" / "rabbitmq" / "password").read_text() not in first.said

    async with run(folder / "data") as later:
        async with Client(later.url, keys[1]) as supplier, channel_of(later, folder) as channel:
            assert (await supplier.get("/v1/stock/100")).body["available"] == 5
            waiting = await channel.get_queue("someone.elses")
            told = [await waiting.get(no_ack=True) for _ in range(2)]
            assert [message.routing_key for message in told if message] == ["orders.order_created"] * 2
        await later.end(signal.SIGKILL)

        async def nothing_is_left() -> bool:
            return not any(lives(pid) for pid in later.pids.values())

        await eventually(f"all of {later.pids} have ended", nothing_is_left, END_SECONDS)


async def what_catalog_signed_counts_everywhere(system: System) -> None:
    user = {"email": "ann@supplier-a.example", "password": "correct horse battery"}
    made = await system.admin.post("/v1/users", {**user, "role": "viewer", "company_id": SUPPLIER})
    assert made.status == 201, made.body
    async with Client(system.url) as nobody:
        session = await nobody.post("/v1/sessions", user)
    async with Client(system.url, session.body["token"]) as viewer:
        for path in ("/v1/products", "/v1/orders", "/v1/stock", "/v1/webhook-endpoints"):
            assert (await viewer.get(path)).status == 200, path


async def one_dies_and_comes_back(running: Run, system: System) -> None:
    killed = running.pids["inventory"]
    os.kill(killed, signal.SIGKILL)
    answer = await system.retailer.post("/v1/orders", order("R-2", 102, "T01-S", 3))
    assert answer.status == 201, "the others go on"
    again = await running.until_it_says(rf"started +name=inventory pid=(?!{killed}\b)(\d+)")
    running.pids["inventory"] = int(again[1])
    assert "was ended by SIGKILL" in running.said

    async def caught_up() -> bool:
        answer = await system.supplier.get("/v1/stock/100")
        return answer.status == 200 and bool(answer.body["available"] == 5)

    await eventually("the order of the meantime lowers stock", caught_up, END_SECONDS)


async def a_second_one_is_refused(running: Run, folder: Path) -> None:
    arguments = ["services", "run", "--port", "0", "--data-dir", str(folder / "data")]
    async with program(folder / "second.log", *arguments) as second:
        assert await second.until_ended() == 1
        assert f"already in use by process {running.process.pid}" in second.said
        assert "Traceback" not in second.said


async def test_given_servers_are_used_and_a_second_ctrl_c_ends_what_hangs(
    folder: Path, empty_database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    await delete_queues(broker.url)
    options = ["--dsn", empty_database_dsn, "--broker", broker.url]
    async with run(folder / "data", *options) as running:
        assert list(running.pids) == NAMES[:6]
        assert running.addresses["RabbitMQ"] == urlsplit(broker.url).netloc.rpartition("@")[2] + "/"
        async with Client(running.url, ADMIN_KEY) as admin:
            assert (await admin.get("/v1/companies")).status == 200
        os.kill(running.pids["orders"], signal.SIGSTOP)
        running.process.send_signal(signal.SIGINT)
        await running.until_it_says("stopping")
        assert await running.end(signal.SIGINT) == 130
        assert [name for name, pid in running.pids.items() if lives(pid)] == []


async def test_a_killed_nginx_comes_back_and_none_of_its_workers_keeps_the_port(
    folder: Path, empty_database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    await delete_queues(broker.url)
    async with run(folder / "data", "--dsn", empty_database_dsn, "--broker", broker.url) as running:
        killed = running.pids["nginx"]
        assert len(group_of(killed)) > 1, "nginx has workers, who hold its output and its port"
        os.kill(killed, signal.SIGKILL)
        again = await running.until_it_says(rf"started +name=nginx pid=(?!{killed}\b)(\d+)")
        assert re.search(r"name=nginx.*was ended by SIGKILL|was ended by SIGKILL.*name=nginx", running.said)

        async def the_new_one_alone_answers() -> bool:
            if group_of(killed) or len(group_of(int(again[1]))) < 2:
                return False
            with suppress(aiohttp.ClientError):
                async with Client(running.url, ADMIN_KEY) as admin:
                    return (await admin.get("/v1/companies")).status == 200
            return False

        await eventually("the new nginx alone answers", the_new_one_alone_answers, START_SECONDS)
        assert await running.end(signal.SIGTERM) == 0
        assert group_of(int(again[1])) == []


async def test_a_process_waits_for_a_late_database_and_a_late_broker(folder: Path) -> None:
    database = EmbeddedPostgres(folder / "postgres", fast=True)
    async with database as dsn:
        await migrate(Settings(dsn=dsn, _env_file=None))
    [port] = free_ports(1)
    node = RabbitNode()
    try:
        environment = {"BASESTOCK_DSN": dsn, "BASESTOCK_BROKER_URL": node.url, "BASESTOCK_PORT": str(port)}
        async with program(folder / "log", "services.orders", **environment) as orders:
            await orders.until_it_says("orders: the database")
            async with database as same_dsn:
                assert same_dsn == dsn
                await orders.until_it_says("orders: the broker")
                await asyncio.to_thread(node.start)

                async def is_ready() -> bool:
                    with suppress(aiohttp.ClientError):
                        async with Client(f"http://127.0.0.1:{port}") as anybody:
                            return (await anybody.get("/readyz")).status == 200
                    return False

                await eventually("it can be used", is_ready, START_SECONDS)
                assert orders.said.count("the broker") < 10, "it says so when the wait begins, and then seldom"
                assert await orders.end(signal.SIGTERM) == 0
    finally:
        node.close()


PATIENT = {"BASESTOCK_START_SECONDS": "3600"}  # longer than any test: whoever ends did not wait for it
HASTY = {"BASESTOCK_START_SECONDS": "1"}


async def end_of_orders(folder: Path, dsn: str, broker_url: str, **environment: str) -> str:
    """What orders says when it cannot start: it ends with status 1 and a sentence, and tells no password."""
    environment |= {"BASESTOCK_DSN": dsn, "BASESTOCK_BROKER_URL": broker_url}
    async with program(folder / "log", "services.orders", **environment) as orders:
        assert await orders.until_ended() == 1, orders.said
        assert "Traceback" not in orders.said
        assert "hush" not in orders.said
        return orders.said


async def test_a_process_gives_up_in_words_when_a_server_never_comes(folder: Path, empty_database_dsn: str) -> None:
    await migrate(Settings(dsn=empty_database_dsn, _env_file=None))
    nobody = "amqp://user:hush@127.0.0.1:1/"
    said = await end_of_orders(folder, "postgresql://user:hush@127.0.0.1:1/basestock", nobody, **HASTY)
    assert "orders: the database did not answer within BASESTOCK_START_SECONDS" in said
    said = await end_of_orders(folder, empty_database_dsn, nobody, **HASTY)
    assert "orders: the broker did not answer within BASESTOCK_START_SECONDS" in said


async def test_a_process_does_not_wait_where_waiting_does_not_help(
    folder: Path, empty_database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    def stranger(url: str) -> str:
        parts = urlsplit(url)
        return parts._replace(netloc=f"user:hush@{parts.hostname}:{parts.port}").geturl()

    assert "authentication failed" in await end_of_orders(folder, stranger(empty_database_dsn), broker.url, **PATIENT)
    assert "basestock migrate" in await end_of_orders(folder, empty_database_dsn, broker.url, **PATIENT)
    await migrate(Settings(dsn=empty_database_dsn, _env_file=None))
    said = await end_of_orders(folder, empty_database_dsn, stranger(broker.url), **PATIENT)
    assert "refuses this user or password" in said
