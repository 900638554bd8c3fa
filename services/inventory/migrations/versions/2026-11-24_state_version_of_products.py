"""State version of products: which state is kept of a product that was removed before it was heard of."""

import sqlalchemy as sa
from alembic import op

revision = "31fc5fe49603"
down_revision = "5c0e84d7f1a6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "products",
        sa.Column("state_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="inventory",
    )
    op.execute("update inventory.products set state_version = version where type is not null")


def downgrade() -> None:
    op.drop_column("products", "state_version", schema="inventory")
