"""The guides' programs do what the guides say: each is run as a user would run it."""

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import System, eventually
from tests.node_packages import beside_packages, program

DOCS = Path(__file__).parent.parent.parent / "docs"
CLIENTS = DOCS / "clients"


def program_of(page: str) -> str:
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(program)


async def run(program: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


ORDERS = [
    {"external_ref": "SHOP-1", "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 2}]},
    {"external_ref": "SHOP-2", "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 1}]},
]
LAST = {"external_ref": "SHOP-3", "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 4}]}


async def send(command: Sequence[str], orders: Sequence[object], **environment: str) -> tuple[int | None, str]:
    """Run a client with these orders; its exit status and what it says."""
    client = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        said, _ = await client.communicate("".join(json.dumps(order) + "\n" for order in orders).encode())
    return client.returncode, said.decode()


def client_command(name: str, npm_packages: Path, folder: Path) -> list[str]:
    if name.endswith(".py"):
        return [sys.executable, str(CLIENTS / name)]
    if name.endswith(".mjs"):
        return [program("node"), str(beside_packages(CLIENTS / name, npm_packages, folder))]
    return ["sh", str(CLIENTS / name)]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, form) for name in ("order_system.py", "order_system.mjs") for form in ("plain", "event", "batch")),
        ("order_system.sh", ""),
    ],
)
async def test_an_order_systems_client_lowers_stock_once_however_often_it_runs(
    rabbit_system: System, broker: Broker, npm_packages: Path, tmp_path: Path, name: str, form: str
) -> None:
    system = rabbit_system
    await system.set_on_hand(100, 10)
    command = [*client_command(name, npm_packages, tmp_path), *([form] if form else [])]
    environment = {"BROKER_URL": broker.url, "BASESTOCK": system.url, "KEY": str(system.retailer.key)}
    # The last one comes behind everything that the first two runs sent: with its effect there are all of theirs.
    for orders in (ORDERS, ORDERS, [LAST]):
        status, said = await send(command, orders, **environment)
        assert status == 0, said

    async def is_taken() -> bool:
        return await system.available(100) <= 10 - 2 - 1 - 4

    await eventually("all three orders are taken", is_taken)
    assert await system.available(100) == 10 - 2 - 1 - 4
    listed = (await system.retailer.get("/v1/orders")).body["items"]
    assert sorted(order["external_ref"] for order in listed) == ["SHOP-1", "SHOP-2", "SHOP-3"]
    assert await system.rows("orders", "select reason from dead_letters") == []


async def test_the_curl_client_says_what_was_refused(rabbit_system: System, npm_packages: Path, tmp_path: Path) -> None:
    bad = {"external_ref": "SHOP-9", "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 0}]}
    command = client_command("order_system.sh", npm_packages, tmp_path)
    environment = {"BASESTOCK": rabbit_system.url, "KEY": str(rabbit_system.retailer.key)}
    status, said = await send(command, [ORDERS[0], bad], **environment)
    assert status == 1
    assert "lines[0].quantity" in said


@pytest.mark.parametrize("client", sorted(CLIENTS.iterdir()), ids=lambda path: path.name)
def test_the_guide_shows_the_client_as_it_is(client: Path) -> None:
    page = (DOCS / "order-systems.md").read_text(encoding="utf-8")
    assert f"\n{client.read_text(encoding='utf-8')}```\n" in page


async def test_the_retailers_receiver_verifies_and_prints(embedded_system: System) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = await embedded_system.retailer.post("/v1/webhook-endpoints", {"url": f"http://127.0.0.1:{port}/stock"})
    receiver = await run(program_of("retailers.md"), SECRET=answer.body["secret"], PORT=str(port))
    assert receiver.stdout is not None
    try:

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await eventually("the receiver listens", listens)
        await embedded_system.set_on_hand(100, 7)
        async with asyncio.timeout(20):
            while not (line := (await receiver.stdout.readline()).decode()).startswith("T01-S"):
                assert line, "the receiver ended"
        assert line.startswith("T01-S 7 version")
    finally:
        receiver.terminate()
        await receiver.communicate()
