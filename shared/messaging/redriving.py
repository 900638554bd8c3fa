"""Handling dead letters again, without the broker: in the sender's name nobody else may publish."""

from collections.abc import Mapping
from uuid import UUID

from shared.database import Database, Session
from shared.faults import is_infrastructure
from shared.messaging import dead_letters
from shared.messaging.bus import Message
from shared.messaging.consumer import Failure, Source, handle, reason_of
from shared.messaging.dead_letters import Whose


class NotThereError(LookupError):
    """There is no such dead letter, or none that may be seen."""


class NoConsumerError(LookupError):
    """Nobody here consumes the dead letter's queue any more."""


async def redrive(
    database: Database, sources: Mapping[str, Source], dead_letter_id: UUID, whose: Whose
) -> list[Failure]:
    """Handle a dead letter again, as the consumer of its queue would: none is left of it if nothing fails.

    Else it stays, with the new reason, and the failures are returned; those of its events that did not fail have their
    effect. All is one transaction, which holds the letter's lock: of two that redrive it at once the second finds
    nothing. What was handled before, or is being handled by the consumer, the inbox knows.

    `sources` are by the name of their queue. Raises `NotThereError` and `NoConsumerError`.
    """
    async with database.transaction() as session:
        letter = await dead_letters.find(session, dead_letter_id, whose, and_lock=True)
        if letter is None:
            raise NotThereError(str(dead_letter_id))
        source = sources.get(letter.queue)
        if source is None:
            raise NoConsumerError(letter.queue)
        failures = await _handle_again(session, database, source, letter.message)
        if failures:
            await dead_letters.keep_reason(session, dead_letter_id, reason_of(failures))
        else:
            await dead_letters.delete(session, dead_letter_id)
    return failures


async def _handle_again(session: Session, database: Database, source: Source, message: Message) -> list[Failure]:
    """Handle each event of the message as a part of the transaction that may fail by itself."""
    try:
        events = source.decode(message)
    except Exception as error:
        return [(None, error)]
    failures: list[Failure] = []
    parts = database.within(lambda: session)
    for event in events:
        try:
            async with parts.transaction():
                await handle(session, source, [event])
        except Exception as error:
            if is_infrastructure(error):
                raise
            failures.append((event, error))
    return failures
