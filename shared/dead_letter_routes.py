"""Dead letters over HTTP, for every service: look at them, have them handled again, give them up."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from shared.access import Caller, caller_of
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.events import EventError
from shared.idempotency import OnceRoute
from shared.messaging import dead_letters
from shared.messaging.consumer import reason_of
from shared.messaging.dead_letters import Whose
from shared.messaging.redriving import NoConsumerError, NotThereError, redrive
from shared.service_context import Context, context_of

PATH = "/v1/dead-letters"

# Which dead letters a caller may see; raises a problem for who may see none.
WhoseOf = Callable[[Caller, Session], Awaitable[Whose]]


class DeadLetter(BaseModel):
    """A message that could not be handled, and why; `user_id` is the sender as the broker validated it."""

    id: UUID
    service: str
    queue: str
    message_id: str
    topic: str
    content_type: str
    body_bytes: int
    user_id: str | None
    reply_to: str | None
    correlation_id: str | None
    reason: str
    dead_at: datetime


class WholeDeadLetter(DeadLetter):
    """A dead letter with its body: as it is where it is text, else in base64."""

    body: str
    body_encoding: Literal["text", "base64"]


class DeadLetterPage(BaseModel):
    """Dead letters, newest first; `next_cursor` is null on the last page."""

    items: list[DeadLetter]
    next_cursor: UUID | None


class _Access(NamedTuple):
    """What a route works on."""

    context: Context
    caller: Caller
    whose_of: WhoseOf

    async def whose(self, session: Session) -> Whose:
        """Which dead letters the caller may see."""
        return await self.whose_of(self.caller, session)


async def _all_for_the_platform(caller: Caller, _: Session) -> Whose:
    caller.require()
    return Whose()


def dead_letter_router(service: str, path: str | None = None, whose_of: WhoseOf = _all_for_the_platform) -> APIRouter:
    """The routes of a service's dead letters, for the platform admin unless `whose_of` says for whom else.

    They stand under `/v1/dead-letters/<service>`, unless under `path`.
    """
    router = APIRouter(prefix=path or f"{PATH}/{service}", route_class=OnceRoute)

    def access(
        caller: Annotated[Caller, Depends(caller_of(service))],
        context: Annotated[Context, Depends(context_of(service))],
    ) -> _Access:
        return _Access(context, caller, whose_of)

    Here = Annotated[_Access, Depends(access)]  # noqa: N806 - a type

    @router.get("")
    async def list_dead_letters(
        here: Here,
        cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        user_id: Annotated[str | None, Query(pattern=r"^[^\x00]*$", description="Of this sender alone")] = None,
    ) -> DeadLetterPage:
        """Messages that could not be handled, newest first."""
        async with here.context.database.transaction() as session:
            whose = await here.whose(session)
            rows = await dead_letters.find_page(session, whose, cursor, limit + 1, user_id)
        items = [_summary(service, row) for row in rows[:limit]]
        return DeadLetterPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    @router.get("/{dead_letter_id:uuid}")
    async def show_dead_letter(dead_letter_id: UUID, here: Here) -> WholeDeadLetter:
        """One of them, with its body."""
        async with here.context.database.transaction() as session:
            letter = await dead_letters.find(session, dead_letter_id, await here.whose(session))
        if letter is None:
            raise _not_there(dead_letter_id)
        return _whole(service, letter)

    @router.post("/{dead_letter_id:uuid}/redrive", status_code=204)
    async def redrive_dead_letter(dead_letter_id: UUID, here: Here) -> None:
        """Handle it again, now that its cause is gone. 422: it is refused again; 409: it failed again; it stays."""
        await _redrive(here, dead_letter_id)

    @router.delete("/{dead_letter_id:uuid}", status_code=204)
    async def give_up_dead_letter(dead_letter_id: UUID, here: Here) -> None:
        """Give it up: it is gone, and nothing that it says happens."""
        await _give_up(here, dead_letter_id)

    return router


def _summary(service: str, row: Any) -> DeadLetter:  # noqa: ANN401 - a row
    return DeadLetter.model_validate({**row._mapping, "id": row.dead_letter_id, "service": service})  # noqa: SLF001 - its name


async def _redrive(here: _Access, dead_letter_id: UUID) -> None:
    context = here.context
    async with context.database.transaction() as session:
        whose = await here.whose(session)
    try:
        failures = await redrive(context.database, context.sources, dead_letter_id, whose)
    except NotThereError as error:
        raise _not_there(dead_letter_id) from error
    except NoConsumerError as error:
        detail = f"Nothing consumes the queue {error} here any more."
        raise ProblemError(409, "no_consumer", detail) from error
    if failures:
        detail = reason_of(failures)
        refused = all(isinstance(error, EventError) for _, error in failures)
        raise ProblemError(
            422 if refused else 409,
            "refused_again" if refused else "failed_again",
            detail,
            errors=[FieldError(field="message", detail=detail)],
        )


async def _give_up(here: _Access, dead_letter_id: UUID) -> None:
    async with here.context.database.transaction() as session:
        if await dead_letters.find(session, dead_letter_id, await here.whose(session), and_lock=True) is None:
            raise _not_there(dead_letter_id)
        await dead_letters.delete(session, dead_letter_id)


def _not_there(dead_letter_id: UUID) -> ProblemError:
    return ProblemError(404, "dead_letter_not_found", f"You have no dead letter {dead_letter_id}: it may be redriven.")


def _whole(service: str, letter: dead_letters.DeadLetter) -> WholeDeadLetter:
    message = letter.message
    try:
        body, encoding = message.body.decode(), "text"
    except UnicodeDecodeError:
        body, encoding = b64encode(message.body).decode(), "base64"
    return WholeDeadLetter.model_validate(
        {
            "id": letter.dead_letter_id,
            "service": service,
            "queue": letter.queue,
            "message_id": message.message_id,
            "topic": message.topic,
            "content_type": message.content_type,
            "body_bytes": len(message.body),
            "user_id": message.user_id,
            "reply_to": message.reply_to,
            "correlation_id": message.correlation_id,
            "reason": letter.reason,
            "dead_at": letter.dead_at,
            "body": body,
            "body_encoding": encoding,
        }
    )
