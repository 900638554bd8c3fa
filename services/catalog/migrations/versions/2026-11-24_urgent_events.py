"""Urgent events: outbox rows that wait behind no others."""

import sqlalchemy as sa
from alembic import op

revision = "8121a7a9d86c"
down_revision = "be07d5160330"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox", sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False), schema="catalog"
    )
    op.create_index(
        "ix_outbox_urgent",
        "outbox",
        ["created_at", "message_id"],
        unique=False,
        schema="catalog",
        postgresql_where=sa.text("urgent"),
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_urgent", table_name="outbox", schema="catalog", postgresql_where=sa.text("urgent"))
    op.drop_column("outbox", "urgent", schema="catalog")
