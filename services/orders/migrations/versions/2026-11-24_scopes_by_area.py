"""API keys have scopes by area."""

from alembic import op

revision = "71b3a0c59e21"
down_revision = "f5f7bb9d4e6b"
branch_labels = None
depends_on = None

# Keys of before could do everything, and go on doing it.
GIVE_SCOPES = """
    update orders.api_keys set scopes = array['catalog:read', 'catalog:write', 'orders:read', 'orders:write',
        'stock:read', 'stock:write', 'webhooks:read', 'webhooks:write']
    where scopes @> array['read', 'write'] and scopes <@ array['read', 'write']
"""


def upgrade() -> None:
    op.execute(GIVE_SCOPES)


def downgrade() -> None:
    # The scopes stay: versions before did not look at them.
    pass
