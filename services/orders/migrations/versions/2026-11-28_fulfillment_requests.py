"""Fulfillment requests, their items and events, and the suppliers' logical timestamps."""

import sqlalchemy as sa
from alembic import op

revision = "4fc50c239beb"
down_revision = "16f53e01367f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fulfillment_counters",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_timestamp", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("last_timestamp > 0", name=op.f("ck_fulfillment_counters_last_timestamp_positive")),
        sa.PrimaryKeyConstraint("supplier_id", name=op.f("pk_fulfillment_counters")),
        schema="orders",
    )
    op.create_table(
        "fulfillment_requests",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("external_ref <> ''", name=op.f("ck_fulfillment_requests_external_ref_not_empty")),
        sa.CheckConstraint("location <> ''", name=op.f("ck_fulfillment_requests_location_given")),
        sa.CheckConstraint(
            "state in ('open', 'completed', 'failed', 'partly_completed')",
            name=op.f("ck_fulfillment_requests_state_known"),
        ),
        sa.CheckConstraint(
            "octet_length(fingerprint) = 32", name=op.f("ck_fulfillment_requests_fingerprint_is_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.orders.order_id"], name=op.f("fk_fulfillment_requests_order_id")
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_fulfillment_requests")),
        sa.UniqueConstraint(
            "supplier_id", "external_ref", name=op.f("uq_fulfillment_requests_supplier_id_external_ref")
        ),
        schema="orders",
    )
    op.create_index(
        "ix_fulfillment_requests_order_id", "fulfillment_requests", ["order_id"], unique=False, schema="orders"
    )
    op.create_index(
        "ix_fulfillment_requests_supplier_id_request_id",
        "fulfillment_requests",
        ["supplier_id", "request_id"],
        unique=False,
        schema="orders",
    )
    op.create_index(
        "ix_fulfillment_requests_supplier_id_state_request_id",
        "fulfillment_requests",
        ["supplier_id", "state", "request_id"],
        unique=False,
        schema="orders",
    )
    op.create_table(
        "fulfillment_items",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("completed + failed <= quantity", name=op.f("ck_fulfillment_items_units_were_assigned")),
        sa.CheckConstraint("least(completed, failed) >= 0", name=op.f("ck_fulfillment_items_units_not_negative")),
        sa.CheckConstraint("quantity between 1 and 1000000", name=op.f("ck_fulfillment_items_quantity_in_range")),
        sa.ForeignKeyConstraint(
            ["order_id", "line_id"],
            ["orders.order_lines.order_id", "orders.order_lines.line_id"],
            name=op.f("fk_fulfillment_items_order_id_line_id"),
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["orders.fulfillment_requests.request_id"], name=op.f("fk_fulfillment_items_request_id")
        ),
        sa.PrimaryKeyConstraint("request_id", "line_id", name=op.f("pk_fulfillment_items")),
        schema="orders",
    )
    op.create_table(
        "fulfillment_events",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("logical_timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind in ('assigned', 'completed', 'failed')", name=op.f("ck_fulfillment_events_kind_known")
        ),
        sa.CheckConstraint("logical_timestamp > 0", name=op.f("ck_fulfillment_events_logical_timestamp_counts_from_1")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_fulfillment_events_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["request_id", "line_id"],
            ["orders.fulfillment_items.request_id", "orders.fulfillment_items.line_id"],
            name=op.f("fk_fulfillment_events_request_id_line_id"),
        ),
        sa.PrimaryKeyConstraint("supplier_id", "logical_timestamp", name=op.f("pk_fulfillment_events")),
        schema="orders",
    )


def downgrade() -> None:
    op.drop_table("fulfillment_events", schema="orders")
    op.drop_table("fulfillment_items", schema="orders")
    op.drop_index(
        "ix_fulfillment_requests_supplier_id_state_request_id", table_name="fulfillment_requests", schema="orders"
    )
    op.drop_index("ix_fulfillment_requests_supplier_id_request_id", table_name="fulfillment_requests", schema="orders")
    op.drop_index("ix_fulfillment_requests_order_id", table_name="fulfillment_requests", schema="orders")
    op.drop_table("fulfillment_requests", schema="orders")
    op.drop_table("fulfillment_counters", schema="orders")
