"""first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "68a40d0aa003"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Every window and lease goes by this one clock; tests replace it to step through windows without sleeping.
    op.execute(
        "create function notifier.db_now() returns timestamptz language sql volatile as 'select clock_timestamp()'"
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
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
        schema="notifier",
    )
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("endpoint_id", sa.BigInteger(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("product_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("versions", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_milliseconds", sa.Integer(), nullable=False),
        sa.Column("request_headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_body", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "error in ('dns', 'forbidden', 'refused', 'tls', 'late', 'timeout', 'reset', 'http')",
            name=op.f("ck_attempts_error"),
        ),
        sa.CheckConstraint(
            "(error is null) = coalesce(status between 200 and 299, false)", name=op.f("ck_attempts_success")
        ),
        sa.CheckConstraint("cardinality(product_ids) = cardinality(versions)", name=op.f("ck_attempts_versions")),
        sa.CheckConstraint("cardinality(product_ids) > 0", name=op.f("ck_attempts_product_ids")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
        schema="notifier",
    )
    op.create_index("ix_attempts_at", "attempts", ["at"], unique=False, schema="notifier")
    op.create_index(
        "ix_attempts_endpoint_id_attempt_id", "attempts", ["endpoint_id", "attempt_id"], unique=False, schema="notifier"
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
        schema="notifier",
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
        schema="notifier",
    )
    op.create_index("ix_connections_retailer_id", "connections", ["retailer_id"], unique=False, schema="notifier")
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
        schema="notifier",
    )
    op.create_table(
        "endpoints",
        sa.Column("endpoint_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("window_seconds", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'disabled') = (reason is not null)", name=op.f("ck_endpoints_reason")),
        sa.CheckConstraint("secret like 'whsec\\_%'", name=op.f("ck_endpoints_secret")),
        sa.CheckConstraint("state in ('active', 'disabled')", name=op.f("ck_endpoints_state")),
        sa.CheckConstraint("version > 0", name=op.f("ck_endpoints_version")),
        sa.CheckConstraint("window_seconds >= 0", name=op.f("ck_endpoints_window_seconds")),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_endpoints")),
        schema="notifier",
    )
    op.create_index("ix_endpoints_company_id", "endpoints", ["company_id"], unique=False, schema="notifier")
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox")),
        schema="notifier",
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False, schema="notifier")
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
        schema="notifier",
    )
    op.create_index(
        "ix_outbox_created_at_message_id", "outbox", ["created_at", "message_id"], unique=False, schema="notifier"
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
        schema="notifier",
    )
    op.create_index(
        "ix_product_parts_component_ids",
        "product_parts",
        ["component_ids"],
        unique=False,
        schema="notifier",
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
        schema="notifier",
    )
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="notifier")
    op.create_index("ix_products_owner_id_sku", "products", ["owner_id", "sku"], unique=False, schema="notifier")
    op.create_table(
        "stock_products",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("previous_available", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("fanned_out_version", sa.BigInteger(), nullable=False),
        sa.Column("fanned_out_changes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "fanned_out_changes between 0 and changes", name=op.f("ck_stock_products_fanned_out_changes")
        ),
        sa.CheckConstraint(
            "fanned_out_version between 0 and version", name=op.f("ck_stock_products_fanned_out_version")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_stock_products_version")),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_stock_products")),
        schema="notifier",
    )
    op.create_index(
        "ix_stock_products_fan_out",
        "stock_products",
        ["product_id"],
        unique=False,
        schema="notifier",
        postgresql_where=sa.text("fanned_out_version < version"),
    )
    op.create_index("ix_stock_products_supplier_id", "stock_products", ["supplier_id"], unique=False, schema="notifier")
    op.create_table(
        "slots",
        sa.Column("endpoint_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("sent_available", sa.BigInteger(), nullable=True),
        sa.Column("sent_changes", sa.BigInteger(), nullable=False),
        sa.Column("acked_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("told_available", sa.BigInteger(), nullable=True),
        sa.Column("told_changes", sa.BigInteger(), nullable=False),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("(acked_version = 0) = (told_available is null)", name=op.f("ck_slots_told_available")),
        sa.CheckConstraint("(lease_id is null) = (lease_until is null)", name=op.f("ck_slots_lease")),
        sa.CheckConstraint("(sent_version = 0) = (sent_available is null)", name=op.f("ck_slots_sent_available")),
        sa.CheckConstraint("acked_version between 0 and sent_version", name=op.f("ck_slots_acked_version")),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_slots_attempt")),
        sa.CheckConstraint(
            "dirty or (acked_version > 0 and acked_version = sent_version)", name=op.f("ck_slots_clean")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["notifier.endpoints.endpoint_id"], name=op.f("fk_slots_endpoint_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["notifier.stock_products.product_id"], name=op.f("fk_slots_product_id")
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "product_id", name=op.f("pk_slots")),
        schema="notifier",
    )
    op.create_index(
        "ix_slots_due",
        "slots",
        ["endpoint_id", "not_before"],
        unique=False,
        schema="notifier",
        postgresql_where=sa.text("dirty"),
    )
    op.create_index(
        "ix_slots_leased",
        "slots",
        ["endpoint_id", "lease_until"],
        unique=False,
        schema="notifier",
        postgresql_where=sa.text("lease_until is not null"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_slots_leased", table_name="slots", schema="notifier", postgresql_where=sa.text("lease_until is not null")
    )
    op.drop_index("ix_slots_due", table_name="slots", schema="notifier", postgresql_where=sa.text("dirty"))
    op.drop_table("slots", schema="notifier")
    op.drop_index("ix_stock_products_supplier_id", table_name="stock_products", schema="notifier")
    op.drop_index(
        "ix_stock_products_fan_out",
        table_name="stock_products",
        schema="notifier",
        postgresql_where=sa.text("fanned_out_version < version"),
    )
    op.drop_table("stock_products", schema="notifier")
    op.drop_index("ix_products_owner_id_sku", table_name="products", schema="notifier")
    op.drop_index("ix_products_base_product_id", table_name="products", schema="notifier")
    op.drop_table("products", schema="notifier")
    op.drop_index(
        "ix_product_parts_component_ids", table_name="product_parts", schema="notifier", postgresql_using="gin"
    )
    op.drop_table("product_parts", schema="notifier")
    op.drop_index("ix_outbox_created_at_message_id", table_name="outbox", schema="notifier")
    op.drop_table("outbox", schema="notifier")
    op.drop_index("ix_inbox_received_at", table_name="inbox", schema="notifier")
    op.drop_table("inbox", schema="notifier")
    op.drop_index("ix_endpoints_company_id", table_name="endpoints", schema="notifier")
    op.drop_table("endpoints", schema="notifier")
    op.drop_table("dead_letters", schema="notifier")
    op.drop_index("ix_connections_retailer_id", table_name="connections", schema="notifier")
    op.drop_table("connections", schema="notifier")
    op.drop_table("companies", schema="notifier")
    op.drop_index("ix_attempts_endpoint_id_attempt_id", table_name="attempts", schema="notifier")
    op.drop_index("ix_attempts_at", table_name="attempts", schema="notifier")
    op.drop_table("attempts", schema="notifier")
    op.drop_table("api_keys", schema="notifier")
    op.execute("drop function notifier.db_now()")
