"""Imports of stock that say of which moment their numbers are."""

import sqlalchemy as sa
from alembic import op

revision = "c41d7a90e5b8"
down_revision = "c7a41be0d935"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stock_imports", sa.Column("as_of", sa.DateTime(timezone=True), nullable=True), schema="inventory")


def downgrade() -> None:
    op.drop_column("stock_imports", "as_of", schema="inventory")
