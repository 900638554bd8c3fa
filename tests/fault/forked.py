"""Processes that start in a fraction of a second, so that there is time for many deaths.

They are forked from one process that has imported everything, which takes Python seconds.
"""

import os
import runpy
import secrets
import signal
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path

from shared import clock

ROOT = Path(__file__).parent.parent.parent
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.fault.forked", "services.all_in_one", "shared.serve", "alembic.command"])


class Fork:
    """A forked process in which `run(*arguments)` is all that happens."""

    def __init__(
        self, run: Callable[..., None], arguments: tuple[str, ...], environment: Mapping[str, str], log: Path
    ) -> None:
        """Start it; `environment` is all it has, `log` takes its output."""
        self._process = FORKS.Process(target=_become, args=(run, arguments, environment, log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit status, `None` while it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for its end; returns the exit status."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def serve(service: str) -> None:
    """What `python -m services.<service>` does."""
    runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)


def _become(run: Callable[..., None], arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for standard in (1, 2):
        os.dup2(output, standard)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    clock._chance.seed(secrets.randbits(256))  # read from the system at import, which all forks share
    run(*arguments)
