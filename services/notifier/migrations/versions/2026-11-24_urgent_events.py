"""Urgent events: outbox rows that wait behind no others."""

import sqlalchemy as sa
from alembic import op

revision = "c27f375bc990"
down_revision = "b118f88b9a62"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox", sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False), schema="notifier"
    )
    op.create_index(
        "ix_outbox_urgent",
        "outbox",
        ["created_at", "message_id"],
        unique=False,
        schema="notifier",
        postgresql_where=sa.text("urgent"),
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_urgent", table_name="outbox", schema="notifier", postgresql_where=sa.text("urgent"))
    op.drop_column("outbox", "urgent", schema="notifier")
