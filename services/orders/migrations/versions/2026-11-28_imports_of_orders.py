"""Imports of orders as jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c732b6443e0b"
down_revision = "afe048abe187"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "order_imports",
        sa.Column("import_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=True),
        sa.Column("created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("existing", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("refused", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("place_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("turn_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('receiving', 'received', 'running', 'done', 'failed')", name=op.f("ck_order_imports_state_known")
        ),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_order_imports")),
        schema="orders",
    )
    op.create_index(
        "ix_order_imports_open",
        "order_imports",
        ["seller_id", "import_id"],
        unique=False,
        schema="orders",
        postgresql_where=sa.text("state in ('receiving', 'received', 'running')"),
    )
    op.create_index(
        "ix_order_imports_seller_id_import_id",
        "order_imports",
        ["seller_id", "import_id"],
        unique=False,
        schema="orders",
    )
    op.create_table(
        "order_import_orders",
        sa.Column("import_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "status in ('pending', 'created', 'existing', 'refused')", name=op.f("ck_order_import_orders_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["orders.order_imports.import_id"],
            name=op.f("fk_order_import_orders_import_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("import_id", "place", name=op.f("pk_order_import_orders")),
        sa.UniqueConstraint("import_id", "external_ref", name=op.f("uq_order_import_orders_import_id_external_ref")),
        schema="orders",
    )
    op.create_table(
        "order_import_rows",
        sa.Column("import_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=True),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("variant_sku", sa.Text(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("errors", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["orders.order_imports.import_id"],
            name=op.f("fk_order_import_rows_import_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("import_id", "row_number", name=op.f("pk_order_import_rows")),
        schema="orders",
    )
    op.create_index(
        "ix_order_import_rows_import_id_external_ref",
        "order_import_rows",
        ["import_id", "external_ref"],
        unique=False,
        schema="orders",
    )
    op.create_index(
        "ix_order_import_rows_refused",
        "order_import_rows",
        ["import_id", "row_number"],
        unique=False,
        schema="orders",
        postgresql_where=sa.text("errors is not null"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_order_import_rows_refused",
        table_name="order_import_rows",
        schema="orders",
        postgresql_where=sa.text("errors is not null"),
    )
    op.drop_index("ix_order_import_rows_import_id_external_ref", table_name="order_import_rows", schema="orders")
    op.drop_table("order_import_rows", schema="orders")
    op.drop_table("order_import_orders", schema="orders")
    op.drop_index("ix_order_imports_seller_id_import_id", table_name="order_imports", schema="orders")
    op.drop_index(
        "ix_order_imports_open",
        table_name="order_imports",
        schema="orders",
        postgresql_where=sa.text("state in ('receiving', 'received', 'running')"),
    )
    op.drop_table("order_imports", schema="orders")
