"""What private servers and local processes need of the machine: a folder of their own, ports, programs, an end."""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# For an installation by somebody else that is under way.
_INSTALL_WAIT_SECONDS = 300
# Servers' programs lie there too, but not everybody's PATH says so.
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class FolderInUseError(RuntimeError):
    """Another process owns the folder; the message says which."""


class InstallError(RuntimeError):
    """A package could not be installed; the message holds the installer's complaint."""


def own(folder: Path) -> BinaryIO:
    """Take the folder for this process, until the returned lock is closed; the kernel closes it when we are killed.

    Raises `FolderInUseError` when another process has it.
    """
    lock = (folder / "lock").open("a+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().decode()
        lock.close()
        message = f"{folder} is already in use by process {owner}: stop that one first, or use another folder."
        raise FolderInUseError(message) from None
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()
    return lock


def can_listen(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def kept_ports(ports_file: Path, count: int) -> list[int]:
    """Ports of 127.0.0.1: those of last time if all are free, else any free ones, kept in `ports_file`."""
    kept = [int(port) for port in ports_file.read_text().split()] if ports_file.exists() else []
    if len(kept) != count or not all(can_listen("127.0.0.1", port) for port in kept):
        kept = free_ports(count)
        ports_file.write_text(" ".join(map(str, kept)))
    return kept


def install_on_debian(package: str) -> bool:
    """Install a server's package where we are root on Debian; gives whether that was tried. Raises `InstallError`."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    # Two that need a server at once would refuse each other: apt waits for nobody when it updates its lists.
    with Path("/var/lib/apt/basestock-install.lock").open("ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            command = ["apt-get", "-o", f"DPkg::Lock::Timeout={_INSTALL_WAIT_SECONDS}", *arguments]
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
            if done.returncode != 0:
                message = f"Installing {package} failed: {' '.join(command)}\n{done.stderr}"
                raise InstallError(message)
    # The package starts a server of the system's own. Ours shares nothing with it; it would only take memory. Where no
    # service manager runs (containers) it was never started, and this says so with an exit code.
    subprocess.run(["service", package, "stop"], capture_output=True, check=False)  # noqa: S603, S607 - our own command
    return True


def ending_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a child runs first (`preexec_fn`) to get this signal when the thread that started it ends.

    Only Linux can do that; elsewhere this is `None`, and the children of a killed parent stay.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before we asked

    return ask_kernel


def command_lines() -> Iterator[tuple[int, str]]:
    """Every process that can be seen: its id and its command line."""
    if sys.platform == "linux":
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                yield int(folder.name), (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
        return
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=False)  # noqa: S607 - wherever it lies
    for line in listing.stdout.splitlines():
        pid, _, command_line = line.strip().partition(" ")
        yield int(pid), command_line.strip()
