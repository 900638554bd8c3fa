"""Ctrl-C while a program is still importing itself, which takes a second: nothing has begun, so it just ends.

Python's `KeyboardInterrupt` would end it with a traceback of imports, or be swallowed by one of them. This module
imports next to nothing itself.
"""

import os
import signal
from types import FrameType


def end_at_once_on_ctrl_c() -> None:
    """Have Ctrl-C end this process without a word and with exit status 130, until `raise_on_ctrl_c`.

    Where it is ignored (`nohup`, a script's background) it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_on_ctrl_c() -> None:
    """Have Ctrl-C raise `KeyboardInterrupt` again, for a program that now has something to end in order."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(130)  # as shells have it: 128 and the number of SIGINT
