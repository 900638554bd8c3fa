"""Reservations, the service's clock, repaired levels, and indexes to read the ledger across products."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "b3d1c52f7e60"
down_revision = "ea90f95f56ec"
branch_labels = None
depends_on = None

KINDS = (
    "'order', 'order_amended', 'order_cancelled', 'fulfilled', 'fulfillment_failed', 'returned', 'manual', "
    "'csv_import', 'external_reset', 'external_adjustment', 'stock_sync', 'reserved', 'released', 'expired', "
    "'removed', 'relisted', 'settings', 'count'"
)
NEW_KINDS = KINDS.replace("'expired', ", "'expired', 'converted', 'repaired', ")
# Those that change no quantity.
QUIET = "'settings', 'removed', 'relisted'"


def change_kinds(kinds: str, quiet: str) -> None:
    changes = f"(on_hand_delta, allocated_delta, reserved_delta) <> (0, 0, 0) or kind in ({quiet})"
    for name, condition in (("kind_known", f"kind in ({kinds})"), ("changes_something", changes)):
        op.execute(f"alter table inventory.stock_ledger drop constraint ck_stock_ledger_{name}")
        op.execute(f"alter table inventory.stock_ledger add constraint ck_stock_ledger_{name} check ({condition})")


def upgrade() -> None:
    op.execute(
        "create function inventory.db_now() returns timestamptz language sql volatile as 'select clock_timestamp()'"
    )
    op.create_table(
        "reservations",
        sa.Column("reservation_id", sa.Uuid(), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("external_ref", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "(state in ('open', 'confirmed')) = (ended_at is null)", name=op.f("ck_reservations_ended_when_over")
        ),
        sa.CheckConstraint(
            "state <> 'confirmed' or external_ref is not null", name=op.f("ck_reservations_confirmed_to_an_order")
        ),
        sa.CheckConstraint(
            "state in ('open', 'confirmed', 'converted', 'released', 'expired')",
            name=op.f("ck_reservations_state_known"),
        ),
        sa.PrimaryKeyConstraint("reservation_id", name=op.f("pk_reservations")),
        schema="inventory",
    )
    for name, columns, condition in (
        ("ix_reservations_confirmed", ["seller_id", "external_ref"], "state = 'confirmed'"),
        ("ix_reservations_held", ["expires_at"], "state in ('open', 'confirmed')"),
        ("ix_reservations_ended", ["ended_at"], "ended_at is not null"),
        ("ix_reservations_seller_id_reservation_id", ["seller_id", "reservation_id"], None),
    ):
        where = None if condition is None else sa.text(condition)
        op.create_index(name, "reservations", columns, unique=False, schema="inventory", postgresql_where=where)
    op.create_table(
        "reserved_units",
        sa.Column("reservation_id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("location_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_reserved_units_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["reservation_id"],
            ["inventory.reservations.reservation_id"],
            name=op.f("fk_reserved_units_reservation_id"),
        ),
        sa.PrimaryKeyConstraint("reservation_id", "line_id", "product_id", name=op.f("pk_reserved_units")),
        schema="inventory",
    )
    op.create_index("ix_reserved_units_product_id", "reserved_units", ["product_id"], unique=False, schema="inventory")
    op.create_index(
        "ix_order_states_seller_id_external_ref",
        "order_states",
        ["seller_id", "external_ref"],
        unique=False,
        schema="inventory",
    )
    op.create_index(
        "ix_stock_ledger_occurred_at_entry_id",
        "stock_ledger",
        ["occurred_at", "entry_id"],
        unique=False,
        schema="inventory",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    op.create_index("ix_stock_ledger_reference", "stock_ledger", ["reference"], unique=False, schema="inventory")
    change_kinds(NEW_KINDS, f"{QUIET}, 'repaired'")


def downgrade() -> None:
    op.execute("update inventory.stock_ledger set kind = 'released' where kind = 'converted'")
    op.execute("update inventory.stock_ledger set kind = 'settings' where kind = 'repaired'")
    change_kinds(KINDS, QUIET)
    op.drop_index("ix_stock_ledger_reference", table_name="stock_ledger", schema="inventory")
    op.drop_index("ix_stock_ledger_occurred_at_entry_id", table_name="stock_ledger", schema="inventory")
    op.drop_index("ix_order_states_seller_id_external_ref", table_name="order_states", schema="inventory")
    # What is still reserved is not any more; the entry says by how much.
    op.execute("""
        insert into inventory.stock_ledger (product_id, location_id, item_version, kind, on_hand_delta, allocated_delta,
            reserved_delta, on_hand, allocated, reserved, actor, source, reference)
        select l.product_id, l.location_id, i.version + 1, 'released', 0, 0, -l.reserved, l.on_hand, l.allocated, 0,
            'migration', 'migration', 'downgrade'
        from inventory.stock_levels l join inventory.stock_items i on i.product_id = l.product_id where l.reserved > 0
    """)
    op.execute("""
        update inventory.stock_items i set version = version + 1
        where exists (select from inventory.stock_levels l where l.product_id = i.product_id and l.reserved > 0)
    """)
    op.execute("update inventory.stock_levels set reserved = 0 where reserved > 0")
    op.drop_table("reserved_units", schema="inventory")
    op.drop_table("reservations", schema="inventory")
    op.execute("drop function inventory.db_now()")
