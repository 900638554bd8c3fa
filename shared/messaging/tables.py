"""The tables of outbox, inbox and dead letters, which every service has in its own schema."""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def add_messaging_tables(metadata: MetaData) -> None:
    """Add `outbox`, `inbox` and `dead_letters` to a service's tables."""
    Table(
        "outbox",
        metadata,
        Column("message_id", Uuid, primary_key=True),
        # "" for replies, whose topic is the queue of whoever asked.
        Column("exchange", Text, nullable=False, server_default=text("'basestock.events'")),
        Column("topic", Text, nullable=False),
        Column("correlation_id", Text),
        Column("content_type", Text, nullable=False),
        # The exact bytes that will be sent: re-rendering them could differ after an upgrade.
        Column("body", LargeBinary, nullable=False),
        Column("traceparent", Text, nullable=False),
        Column("mandatory", Boolean, nullable=False),
        Column("urgent", Boolean, nullable=False, server_default=text("false")),
        _now("created_at"),
        Index("ix_outbox_created_at_message_id", "created_at", "message_id"),
        Index("ix_outbox_urgent", "created_at", "message_id", postgresql_where=text("urgent")),
        Index("ix_outbox_replies", "created_at", "message_id", postgresql_where=text("exchange = ''")),
    )
    Table(
        "inbox",
        metadata,
        # Written in the transaction of the event's effect: a row means that the effect is there. (`inbox.note_try` adds
        # rows that are no events.)
        Column("event_id", Text, primary_key=True),
        _now("received_at"),
        Index("ix_inbox_received_at", "received_at"),
    )
    _add_dead_letters(metadata)


def _add_dead_letters(metadata: MetaData) -> None:
    Table(
        "dead_letters",
        metadata,
        # UUIDv7: the newest is the greatest.
        Column("dead_letter_id", Uuid, primary_key=True),
        Column("queue", Text, nullable=False),
        # A message that is dead-lettered and then redelivered after a crash leaves one row. Not only its id counts:
        # senders outside may leave it out, or use one twice (`dead_letters.identity`).
        Column("message_sha256", LargeBinary, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("content_type", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("user_id", Text),
        Column("reply_to", Text),
        Column("correlation_id", Text),
        Column("reason", Text, nullable=False),
        _now("dead_at"),
        UniqueConstraint("queue", "message_sha256"),
        Index("ix_dead_letters_user_id_dead_letter_id", "user_id", "dead_letter_id"),
    )
