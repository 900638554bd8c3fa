"""Ending in order: a part of a service that is cancelled stops at once where it waits, and finishes what it has begun.

Parts wait plainly and work inside `to_its_end`. So cancelling them is all it takes to drain, and takes no time when
nothing is under way.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")

# A webhook call may take 15 s, and what came of it has to be written down. All parts end at the same time; with the
# closing of connections to servers that do not answer it stays below the 30 s after which orchestrators kill.
DRAIN_SECONDS = 18.0
# For what takes milliseconds, or hangs on a server that is away, and may be cut off at any point.
SHORT_DRAIN_SECONDS = 2.0


async def to_its_end(work: Coroutine[Any, Any, T], within_seconds: float | None = None) -> T:
    """Do `work`; cancelled meanwhile, let it end before the cancellation goes on.

    What has not ended `within_seconds` (by default `DRAIN_SECONDS`) after that is cut off. An error of work that ends
    so late is logged: the cancellation goes on all the same.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task], timeout=DRAIN_SECONDS if within_seconds is None else within_seconds)
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            log.warning("failed_while_draining", error=repr(error))
        raise
