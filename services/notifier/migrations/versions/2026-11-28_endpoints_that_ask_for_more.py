"""Endpoints of more formats, with filters, limits, several secrets and a health; slots by location; feeds; samples."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "95a2b22580e1"
down_revision = "8d86ceb69db8"
branch_labels = None
depends_on = None

SLOT_KINDS = "'stock_level', 'variant_stock', 'variant_stock_delta'"
# `(table, name, condition)`.
CHECKS = (
    ("endpoints", "state_known", "state in ('active', 'paused', 'disabled')"),
    ("endpoints", "format_known", "format in ('stock_level', 'variant_stock', 'fulfillment')"),
    ("endpoints", "delta_semantics_known", "delta_semantics in ('change', 'total')"),
    ("endpoints", "auth_header", "(auth_header_name is null) = (auth_header_value is null)"),
    ("endpoints", "calls_at_once", "calls_at_once > 0"),
    ("endpoints", "calls_per_second", "calls_per_second > 0"),
    ("endpoints", "products_per_call", "products_per_call > 0"),
    ("endpoints", "failing", "(failing_since is null) = (failures = 0)"),
    ("slots", "kind_known", f"kind in ({SLOT_KINDS})"),
    ("slots", "location", "(kind = 'stock_level') = (location = '')"),
    ("slots", "sent_available", "location <> '' or (sent_version = 0) = (sent_available is null)"),
    ("slots", "told_available", "location <> '' or (acked_version = 0) = (told_available is null)"),
    ("slots", "frozen_body", "frozen_body is null or (kind = 'variant_stock_delta' and dirty)"),
    ("slots", "clean", "dirty or kind <> 'variant_stock_delta' or acked_version = sent_version"),
    ("attempts", "kind_known", "kind in ('stock_level', 'variant_stock', 'fulfillment', 'ping', 'test')"),
    ("attempts", "product_ids", "cardinality(product_ids) > 0 or kind not in ('stock_level', 'variant_stock')"),
)
CHECKS_BEFORE = (
    ("endpoints", "state", "state in ('active', 'disabled')"),
    ("slots", "sent_available", "(sent_version = 0) = (sent_available is null)"),
    ("slots", "told_available", "(acked_version = 0) = (told_available is null)"),
    ("slots", "clean", "dirty or (acked_version > 0 and acked_version = sent_version)"),
    ("attempts", "product_ids", "cardinality(product_ids) > 0"),
)
# Secrets are encrypted from now on; the check does not come back, as they stay so when this is taken back.
DROP_CHECK_OF_ENDPOINTS = "alter table notifier.endpoints drop constraint if exists ck_endpoints_secret"
PLACES = "update notifier.stock_products set band = 0, fanned_out_band = 0 where available <= 0"


def _check(checks: tuple[tuple[str, str, str], ...], before: tuple[tuple[str, str, str], ...]) -> None:
    for table, name, _ in before:
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, schema="notifier")
    for table, name, condition in checks:
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition, schema="notifier")


def _key(*columns: str) -> None:
    op.drop_constraint("pk_slots", "slots", schema="notifier")
    op.create_primary_key("pk_slots", "slots", list(columns), schema="notifier")


def upgrade() -> None:
    op.create_index(
        "ix_products_base_product_id_owner_id",
        "products",
        ["base_product_id", "owner_id", "product_id"],
        unique=False,
        schema="notifier",
    )
    op.drop_index("ix_products_base_product_id", table_name="products", schema="notifier")
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alerts")),
        schema="notifier",
    )
    op.create_table(
        "fulfillment_events",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("logical_timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("supplier_id", "logical_timestamp", name=op.f("pk_fulfillment_events")),
        schema="notifier",
    )
    op.create_table(
        "fulfillment_streams",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("forgotten_timestamp", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("forgotten_timestamp >= 0", name=op.f("ck_fulfillment_streams_forgotten_timestamp")),
        sa.PrimaryKeyConstraint("supplier_id", name=op.f("pk_fulfillment_streams")),
        schema="notifier",
    )
    op.create_table(
        "feeds",
        sa.Column("endpoint_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("acked_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("(lease_id is null) = (lease_until is null)", name=op.f("ck_feeds_lease")),
        sa.CheckConstraint("acked_timestamp >= 0", name=op.f("ck_feeds_acked_timestamp")),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_feeds_attempt")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["notifier.endpoints.endpoint_id"], name=op.f("fk_feeds_endpoint_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_feeds")),
        schema="notifier",
    )
    op.create_table(
        "pings",
        sa.Column("endpoint_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('ping', 'test')", name=op.f("ck_pings_kind_known")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["notifier.endpoints.endpoint_id"], name=op.f("fk_pings_endpoint_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_pings")),
        schema="notifier",
    )
    op.add_column(
        "attempts", sa.Column("kind", sa.Text(), server_default="stock_level", nullable=False), schema="notifier"
    )
    op.add_column(
        "attempts",
        sa.Column("charged", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        schema="notifier",
    )
    op.add_column(
        "endpoints", sa.Column("format", sa.Text(), server_default="stock_level", nullable=False), schema="notifier"
    )
    op.add_column(
        "endpoints",
        sa.Column("old_secrets", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        schema="notifier",
    )
    op.add_column("endpoints", sa.Column("auth_header_name", sa.Text(), nullable=True), schema="notifier")
    op.add_column("endpoints", sa.Column("auth_header_value", sa.Text(), nullable=True), schema="notifier")
    op.add_column(
        "endpoints",
        sa.Column("legacy_key", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="notifier",
    )
    op.add_column(
        "endpoints", sa.Column("delta_semantics", sa.Text(), server_default="change", nullable=False), schema="notifier"
    )
    op.add_column(
        "endpoints",
        sa.Column("dotted_names", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="notifier",
    )
    op.add_column(
        "endpoints",
        sa.Column("early_retry", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="notifier",
    )
    op.add_column("endpoints", sa.Column("event_types", sa.ARRAY(sa.Text()), nullable=True), schema="notifier")
    op.add_column("endpoints", sa.Column("supplier_ids", sa.ARRAY(sa.BigInteger()), nullable=True), schema="notifier")
    op.add_column("endpoints", sa.Column("product_ids", sa.ARRAY(sa.BigInteger()), nullable=True), schema="notifier")
    op.add_column("endpoints", sa.Column("only", sa.ARRAY(sa.Text()), nullable=True), schema="notifier")
    op.add_column(
        "endpoints",
        sa.Column("calls_at_once", sa.Integer(), server_default=sa.text("1"), nullable=False),
        schema="notifier",
    )
    op.add_column(
        "endpoints",
        sa.Column("catch_up", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="notifier",
    )
    op.add_column(
        "endpoints",
        sa.Column("catch_up_after", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="notifier",
    )
    op.create_index(
        "ix_endpoints_catch_up",
        "endpoints",
        ["endpoint_id"],
        schema="notifier",
        postgresql_where=sa.text("catch_up"),
    )
    op.add_column("endpoints", sa.Column("calls_per_second", sa.Double(), nullable=True), schema="notifier")
    op.add_column(
        "endpoints",
        sa.Column("next_call_at", sa.DateTime(timezone=True), server_default="-infinity", nullable=False),
        schema="notifier",
    )
    op.add_column(
        "endpoints",
        sa.Column("products_per_call", sa.Integer(), server_default=sa.text("100"), nullable=False),
        schema="notifier",
    )
    op.add_column("endpoints", sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True), schema="notifier")
    op.add_column(
        "endpoints", sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False), schema="notifier"
    )
    op.add_column(
        "endpoints", sa.Column("warned", sa.Integer(), server_default=sa.text("0"), nullable=False), schema="notifier"
    )
    op.add_column("slots", sa.Column("location", sa.Text(), server_default="", nullable=False), schema="notifier")
    op.add_column(
        "slots", sa.Column("kind", sa.Text(), server_default="stock_level", nullable=False), schema="notifier"
    )
    op.add_column("slots", sa.Column("sent_band", sa.SmallInteger(), nullable=True), schema="notifier")
    op.add_column("slots", sa.Column("told_band", sa.SmallInteger(), nullable=True), schema="notifier")
    op.add_column("slots", sa.Column("acked_at", sa.DateTime(timezone=True), nullable=True), schema="notifier")
    op.add_column("slots", sa.Column("frozen_body", sa.LargeBinary(), nullable=True), schema="notifier")
    op.add_column("slots", sa.Column("call_limit", sa.SmallInteger(), nullable=True), schema="notifier")
    op.add_column(
        "slots", sa.Column("replays", sa.Integer(), server_default=sa.text("0"), nullable=False), schema="notifier"
    )
    op.create_check_constraint(op.f("ck_slots_call_limit"), "slots", "call_limit > 0", schema="notifier")
    op.add_column(
        "stock_products",
        sa.Column("levels", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        schema="notifier",
    )
    op.add_column(
        "stock_products",
        sa.Column("causes", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        schema="notifier",
    )
    op.add_column(
        "stock_products",
        sa.Column("band", sa.SmallInteger(), server_default=sa.text("2"), nullable=False),
        schema="notifier",
    )
    op.add_column(
        "stock_products",
        sa.Column("fanned_out_band", sa.SmallInteger(), server_default=sa.text("2"), nullable=False),
        schema="notifier",
    )
    op.create_index(
        "ix_attempts_failed",
        "attempts",
        ["endpoint_id", "attempt_id"],
        unique=False,
        schema="notifier",
        postgresql_where=sa.text("error is not null"),
    )
    op.execute(PLACES)
    op.execute(DROP_CHECK_OF_ENDPOINTS)
    _key("endpoint_id", "product_id", "location", "kind")
    _check(CHECKS, CHECKS_BEFORE)


def downgrade() -> None:
    op.create_index("ix_products_base_product_id", "products", ["base_product_id"], unique=False, schema="notifier")
    op.drop_index("ix_products_base_product_id_owner_id", table_name="products", schema="notifier")
    # What knows of nothing but stock levels keeps nothing else.
    op.execute("delete from notifier.endpoints where format <> 'stock_level'")
    op.execute("update notifier.endpoints set state = 'active' where state = 'paused'")
    op.execute("delete from notifier.attempts where kind <> 'stock_level'")
    # Without filters whatever is not known is told.
    op.execute("update notifier.slots set dirty = true where acked_version = 0 or acked_version < sent_version")
    _check(CHECKS_BEFORE, CHECKS)
    op.drop_index(
        "ix_attempts_failed",
        table_name="attempts",
        schema="notifier",
        postgresql_where=sa.text("error is not null"),
    )
    _key("endpoint_id", "product_id")
    op.drop_column("stock_products", "fanned_out_band", schema="notifier")
    op.drop_column("stock_products", "band", schema="notifier")
    op.drop_column("stock_products", "causes", schema="notifier")
    op.drop_column("stock_products", "levels", schema="notifier")
    op.drop_column("slots", "replays", schema="notifier")
    op.drop_column("slots", "call_limit", schema="notifier")
    op.drop_column("slots", "frozen_body", schema="notifier")
    op.drop_column("slots", "acked_at", schema="notifier")
    op.drop_column("slots", "told_band", schema="notifier")
    op.drop_column("slots", "sent_band", schema="notifier")
    op.drop_column("slots", "kind", schema="notifier")
    op.drop_column("slots", "location", schema="notifier")
    op.drop_column("endpoints", "warned", schema="notifier")
    op.drop_column("endpoints", "failures", schema="notifier")
    op.drop_column("endpoints", "failing_since", schema="notifier")
    op.drop_column("endpoints", "products_per_call", schema="notifier")
    op.drop_column("endpoints", "next_call_at", schema="notifier")
    op.drop_column("endpoints", "calls_per_second", schema="notifier")
    op.drop_column("endpoints", "catch_up_after", schema="notifier")
    op.drop_column("endpoints", "catch_up", schema="notifier")
    op.drop_column("endpoints", "calls_at_once", schema="notifier")
    op.drop_column("endpoints", "only", schema="notifier")
    op.drop_column("endpoints", "product_ids", schema="notifier")
    op.drop_column("endpoints", "supplier_ids", schema="notifier")
    op.drop_column("endpoints", "event_types", schema="notifier")
    op.drop_column("endpoints", "early_retry", schema="notifier")
    op.drop_column("endpoints", "dotted_names", schema="notifier")
    op.drop_column("endpoints", "delta_semantics", schema="notifier")
    op.drop_column("endpoints", "legacy_key", schema="notifier")
    op.drop_column("endpoints", "auth_header_value", schema="notifier")
    op.drop_column("endpoints", "auth_header_name", schema="notifier")
    op.drop_column("endpoints", "old_secrets", schema="notifier")
    op.drop_column("endpoints", "format", schema="notifier")
    op.drop_column("attempts", "charged", schema="notifier")
    op.drop_column("attempts", "kind", schema="notifier")
    op.drop_table("pings", schema="notifier")
    op.drop_table("feeds", schema="notifier")
    op.drop_table("fulfillment_streams", schema="notifier")
    op.drop_table("fulfillment_events", schema="notifier")
    op.drop_table("alerts", schema="notifier")
