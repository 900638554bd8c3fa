"""The life of orders: quantities of lines, how orders and their parts stand, their history."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "afe048abe187"
down_revision = "d20b94f7a1c6"
branch_labels = None
depends_on = None

STATUSES = (
    "'received', 'allocated', 'short', 'parked', 'untracked', 'partly_fulfilled', 'fulfilled', 'failed', 'cancelled', "
    "'returned'"
)
CHECKS = (
    ("orders", "status_known", f"status in ({STATUSES})"),
    ("orders", "decided_version_was_there", "decided_version between 0 and version"),
    ("order_lines", "units_not_negative", "least(cancelled, assigned, fulfilled, failed, returned) >= 0"),
    ("order_lines", "units_were_ordered", "cancelled + assigned + failed + greatest(fulfilled, returned) <= quantity"),
)
# Orders could not change until now: their only version is the one that was decided on. Who supplies a line is known of
# what it drew.
FILL_LINES = """
    update orders.order_lines l
    set supplier_id = (select p.owner_id from orders.products p where p.product_id = (l.takes -> 0 ->> 'product_id')::bigint)
    where l.outcome is not null
"""
FILL_ORDERS = """
    update orders.orders o
    set decided_version = least(decision, 1), status = case when decision = 0 then 'received' else (
        select case when bool_or(outcome in ('short', 'refused')) then 'short' when bool_or(outcome = 'parked') then 'parked'
            when bool_or(outcome = 'allocated') then 'allocated' else 'untracked' end
        from orders.order_lines l where l.order_id = o.order_id) end
"""
FILL_PARTS = """
    insert into orders.order_parts (order_id, supplier_id, status)
    select order_id, supplier_id, case when bool_or(outcome in ('short', 'refused')) then 'short'
        when bool_or(outcome = 'parked') then 'parked' when bool_or(outcome = 'allocated') then 'allocated'
        else 'untracked' end
    from orders.order_lines where supplier_id is not null group by order_id, supplier_id
"""


def upgrade() -> None:
    op.create_table(
        "order_changes",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "kind in ('decided', 'amended', 'cancelled', 'fulfillment_assigned', 'fulfillment_failed', "
            "'fulfillment_completed', 'returned')",
            name=op.f("ck_order_changes_kind_known"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.orders.order_id"], name=op.f("fk_order_changes_order_id")),
        sa.PrimaryKeyConstraint("order_id", "change_id", name=op.f("pk_order_changes")),
        schema="orders",
    )
    op.create_table(
        "order_parts",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("supplier_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.CheckConstraint(f"status in ({STATUSES})", name=op.f("ck_order_parts_status_known")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.orders.order_id"], name=op.f("fk_order_parts_order_id")),
        sa.PrimaryKeyConstraint("order_id", "supplier_id", name=op.f("pk_order_parts")),
        schema="orders",
    )
    op.create_index(
        "ix_order_parts_supplier_id_order_id", "order_parts", ["supplier_id", "order_id"], unique=False, schema="orders"
    )
    op.create_index(
        "ix_order_parts_supplier_id_status_order_id",
        "order_parts",
        ["supplier_id", "status", "order_id"],
        unique=False,
        schema="orders",
    )
    op.add_column(
        "order_lines",
        sa.Column("checked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="orders",
    )
    op.add_column("order_lines", sa.Column("supplier_id", sa.BigInteger(), nullable=True), schema="orders")
    op.add_column("order_lines", sa.Column("waits_for", sa.BigInteger(), nullable=True), schema="orders")
    op.add_column(
        "order_lines",
        sa.Column("cancelled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="orders",
    )
    op.add_column(
        "order_lines",
        sa.Column("assigned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="orders",
    )
    op.add_column(
        "order_lines",
        sa.Column("fulfilled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="orders",
    )
    op.add_column(
        "order_lines",
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="orders",
    )
    op.add_column(
        "order_lines",
        sa.Column("returned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="orders",
    )
    op.create_index(
        "ix_order_lines_product_id_order_id", "order_lines", ["product_id", "order_id"], unique=False, schema="orders"
    )
    op.add_column(
        "orders", sa.Column("status", sa.Text(), server_default=sa.text("'received'"), nullable=False), schema="orders"
    )
    op.add_column(
        "orders",
        sa.Column("decided_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        schema="orders",
    )
    op.create_index(
        "ix_orders_seller_id_status_order_id",
        "orders",
        ["seller_id", "status", "order_id"],
        unique=False,
        schema="orders",
    )
    op.create_index("ix_orders_status_order_id", "orders", ["status", "order_id"], unique=False, schema="orders")
    op.execute(FILL_LINES)
    op.execute(FILL_ORDERS)
    op.execute(FILL_PARTS)
    for table, name, rule in CHECKS:
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule, schema="orders")


def downgrade() -> None:
    for table, name, _ in reversed(CHECKS):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, schema="orders")
    op.drop_index("ix_orders_status_order_id", table_name="orders", schema="orders")
    op.drop_index("ix_orders_seller_id_status_order_id", table_name="orders", schema="orders")
    op.drop_column("orders", "decided_version", schema="orders")
    op.drop_column("orders", "status", schema="orders")
    op.drop_index("ix_order_lines_product_id_order_id", table_name="order_lines", schema="orders")
    op.drop_column("order_lines", "returned", schema="orders")
    op.drop_column("order_lines", "failed", schema="orders")
    op.drop_column("order_lines", "fulfilled", schema="orders")
    op.drop_column("order_lines", "assigned", schema="orders")
    op.drop_column("order_lines", "cancelled", schema="orders")
    op.drop_column("order_lines", "waits_for", schema="orders")
    op.drop_column("order_lines", "supplier_id", schema="orders")
    op.drop_column("order_lines", "checked", schema="orders")
    op.drop_index("ix_order_parts_supplier_id_status_order_id", table_name="order_parts", schema="orders")
    op.drop_index("ix_order_parts_supplier_id_order_id", table_name="order_parts", schema="orders")
    op.drop_table("order_parts", schema="orders")
    op.drop_table("order_changes", schema="orders")
