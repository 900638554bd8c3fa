"""A child that is started again: its end is its own, whoever else holds what it opened."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from shared.kept_running import KeptRunning
from shared.machine import free_ports
from tests.end_to_end.system import eventually
from tests.end_to_end.test_processes import lives


async def test_a_childs_end_is_noticed_though_another_holds_its_output_and_that_one_ends_too(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    written = tmp_path / "pid"
    script = f"sleep 300 & echo $! > '{written}'; wait"
    child = KeptRunning("child", ["sh", "-c", script], ready_url=f"http://127.0.0.1:{nobody}/")
    child.start()
    try:

        async def has_started_another() -> bool:
            return child.pid is not None and written.exists() and written.read_text().endswith("\n")

        await eventually("the child has started another", has_started_another)
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="child was ended by SIGKILL"):
            async with asyncio.timeout(20):
                await child.until_ready()

        async def another_has_ended() -> bool:
            return not lives(int(written.read_text()))

        await eventually("the other one has ended", another_has_ended)
    finally:
        child.kill()
        await child.stop()
