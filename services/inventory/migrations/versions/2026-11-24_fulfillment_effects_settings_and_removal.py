"""Fulfillment, effects of orders, settings and removal of stock."""

import sqlalchemy as sa
from alembic import op

revision = "ea90f95f56ec"
down_revision = "f75f960c2232"
branch_labels = None
depends_on = None

KINDS = (
    "'order', 'order_amended', 'order_cancelled', 'fulfilled', 'returned', 'manual', 'csv_import', 'external_reset', "
    "'external_adjustment', 'stock_sync', 'reserved', 'released', 'expired', 'removed', 'count'"
)
NEW_KINDS = (
    "'order', 'order_amended', 'order_cancelled', 'fulfilled', 'fulfillment_failed', 'returned', 'manual', "
    "'csv_import', 'external_reset', 'external_adjustment', 'stock_sync', 'reserved', 'released', 'expired', "
    "'removed', 'relisted', 'settings', 'count'"
)
CHANGES = "(on_hand_delta, allocated_delta, reserved_delta) <> (0, 0, 0)"
# Each with its table and name.
ADDED = (
    ("locations", "order_effect_known", "order_effect in ('decrement', 'allocate')"),
    ("locations", "on_hand_owner_known", "on_hand_owner in ('internal', 'external')"),
    ("locations", "owner_outside_allocates", "on_hand_owner = 'internal' or order_effect = 'allocate'"),
    ("stock_items", "low_stock_threshold_not_negative", "low_stock_threshold >= 0"),
    ("stock_items", "lead_time_days_not_negative", "lead_time_days >= 0"),
    ("stock_items", "daily_capacity_not_negative", "daily_capacity >= 0"),
    ("takings", "whole_units", "per_unit > 0 and quantity % per_unit = 0"),
    ("takings", "effect_known", "effect in ('decrement', 'allocate')"),
    ("order_states", "version_counts_from_0", "version >= 0"),
    ("order_states", "source_given", "version = 0 or source is not null"),
)
# Each as it was, and as it is from now on.
CHANGED = (
    ("stock_ledger", "kind_known", f"kind in ({KINDS})", f"kind in ({NEW_KINDS})"),
    ("stock_ledger", "changes_something", CHANGES, f"{CHANGES} or kind in ('settings', 'removed', 'relisted')"),
    ("parked_lines", "kind_known", "kind in ('order', 'return')", "kind in ('order', 'return', 'fulfillment')"),
)


def add_check(table: str, name: str, condition: str) -> None:
    op.execute(f"alter table inventory.{table} add constraint ck_{table}_{name} check ({condition})")


def drop_check(table: str, name: str) -> None:
    op.execute(f"alter table inventory.{table} drop constraint ck_{table}_{name}")


def upgrade() -> None:
    op.create_table(
        "fulfillment_items",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("logical_timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.CheckConstraint("applied or kind = 'completed'", name=op.f("ck_fulfillment_items_only_completed_waits")),
        sa.CheckConstraint("kind in ('assigned', 'failed', 'completed')", name=op.f("ck_fulfillment_items_kind_known")),
        sa.CheckConstraint("logical_timestamp > 0", name=op.f("ck_fulfillment_items_logical_timestamp_counts_from_1")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_fulfillment_items_quantity_positive")),
        sa.PrimaryKeyConstraint("supplier_id", "logical_timestamp", name=op.f("pk_fulfillment_items")),
        schema="inventory",
    )
    op.create_index(
        "ix_fulfillment_items_order_id",
        "fulfillment_items",
        ["order_id"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("kind <> 'assigned'"),
    )
    op.create_index(
        "ix_fulfillment_items_waiting",
        "fulfillment_items",
        ["request_id"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("not applied"),
    )
    op.create_table(
        "completed_items",
        sa.Column("supplier_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("logical_timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_completed_items_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["supplier_id", "logical_timestamp"],
            ["inventory.fulfillment_items.supplier_id", "inventory.fulfillment_items.logical_timestamp"],
            name=op.f("fk_completed_items_supplier_id_logical_timestamp"),
        ),
        sa.PrimaryKeyConstraint("supplier_id", "logical_timestamp", "product_id", name=op.f("pk_completed_items")),
        schema="inventory",
    )
    op.create_index(
        "ix_completed_items_held",
        "completed_items",
        ["product_id", "location_id", "logical_timestamp"],
        unique=False,
        schema="inventory",
        postgresql_where=sa.text("held"),
    )
    op.add_column("locations", sa.Column("name", sa.Text(), nullable=True), schema="inventory")
    op.add_column(
        "locations",
        sa.Column("order_effect", sa.Text(), server_default=sa.text("'decrement'"), nullable=False),
        schema="inventory",
    )
    op.add_column(
        "locations",
        sa.Column("on_hand_owner", sa.Text(), server_default=sa.text("'internal'"), nullable=False),
        schema="inventory",
    )
    op.alter_column("order_states", "source", existing_type=sa.TEXT(), nullable=True, schema="inventory")
    op.add_column("stock_items", sa.Column("low_stock_threshold", sa.BigInteger(), nullable=True), schema="inventory")
    op.add_column("stock_items", sa.Column("lead_time_days", sa.Integer(), nullable=True), schema="inventory")
    op.add_column("stock_items", sa.Column("daily_capacity", sa.BigInteger(), nullable=True), schema="inventory")
    op.add_column(
        "stock_levels", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True), schema="inventory"
    )
    op.add_column(
        "takings",
        sa.Column("effect", sa.Text(), server_default=sa.text("'decrement'"), nullable=False),
        schema="inventory",
    )
    op.add_column(
        "takings",
        sa.Column("per_unit", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        schema="inventory",
    )
    # What a line took so far was made of what it took for one unit; every taking is written with both from now on.
    op.execute("""
        update inventory.takings t set per_unit = t.quantity / cast(l->>'quantity' as bigint)
        from inventory.order_states o cross join json_array_elements(o.lines) as l
        where o.order_id = t.order_id and cast(l->>'line_id' as integer) = t.line_id
          and t.quantity % cast(l->>'quantity' as bigint) = 0
    """)
    for column in ("effect", "per_unit"):
        op.alter_column("takings", column, server_default=None, schema="inventory")
    drop_check("order_states", "version_counts_from_1")
    for table, name, condition in ADDED:
        add_check(table, name, condition)
    for table, name, _, condition in CHANGED:
        drop_check(table, name)
        add_check(table, name, condition)


def downgrade() -> None:
    op.execute("delete from inventory.order_states where version = 0")
    op.execute("delete from inventory.parked_lines where kind = 'fulfillment'")
    op.execute("delete from inventory.stock_ledger where kind in ('settings', 'removed', 'relisted')")
    op.execute("update inventory.stock_ledger set kind = 'order_cancelled' where kind = 'fulfillment_failed'")
    for table, name, condition, _ in CHANGED:
        drop_check(table, name)
        add_check(table, name, condition)
    for table, name, _ in ADDED:
        drop_check(table, name)
    add_check("order_states", "version_counts_from_1", "version >= 1")
    op.drop_column("takings", "per_unit", schema="inventory")
    op.drop_column("takings", "effect", schema="inventory")
    op.drop_column("stock_levels", "removed_at", schema="inventory")
    op.drop_column("stock_items", "daily_capacity", schema="inventory")
    op.drop_column("stock_items", "lead_time_days", schema="inventory")
    op.drop_column("stock_items", "low_stock_threshold", schema="inventory")
    op.alter_column("order_states", "source", existing_type=sa.TEXT(), nullable=False, schema="inventory")
    op.drop_column("locations", "on_hand_owner", schema="inventory")
    op.drop_column("locations", "order_effect", schema="inventory")
    op.drop_column("locations", "name", schema="inventory")
    op.drop_index(
        "ix_completed_items_held", table_name="completed_items", schema="inventory", postgresql_where=sa.text("held")
    )
    op.drop_table("completed_items", schema="inventory")
    op.drop_index(
        "ix_fulfillment_items_waiting",
        table_name="fulfillment_items",
        schema="inventory",
        postgresql_where=sa.text("not applied"),
    )
    op.drop_index(
        "ix_fulfillment_items_order_id",
        table_name="fulfillment_items",
        schema="inventory",
        postgresql_where=sa.text("kind <> 'assigned'"),
    )
    op.drop_table("fulfillment_items", schema="inventory")
