"""A private RabbitMQ node: its data outlives a kill; nothing of it but a given folder outlives who started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import aio_pika
import pytest

from shared import clock
from shared.machine import FolderInUseError
from shared.private_rabbitmq import RabbitNode

_DEADLINE_SECONDS = 60
_OWNER = """
import sys
from pathlib import Path
from shared.private_rabbitmq import RabbitNode
node = RabbitNode(*map(Path, sys.argv[1:]))
node.start()
print(node.folder, node.url, node._cleaner.pid, node.pid, flush=True)
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
        folder = owner.stdout.readline().split()[0]
        assert _processes_in(folder) != []
        owner.kill()
    deadline = clock.monotonic() + _DEADLINE_SECONDS
    while _processes_in(folder) or _exists(folder):
        assert clock.monotonic() < deadline, f"still there: {folder}, {_processes_in(folder)}"
        await clock.sleep(0.05)


async def test_a_given_folder_keeps_its_messages_and_has_one_node_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a node"
    with _owner(str(folder)) as owner:
        assert owner.stdout is not None
        *_, url, cleaner, orphan = owner.stdout.readline().split()
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("orders", durable=True)
            message = aio_pika.Message(b"A-1", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, routing_key="orders")
        with pytest.raises(FolderInUseError, match=f"process {owner.pid}"):
            RabbitNode(folder)
        os.kill(int(cleaner), signal.SIGKILL)
        owner.kill()
    assert int(orphan) in _processes_in(str(folder)), "killed together with its cleaner, the owner leaves a node behind"
    with RabbitNode(folder) as node:
        assert int(orphan) not in _processes_in(str(folder))
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("orders")
            kept = await queue.get(no_ack=True)
            assert kept.body == b"A-1"
    assert folder.is_dir()
    assert node.pid not in _processes_in(str(folder))


def _owner(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _OWNER, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


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
