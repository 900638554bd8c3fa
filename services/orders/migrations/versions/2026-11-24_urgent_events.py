"""Urgent events: outbox rows that wait behind no others."""

import sqlalchemy as sa
from alembic import op

revision = "a01a8ea18b82"
down_revision = "de134edbd055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox", sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False), schema="orders"
    )
    op.create_index(
        "ix_outbox_urgent",
        "outbox",
        ["created_at", "message_id"],
        unique=False,
        schema="orders",
        postgresql_where=sa.text("urgent"),
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_urgent", table_name="outbox", schema="orders", postgresql_where=sa.text("urgent"))
    op.drop_column("outbox", "urgent", schema="orders")
