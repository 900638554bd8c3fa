"""A private RabbitMQ node: its data outlives a kill; nothing of it but a given folder outlives who started it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import aio_pika
import pytest

from shared.machine import FolderInUseError
from shared.private_rabbitmq import RabbitNode, RabbitNodeError
from tests.end_to_end.system import eventually

_DEADLINE_SECONDS = 60
_OWNER = """
import sys
from pathlib import Path
from shared.private_rabbitmq import RabbitNode
node = RabbitNode(*map(Path, sys.argv[1:]))
node.start()
print(node.folder, node.url, node._cleaner.pid, node.pid, flush=True)
input()
node._cleaner.kill()
node._cleaner.wait()
node.restart()
print("restarted", flush=True)
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
    await _until_nothing_is_left_of(folder)


async def test_a_node_starts_though_its_cleaner_was_killed_and_has_another_one_then() -> None:
    with _owner() as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        folder = owner.stdout.readline().split()[0]
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert owner.stdout.readline() == "restarted\n"
        owner.kill()
    await _until_nothing_is_left_of(folder)


async def test_a_given_folder_keeps_its_messages_and_has_one_node_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a node, #1"
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


class _Turn:
    """Stands where a node has its lock, and tells when somebody has to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.somebody_waits = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.somebody_waits.set()
            self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


async def test_what_is_closed_while_it_is_launched_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    node, turn = RabbitNode(), _Turn()
    launched, go_on = threading.Event(), threading.Event()
    popen = subprocess.Popen

    def held_up(*arguments: object, **options: object) -> object:
        process = popen(*arguments, **options)  # type: ignore[call-overload]
        launched.set()
        go_on.wait()
        return process

    monkeypatch.setattr(node, "_turn", turn)
    monkeypatch.setattr("shared.private_rabbitmq.subprocess.Popen", held_up)
    starting = asyncio.create_task(asyncio.to_thread(node.start))
    await asyncio.to_thread(launched.wait)
    closing = asyncio.create_task(asyncio.to_thread(node.close))

    async def is_closed_or_waits() -> bool:
        return closing.done() or turn.somebody_waits.is_set()

    await eventually("the close is over or waits", is_closed_or_waits)
    go_on.set()
    with pytest.raises(RabbitNodeError, match="being closed"):
        await starting
    await closing
    await _until_nothing_is_left_of(str(node.folder))


async def test_what_is_closed_does_not_start(tmp_path: Path) -> None:
    node = RabbitNode(tmp_path / "node")
    node.close()
    with pytest.raises(RabbitNodeError, match="is closed"):
        node.start()
    assert node.pid is None


async def test_a_kill_cuts_a_close_short(tmp_path: Path) -> None:
    with RabbitNode(tmp_path / "node") as node:
        assert node.pid is not None
        os.kill(node.pid, signal.SIGSTOP)  # it would never stop in order
        closing = asyncio.create_task(asyncio.to_thread(node.close))

        async def is_closing() -> bool:
            if node._turn.acquire(blocking=False):
                node._turn.release()
                return False
            return True

        await eventually("the close has begun", is_closing)
        async with asyncio.timeout(20):  # the close by itself would take three times as long
            await asyncio.to_thread(node.kill)
            await closing


def _owner(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _OWNER, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def _until_nothing_is_left_of(folder: str) -> None:
    await _until_nothing_runs_in(folder)

    async def is_gone() -> bool:
        return not _exists(folder)

    await eventually(f"{folder} is gone", is_gone, _DEADLINE_SECONDS)


def _exists(folder: str) -> bool:
    return Path(folder).exists()


async def _until_nothing_runs_in(folder: str) -> None:
    async def nothing_runs() -> bool:
        return not _processes_in(folder)

    await eventually(f"nothing runs in {folder}", nothing_runs, _DEADLINE_SECONDS)


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
