"""What a service does again and again by itself, and what becomes of it when one time fails."""

from collections.abc import Awaitable, Callable

import structlog

from shared import clock
from shared.faults import is_infrastructure

log = structlog.get_logger()

# After a failure, where less would do otherwise: a database that is away is not asked in a hurry.
PAUSE_SECONDS = 1.0


async def repeat(what: str, step: Callable[[], Awaitable[bool | None]], *, idle_seconds: float) -> None:
    """Do `step` until cancelled: at once again where it says that there is more, else after `idle_seconds`.

    No failure ends it, as one bad row must not stop what is done for all others: servers that are away are a warning,
    a bug is logged with its traceback, and the step is done again after a pause.
    """
    while True:
        pause_seconds = idle_seconds
        try:
            if await step():
                continue
        except Exception as error:
            if is_infrastructure(error):
                log.warning("paused", what=what, error=repr(error))
            else:
                log.exception("paused", what=what)
            pause_seconds = max(idle_seconds, PAUSE_SECONDS)
        await clock.sleep(pause_seconds)
