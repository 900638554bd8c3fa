"""Links go into their index at once: a list of those to be added later would be read by each look-up."""

from alembic import op

revision = "bafde1e8891a"
down_revision = "95a2b22580e1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter index notifier.ix_product_parts_component_ids set (fastupdate = off)")
    op.execute("select gin_clean_pending_list('notifier.ix_product_parts_component_ids')")


def downgrade() -> None:
    op.execute("alter index notifier.ix_product_parts_component_ids reset (fastupdate)")
