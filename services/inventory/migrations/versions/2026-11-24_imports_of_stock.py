"""Imports of stock as jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "9573e0cbeb72"
down_revision = "e83f5b1c9a47"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stock_imports",
        sa.Column("import_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("writes", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("refused", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("turn_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode in ('rows', 'all')", name=op.f("ck_stock_imports_mode_known")),
        sa.CheckConstraint(
            "state in ('receiving', 'received', 'running', 'done', 'failed')", name=op.f("ck_stock_imports_state_known")
        ),
        sa.CheckConstraint(
            "writes in ('quantity_available', 'on_hand', 'adjustment')", name=op.f("ck_stock_imports_writes_known")
        ),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_stock_imports")),
        schema="inventory",
    )
    op.create_index(
        "ix_stock_imports_open",
        "stock_imports",
        ["supplier_id", "import_id"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("state in ('receiving', 'received', 'running')"),
    )
    op.create_index(
        "ix_stock_imports_supplier_id_import_id",
        "stock_imports",
        ["supplier_id", "import_id"],
        unique=False,
        schema="inventory",
    )
    op.create_table(
        "stock_import_chunks",
        sa.Column("import_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("after_row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("rows > 0", name=op.f("ck_stock_import_chunks_rows_given")),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["inventory.stock_imports.import_id"],
            name=op.f("fk_stock_import_chunks_import_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("import_id", "after_row", name=op.f("pk_stock_import_chunks")),
        schema="inventory",
    )
    op.create_table(
        "stock_import_rows",
        sa.Column("import_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("barcode", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("on_hand_before", sa.BigInteger(), nullable=True),
        sa.Column("on_hand_after", sa.BigInteger(), nullable=True),
        sa.Column("available_before", sa.BigInteger(), nullable=True),
        sa.Column("available_after", sa.BigInteger(), nullable=True),
        sa.Column("errors", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "status in ('changed', 'unchanged', 'refused')", name=op.f("ck_stock_import_rows_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["inventory.stock_imports.import_id"],
            name=op.f("fk_stock_import_rows_import_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("import_id", "row_number", name=op.f("pk_stock_import_rows")),
        schema="inventory",
    )


def downgrade() -> None:
    op.drop_table("stock_import_rows", schema="inventory")
    op.drop_table("stock_import_chunks", schema="inventory")
    op.drop_index("ix_stock_imports_supplier_id_import_id", table_name="stock_imports", schema="inventory")
    op.drop_index(
        "ix_stock_imports_open",
        table_name="stock_imports",
        schema="inventory",
        postgresql_where=sa.text("state in ('receiving', 'received', 'running')"),
    )
    op.drop_table("stock_imports", schema="inventory")
