"""Values from outside: what waits for its product, and what came of each value."""

import sqlalchemy as sa
from alembic import op

revision = "c7a41be0d935"
down_revision = "9573e0cbeb72"
branch_labels = None
depends_on = None

ROW_STATUS = "ck_stock_import_rows_status_known"


def upgrade() -> None:
    op.create_table(
        "pending_values",
        sa.Column("value_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("product_key", sa.Text(), nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.BigInteger(), nullable=True),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("operation in ('reset', 'adjust')", name=op.f("ck_pending_values_operation_known")),
        sa.PrimaryKeyConstraint("value_id", name=op.f("pk_pending_values")),
        schema="inventory",
    )
    op.create_index(
        "ix_pending_values_key",
        "pending_values",
        ["supplier_id", "product_key", "variant_sku", "location_id"],
        unique=False,
        schema="inventory",
    )
    op.create_index(
        "ix_pending_values_waits_for",
        "pending_values",
        ["waits_for"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("waits_for is not null"),
    )
    op.add_column(
        "stock_imports",
        sa.Column("pending", sa.Integer(), server_default=sa.text("0"), nullable=False),
        schema="inventory",
    )
    op.add_column("stock_import_rows", sa.Column("variant_sku", sa.Text(), nullable=True), schema="inventory")
    op.drop_constraint(op.f(ROW_STATUS), "stock_import_rows", schema="inventory", type_="check")
    op.create_check_constraint(
        op.f(ROW_STATUS),
        "stock_import_rows",
        "status in ('changed', 'unchanged', 'refused', 'pending')",
        schema="inventory",
    )


def downgrade() -> None:
    op.drop_constraint(op.f(ROW_STATUS), "stock_import_rows", schema="inventory", type_="check")
    op.execute("delete from inventory.stock_import_rows where status = 'pending'")
    op.create_check_constraint(
        op.f(ROW_STATUS), "stock_import_rows", "status in ('changed', 'unchanged', 'refused')", schema="inventory"
    )
    op.drop_column("stock_import_rows", "variant_sku", schema="inventory")
    op.drop_column("stock_imports", "pending", schema="inventory")
    op.drop_index(
        "ix_pending_values_waits_for",
        table_name="pending_values",
        schema="inventory",
        postgresql_where=sa.text("waits_for is not null"),
    )
    op.drop_index("ix_pending_values_key", table_name="pending_values", schema="inventory")
    op.drop_table("pending_values", schema="inventory")
