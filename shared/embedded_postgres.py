"""A private PostgreSQL in one folder, under our own supervisor: `basestock up` without any server installed.

The server listens on a free port of 127.0.0.1 alone, with a generated SCRAM password; the port and the password are
kept in the folder.

PostgreSQL refuses to run as root. Started by root it runs as the user `postgres`, or `nobody` where there is none, and
that user must be able to enter the folder. Where it cannot (a folder under /root), no parent is opened to the world:
everything lies in `/var/lib/basestock/<name derived from the folder's path>` instead, and the symbolic link `server` in
the folder points there. Binaries that this user cannot enter (a virtual environment under /root) are copied along.

One supervisor owns a folder at a time (a file lock). When the supervisor is killed, Linux tells PostgreSQL to stop;
what still runs at the next start, on any system, is recognized by its `cluster_name` and ended first. Committed rows
survive all of it.
"""

import asyncio
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import asyncpg
import structlog

from shared import clock
from shared.machine import FolderInUseError, command_lines, ending_with_parent, kept_ports, own
from shared.postgres_binaries import EmbeddedPostgresError, User, as_user, choose_binaries, digest, run_as

_NAME = "basestock"  # of the role and of the database
_FIRST_MAJOR_WITH_BUILTIN_LOCALE = 17
_UNREACHABLE_HOMES = Path("/var/lib/basestock")
_READY_SECONDS = 120  # crash recovery of a full write-ahead log on a slow disk
_STOP_SECONDS = 20
_POLL_SECONDS = 0.02
_RESTART_PAUSE_SECONDS = 1
_LOG_LIMIT_BYTES = 10_000_000
_LOG_TAIL_CHARACTERS = 1500
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path must not exceed 107 bytes, a folder's may
    "max_connections": "100",
    "shared_buffers": "128MB",
    "min_wal_size": "80MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """The supervisor: `async with EmbeddedPostgres(folder) as dsn:` runs PostgreSQL for as long as the block.

    `fast` gives up durability for speed and is for tests only. Enter the block in a thread that lives as long as the
    server (the main thread, as a rule): Linux ties the server's life to that thread. A server that dies meanwhile is
    restarted on the same port. Raises `EmbeddedPostgresError` when there are no binaries, when another process owns
    the folder, when the folder was made by another major version, or when PostgreSQL does not start.
    """

    def __init__(self, data_dir: Path, *, fast: bool = False) -> None:
        """Choose the folder; nothing is touched before the block is entered."""
        self._data_dir = data_dir.absolute()
        self._settings = _SETTINGS | (_FAST_SETTINGS if fast else {})
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> str:
        """Start the server; gives the DSN `postgresql://basestock:<password>@127.0.0.1:<port>/basestock?...`."""
        self._user, self.home = _find_home(self._data_dir)
        try:
            self._lock = own(self.home)
        except FolderInUseError as error:
            raise EmbeddedPostgresError(str(error)) from None
        try:
            self._binaries = await asyncio.to_thread(_prepare, self.home, self._user)
            self._cluster_name = _cluster_name(self.home)
            self._password = (self.home / "password").read_text()
            [self._port] = kept_ports(self.home / "port", 1)
            await self._start()
        except BaseException:
            await self._stop()
            self._lock.close()
            raise
        self._watch_task = asyncio.create_task(self._watch())
        return self._dsn(_NAME)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server cleanly, by force if that takes too long, and give the folder up."""
        self._watch_task.cancel()
        try:
            await asyncio.wait([self._watch_task])
        finally:
            await self._stop()
            self._lock.close()
        if not self._watch_task.cancelled():
            self._watch_task.result()

    @property
    def pid(self) -> int | None:
        """The running server's process id; `None` while there is none."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def _dsn(self, database: str) -> str:
        # Without `sslmode` asyncpg looks for certificates in a home folder that may not be ours to read.
        return f"postgresql://{_NAME}:{self._password}@127.0.0.1:{self._port}/{database}?sslmode=disable"

    async def _start(self) -> None:
        """Run the server and wait until it answers."""
        await self._end_leftovers()
        # Nothing of this folder runs now: a pid in there is a zombie's or a stranger's, and would keep PostgreSQL off.
        (self.home / "data/postmaster.pid").unlink(missing_ok=True)
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        options += [f"-cport={self._port}", f"-ccluster_name={self._cluster_name}"]
        with _open_log(self.home / "log") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binaries / "postgres",
                "-D",
                self.home / "data",
                *options,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: the services drain first, then we stop the server
                preexec_fn=ending_with_parent(signal.SIGINT),
                **as_user(self._user),
            )
        await self._wait_until_ready(self._process)

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = clock.monotonic() + _READY_SECONDS
        refusal: Exception | None = None
        while process.returncode is None and clock.monotonic() < deadline:
            try:
                return await self._ensure_database()
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
                refusal = error
                await clock.sleep(_POLL_SECONDS)
        what = "does not answer" if process.returncode is None else f"did not start (exit code {process.returncode})"
        tail = (self.home / "log").read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
        message = f"PostgreSQL in {self.home} {what}. Last error: {refusal}. The end of {self.home / 'log'}:\n{tail}"
        raise EmbeddedPostgresError(message)

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self._dsn("postgres"), timeout=_READY_SECONDS)
        try:
            if not await connection.fetchval("select true from pg_database where datname = $1", _NAME):
                await connection.execute(f"create database {_NAME} encoding 'UTF8'")
        finally:
            await connection.close()

    async def _watch(self) -> None:
        """Restart the server whenever it dies; whoever uses it meets a pause."""
        while self._process is not None:
            exit_code = await self._process.wait()
            _log.error("postgres_died", folder=str(self.home), exit_code=exit_code)
            try:
                await self._start()
            except (EmbeddedPostgresError, OSError, asyncpg.PostgresError) as error:
                _log.error("postgres_restart_failed", folder=str(self.home), error=str(error))
                await self._stop()
                await clock.sleep(_RESTART_PAUSE_SECONDS)
            else:
                _log.warning("postgres_restarted", folder=str(self.home), pid=self.pid)

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: end the sessions, write everything, exit
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except BaseException as reason:
            process.kill()
            await process.wait()
            if not isinstance(reason, TimeoutError):
                raise
            _log.warning("postgres_killed", folder=str(self.home), after_seconds=_STOP_SECONDS)

    async def _end_leftovers(self) -> None:
        """End every process of this folder that an earlier server or supervisor left behind."""
        leftovers = _processes_of(self._cluster_name)
        if leftovers:
            _log.warning("postgres_left_behind", folder=str(self.home), pids=sorted(leftovers))
        started = clock.monotonic()
        while leftovers:
            waited_seconds = clock.monotonic() - started
            if waited_seconds > 2 * _STOP_SECONDS:
                message = f"Processes {sorted(leftovers)} of an earlier PostgreSQL in {self.home} cannot be ended."
                raise EmbeddedPostgresError(message)
            postmasters = [pid for pid, is_postmaster in leftovers.items() if is_postmaster]
            orderly = bool(postmasters) and waited_seconds < _STOP_SECONDS
            for pid in postmasters if orderly else leftovers:
                with suppress(ProcessLookupError):  # ended meanwhile
                    # Sessions that lost their postmaster can no longer save anything, but may compute on for hours.
                    os.kill(pid, signal.SIGINT if orderly else signal.SIGKILL)
            await clock.sleep(_POLL_SECONDS)
            leftovers = _processes_of(self._cluster_name)


def _cluster_name(home: Path) -> str:
    """Name the processes of this folder: not those of its copy, nor of the same path in another container."""
    identity = home.stat()
    return f"{_NAME}-{digest(f'{identity.st_dev}:{identity.st_ino}:{home}')}"


def _find_home(data_dir: Path) -> tuple[User | None, Path]:
    """Whom PostgreSQL runs as (`None`: ourselves) and the folder where everything lies."""
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    link = data_dir / "server"
    home = link.readlink() if link.is_symlink() else data_dir
    if not home.is_dir():
        message = f"The database of {data_dir} is gone: {link} points to {home}. Remove the link to start with none."
        raise EmbeddedPostgresError(message)
    user = _unprivileged_user(home)
    if user is None or run_as(["test", "-x", home], user).returncode == 0:
        return user, home
    home = _UNREACHABLE_HOMES / digest(str(data_dir))
    home.mkdir(parents=True, exist_ok=True)
    for folder in (_UNREACHABLE_HOMES, home):
        folder.chmod(0o711)
    link.symlink_to(home)
    return user, home


def _unprivileged_user(home: Path) -> User | None:
    data = home / "data"
    owner = data.stat() if data.is_dir() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            message = f"{data} belongs to user {owner.st_uid}: run as that user or as root, or use another folder."
            raise EmbeddedPostgresError(message)
        return None
    if owner is not None and owner.st_uid != 0:
        return User(owner.st_uid, owner.st_gid)
    by_name = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = by_name.get("postgres") or by_name.get("nobody")
    if entry is None:
        message = "PostgreSQL must not run as root, and there is no user `postgres` or `nobody`: add one or be another."
        raise EmbeddedPostgresError(message)
    return User(entry.pw_uid, entry.pw_gid)


def _prepare(home: Path, user: User | None) -> Path:
    """Make the password and the empty cluster if they are not there yet; gives the folder of the server's binaries."""
    version_file = home / "data/PG_VERSION"
    wanted_major = int(version_file.read_text()) if version_file.exists() else None
    binaries, major = choose_binaries(home, user, wanted_major)
    if wanted_major is None:
        _initialize(home, user, binaries, major)
    return binaries


def _initialize(home: Path, user: User | None, binaries: Path, major: int) -> None:
    for unfinished in home.glob("initdb-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    password = home / "password"
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    new_data = Path(tempfile.mkdtemp(prefix="initdb-", dir=home))
    if user is not None:
        os.chown(password, user.uid, user.gid)
        os.chown(new_data, user.uid, user.gid)
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    locale = builtin if major >= _FIRST_MAJOR_WITH_BUILTIN_LOCALE else ["--locale=C.UTF-8"]
    options = [f"--username={_NAME}", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", *locale]
    done = run_as([binaries / "initdb", "-D", new_data, "--data-checksums", "--no-instructions", *options], user)
    if done.returncode != 0:
        message = f"PostgreSQL's initdb failed in {home}:\n{done.stderr}"
        raise EmbeddedPostgresError(message)
    new_data.rename(home / "data")


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.rename(path.with_suffix(".old"))
    path.touch(mode=0o600)
    return path.open("ab")


def _processes_of(cluster_name: str) -> dict[int, bool]:
    """Find the pids of a cluster's live processes by their command lines; the value says which is the postmaster."""
    postmaster = re.compile(rf".*/postgres -D .*-ccluster_name={cluster_name}( |$)")
    found = {}
    for pid, command_line in command_lines():
        if postmaster.match(command_line):
            found[pid] = True
        elif command_line.startswith(f"postgres: {cluster_name}: "):
            found[pid] = False
    return found
