"""The command line as a user runs it: the embedded default starts, survives, stops; mistakes are told in words."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.embedded_postgres import EmbeddedPostgres
from tests.app import Client
from tests.environment import environment_of_a_user

ROOT = Path(__file__).parent.parent.parent
ORDER_LINES = ROOT / "demo" / "data" / "online-retail.csv"


async def launched(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    inherited = environment_of_a_user()
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=inherited | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def command(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await launched("-m", "services", *arguments, **environment)


async def python(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a Python program that ends by itself."""
    process = await launched(*arguments, **environment)
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def output_of(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a command that ends by itself."""
    return await python("-m", "services", *arguments, **environment)


class Up:
    """`basestock up` in a folder: its base URL and the admin's key."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, said: str) -> None:
        self.process, self.url, self.said = process, url, said

    async def end(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(60):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def up(folder: Path, **environment: str) -> AsyncIterator[Up]:
    process = await command("up", "--port", "0", "--data-dir", str(folder), **environment)
    said = ""
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while not (answers := re.search(r"Basestock answers at (http://\S+)", said)):
                line = (await process.stdout.readline()).decode()
                assert line, f"it ended:\n{said}"
                said += line
        yield Up(process, answers.group(1), said)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def end_leases(folder: Path, table: str) -> None:
    """Let the leases in this table of a killed instance end at once, which would take 20 s."""
    async with EmbeddedPostgres(folder) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(f"update {table} set leased_until = clock_timestamp() where state = 'running'")
        finally:
            await connection.close()


async def test_two_instances_run_side_by_side_though_not_in_one_folder_and_stop_on_ctrl_c(tmp_path: Path) -> None:
    async with (
        up(tmp_path / "one", BASESTOCK_ADMIN_KEY="bsk_one") as one,
        up(tmp_path / "two", BASESTOCK_ADMIN_KEY="bsk_two") as two,
    ):
        async with Client(one.url, "bsk_one") as admin_of_one, Client(two.url, "bsk_one") as stranger_at_two:
            assert (await admin_of_one.get("/readyz")).status == 200
            assert (await admin_of_one.get("/v1/companies")).status == 200
            assert (await stranger_at_two.get("/v1/companies")).status == 401
            assert (await admin_of_one.get("/docs")).status == 200
            nobody = {"email": "nobody@shop.example", "password": "guessed"}
            refused = await admin_of_one.post("/v1/sessions", nobody)
            assert refused.body["code"] == "sign_in_refused", "one can sign in without any setting"
        status, said = await output_of("up", "--port", "0", "--data-dir", str(tmp_path / "one"))
        assert (status, f"process {one.process.pid}" in said) == (1, True), said
        assert await one.end(signal.SIGINT) == 0
        assert await two.end(signal.SIGTERM) == 0


async def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    async with up(tmp_path / "data") as first:
        key = re.search(r"bsk_[\w-]+", first.said)
        assert key, f"the generated admin key is printed:\n{first.said}"
        async with Client(first.url, key.group()) as admin:
            company = {"id": 7, "ref": "supplier-a", "name": "Supplier A", "role": "supplier"}
            assert (await admin.post("/v1/companies", company)).status == 201
        await first.end(signal.SIGKILL)
    async with up(tmp_path / "data") as second:
        assert "bsk_" not in second.said, "the key is printed once"
        async with Client(second.url, key.group()) as admin:
            assert (await admin.get("/v1/companies/7")).body["ref"] == "supplier-a"
        assert await second.end(signal.SIGINT) == 0


async def test_a_port_in_use_is_refused_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, said = await output_of("up", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert status == 1
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_the_console_reaches_the_api_wherever_both_listen(tmp_path: Path, host: str) -> None:
    async with (
        up(tmp_path / "data", BASESTOCK_HOST=host, BASESTOCK_ADMIN_KEY="bsk_admin") as running,
        Client(running.url) as browser,
    ):
        assert re.fullmatch(r"http://\[::1\]:\d+", running.url)
        signing_in = {"data": {"key": "bsk_admin"}, "headers": {"Origin": running.url}, "allow_redirects": False}
        signed_in = await browser.post("/sign-in", **signing_in)
        assert signed_in.status == 303, signed_in.body
        session = signed_in.headers["Set-Cookie"].partition(";")[0]  # addresses have no cookies of their own in aiohttp
        page = await browser.get("/platform/companies", headers={"Cookie": session}, allow_redirects=False)
        assert page.status == 200, page.body
        assert await running.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["migrate"], {}, "BASESTOCK_DSN"),
        (["serve", "orders"], {}, "BASESTOCK_BROKER_URL"),
        (["serve", "catalog"], {"BASESTOCK_BROKER_URL": "amqp://127.0.0.1:1"}, "BASESTOCK_CATALOG_DSN"),
        (["serve", "billing"], {}, "There is no service 'billing'"),
        (["up"], {"BASESTOCK_WEBHOOK_WINDOW_SECONDS": "soon"}, "BASESTOCK_WEBHOOK_WINDOW_SECONDS"),
        (["demo", "--url", "http://127.0.0.1:9"], {}, "BASESTOCK_ADMIN_KEY"),
        (["up", "--dsn", "garbage"], {}, "BASESTOCK_DSN: it must start with postgresql://"),
    ],
)
async def test_mistakes_are_told_in_words(arguments: list[str], environment: dict[str, str], words: str) -> None:
    status, said = await output_of(*arguments, **environment)
    assert status != 0
    assert words in said
    assert "Traceback" not in said


async def test_a_database_that_is_not_there_is_told_in_words(empty_database_dsn: str) -> None:
    missing = urlsplit(empty_database_dsn)._replace(path="/not_there").geturl()
    status, said = await output_of("migrate", "--dsn", missing)
    assert (status, "Traceback" in said) == (1, False), said
    assert 'database "not_there" does not exist' in said
    environment = {"BASESTOCK_DSN": empty_database_dsn, "BASESTOCK_BROKER_URL": "amqp://127.0.0.1:1"}
    status, said = await output_of("serve", "orders", **environment)
    assert (status, "Traceback" in said) == (1, False), said
    assert "basestock migrate" in said


@pytest.mark.parametrize(("arguments", "failed"), [(["check"], 2), (["replay", "catalog"], 1)])
async def test_a_command_without_its_tables_says_so_and_a_check_never_takes_that_for_a_drift(
    empty_database_dsn: str, arguments: list[str], failed: int
) -> None:
    missing = urlsplit(empty_database_dsn)._replace(path="/not_there").geturl()
    for dsn, words in ((empty_database_dsn, "basestock migrate"), (missing, 'database "not_there" does not exist')):
        status, said = await output_of(*arguments, "--dsn", dsn)
        assert (status, "Traceback" in said) == (failed, False), said
        assert words in said
        assert said.startswith("basestock: "), said


async def test_a_check_with_a_wrong_setting_is_no_drift() -> None:
    status, said = await output_of("check", "--dsn", "garbage")
    assert (status, "BASESTOCK_DSN: it must start with" in said) == (2, True), said


async def test_ctrl_c_ends_it_while_it_waits_for_the_broker(tmp_path: Path) -> None:
    nowhere = "amqp://127.0.0.1:1"
    process = await command("up", "--port", "0", "--data-dir", str(tmp_path / "data"), "--broker", nowhere)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"waiting" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


# Python imports it before the program: when that imports a certain module, Ctrl-C comes.
_INTERRUPTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_IMPORT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""
_INTERRUPTED = """
import asyncio, os, signal
from shared.ctrl_c import end_at_once_on_ctrl_c
end_at_once_on_ctrl_c()
from shared.program import run_to_end

async def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        print("in order")

run_to_end(main())
"""


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["-m", "services", "openapi"], "services.command_line"),
        (["-m", "services", "openapi"], "uvicorn"),
        (["-c", "from services.__main__ import main; main()", "openapi"], "typer"),  # as .venv/bin/basestock does
        (["-m", "services.orders"], "services.orders.service"),
        (["-m", "services.orders"], "uvicorn"),
    ],
)
async def test_ctrl_c_ends_a_program_quietly_while_it_is_imported(
    tmp_path: Path, arguments: list[str], module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTING)
    environment = {"PYTHONPATH": str(tmp_path), "INTERRUPTED_IMPORT": module}
    assert await python(*arguments, **environment) == (130, "")


async def test_ctrl_c_ends_a_program_in_order_once_it_works() -> None:
    assert await python("-c", _INTERRUPTED) == (130, "in order\n")


async def test_the_openapi_document_is_printed() -> None:
    status, said = await output_of("openapi")
    assert status == 0
    assert {"/v1/orders", "/v1/products", "/v1/stock", "/v1/webhook-endpoints"} <= json.loads(said)["paths"].keys()


async def test_the_asyncapi_document_is_printed() -> None:
    status, said = await output_of("asyncapi")
    assert status == 0
    assert {"orders.submitted", "inventory.stock_changed"} <= json.loads(said)["channels"].keys()


async def test_the_demo_ends_right_and_notices_a_withheld_order(tmp_path: Path) -> None:
    lines = ORDER_LINES.read_bytes().split(b"\n")[:300]
    few = tmp_path / "orders.csv"
    few.write_bytes(b"\n".join(lines) + b"\n")
    arguments = ["demo", "--exit", "--port", "0", "--data-dir", str(tmp_path / "data"), "--orders", str(few)]
    status, said = await output_of(*arguments)
    assert (status, "RIGHT" in said) == (0, True), said
    status, said = await output_of(*arguments, "--drop-one")
    assert (status, "WRONG" in said) == (1, True), said
