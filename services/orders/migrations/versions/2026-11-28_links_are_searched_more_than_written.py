"""Links go into their index at once: a list of those to be added later would be read by each look-up."""

from alembic import op

revision = "e7908d0d97d4"
down_revision = "6b02c9d47e13"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter index orders.ix_product_parts_component_ids set (fastupdate = off)")
    op.execute("select gin_clean_pending_list('orders.ix_product_parts_component_ids')")


def downgrade() -> None:
    op.execute("alter index orders.ix_product_parts_component_ids reset (fastupdate)")
