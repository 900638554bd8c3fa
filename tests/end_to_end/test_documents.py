"""The guides' programs do what the guides say: each is run as a user would run it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from standardwebhooks import Webhook

from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import System, eventually
from tests.node_packages import beside_packages, program

DOCS = Path(__file__).parent.parent.parent / "docs"
CLIENTS = DOCS / "clients"


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


def page_of(client: Path) -> str:
    return "order-systems.md" if client.stem == "order_system" else "retailers.md"


@pytest.mark.parametrize("client", sorted(CLIENTS.iterdir()), ids=lambda path: path.name)
def test_the_guide_shows_the_client_as_it_is(client: Path) -> None:
    page = (DOCS / page_of(client)).read_text(encoding="utf-8")
    assert f"\n{client.read_text(encoding='utf-8')}```\n" in page


@dataclass
class Receiving:
    """A receiver of the guide as it runs; `secret` is that of its endpoint."""

    process: asyncio.subprocess.Process
    url: str
    secret: str

    async def line(self) -> str:
        """The next news that it prints, samples aside."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while (line := (await self.process.stdout.readline()).decode()) == "a sample\n":
                pass
        assert line, "the receiver ended"
        return line.removesuffix("\n")

    async def call(self, body: object, webhook_id: str, secret: str | None = None) -> int:
        """Call it as Basestock does, or with another secret; returns the status of its answer."""
        raw, now = json.dumps(body), datetime.now(UTC)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret or self.secret).sign(webhook_id, now, raw),
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url, data=raw.encode(), headers=headers) as response,
        ):
            return response.status


@asynccontextmanager
async def receiving(system: System, command: Sequence[str]) -> AsyncIterator[Receiving]:
    """Run a receiver, for an endpoint of the retailer's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/webhooks"
    answer = await system.retailer.post("/v1/webhook-endpoints", {"url": url})
    assert answer.status == 201, answer.body
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "SECRET": answer.body["secret"], "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await eventually("the receiver listens", listens, seconds=60)
        yield Receiving(process, url, answer.body["secret"])
    finally:
        process.terminate()
        await process.communicate()


def variant(event_type: str, **payload: object) -> dict[str, object]:
    return {"event_type": event_type, "payload": {"inventory_id": "main:100", **payload}}


def fulfilled(logical_timestamp: int) -> dict[str, object]:
    name = "fulfillment_request_completed"
    return {"type": name, "supplier_id": 1, "logical_timestamp": logical_timestamp, "request_ref": "ff1"}


@pytest.mark.parametrize("name", ["receiver.py", "receiver.mjs"])
async def test_the_guides_receivers_verify_and_take_each_call_once(
    embedded_system: System, npm_packages: Path, tmp_path: Path, name: str
) -> None:
    system = embedded_system
    async with receiving(system, client_command(name, npm_packages, tmp_path)) as shop:
        await system.set_on_hand(100, 7)
        told, available, _, version = (await shop.line()).split(" ")
        assert (told, available) == ("T01-S", "7")

        def level(version: int, available: int) -> dict[str, object]:
            linked = [{"product": {"id": 100, "sku": "T01-S"}, "variant": None}]
            return {"stock": [{"linked": linked, "quantity_available": available, "version": version}]}

        forged = "whsec_" + "A" * 32
        assert await shop.call(level(1_000, 0), "msg_forged", forged) == 401
        calls = (
            (level(int(version), 9), "msg_1"),  # not newer
            (level(999, 5), "msg_2"),
            (variant("variant_stock_delta.updated", delta=-2), "msg_3"),
            (variant("variant_stock_delta.updated", delta=-2), "msg_3"),
            (variant("variant_stock_delta.updated", delta=2), "msg_4"),
            (variant("variant_stock.updated", quantity=4, inventory_date="2026-11-22T09:30:01Z"), "msg_5"),
            (variant("variant_stock.updated", quantity=6, inventory_date="2026-11-22T09:30:00Z"), "msg_6"),
            (variant("variant_stock.deleted"), "msg_7"),
            (fulfilled(1), "msg_8"),
            (fulfilled(2), "msg_9"),
            (fulfilled(1), "msg_8"),
            (fulfilled(3), "msg_10"),
            ({"type": "ping"}, "msg_11"),
        )
        for body, webhook_id in calls:
            assert await shop.call(body, webhook_id) == 204
        assert [await shop.line() for _ in range(8)] == [
            "T01-S 5 version 999",
            "main:100 -2",
            "main:100 +2",
            "main:100 4",
            "main:100 is not stocked",
            *(f"{number} fulfillment_request_completed ff1" for number in (1, 2, 3)),
        ]


def test_the_guides_shell_script_makes_the_same_signature() -> None:
    secret, webhook_id, now = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_1", datetime.now(UTC)
    body = '{"stock": "grün", "line": "\\n"}'
    environment = {**os.environ, "SECRET": secret, "ID": webhook_id, "TIMESTAMP": str(int(now.timestamp()))}
    script = ["sh", str(CLIENTS / "signature.sh")]
    made = subprocess.run(script, input=body.encode(), env=environment, capture_output=True, check=True)
    assert made.stdout.decode() == Webhook(secret).sign(webhook_id, now, body) + "\n"
