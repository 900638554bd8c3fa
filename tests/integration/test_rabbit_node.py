"""The tests' own RabbitMQ node: its data outlives a kill, and nothing of it outlives the process that started it."""

import subprocess
import sys
from pathlib import Path

import aio_pika

from shared import clock
from tests.servers.rabbitmq import RabbitNode

_DEADLINE_SECONDS = 60
_OWNER = """
from tests.servers.rabbitmq import RabbitNode
node = RabbitNode()
node.start()
print(node.folder, flush=True)
input()
"""


async def test_confirmed_messages_outlive_a_kill_of_the_node() -> None:
    with RabbitNode() as node:
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("orders", durable=True)
            await channel.default_exchange.publish(
                aio_pika.Message(b"A-1", delivery_mode=aio_pika.DeliveryMode.PERSISTENT), routing_key="orders"
            )
        node.restart()
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("orders")
            message = await queue.get(no_ack=True)
            assert message.body == b"A-1"
        assert "orders" in node.ctl("list_queues", "name")
    assert not node.folder.exists()


async def test_a_killed_owner_leaves_no_process_and_no_folder() -> None:
    with _owner() as owner:
        assert owner.stdout is not None
        folder = owner.stdout.readline().strip()
        assert _processes_in(folder) != []
        owner.kill()
    deadline = clock.monotonic() + _DEADLINE_SECONDS
    while _processes_in(folder) or _exists(folder):
        assert clock.monotonic() < deadline, f"still there: {folder}, {_processes_in(folder)}"
        await clock.sleep(0.05)


def _owner() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _exists(folder: str) -> bool:
    return Path(folder).exists()


def _processes_in(folder: str) -> list[int]:
    """Live processes started with this home folder, by the kernel's record of their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or another user's and so not ours
        if f"HOME={folder}\0".encode() in environment:
            found.append(int(process.name))
    return found
