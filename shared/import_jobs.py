"""Imports of files as jobs, whatever is in them: what breaks an upload off, and a worker's way with a claimed one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import structlog
from starlette.requests import ClientDisconnect

from shared.csv_files import FileError
from shared.database import Session
from shared.errors import ProblemError
from shared.idempotency import ReplayError
from shared.logs import bind_trace
from shared.service_context import Context

log = structlog.get_logger()

BROKEN_OFF = "The file did not come in whole; nothing was changed. Send it again."
LOST_UPLOAD = "The file did not come in whole: the process that received it ended. Nothing was changed; send it again."


class LeaseLostError(Exception):
    """Somebody else has this import now."""


class ClaimedImport(Protocol):
    """An import that a worker has claimed."""

    @property
    def traceparent(self) -> str | None:
        """Of the request that brought it."""


Claimed = TypeVar("Claimed", bound=ClaimedImport)


@asynccontextmanager
async def receiving(
    give_up: Callable[[str], Awaitable[None]], forget: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Receive a file in this block: what breaks it off leaves a failed import, and ends the request with a problem.

    `give_up` ends the import with this reason, `forget` one that was received before under the same key.
    """
    try:
        yield
    except FileError as error:
        await give_up(str(error))
        raise ProblemError(422, "invalid_file", str(error), errors=error.errors) from error
    except LeaseLostError as error:
        detail = "The file came in too slowly and was given up; nothing was changed. Send it again."
        raise ProblemError(408, "too_slow", detail) from error
    except ClientDisconnect as error:
        await give_up(BROKEN_OFF)
        raise ProblemError(400, "broken_off", BROKEN_OFF) from error
    except ReplayError:
        await forget()
        raise
    except ProblemError as error:  # it is too long, or its key was used for another one
        await give_up(f"{error.detail} Nothing was changed.")
        raise


async def carry_out_next(
    context: Context,
    claim: Callable[[Session], Awaitable[Claimed | None]],
    carry_out: Callable[[Context, Claimed], Awaitable[None]],
) -> bool:
    """Go on with the next import; whether there was one. One that fails here is tried again when its lease ends."""
    async with context.database.transaction() as session:
        job = await claim(session)
    if job is None:
        return False
    bind_trace(job.traceparent or "")
    try:
        await carry_out(context, job)
    except LeaseLostError:
        log.warning("import_lost", service=context.service, hint="another process goes on with it")
    return True
