"""A whole Basestock in a process of its own, as `basestock up` starts it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.app import ENCRYPTION_KEY
from tests.end_to_end.system import ADMIN_KEY, TOKEN_SECRET
from tests.environment import environment_of_a_user

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60


@contextmanager
def running_basestock(dsn: str) -> Iterator[str]:
    """Run `basestock up` on this database; yields its base URL."""
    inherited = environment_of_a_user()
    settings = {
        "BASESTOCK_DSN": dsn,
        "BASESTOCK_ADMIN_KEY": ADMIN_KEY,
        "BASESTOCK_TOKEN_SECRET": TOKEN_SECRET,
        "BASESTOCK_WEBHOOK_ENCRYPTION_KEY": ENCRYPTION_KEY,
        "BASESTOCK_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        "BASESTOCK_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "services", "up", "--port", "0"],
        cwd=ROOT,
        env=inherited | settings,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"answers at (http://\S+)", said)):
            line = process.stderr.readline()
            assert line, f"The system did not start:\n{said}"
            said += line
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0, rest
