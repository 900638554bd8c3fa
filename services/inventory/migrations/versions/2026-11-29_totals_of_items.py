"""Totals of items, by which lists are sorted; what is stocked at a location."""

import sqlalchemy as sa
from alembic import op

revision = "dbbfd5074014"
down_revision = "3705bb1e9317"
branch_labels = None
depends_on = None

TOTALS = {
    "on_hand": (sa.BigInteger(), "0"),
    "allocated": (sa.BigInteger(), "0"),
    "reserved": (sa.BigInteger(), "0"),
    "safety_stock": (sa.BigInteger(), "0"),
    "stocked_locations": (sa.Integer(), "1"),
}


def upgrade() -> None:
    for name, (type_, default) in TOTALS.items():
        column = sa.Column(name, type_, server_default=sa.text(default), nullable=False)
        op.add_column("stock_items", column, schema="inventory")
    # What an older process changes from here on is found, and made right, by the check that each inventory runs.
    op.execute("""
        update inventory.stock_items i set on_hand = n.on_hand, allocated = n.allocated, reserved = n.reserved,
            safety_stock = n.safety_stock, stocked_locations = n.stocked_locations
        from (select product_id, coalesce(sum(on_hand) filter (where counts), 0) as on_hand,
                coalesce(sum(allocated) filter (where counts), 0) as allocated,
                coalesce(sum(reserved) filter (where counts), 0) as reserved,
                coalesce(sum(safety_stock) filter (where counts), 0) as safety_stock,
                count(*) filter (where counts) as stocked_locations
            from (select *, removed_at is null as counts from inventory.stock_levels) v group by product_id) n
        where i.product_id = n.product_id
    """)
    op.create_index(
        "ix_stock_levels_location_id_product_id",
        "stock_levels",
        ["location_id", "product_id"],
        schema="inventory",
    )


def downgrade() -> None:
    op.drop_index("ix_stock_levels_location_id_product_id", table_name="stock_levels", schema="inventory")
    for name in reversed(TOTALS):
        op.drop_column("stock_items", name, schema="inventory")
