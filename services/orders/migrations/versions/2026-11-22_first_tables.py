"""first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "f5f7bb9d4e6b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
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
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
        schema="orders",
    )
    op.create_table(
        "companies",
        sa.Column("company_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("oversell_policy", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", name=op.f("pk_companies")),
        sa.UniqueConstraint("ref", name=op.f("uq_companies_ref")),
        schema="orders",
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
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_connections")),
        sa.UniqueConstraint("supplier_id", "retailer_id", name=op.f("uq_connections_supplier_id_retailer_id")),
        schema="orders",
    )
    op.create_index("ix_connections_retailer_id", "connections", ["retailer_id"], unique=False, schema="orders")
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
        schema="orders",
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox")),
        schema="orders",
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False, schema="orders")
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("external_ref <> ''", name=op.f("ck_orders_external_ref_given")),
        sa.CheckConstraint(
            "source in ('api', 'amqp', 'pos', 'integration', 'console', 'import')", name=op.f("ck_orders_source_known")
        ),
        sa.CheckConstraint("state in ('open', 'cancelled')", name=op.f("ck_orders_state_known")),
        sa.CheckConstraint("decision >= 0", name=op.f("ck_orders_decision_counts_from_0")),
        sa.CheckConstraint("octet_length(fingerprint) = 32", name=op.f("ck_orders_fingerprint_is_sha256")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_orders_version_counts_from_1")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        sa.UniqueConstraint("external_ref", "seller_id", name=op.f("uq_orders_external_ref_seller_id")),
        schema="orders",
    )
    op.create_index("ix_orders_seller_id_order_id", "orders", ["seller_id", "order_id"], unique=False, schema="orders")
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
        schema="orders",
    )
    op.create_index(
        "ix_outbox_created_at_message_id", "outbox", ["created_at", "message_id"], unique=False, schema="orders"
    )
    op.create_table(
        "product_parts",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=False),
        sa.Column("variant_id", sa.BigInteger(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("component_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("quantities", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("product_id", "variant_sku", name=op.f("pk_product_parts")),
        schema="orders",
    )
    op.create_index(
        "ix_product_parts_component_ids",
        "product_parts",
        ["component_ids"],
        unique=False,
        schema="orders",
        postgresql_using="gin",
    )
    op.create_table(
        "products",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("barcode", sa.Text(), nullable=True),
        sa.Column("base_product_id", sa.BigInteger(), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=True),
        sa.Column("visible_to", sa.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("removed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_products")),
        schema="orders",
    )
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="orders")
    op.create_index("ix_products_owner_id_sku", "products", ["owner_id", "sku"], unique=False, schema="orders")
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("takes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("shortfall", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome in ('allocated', 'short', 'parked', 'untracked', 'refused')",
            name=op.f("ck_order_lines_outcome_known"),
        ),
        sa.CheckConstraint(
            "outcome is not null or (takes = '[]' and shortfall = 0 and reason is null)",
            name=op.f("ck_order_lines_undecided_is_empty"),
        ),
        sa.CheckConstraint("variant_sku <> ''", name=op.f("ck_order_lines_variant_sku_not_empty")),
        sa.CheckConstraint("line_id >= 1", name=op.f("ck_order_lines_line_id_counts_from_1")),
        sa.CheckConstraint("quantity between 1 and 1000000", name=op.f("ck_order_lines_quantity_in_range")),
        sa.CheckConstraint("shortfall >= 0", name=op.f("ck_order_lines_shortfall_not_negative")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.orders.order_id"], name=op.f("fk_order_lines_order_id")),
        sa.PrimaryKeyConstraint("order_id", "line_id", name=op.f("pk_order_lines")),
        schema="orders",
    )
    op.create_table(
        "returns",
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("external_ref <> ''", name=op.f("ck_returns_external_ref_given")),
        sa.CheckConstraint(
            "source in ('api', 'amqp', 'pos', 'integration', 'console', 'import')", name=op.f("ck_returns_source_known")
        ),
        sa.CheckConstraint("octet_length(fingerprint) = 32", name=op.f("ck_returns_fingerprint_is_sha256")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.orders.order_id"], name=op.f("fk_returns_order_id")),
        sa.PrimaryKeyConstraint("return_id", name=op.f("pk_returns")),
        sa.UniqueConstraint("external_ref", "seller_id", name=op.f("uq_returns_external_ref_seller_id")),
        schema="orders",
    )
    op.create_index("ix_returns_order_id", "returns", ["order_id"], unique=False, schema="orders")
    op.create_table(
        "return_lines",
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("restock", sa.Boolean(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.CheckConstraint("variant_sku <> ''", name=op.f("ck_return_lines_variant_sku_not_empty")),
        sa.CheckConstraint("line_id >= 1", name=op.f("ck_return_lines_line_id_counts_from_1")),
        sa.CheckConstraint("quantity between 1 and 1000000", name=op.f("ck_return_lines_quantity_in_range")),
        sa.ForeignKeyConstraint(["return_id"], ["orders.returns.return_id"], name=op.f("fk_return_lines_return_id")),
        sa.PrimaryKeyConstraint("return_id", "line_id", name=op.f("pk_return_lines")),
        schema="orders",
    )


def downgrade() -> None:
    op.drop_table("return_lines", schema="orders")
    op.drop_index("ix_returns_order_id", table_name="returns", schema="orders")
    op.drop_table("returns", schema="orders")
    op.drop_table("order_lines", schema="orders")
    op.drop_index("ix_products_owner_id_sku", table_name="products", schema="orders")
    op.drop_index("ix_products_base_product_id", table_name="products", schema="orders")
    op.drop_table("products", schema="orders")
    op.drop_index("ix_product_parts_component_ids", table_name="product_parts", schema="orders", postgresql_using="gin")
    op.drop_table("product_parts", schema="orders")
    op.drop_index("ix_outbox_created_at_message_id", table_name="outbox", schema="orders")
    op.drop_table("outbox", schema="orders")
    op.drop_index("ix_orders_seller_id_order_id", table_name="orders", schema="orders")
    op.drop_table("orders", schema="orders")
    op.drop_index("ix_inbox_received_at", table_name="inbox", schema="orders")
    op.drop_table("inbox", schema="orders")
    op.drop_table("dead_letters", schema="orders")
    op.drop_index("ix_connections_retailer_id", table_name="connections", schema="orders")
    op.drop_table("connections", schema="orders")
    op.drop_table("companies", schema="orders")
    op.drop_table("api_keys", schema="orders")
