"""A child process that is started again whenever it ends by itself; its output is passed on line by line."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
import structlog

from shared import clock
from shared.machine import ending_with_parent

log = structlog.get_logger()

POLL_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
# Who ran this long did not die of its start: the pauses begin anew.
STEADY_SECONDS = 10.0
# Services drain in less than 30 s; who takes longer is stuck.
DRAIN_SECONDS = 35.0
READ_BYTES = 65536


class KeptRunning:
    """One child: `start` it, wait `until_ready`, and `stop` it at the end.

    It has a session of its own, so that Ctrl-C at the terminal is for us alone. When we are killed, Linux sends it
    `last_signal`; on other systems it would stay.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready_url: str,
        environment: Mapping[str, str] | None = None,
        last_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Prepare the child; `ready_url` answers 200 once it can be used, `environment` is ours by default."""
        self.name = name
        self.address = urlsplit(ready_url).netloc
        self._command, self._ready_url, self._environment = command, ready_url, environment
        self._last_signal = last_signal
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._is_ready = False

    @property
    def pid(self) -> int | None:
        """The running child's process id; `None` while there is none."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def start(self) -> None:
        """Launch the child, and again whenever it ends."""
        self._watching = asyncio.create_task(self._watch())

    async def until_ready(self) -> None:
        """Wait until it answers; raises `RuntimeError` when it ends before."""
        assert self._watching is not None  # noqa: S101 - it was started
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while not self._is_ready:
                if self._watching.done():
                    self._watching.result()
                with suppress(aiohttp.ClientError, TimeoutError):  # not yet
                    async with session.get(self._ready_url) as answer:
                        self._is_ready = answer.ok
                await clock.sleep(POLL_SECONDS)

    def terminate(self) -> None:
        """Ask it once to end, and never start it again."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._ask_to_end()

    async def stop(self) -> None:
        """End it: SIGTERM, and kill -9 if it has not ended after `DRAIN_SECONDS`."""
        self.terminate()
        if self._watching is None:
            return
        _, late = await asyncio.wait([self._watching], timeout=DRAIN_SECONDS)
        if late:
            log.error("killed", name=self.name, pid=self.pid, after_seconds=DRAIN_SECONDS)
            self.kill()
            await asyncio.wait([self._watching])

    def kill(self) -> None:
        """Kill -9 the child and whatever it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            started = clock.monotonic()
            what_happened = await self._run_once()
            if self._stopping.is_set():
                return
            if not self._is_ready:
                message = f"{self.name} {what_happened} while it was starting; what it said is above."
                raise RuntimeError(message)
            if clock.monotonic() - started >= STEADY_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            log.warning("ended", name=self.name, how=what_happened, starts_again_in_seconds=pause_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._stopping.wait()
                    return
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> str:
        """Run the child to its end; says how it ended."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ending_with_parent(self._last_signal),
            )
        except OSError as error:
            return f"could not be started ({error})"
        if self._stopping.is_set():  # meanwhile
            self._ask_to_end()
        log.info("started", name=self.name, pid=self._process.pid)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        passing_on = asyncio.create_task(_pass_on(self.name, self._process.stdout))
        while self._process.returncode is None:  # wait() would also wait for whoever inherited its output
            await clock.sleep(POLL_SECONDS)
        self.kill()  # what it left behind could hold its port
        status = await self._process.wait()
        await passing_on
        return f"ended with exit status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"

    def _ask_to_end(self) -> None:
        if self.pid is not None and self._process is not None:
            self._process.terminate()


async def _pass_on(name: str, output: asyncio.StreamReader) -> None:
    """Write each line of the child to standard error, after its name."""
    rest = b""
    while chunk := await output.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        _write_lines(name, lines)
    _write_lines(name, [rest] if rest else [])


def _write_lines(name: str, lines: Sequence[bytes]) -> None:
    with suppress(BrokenPipeError):  # nobody reads any more; the children are to end in order all the same
        for line in lines:
            sys.stderr.write(f"{name:<9} | {line.decode(errors='replace')}\n")
        sys.stderr.flush()
