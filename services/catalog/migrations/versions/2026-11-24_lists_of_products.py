"""Lists of products: an index for each order and filter; when rows were written last; references of connections."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "a5bd7a16be5e"
down_revision = "43fa5afdf37d"
branch_labels = None
depends_on = None

SHELF = ("owner_id", "type", "visibility")
INDEXES = {
    "ix_products_shelf_id": [*SHELF, "product_id"],
    "ix_products_shelf_sku": [*SHELF, "sku_key", "product_id"],
    "ix_products_shelf_name": [*SHELF, "name_key", "product_id"],
    "ix_products_sku_key": ["sku_key", "product_id"],
    "ix_products_name_key": ["name_key", "product_id"],
    "ix_products_type": ["type", "product_id"],
    "ix_products_barcode": ["barcode"],
}
GIN_INDEXES: dict[str, Any] = {
    "ix_products_visible_to": "visible_to",
    "ix_products_words": sa.literal_column(
        "to_tsvector('simple'::regconfig, translate(title, '/.-_@+<>&', '         '))"
    ),
}
KEYS = {"sku_key": "sku", "name_key": "title"}
TABLES = ("companies", "api_keys", "connections", "products")


def upgrade() -> None:
    for table in TABLES:
        changed_at = sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        )
        op.add_column(table, changed_at, schema="catalog")
    # Where a retailer has one reference twice, this fails and names it: only its people know which connection is which.
    op.create_index(
        "uq_connections_retailer_id_external_ref",
        "connections",
        ["retailer_id", "external_ref"],
        unique=True,
        schema="catalog",
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.add_column(
        "products",
        sa.Column("is_unlinked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="catalog",
    )
    for key, column in KEYS.items():
        generated = sa.Computed(f"lower({column})", persisted=True)
        op.add_column("products", sa.Column(key, sa.Text(collation="C"), generated, nullable=False), schema="catalog")
    op.execute("""
        update catalog.products p set is_unlinked = true
        where type in ('customisable', 'configurable_stock') and removed_at is null
            and not exists (select from catalog.components c where c.product_id = p.product_id)
    """)
    op.create_check_constraint(
        op.f("ck_products_is_unlinked"),
        "products",
        "not is_unlinked or (type in ('customisable', 'configurable_stock') and removed_at is null)",
        schema="catalog",
    )
    there = sa.text("removed_at is null")
    for name, columns in INDEXES.items():
        op.create_index(name, "products", columns, schema="catalog", postgresql_where=there)
    for name, expression in GIN_INDEXES.items():
        op.create_index(
            name, "products", [expression], schema="catalog", postgresql_using="gin", postgresql_where=there
        )
    op.create_index(
        "ix_products_unlinked",
        "products",
        ["owner_id"],
        schema="catalog",
        postgresql_where=sa.text("is_unlinked and removed_at is null"),
    )


def downgrade() -> None:
    for name in ("ix_products_unlinked", *GIN_INDEXES, *INDEXES):
        op.drop_index(name, table_name="products", schema="catalog")
    op.drop_constraint(op.f("ck_products_is_unlinked"), "products", schema="catalog")
    for column in ("is_unlinked", *KEYS):
        op.drop_column("products", column, schema="catalog")
    op.drop_index("uq_connections_retailer_id_external_ref", table_name="connections", schema="catalog")
    for table in TABLES:
        op.drop_column(table, "changed_at", schema="catalog")
