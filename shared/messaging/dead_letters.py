"""Dead letters: messages that a service could not handle, each with the reason, until it is redriven or given up.

Each service keeps its own. A letter holds the exact message, so that it can be handled again without the broker, where
nobody may publish in its sender's name.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import clock
from shared.messaging.bus import Message

BURY = text("""
    insert into dead_letters (dead_letter_id, queue, message_sha256, message_id, topic, content_type, body, user_id,
        reply_to, correlation_id, reason)
    values (:dead_letter_id, :queue, :message_sha256, :message_id, :topic, :content_type, :body, :user_id,
        :reply_to, :correlation_id, :reason)
    on conflict (queue, message_sha256) do nothing returning dead_letter_id
""")
OF_WHOM = """
    (cast(:queue as text) is null or queue = :queue)
    and (cast(:senders as text[]) is null or user_id = any(cast(:senders as text[])))
"""
COLUMNS = (
    "dead_letter_id, queue, message_id, topic, content_type, body, user_id, reply_to, correlation_id, reason, dead_at"
)
LIST = text(f"""
    select dead_letter_id, queue, message_id, topic, content_type, octet_length(body) as body_bytes, user_id, reply_to,
        correlation_id, reason, dead_at
    from dead_letters
    where {OF_WHOM} and (cast(:before as uuid) is null or dead_letter_id < :before)
        and (cast(:sender as text) is null or user_id = :sender)
    order by dead_letter_id desc limit :limit
""")  # noqa: S608 - constants
FIND = f"select {COLUMNS} from dead_letters where dead_letter_id = :dead_letter_id and {OF_WHOM}"  # noqa: S608 - likewise
FIND_ONE, LOCK_ONE = text(FIND), text(f"{FIND} for update")
DELETE = text("delete from dead_letters where dead_letter_id = :dead_letter_id")
COUNT = text("""
    select count(*) as letters,
        (select dead_at from dead_letters order by dead_letter_id desc limit 1) as newest_at
    from dead_letters
""")
KEEP_REASON = text("update dead_letters set reason = :reason where dead_letter_id = :dead_letter_id")


class Whose(NamedTuple):
    """Which dead letters somebody may see: those of a queue, of messages that these users sent; `None` for any."""

    queue: str | None = None
    senders: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter, whole."""

    dead_letter_id: UUID
    queue: str
    message: Message
    reason: str
    dead_at: datetime


def storable(value: str) -> str:
    """`value` as a PostgreSQL text can hold it: without NUL, and in whole characters that UTF-8 has."""
    return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def identity(message: Message) -> bytes:
    """What makes two messages one: a redelivery has all of it the same.

    Whoever asks again for an answer, with another `correlation_id` or on another `reply_to`, has sent another message.
    """
    parts = [message.message_id, message.user_id, message.reply_to, message.correlation_id]
    stored = [None if part is None else storable(part) for part in parts]
    return hashlib.sha256(to_json(stored) + hashlib.sha256(message.body).digest()).digest()


async def bury(session: AsyncSession, queue: str, message: Message, reason: str) -> UUID | None:
    """Enter a dead letter; its id, or `None` where this very message lies there already."""
    row = {
        "dead_letter_id": clock.uuid7(),
        "queue": queue,
        "message_sha256": identity(message),
        "body": message.body,
        **{
            name: None if value is None else storable(value)
            for name, value in {
                "message_id": message.message_id,
                "topic": message.topic,
                "content_type": message.content_type,
                "user_id": message.user_id,
                "reply_to": message.reply_to,
                "correlation_id": message.correlation_id,
                "reason": reason,
            }.items()
        },
    }
    entered: UUID | None = (await session.execute(BURY, row)).scalar_one_or_none()
    return entered


async def find_page(
    session: AsyncSession, whose: Whose, before: UUID | None, limit: int, sender: str | None = None
) -> Sequence[Any]:
    """Dead letters without their bodies, newest first, of those older than this id; of one sender, if named."""
    parameters = _parameters(whose) | {"before": before, "limit": limit, "sender": sender}
    return (await session.execute(LIST, parameters)).all()


async def find(
    session: AsyncSession, dead_letter_id: UUID, whose: Whose, *, and_lock: bool = False
) -> DeadLetter | None:
    """One of them, whole; locked until the transaction ends, if wanted."""
    parameters = _parameters(whose) | {"dead_letter_id": dead_letter_id}
    row = (await session.execute(LOCK_ONE if and_lock else FIND_ONE, parameters)).one_or_none()
    if row is None:
        return None
    message = Message(
        message_id=row.message_id,
        topic=row.topic,
        content_type=row.content_type,
        body=row.body,
        user_id=row.user_id,
        correlation_id=row.correlation_id,
        reply_to=row.reply_to,
    )
    return DeadLetter(row.dead_letter_id, row.queue, message, row.reason, row.dead_at)


async def count_all(session: AsyncSession) -> tuple[int, datetime | None]:
    """How many there are, and when the newest was set aside."""
    row = (await session.execute(COUNT)).one()
    return row.letters, row.newest_at


async def keep_reason(session: AsyncSession, dead_letter_id: UUID, reason: str) -> None:
    """It failed again, and this is why."""
    await session.execute(KEEP_REASON, {"dead_letter_id": dead_letter_id, "reason": storable(reason)})


async def delete(session: AsyncSession, dead_letter_id: UUID) -> None:
    """It is done with."""
    await session.execute(DELETE, {"dead_letter_id": dead_letter_id})


def _parameters(whose: Whose) -> dict[str, Any]:
    senders = None if whose.senders is None else sorted(whose.senders)
    return {"queue": whose.queue, "senders": senders}
