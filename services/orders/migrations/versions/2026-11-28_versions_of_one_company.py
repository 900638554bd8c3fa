"""The versions that one company has of a product are found by an index."""

from alembic import op

revision = "6b02c9d47e13"
down_revision = "4fc50c239beb"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_products_base_product_id_owner_id",
        "products",
        ["base_product_id", "owner_id", "product_id"],
        unique=False,
        schema="orders",
    )
    op.drop_index("ix_products_base_product_id", table_name="products", schema="orders")


def downgrade() -> None:
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="orders")
    op.drop_index("ix_products_base_product_id_owner_id", table_name="products", schema="orders")
