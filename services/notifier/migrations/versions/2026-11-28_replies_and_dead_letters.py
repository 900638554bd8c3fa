"""Replies in the outbox; dead letters with an id, and whom to answer."""

import sqlalchemy as sa
from alembic import op

revision = "8d86ceb69db8"
down_revision = "b6d47a03e915"
branch_labels = None
depends_on = None

# Ids of version 7 from when they died; identities as `shared.messaging.dead_letters` makes them.
FILL = """
    update notifier.dead_letters set
        dead_letter_id = cast(overlay(overlay(cast(gen_random_uuid() as text)
            placing overlay(lpad(to_hex(cast(floor(extract(epoch from dead_at) * 1000) as bigint)), 12, '0')
                placing '-' || substr(lpad(to_hex(cast(floor(extract(epoch from dead_at) * 1000) as bigint)), 12, '0'), 9)
                from 9) from 1) placing '7' from 15) as uuid),
        message_sha256 = sha256(convert_to('[' || to_json(message_id) || ',' || coalesce(cast(to_json(user_id) as text),
            'null') || ',null,null]', 'UTF8') || body_sha256)
"""
EMPTY_AGAIN = "update notifier.dead_letters set body_sha256 = sha256(body)"
TWICE = """
    delete from notifier.dead_letters a using notifier.dead_letters b
    where (a.queue, a.message_id, a.body_sha256) = (b.queue, b.message_id, b.body_sha256)
        and a.dead_letter_id > b.dead_letter_id
"""


def upgrade() -> None:
    op.add_column("dead_letters", sa.Column("dead_letter_id", sa.Uuid()), schema="notifier")
    op.add_column("dead_letters", sa.Column("message_sha256", sa.LargeBinary()), schema="notifier")
    op.add_column("dead_letters", sa.Column("reply_to", sa.Text(), nullable=True), schema="notifier")
    op.add_column("dead_letters", sa.Column("correlation_id", sa.Text(), nullable=True), schema="notifier")
    op.execute(FILL)
    op.alter_column("dead_letters", "message_sha256", nullable=False, schema="notifier")
    op.drop_constraint(op.f("pk_dead_letters"), "dead_letters", schema="notifier", type_="primary")
    op.create_primary_key(op.f("pk_dead_letters"), "dead_letters", ["dead_letter_id"], schema="notifier")
    op.create_unique_constraint(
        op.f("uq_dead_letters_queue_message_sha256"), "dead_letters", ["queue", "message_sha256"], schema="notifier"
    )
    op.create_index(
        "ix_dead_letters_user_id_dead_letter_id",
        "dead_letters",
        ["user_id", "dead_letter_id"],
        unique=False,
        schema="notifier",
    )
    op.drop_column("dead_letters", "body_sha256", schema="notifier")
    op.add_column(
        "outbox",
        sa.Column("exchange", sa.Text(), server_default=sa.text("'basestock.events'"), nullable=False),
        schema="notifier",
    )
    op.add_column("outbox", sa.Column("correlation_id", sa.Text(), nullable=True), schema="notifier")
    op.create_index(
        "ix_outbox_replies",
        "outbox",
        ["created_at", "message_id"],
        unique=False,
        schema="notifier",
        postgresql_where=sa.text("exchange = ''"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_outbox_replies", table_name="outbox", schema="notifier", postgresql_where=sa.text("exchange = ''")
    )
    op.execute("delete from notifier.outbox where exchange = ''")
    op.drop_column("outbox", "correlation_id", schema="notifier")
    op.drop_column("outbox", "exchange", schema="notifier")
    op.add_column("dead_letters", sa.Column("body_sha256", sa.LargeBinary()), schema="notifier")
    op.execute(EMPTY_AGAIN)
    op.execute(TWICE)
    op.alter_column("dead_letters", "body_sha256", nullable=False, schema="notifier")
    op.drop_index("ix_dead_letters_user_id_dead_letter_id", table_name="dead_letters", schema="notifier")
    op.drop_constraint(op.f("uq_dead_letters_queue_message_sha256"), "dead_letters", schema="notifier", type_="unique")
    op.drop_constraint(op.f("pk_dead_letters"), "dead_letters", schema="notifier", type_="primary")
    op.create_primary_key(
        op.f("pk_dead_letters"), "dead_letters", ["queue", "message_id", "body_sha256"], schema="notifier"
    )
    op.drop_column("dead_letters", "correlation_id", schema="notifier")
    op.drop_column("dead_letters", "reply_to", schema="notifier")
    op.drop_column("dead_letters", "message_sha256", schema="notifier")
    op.drop_column("dead_letters", "dead_letter_id", schema="notifier")
