"""Endpoints catch up with connections as they do with filters."""

import sqlalchemy as sa
from alembic import op

revision = "d56c1121d35d"
down_revision = "bafde1e8891a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "endpoints", sa.Column("catch_up_suppliers", sa.ARRAY(sa.BigInteger()), nullable=True), schema="notifier"
    )
    op.create_table(
        "new_connections",
        sa.Column("new_connection_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("retailer_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("new_connection_id", name=op.f("pk_new_connections")),
        schema="notifier",
    )


def downgrade() -> None:
    op.drop_table("new_connections", schema="notifier")
    op.drop_column("endpoints", "catch_up_suppliers", schema="notifier")
