"""What comes next of telling an endpoint about a base stock product."""

from datetime import datetime
from typing import Literal

TellingState = Literal["told", "due", "waiting", "failing", "paused", "never"]


def state_of(
    *, is_paused: bool, is_failing: bool, told_at: datetime | None, turn_at: datetime | None, now: datetime
) -> TellingState:
    """How an endpoint stands that was last told at `told_at`, and whose turn for what it still has to be is `turn_at`.

    Both are null where there is none. `told` is told of all that it asked for.
    """
    if is_paused:
        return "paused"
    if is_failing:
        return "failing"
    if turn_at is None:
        return "never" if told_at is None else "told"
    return "due" if turn_at <= now else "waiting"
