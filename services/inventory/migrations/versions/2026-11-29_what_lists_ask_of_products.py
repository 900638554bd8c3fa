"""What lists ask of products: which items are listed and which nothing draws on; SKUs and titles in order."""

import sqlalchemy as sa
from alembic import op

revision = "b6c1f0a97e35"
down_revision = "dbbfd5074014"
branch_labels = None
depends_on = None

COLUMNS = {"is_listed": "true", "is_unlinked": "false"}
KEYS = ("sku", "title")


def upgrade() -> None:
    for name, default in COLUMNS.items():
        column: sa.Column[bool] = sa.Column(name, sa.Boolean(), server_default=sa.text(default), nullable=False)
        op.add_column("stock_items", column, schema="inventory")
    # What an older process changes from here on is found, and made right, by the check that each inventory runs.
    op.execute("""
        update inventory.stock_items i set is_listed = n.is_listed, is_unlinked = n.is_unlinked
        from (select i.product_id,
                coalesce(not p.removed and p.type in ('stock', 'stock_customisable'), false) as is_listed,
                coalesce(not p.removed and p.type = 'stock' and d.product_id is null, false) as is_unlinked
            from inventory.stock_items i join inventory.products p on p.product_id = i.product_id
            left join (select distinct q.owner_id, unnest(part.component_ids) as product_id
                from inventory.products q join inventory.product_parts part on part.product_id = q.product_id
                where not q.removed and q.type in ('customisable', 'configurable_stock')
            ) d on d.product_id = i.product_id and d.owner_id = i.supplier_id) n
        where i.product_id = n.product_id and (i.is_listed, i.is_unlinked) <> (n.is_listed, n.is_unlinked)
    """)
    for key in KEYS:
        op.create_index(
            f"ix_products_owner_id_{key}_key",
            "products",
            ["owner_id", sa.text(f"""((lower({key}) collate "C") || '')"""), "product_id"],
            schema="inventory",
            postgresql_where=sa.text("not removed and type in ('stock', 'stock_customisable')"),
        )


def downgrade() -> None:
    for key in reversed(KEYS):
        op.drop_index(f"ix_products_owner_id_{key}_key", table_name="products", schema="inventory")
    for name in reversed(COLUMNS):
        op.drop_column("stock_items", name, schema="inventory")
