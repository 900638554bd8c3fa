"""The versions that one company has of a product are found by an index."""

from alembic import op

revision = "3d5e81f0a7c2"
down_revision = "9ceb6bed9002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_products_base_product_id_owner_id",
        "products",
        ["base_product_id", "owner_id", "product_id"],
        unique=False,
        schema="inventory",
    )
    op.drop_index("ix_products_base_product_id", table_name="products", schema="inventory")


def downgrade() -> None:
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="inventory")
    op.drop_index("ix_products_base_product_id_owner_id", table_name="products", schema="inventory")
