"""Users; API keys have labels, scopes by area, and the time of their last use."""

import sqlalchemy as sa
from alembic import op

revision = "43fa5afdf37d"
down_revision = "df718d545196"
branch_labels = None
depends_on = None

# Keys of before could do everything, and go on doing it.
GIVE_SCOPES = """
    update catalog.api_keys set scopes = array['catalog:read', 'catalog:write', 'orders:read', 'orders:write',
        'stock:read', 'stock:write', 'webhooks:read', 'webhooks:write']
    where scopes @> array['read', 'write'] and scopes <@ array['read', 'write']
"""


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("password_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("role in ('owner', 'operator', 'viewer')", name=op.f("ck_users_role")),
        sa.ForeignKeyConstraint(["company_id"], ["catalog.companies.company_id"], name=op.f("fk_users_company_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
        schema="catalog",
    )
    op.create_index("ix_users_company_id", "users", ["company_id"], unique=False, schema="catalog")
    op.create_table(
        "password_attempts",
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("email_key", name=op.f("pk_password_attempts")),
        schema="catalog",
    )
    op.create_index(
        "ix_password_attempts_window_ends_at", "password_attempts", ["window_ends_at"], unique=False, schema="catalog"
    )
    op.add_column("api_keys", sa.Column("label", sa.Text(), nullable=True), schema="catalog")
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True), schema="catalog")
    op.execute(GIVE_SCOPES)


def downgrade() -> None:
    # The scopes stay: versions before did not look at them.
    op.drop_column("api_keys", "last_used_at", schema="catalog")
    op.drop_column("api_keys", "label", schema="catalog")
    op.drop_index("ix_password_attempts_window_ends_at", table_name="password_attempts", schema="catalog")
    op.drop_table("password_attempts", schema="catalog")
    op.drop_index("ix_users_company_id", table_name="users", schema="catalog")
    op.drop_table("users", schema="catalog")
