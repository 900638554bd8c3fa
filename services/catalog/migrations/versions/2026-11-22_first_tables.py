"""First tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "df718d545196"
down_revision = None
branch_labels = None
depends_on = None


# Ids come from here unless the platform admin gives one (`services/catalog/store`, `NEXT_ID` and `SKIP_TO_ID`).
SEQUENCES = [
    sa.Sequence(name, schema="catalog") for name in ("company_ids", "key_ids", "connection_ids", "product_ids")
]


def upgrade() -> None:
    for sequence in SEQUENCES:
        op.execute(sa.schema.CreateSequence(sequence))
    op.create_table(
        "companies",
        sa.Column("company_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("oversell_policy", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("oversell_policy in ('backorder', 'deny')", name=op.f("ck_companies_oversell_policy")),
        sa.CheckConstraint("role in ('supplier', 'retailer')", name=op.f("ck_companies_role")),
        sa.PrimaryKeyConstraint("company_id", name=op.f("pk_companies")),
        sa.UniqueConstraint("ref", name=op.f("uq_companies_ref")),
        schema="catalog",
    )
    op.create_table(
        "dead_letters",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("dead_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("queue", "message_id", "body_sha256", name=op.f("pk_dead_letters")),
        schema="catalog",
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox")),
        schema="catalog",
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False, schema="catalog")
    op.create_table(
        "outbox",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("mandatory", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_outbox")),
        schema="catalog",
    )
    op.create_index(
        "ix_outbox_created_at_message_id", "outbox", ["created_at", "message_id"], unique=False, schema="catalog"
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(role = 'admin') = (company_id is null)", name=op.f("ck_api_keys_company")),
        sa.ForeignKeyConstraint(["company_id"], ["catalog.companies.company_id"], name=op.f("fk_api_keys_company_id")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
        schema="catalog",
    )
    op.create_table(
        "connections",
        sa.Column("connection_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("retailer_id", sa.BigInteger(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=True),
        sa.Column("default_location", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state in ('active', 'paused', 'ended')", name=op.f("ck_connections_state")),
        sa.CheckConstraint("supplier_id <> retailer_id", name=op.f("ck_connections_two_companies")),
        sa.ForeignKeyConstraint(
            ["retailer_id"], ["catalog.companies.company_id"], name=op.f("fk_connections_retailer_id")
        ),
        sa.ForeignKeyConstraint(
            ["supplier_id"], ["catalog.companies.company_id"], name=op.f("fk_connections_supplier_id")
        ),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_connections")),
        sa.UniqueConstraint("supplier_id", "retailer_id", name=op.f("uq_connections_supplier_id_retailer_id")),
        schema="catalog",
    )
    op.create_index("ix_connections_retailer_id", "connections", ["retailer_id"], unique=False, schema="catalog")
    op.create_table(
        "products",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("is_tracked", sa.Boolean(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("barcode", sa.Text(), nullable=True),
        sa.Column("base_product_id", sa.BigInteger(), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("visible_to", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(type = 'virtual') = (base_product_id is not null)", name=op.f("ck_products_base_of_virtual")
        ),
        sa.CheckConstraint(
            "(visibility = 'listed') = (cardinality(visible_to) > 0)", name=op.f("ck_products_visible_to")
        ),
        sa.CheckConstraint(
            "is_tracked = (type in ('stock', 'stock_customisable') and removed_at is null)",
            name=op.f("ck_products_is_tracked"),
        ),
        sa.CheckConstraint("sku <> ''", name=op.f("ck_products_sku")),
        sa.CheckConstraint(
            "type in ('stock', 'customisable', 'stock_customisable', 'configurable_stock', 'virtual')",
            name=op.f("ck_products_type"),
        ),
        sa.CheckConstraint("visibility in ('private', 'connected', 'listed')", name=op.f("ck_products_visibility")),
        sa.CheckConstraint("base_product_id <> product_id", name=op.f("ck_products_base_is_another")),
        sa.CheckConstraint("version > 0", name=op.f("ck_products_version")),
        sa.ForeignKeyConstraint(
            ["base_product_id"], ["catalog.products.product_id"], name=op.f("fk_products_base_product_id")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["catalog.companies.company_id"], name=op.f("fk_products_owner_id")),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_products")),
        sa.UniqueConstraint(
            "product_id", "owner_id", "is_tracked", name=op.f("uq_products_product_id_owner_id_is_tracked")
        ),
        sa.UniqueConstraint("product_id", "owner_id", name=op.f("uq_products_product_id_owner_id")),
        schema="catalog",
    )
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="catalog")
    op.create_index(
        "uq_products_owner_id_type_sku",
        "products",
        ["owner_id", "type", "sku"],
        unique=True,
        schema="catalog",
        postgresql_where=sa.text("removed_at is null"),
    )
    op.create_table(
        "variants",
        sa.Column("variant_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint("sku <> ''", name=op.f("ck_variants_sku")),
        sa.ForeignKeyConstraint(["product_id"], ["catalog.products.product_id"], name=op.f("fk_variants_product_id")),
        sa.PrimaryKeyConstraint("variant_id", name=op.f("pk_variants")),
        sa.UniqueConstraint("product_id", "sku", name=op.f("uq_variants_product_id_sku")),
        sa.UniqueConstraint("product_id", "variant_id", name=op.f("uq_variants_product_id_variant_id")),
        schema="catalog",
    )
    op.create_table(
        "components",
        sa.Column("component_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_id", sa.BigInteger(), nullable=True),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("base_stock_product_id", sa.BigInteger(), nullable=False),
        sa.Column("base_is_tracked", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("base_is_tracked", name=op.f("ck_components_base_is_tracked")),
        sa.CheckConstraint("base_stock_product_id <> product_id", name=op.f("ck_components_base_is_another")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_components_quantity")),
        sa.ForeignKeyConstraint(
            ["base_stock_product_id", "owner_id", "base_is_tracked"],
            ["catalog.products.product_id", "catalog.products.owner_id", "catalog.products.is_tracked"],
            name="fk_components_base_stock_product",
        ),
        sa.ForeignKeyConstraint(
            ["product_id", "owner_id"],
            ["catalog.products.product_id", "catalog.products.owner_id"],
            name=op.f("fk_components_product_id_owner_id"),
        ),
        sa.ForeignKeyConstraint(
            ["product_id", "variant_id"],
            ["catalog.variants.product_id", "catalog.variants.variant_id"],
            name=op.f("fk_components_product_id_variant_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("component_id", name=op.f("pk_components")),
        sa.UniqueConstraint(
            "product_id",
            "variant_id",
            "base_stock_product_id",
            name=op.f("uq_components_product_id_variant_id_base_stock_product_id"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="catalog",
    )
    op.create_index(
        "ix_components_base_stock_product_id", "components", ["base_stock_product_id"], unique=False, schema="catalog"
    )


def downgrade() -> None:
    op.drop_index("ix_components_base_stock_product_id", table_name="components", schema="catalog")
    op.drop_table("components", schema="catalog")
    op.drop_table("variants", schema="catalog")
    op.drop_index(
        "uq_products_owner_id_type_sku",
        table_name="products",
        schema="catalog",
        postgresql_where=sa.text("removed_at is null"),
    )
    op.drop_index("ix_products_base_product_id", table_name="products", schema="catalog")
    op.drop_table("products", schema="catalog")
    op.drop_index("ix_connections_retailer_id", table_name="connections", schema="catalog")
    op.drop_table("connections", schema="catalog")
    op.drop_table("api_keys", schema="catalog")
    op.drop_index("ix_outbox_created_at_message_id", table_name="outbox", schema="catalog")
    op.drop_table("outbox", schema="catalog")
    op.drop_index("ix_inbox_received_at", table_name="inbox", schema="catalog")
    op.drop_table("inbox", schema="catalog")
    op.drop_table("dead_letters", schema="catalog")
    op.drop_table("companies", schema="catalog")
    for sequence in SEQUENCES:
        op.execute(sa.schema.DropSequence(sequence))
