"""Links go into their index at once: a list of those to be added later would be read by each look-up."""

from alembic import op

revision = "3705bb1e9317"
down_revision = "3d5e81f0a7c2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter index inventory.ix_product_parts_component_ids set (fastupdate = off)")
    op.execute("select gin_clean_pending_list('inventory.ix_product_parts_component_ids')")


def downgrade() -> None:
    op.execute("alter index inventory.ix_product_parts_component_ids reset (fastupdate)")
