"""The audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "1f3ef6007f91"
down_revision = "8121a7a9d86c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("company_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "actor <> '' and action <> '' and subject <> ''", name=op.f("ck_audit_entries_says_who_and_what")
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_entries")),
        schema="catalog",
    )
    op.create_index(
        "ix_audit_entries_actor_entry_id", "audit_entries", ["actor", "entry_id"], unique=False, schema="catalog"
    )
    op.create_index(
        "ix_audit_entries_company_id_entry_id",
        "audit_entries",
        ["company_id", "entry_id"],
        unique=False,
        schema="catalog",
    )
    op.create_index(
        "ix_audit_entries_subject_entry_id", "audit_entries", ["subject", "entry_id"], unique=False, schema="catalog"
    )


def downgrade() -> None:
    op.drop_index("ix_audit_entries_subject_entry_id", table_name="audit_entries", schema="catalog")
    op.drop_index("ix_audit_entries_company_id_entry_id", table_name="audit_entries", schema="catalog")
    op.drop_index("ix_audit_entries_actor_entry_id", table_name="audit_entries", schema="catalog")
    op.drop_table("audit_entries", schema="catalog")
