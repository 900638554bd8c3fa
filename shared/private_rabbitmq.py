"""A private RabbitMQ node from the binaries on this machine, for `basestock run`, the tests and the bench.

A node touches nothing of the system: ports, data, cookie, epmd and logs are its own, in one folder. It ends with the
process that started it, however that one ends: a small shell process waits for the end of a pipe that only we hold
open, then kills the node's processes. A temporary folder goes with it. A given folder stays, and with it every
confirmed message; one process owns it at a time (a file lock), and a node that some accident left running in it is
recognized by its command line and ended before the next one starts.

Only `USER` may connect, with a password of this folder's own, which nobody but us can read.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from shared import clock
from shared.machine import SEARCH_PATH, command_lines, install_on_debian, kept_ports, own

USER = "basestock"

_READY_SECONDS = 120
_STOP_SECONDS = 60
_POLL_SECONDS = 0.1
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1, section 4.2.2
_SYSTEM_BINARIES = Path("/usr/lib/rabbitmq/bin")  # Debian's real scripts; those in /usr/sbin change to another user
# Reads the pid of each node that is started; then, when we are gone, kills the last one and removes what is temporary.
_CLEAN_UP = """
while read -r started; do node=$started; done
for group in $node "$1"; do kill -s KILL -- "-$group" 2>/dev/null; done  # some may have ended by themselves
test -n "$2" || exit
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$2" 2>/dev/null && exit; sleep 0.2; done
"""


class RabbitNodeError(RuntimeError):
    """A private RabbitMQ node cannot be had or does not run; the message says why and what to do."""


class RabbitNode:
    """One private node, also as a context manager. Its data stays over `kill`, `stop` and `start`, until `close`."""

    def __init__(self, folder: Path | None = None, *, management: bool = False) -> None:
        """Prepare the folder (a temporary one by default), the ports and the password; `start` runs the node.

        With `management` it also has RabbitMQ's HTTP API, at `management_url`.
        Raises `RabbitNodeError` without binaries, `FolderInUseError` when another process owns the folder.
        """
        self._binaries = find_binaries()
        epmd = shutil.which("epmd", path=SEARCH_PATH)
        if epmd is None:
            message = "Erlang's `epmd` is missing although RabbitMQ is there: install Erlang (Debian: `erlang-base`)."
            raise RabbitNodeError(message)
        self._stays = folder is not None
        self.folder = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="basestock-rabbitmq-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # also one that an older version left open
        self._lock: BinaryIO = own(self.folder)
        self._turn = threading.RLock()  # whose start, stop or close it is; kill cuts each of them short
        self._is_closing = False
        identity = self.folder.stat()  # not the path: another container may have the same one
        self._mark = f"-basestock_node {identity.st_dev}-{identity.st_ino}"
        _end_leftovers(self._mark)
        self._port, distribution_port, epmd_port, management_port = kept_ports(self.folder / "ports", 4)
        password = _kept_secret(self.folder / "password")
        self.url = f"amqp://{USER}:{password}@127.0.0.1:{self._port}/"
        self._environment = _environment(self.folder, self._mark, distribution_port, epmd_port)
        self.management_url = f"http://{USER}:{password}@127.0.0.1:{management_port}" if management else None
        _write_configuration(self.folder, self._port, password, management_port if management else None)
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd = subprocess.Popen(  # noqa: S603 - our own command
            [epmd, "-port", str(epmd_port), "-address", "127.0.0.1"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self._cleaner = self._new_cleaner()

    def __enter__(self) -> Self:
        """Start the node."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the node."""
        self.close()

    def start(self) -> None:
        """Run the node and wait until it speaks AMQP; nothing happens when it runs already.

        Raises `RabbitNodeError` when it does not come to that, also because it is being closed; then none runs.
        """
        with self._turn:
            if self.pid is not None:
                return
            self._refuse_when_closing()
            try:
                self._node = self._new_node()
                self._tell_cleaner(self._node.pid)
                self._wait_until_it_answers(self._node)
            except BaseException:
                self.kill()
                raise

    def _refuse_when_closing(self) -> None:
        if self._is_closing:
            message = f"The private RabbitMQ node in {self.folder} is closed, or being closed."
            raise RabbitNodeError(message)

    def _new_node(self) -> subprocess.Popen[bytes]:
        with (self.folder / "stdout").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own command
                [self._binaries / "rabbitmq-server"],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def _new_cleaner(self) -> subprocess.Popen[bytes]:
        temporary = "" if self._stays else self.folder
        return subprocess.Popen(  # noqa: S603 - our own command
            ["/bin/sh", "-c", _CLEAN_UP, "sh", str(self._epmd.pid), temporary],
            stdin=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )

    def _tell_cleaner(self, pid: int) -> None:
        """Have the node end with us; a cleaner that was killed is replaced."""
        try:
            _write_line(self._cleaner, str(pid))
        except BrokenPipeError:
            self._cleaner.communicate()
            self._cleaner = self._new_cleaner()
            _write_line(self._cleaner, str(pid))

    def _wait_until_it_answers(self, node: subprocess.Popen[bytes]) -> None:
        deadline = clock.monotonic() + _READY_SECONDS
        while not _speaks_amqp(self._port):
            self._refuse_when_closing()
            if _ended(node, _POLL_SECONDS) or clock.monotonic() > deadline:
                tail = (self.folder / "stdout").read_text(errors="replace")[-2000:]
                message = f"The private RabbitMQ node in {self.folder} does not answer; the end of its output:\n{tail}"
                raise RabbitNodeError(message)

    @property
    def pid(self) -> int | None:
        """The running node's process id; `None` while there is none."""
        return None if self._node is None or self._node.poll() is not None else self._node.pid

    def kill(self) -> None:
        """Kill -9 the node, as a power cut would; a start, stop or close under way elsewhere ends the sooner."""
        if self._node is not None and self._node.poll() is None:
            with suppress(ProcessLookupError):  # ended meanwhile
                os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait()

    def stop(self) -> None:
        """Stop the node in order, by force if that takes too long."""
        with self._turn:
            if self._node is not None and self._node.poll() is None:
                self._node.terminate()
                if not _ended(self._node, _STOP_SECONDS):
                    self.kill()

    def restart(self) -> None:
        """Kill the node and start it again."""
        self.kill()
        self.start()

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl`; gives what it printed, raises `RabbitNodeError` with its complaint."""
        command = [str(self._binaries / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=self._environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            message = f"rabbitmqctl {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}"
            raise RabbitNodeError(message)
        return done.stdout

    def close(self) -> None:
        """End everything of this node: in order where the folder stays, else at once, with the folder."""
        self._is_closing = True  # a start that is under way gives up, none begins any more
        with self._turn:
            if self._stays:
                self.stop()
            self._cleaner.kill()
            self._cleaner.communicate()
            self.kill()
            self._epmd.kill()
            self._epmd.wait()
            if not self._stays:
                shutil.rmtree(self.folder)
            self._lock.close()


def find_binaries() -> Path:
    """Find the folder of RabbitMQ's scripts; root on Debian installs the package. Raises `RabbitNodeError`."""
    binaries = _look_for_binaries()
    if binaries is None and install_on_debian("rabbitmq-server"):
        binaries = _look_for_binaries()
    if binaries is None:
        message = (
            "There is no RabbitMQ on this machine. Install it (Debian: `apt-get install --no-install-recommends "
            "rabbitmq-server`, macOS: `brew install rabbitmq`), or start one (`docker run -p 5672:5672 rabbitmq:4`) "
            "and name it: `basestock run --broker amqp://guest:guest@127.0.0.1:5672/`, for the tests "
            "BASESTOCK_TEST_BROKER_URL=amqp://guest:guest@127.0.0.1:5672/"
        )
        raise RabbitNodeError(message)
    return binaries


def _look_for_binaries() -> Path | None:
    on_path = shutil.which("rabbitmq-server", path=SEARCH_PATH)
    for folder in (_SYSTEM_BINARIES, *([Path(on_path).resolve().parent] if on_path else [])):
        if (folder / "rabbitmqctl").exists() and (folder / "rabbitmq-server").exists():
            return folder
    return None


def _end_leftovers(mark: str) -> None:
    """End every node of this folder whose owner and cleaner both were killed: two nodes would spoil the data.

    In order at first: a node that is killed may forget queues that were declared in its last seconds.
    """
    begun = clock.monotonic()
    while leftovers := [pid for pid, command_line in command_lines() if f" {mark} " in f"{command_line} "]:
        waited_seconds = clock.monotonic() - begun
        if waited_seconds > 2 * _STOP_SECONDS:
            message = f"Processes {leftovers} of an earlier RabbitMQ node cannot be ended ({mark})."
            raise RabbitNodeError(message)
        for pid in leftovers:
            with suppress(ProcessLookupError):  # ended meanwhile
                os.kill(pid, signal.SIGTERM if waited_seconds < _STOP_SECONDS else signal.SIGKILL)
        clock.block(_POLL_SECONDS)


def _environment(folder: Path, mark: str, distribution_port: int, epmd_port: int) -> dict[str, str]:
    return {
        "HOME": str(folder),  # where the Erlang cookie lies
        "PATH": SEARCH_PATH,
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "private@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
        "RABBITMQ_MNESIA_BASE": f"{folder}/data",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_LOGS": f"{folder}/log/node.log",
        "RABBITMQ_PID_FILE": f"{folder}/pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
        "RABBITMQ_SCHEMA_DIR": f"{folder}/schema",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
        "RABBITMQ_PLUGINS_EXPAND_DIR": f"{folder}/plugins",
        # No busy waiting: the machine is shared with what is being tested.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
        f"+sbwt none +sbwtdcpu none +sbwtdio none {mark}",
        # The script then becomes the node instead of waiting for it, so that signals and the exit code are the node's.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _write_configuration(folder: Path, port: int, password: str, management_port: int | None) -> None:
    for name in ("data", "log", "schema", "generated"):
        (folder / name).mkdir(exist_ok=True)
    definitions = folder / "definitions.json"
    definitions.touch(mode=0o600)
    definitions.write_text(_definitions(password, "administrator" if management_port else ""))
    # Its name alone, as the node works in this folder: not every path can be written there.
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"load_definitions = {definitions.name}\n"
        "vm_memory_high_watermark.absolute = 512MiB\n"
        "disk_free_limit.absolute = 50MB\n"
        "log.file.level = info\n"
        + (f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management_port}\n" if management_port else "")
    )
    (folder / "advanced.config").write_text("[].\n")
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n" if management_port else "[].\n")
    _kept_secret(folder / ".erlang.cookie")


def _definitions(password: str, tags: str) -> str:
    """Who may connect. The node takes it over at every start, before it listens, and makes no user by itself."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    # RabbitMQ's own user with the password that everybody knows is in folders of older versions; without a hash nobody
    # can log in as this one.
    nobody = {"name": "guest", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
    return json.dumps(
        {
            "vhosts": [{"name": "/"}],
            "users": [{"name": USER, "password": password, "tags": tags}, nobody],
            "permissions": [{"user": USER, "vhost": "/"} | everything],
        }
    )


def _kept_secret(file: Path) -> str:
    """The secret in this file, for our eyes only; made when there is none."""
    if not file.exists() or not file.read_text():  # empty: we were killed while making it
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def _write_line(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.write(f"{line}\n".encode())


def _speaks_amqp(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            return connection.recv(1) == b"\x01"  # a method frame: Connection.Start
    except OSError:
        return False


def _ended(process: subprocess.Popen[bytes], within_seconds: float) -> bool:
    try:
        process.wait(within_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
