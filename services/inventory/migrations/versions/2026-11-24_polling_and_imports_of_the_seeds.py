"""Polling and imports of the seeds: when items changed, what was under way then, and imports with their rows."""

import sqlalchemy as sa
from alembic import op

revision = "1603bbbf427b"
down_revision = "b3d1c52f7e60"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feed_marks",
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("noted_at", name=op.f("pk_feed_marks")),
        schema="inventory",
    )
    op.create_table(
        "fulfillment_seen",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("complete_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("supplier_id", name=op.f("pk_fulfillment_seen")),
        schema="inventory",
    )
    op.create_table(
        "sync_imports",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("first_timestamp", sa.BigInteger(), nullable=True),
        sa.Column("last_timestamp", sa.BigInteger(), nullable=True),
        sa.Column("items_url", sa.Text(), nullable=True),
        sa.Column("fetched", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('received', 'failed') or started_at is not null",
            name=op.f("ck_sync_imports_started_unless_received"),
        ),
        sa.CheckConstraint(
            "state in ('received', 'waiting', 'importing', 'completed', 'failed')",
            name=op.f("ck_sync_imports_state_known"),
        ),
        sa.CheckConstraint(
            "(first_timestamp is null) = (last_timestamp is null) and (first_timestamp is null or 1 <= first_timestamp and first_timestamp <= last_timestamp)",
            name=op.f("ck_sync_imports_range_in_order"),
        ),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_sync_imports")),
        schema="inventory",
    )
    op.create_index("ix_sync_imports_created_at", "sync_imports", ["created_at"], unique=False, schema="inventory")
    op.create_index(
        "ix_sync_imports_open",
        "sync_imports",
        ["supplier_id", "started_at"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("state in ('received', 'waiting', 'importing')"),
    )
    op.create_index(
        "ix_sync_imports_supplier_id",
        "sync_imports",
        ["supplier_id", "last_timestamp"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("state = 'completed'"),
    )
    op.create_table(
        "sync_import_rows",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("on_hand", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("available", sa.BigInteger(), nullable=True),
        sa.Column("allocations_removed", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.CheckConstraint("status in ('pending', 'updated', 'error')", name=op.f("ck_sync_import_rows_status_known")),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["inventory.sync_imports.import_id"],
            name=op.f("fk_sync_import_rows_import_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "row_number", name=op.f("pk_sync_import_rows")),
        schema="inventory",
    )
    op.add_column(
        "stock_items",
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        schema="inventory",
    )


def downgrade() -> None:
    op.drop_column("stock_items", "changed_at", schema="inventory")
    op.drop_table("sync_import_rows", schema="inventory")
    op.drop_index(
        "ix_sync_imports_supplier_id",
        table_name="sync_imports",
        schema="inventory",
        postgresql_where=sa.text("state = 'completed'"),
    )
    op.drop_index(
        "ix_sync_imports_open",
        table_name="sync_imports",
        schema="inventory",
        postgresql_where=sa.text("state in ('received', 'waiting', 'importing')"),
    )
    op.drop_index("ix_sync_imports_created_at", table_name="sync_imports", schema="inventory")
    op.drop_table("sync_imports", schema="inventory")
    op.drop_table("fulfillment_seen", schema="inventory")
    op.drop_table("feed_marks", schema="inventory")
