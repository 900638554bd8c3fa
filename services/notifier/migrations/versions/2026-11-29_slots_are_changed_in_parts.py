"""Slots are told again, and wait for less, in parts; what was due when an endpoint was enabled goes slowly."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "4b798b641321"
down_revision = "d56c1121d35d"
branch_labels = None
depends_on = None

COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "replay_after": sa.BigInteger(),
    "replay_since": sa.DateTime(timezone=True),
    "shorten_after": sa.BigInteger(),
    "shorten_to_seconds": sa.Integer(),
    "backlog_until": sa.DateTime(timezone=True),
}
CHECKS = {
    "replay": "replay_since is null or replay_after is not null",
    "shorten": "(shorten_to_seconds is null) = (shorten_after is null)",
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("endpoints", sa.Column(name, kind, nullable=True), schema="notifier")
    for name, check in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_endpoints_{name}"), "endpoints", check, schema="notifier")
    op.drop_index("ix_endpoints_catch_up", table_name="endpoints", schema="notifier")
    op.create_index(
        "ix_endpoints_in_parts",
        "endpoints",
        ["endpoint_id"],
        schema="notifier",
        postgresql_where=sa.text("catch_up or replay_after is not null or shorten_after is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_endpoints_in_parts", table_name="endpoints", schema="notifier")
    op.create_index(
        "ix_endpoints_catch_up", "endpoints", ["endpoint_id"], schema="notifier", postgresql_where=sa.text("catch_up")
    )
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_endpoints_{name}"), "endpoints", schema="notifier")
    for name in COLUMNS:
        op.drop_column("endpoints", name, schema="notifier")
