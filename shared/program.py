"""How a program of ours reads its settings and ends; imports little, so that short programs start at once."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.ctrl_c import raise_on_ctrl_c
from shared.postgres_binaries import EmbeddedPostgresError
from shared.settings import Settings, in_words

T = TypeVar("T")


def run_to_end(main: Coroutine[Any, Any, T], *, failed: int = 1) -> T:
    """Run a program's `main`. What can go wrong by no fault of ours ends it with a sentence and the status `failed`."""
    try:
        raise_on_ctrl_c()  # asyncio.run makes of that the cancellation of `main`
        return asyncio.run(main)
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # as shells have it: 128 and the number of SIGINT
    except (RuntimeError, EmbeddedPostgresError, OSError) as error:
        sys.stderr.write(f"basestock: {error}\n")
        raise SystemExit(failed) from error


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set, for the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def settings_or_exit() -> Settings:
    """The settings of the environment; wrong ones end the program with a sentence each and exit status 2."""
    try:
        return Settings()
    except ValidationError as error:
        sys.stderr.write("".join(f"basestock: {sentence}\n" for sentence in in_words(error)))
    except UnicodeDecodeError as error:
        sys.stderr.write(f"basestock: .env is not UTF-8: {error}\n")
    raise SystemExit(2)  # as wrong options do
