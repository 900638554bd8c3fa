"""First tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "1fab37c7fb95"
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
        schema="inventory",
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
        schema="inventory",
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
        schema="inventory",
    )
    op.create_index("ix_connections_retailer_id", "connections", ["retailer_id"], unique=False, schema="inventory")
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
        schema="inventory",
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox")),
        schema="inventory",
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False, schema="inventory")
    op.create_table(
        "locations",
        sa.Column("location_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("salable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("code <> ''", name=op.f("ck_locations_code_given")),
        sa.PrimaryKeyConstraint("location_id", name=op.f("pk_locations")),
        sa.UniqueConstraint("supplier_id", "code", name=op.f("uq_locations_supplier_id_code")),
        schema="inventory",
    )
    op.create_table(
        "order_states",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("decided", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "source in ('api', 'amqp', 'pos', 'integration', 'console', 'import')",
            name=op.f("ck_order_states_source_known"),
        ),
        sa.CheckConstraint("state in ('open', 'cancelled')", name=op.f("ck_order_states_state_known")),
        sa.CheckConstraint("decision >= 1", name=op.f("ck_order_states_decision_counts_from_1")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_order_states_version_counts_from_1")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_states")),
        schema="inventory",
    )
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
        schema="inventory",
    )
    # Bodies live for milliseconds: compressing them takes longer than everything else a batch of orders does here.
    op.execute("alter table inventory.outbox alter column body set storage external")
    op.create_index(
        "ix_outbox_created_at_message_id", "outbox", ["created_at", "message_id"], unique=False, schema="inventory"
    )
    op.create_table(
        "parked_lines",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind in ('order', 'return')", name=op.f("ck_parked_lines_kind_known")),
        sa.PrimaryKeyConstraint("document_id", "line_id", name=op.f("pk_parked_lines")),
        schema="inventory",
    )
    op.create_index("ix_parked_lines_waits_for", "parked_lines", ["waits_for"], unique=False, schema="inventory")
    op.create_table(
        "product_parts",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=False),
        sa.Column("variant_id", sa.BigInteger(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("component_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("quantities", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("product_id", "variant_sku", name=op.f("pk_product_parts")),
        schema="inventory",
    )
    op.create_index(
        "ix_product_parts_component_ids",
        "product_parts",
        ["component_ids"],
        unique=False,
        schema="inventory",
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
        schema="inventory",
    )
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="inventory")
    op.create_index("ix_products_owner_id_sku", "products", ["owner_id", "sku"], unique=False, schema="inventory")
    op.create_table(
        "return_states",
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("refused", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint(
            "source in ('api', 'amqp', 'pos', 'integration', 'console', 'import')",
            name=op.f("ck_return_states_source_known"),
        ),
        sa.PrimaryKeyConstraint("return_id", name=op.f("pk_return_states")),
        schema="inventory",
    )
    op.create_table(
        "stock_items",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("policy in ('backorder', 'deny')", name=op.f("ck_stock_items_policy_known")),
        sa.CheckConstraint("version >= 0", name=op.f("ck_stock_items_version_counts_from_0")),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_stock_items")),
        schema="inventory",
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "ix_stock_items_supplier_id_product_id",
        "stock_items",
        ["supplier_id", "product_id"],
        unique=False,
        schema="inventory",
    )
    op.create_table(
        "stock_ledger",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("item_version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("on_hand_delta", sa.BigInteger(), nullable=False),
        sa.Column("allocated_delta", sa.BigInteger(), nullable=False),
        sa.Column("reserved_delta", sa.BigInteger(), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("allocated", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=True),
        sa.Column(
            "occurred_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "kind in ('order', 'order_amended', 'order_cancelled', 'fulfilled', 'returned', 'manual', 'csv_import', 'external_reset', 'external_adjustment', 'stock_sync', 'reserved', 'released', 'expired', 'removed', 'count')",
            name=op.f("ck_stock_ledger_kind_known"),
        ),
        sa.CheckConstraint(
            "(on_hand_delta, allocated_delta, reserved_delta) <> (0, 0, 0)",
            name=op.f("ck_stock_ledger_changes_something"),
        ),
        sa.CheckConstraint("allocated >= 0 and reserved >= 0", name=op.f("ck_stock_ledger_holds_not_negative")),
        sa.CheckConstraint("item_version >= 1", name=op.f("ck_stock_ledger_item_version_counts_from_1")),
        sa.PrimaryKeyConstraint("product_id", "entry_id", name=op.f("pk_stock_ledger")),
        schema="inventory",
    )
    op.create_table(
        "takings",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_takings_quantity_positive")),
        sa.PrimaryKeyConstraint("order_id", "line_id", "product_id", name=op.f("pk_takings")),
        schema="inventory",
    )
    op.create_table(
        "stock_levels",
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("allocated", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("safety_stock", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("allocated >= 0", name=op.f("ck_stock_levels_allocated_not_negative")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_stock_levels_reserved_not_negative")),
        sa.CheckConstraint("safety_stock >= 0", name=op.f("ck_stock_levels_safety_stock_not_negative")),
        sa.ForeignKeyConstraint(
            ["location_id"], ["inventory.locations.location_id"], name=op.f("fk_stock_levels_location_id")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["inventory.stock_items.product_id"], name=op.f("fk_stock_levels_product_id")
        ),
        sa.PrimaryKeyConstraint("product_id", "location_id", name=op.f("pk_stock_levels")),
        schema="inventory",
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    op.drop_table("stock_levels", schema="inventory")
    op.drop_table("takings", schema="inventory")
    op.drop_table("stock_ledger", schema="inventory")
    op.drop_index("ix_stock_items_supplier_id_product_id", table_name="stock_items", schema="inventory")
    op.drop_table("stock_items", schema="inventory")
    op.drop_table("return_states", schema="inventory")
    op.drop_index("ix_products_owner_id_sku", table_name="products", schema="inventory")
    op.drop_index("ix_products_base_product_id", table_name="products", schema="inventory")
    op.drop_table("products", schema="inventory")
    op.drop_index(
        "ix_product_parts_component_ids", table_name="product_parts", schema="inventory", postgresql_using="gin"
    )
    op.drop_table("product_parts", schema="inventory")
    op.drop_index("ix_parked_lines_waits_for", table_name="parked_lines", schema="inventory")
    op.drop_table("parked_lines", schema="inventory")
    op.drop_index("ix_outbox_created_at_message_id", table_name="outbox", schema="inventory")
    op.drop_table("outbox", schema="inventory")
    op.drop_table("order_states", schema="inventory")
    op.drop_table("locations", schema="inventory")
    op.drop_index("ix_inbox_received_at", table_name="inbox", schema="inventory")
    op.drop_table("inbox", schema="inventory")
    op.drop_table("dead_letters", schema="inventory")
    op.drop_index("ix_connections_retailer_id", table_name="connections", schema="inventory")
    op.drop_table("connections", schema="inventory")
    op.drop_table("companies", schema="inventory")
    op.drop_table("api_keys", schema="inventory")
