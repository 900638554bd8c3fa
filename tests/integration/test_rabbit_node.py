"""A private RabbitMQ node: its data outlives a kill; nothing of it but a given folder outlives who started it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import aio_pika
import pytest
from aio_pika.exceptions import ProbableAuthenticationError
from yarl import URL

from shared.machine import FolderInUseError
from shared.private_rabbitmq import USER, RabbitNode, RabbitNodeError
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
        node.stop()  # a node that is killed may forget queues, not messages, that are a few seconds old
        node.start()
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel()
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


async def test_only_its_own_user_may_connect_and_only_we_can_read_the_password(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir(mode=0o755)
    with RabbitNode(tmp_path / "node") as node:
        password = URL(node.url).password or ""
        assert (node.folder.stat().st_mode & 0o777, (node.folder / "password").stat().st_mode & 0o777) == (0o700, 0o600)
        assert {file.stat().st_mode & 0o077 for file in _files_with(password, node.folder)} == {0}
        assert await _lets_in(node, USER, password)
        assert not await _lets_in(node, USER, "wrong")
        assert not await _lets_in(node, "guest", "guest")
        assert not await _lets_in(node, "guest", "")
    again = RabbitNode(node.folder)
    again.close()
    assert URL(again.url).password == password


async def test_a_folder_of_an_older_version_keeps_its_messages_and_shuts_out_the_user_that_everybody_knows(
    tmp_path: Path,
) -> None:
    as_it_was = tmp_path / "older.json"
    everything = {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    guest = {"name": "guest", "password": "guest", "tags": "administrator"}
    as_it_was.write_text(json.dumps({"users": [guest], "permissions": [everything]}))
    with RabbitNode(tmp_path / "node") as older:
        async with await aio_pika.connect(older.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("orders", durable=True)
            message = aio_pika.Message(b"A-1", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, routing_key="orders")
        older.ctl("import_definitions", str(as_it_was))
        older.ctl("delete_user", USER)
        assert await _lets_in(older, "guest", "guest")
    (older.folder / "password").unlink()
    with RabbitNode(older.folder) as node:
        assert URL(node.url).password != URL(older.url).password
        assert not await _lets_in(node, "guest", "guest")
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("orders")
            assert (await queue.get(no_ack=True)).body == b"A-1"


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


async def _lets_in(node: RabbitNode, user: str, password: str) -> bool:
    url = URL(node.url).with_user(user).with_password(password)
    try:
        async with await aio_pika.connect(url):
            return True
    except ProbableAuthenticationError:
        return False


def _files_with(text: str, folder: Path) -> list[Path]:
    found = [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]
    assert found
    return found


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
