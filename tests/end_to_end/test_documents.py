"""The guides' programs do what the guides say: each is cut out of its page and run as a user would run it."""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import System, eventually

DOCS = Path(__file__).parent.parent.parent / "docs"


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


async def test_the_order_systems_client_lowers_stock(rabbit_system: System, broker: Broker) -> None:
    await rabbit_system.set_on_hand(100, 10)
    user = urlsplit(broker.url).username or "guest"
    client = await run(program_of("order-systems.md"), BROKER_URL=broker.url, BROKER_USER=user)
    _, complaints = await client.communicate()
    assert client.returncode == 0, complaints.decode()

    async def lowered() -> bool:
        return await rabbit_system.available(100) == 8

    await eventually("the order has lowered product 100 by two", lowered)


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
