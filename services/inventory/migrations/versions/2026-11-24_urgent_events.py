"""Urgent events: outbox rows that wait behind no others."""

import sqlalchemy as sa
from alembic import op

revision = "f75f960c2232"
down_revision = "31fc5fe49603"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox", sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False), schema="inventory"
    )
    op.create_index(
        "ix_outbox_urgent",
        "outbox",
        ["created_at", "message_id"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("urgent"),
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_urgent", table_name="outbox", schema="inventory", postgresql_where=sa.text("urgent"))
    op.drop_column("outbox", "urgent", schema="inventory")
