"""Imports of products as jobs, and their rows."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "be07d5160330"
down_revision = "a5bd7a16be5e"
branch_labels = None
depends_on = None

# Of the products that a dry run creates and takes back.
PROVISIONAL_IDS = sa.Sequence("provisional_ids", start=-1, increment=-1, schema="catalog")


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(PROVISIONAL_IDS))
    op.create_table(
        "imports",
        sa.Column("import_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("ids_allowed", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("refused", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("place_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("format in ('csv', 'ndjson')", name=op.f("ck_imports_format")),
        sa.CheckConstraint("mode in ('rows', 'all')", name=op.f("ck_imports_mode")),
        sa.CheckConstraint(
            "state in ('receiving', 'received', 'running', 'done', 'failed')", name=op.f("ck_imports_state")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["catalog.companies.company_id"], name=op.f("fk_imports_owner_id")),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_imports")),
        schema="catalog",
    )
    op.create_index(
        "ix_imports_open",
        "imports",
        ["import_id"],
        unique=False,
        schema="catalog",
        postgresql_where=sa.text("state in ('receiving', 'received', 'running')"),
    )
    op.create_table(
        "import_rows",
        sa.Column("import_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("chosen_id", sa.BigInteger(), nullable=True),
        sa.Column("base_product_id", sa.BigInteger(), nullable=True),
        sa.Column("base_sku", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("errors", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "status in ('pending', 'created', 'changed', 'unchanged', 'refused')", name=op.f("ck_import_rows_status")
        ),
        sa.ForeignKeyConstraint(
            ["import_id"], ["catalog.imports.import_id"], name=op.f("fk_import_rows_import_id"), ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("import_id", "row_number", name=op.f("pk_import_rows")),
        schema="catalog",
    )
    op.create_index(
        "ix_import_rows_import_id_place",
        "import_rows",
        ["import_id", "place"],
        unique=False,
        schema="catalog",
    )
    op.create_index(
        "ix_import_rows_refused",
        "import_rows",
        ["import_id", "sku"],
        unique=False,
        schema="catalog",
        postgresql_where=sa.text("status = 'refused'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_import_rows_refused",
        table_name="import_rows",
        schema="catalog",
        postgresql_where=sa.text("status = 'refused'"),
    )
    op.drop_index("ix_import_rows_import_id_place", table_name="import_rows", schema="catalog")
    op.drop_table("import_rows", schema="catalog")
    op.drop_index(
        "ix_imports_open",
        table_name="imports",
        schema="catalog",
        postgresql_where=sa.text("state in ('receiving', 'received', 'running')"),
    )
    op.drop_table("imports", schema="catalog")
    op.execute(sa.schema.DropSequence(PROVISIONAL_IDS))
