"""Catalog's tables. It is the source of truth for companies, keys and connections, whose copies others keep.

Ids come from sequences of the first migration (`company_ids`, `product_ids`, ...), because the platform admin may give
ids of an older system; see `store.NEXT_ID`.
"""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.catalog_view import add_access_tables
from shared.database import registry_in
from shared.idempotency import add_idempotency_table
from shared.messaging.tables import add_messaging_tables

# PostgreSQL takes `Black/White`, `v1.2`, `<new>` and the like for paths, hosts and tags: one word, or none.
WORD_ENDS = "/.-_@+<>&"


def name_in_words(column_name: str) -> str:
    """SQL: a name with blanks for what ends a word; the index of names and what looks into it must say the same."""
    return f"translate({column_name}, '{WORD_ENDS}', '{' ' * len(WORD_ENDS)}')"


class Table(SQLModel, registry=registry_in("catalog")):
    """Base of catalog's tables."""

    __abstract__ = True


METADATA = Table.metadata
add_messaging_tables(METADATA)
add_idempotency_table(METADATA)
add_access_tables(METADATA)


def _changed_at() -> Column[datetime]:
    """When the row was written last: what `basestock replay --since` goes by."""
    return Column("changed_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def _add_access_rules() -> None:
    """The copies in the other services may arrive in any order; here wrong rows are refused."""
    companies, keys, connections = (
        METADATA.tables[f"catalog.{name}"] for name in ("companies", "api_keys", "connections")
    )
    companies.append_constraint(CheckConstraint("role in ('supplier', 'retailer')", name="role"))
    companies.append_constraint(CheckConstraint("oversell_policy in ('backorder', 'deny')", name="oversell_policy"))
    # Nobody else needs to know these; `last_used_at` is the latest use at any service.
    keys.append_column(Column("label", Text))
    keys.append_column(Column("last_used_at", DateTime(timezone=True)))
    keys.append_constraint(ForeignKeyConstraint(["company_id"], ["catalog.companies.company_id"]))
    # Only the platform admin's keys belong to no company.
    keys.append_constraint(CheckConstraint("(role = 'admin') = (company_id is null)", name="company"))
    for party in ("supplier_id", "retailer_id"):
        connections.append_constraint(ForeignKeyConstraint([party], ["catalog.companies.company_id"]))
    connections.append_constraint(CheckConstraint("supplier_id <> retailer_id", name="two_companies"))
    connections.append_constraint(CheckConstraint("state in ('active', 'paused', 'ended')", name="state"))
    # A retailer names its connection by this reference (`dropship_ref`): it must mean one of them.
    Index(
        "uq_connections_retailer_id_external_ref",
        connections.c.retailer_id,
        connections.c.external_ref,
        unique=True,
        postgresql_where=text("state <> 'ended'"),
    )
    for table in (companies, keys, connections):
        table.append_column(_changed_at())


_add_access_rules()


class User(Table, table=True):
    """Somebody who signs in, for one company. `email_key` is the address as addresses are compared."""

    __tablename__ = "users"
    __table_args__ = (
        ForeignKeyConstraint(["company_id"], ["catalog.companies.company_id"]),
        UniqueConstraint("email_key"),
        Index("ix_users_company_id", "company_id"),
        CheckConstraint("role in ('owner', 'operator', 'viewer')", name="role"),
    )

    user_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    company_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    email: str = Field(sa_column=Column(Text, nullable=False))
    email_key: str = Field(sa_column=Column(Text, nullable=False))
    role: str = Field(sa_column=Column(Text, nullable=False))
    disabled: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    password_hash: str = Field(sa_column=Column(Text, nullable=False))
    # Rises with each new password: a session that began with an older one cannot be renewed.
    password_version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("1")))


class PasswordAttempts(Table, table=True):
    """How often passwords were tried in a window of time, for one e-mail address or ('') for all of them together."""

    __tablename__ = "password_attempts"
    __table_args__ = (Index("ix_password_attempts_window_ends_at", "window_ends_at"),)

    email_key: str = Field(sa_column=Column(Text, primary_key=True))
    attempts: int = Field(sa_column=Column(BigInteger, nullable=False))
    window_ends_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


def _indexes_of_lists() -> list[Index]:
    """What `store/product_lists.py` walks in the order of a list, and what its filters find by."""
    there = text("removed_at is null")
    shelf = ("owner_id", "type", "visibility")
    return [
        Index("ix_products_shelf_id", *shelf, "product_id", postgresql_where=there),
        Index("ix_products_shelf_sku", *shelf, "sku_key", "product_id", postgresql_where=there),
        Index("ix_products_shelf_name", *shelf, "name_key", "product_id", postgresql_where=there),
        # The platform admin's, over all owners; the first one is also that of `q` and `sku`.
        Index("ix_products_sku_key", "sku_key", "product_id", postgresql_where=there),
        Index("ix_products_name_key", "name_key", "product_id", postgresql_where=there),
        Index("ix_products_type", "type", "product_id", postgresql_where=there),
        Index(
            "ix_products_words",
            text(f"to_tsvector('simple'::regconfig, {name_in_words('title')})"),
            postgresql_using="gin",
            postgresql_where=there,
        ),
        Index("ix_products_visible_to", "visible_to", postgresql_using="gin", postgresql_where=there),
        Index("ix_products_barcode", "barcode", postgresql_where=there),
        Index("ix_products_unlinked", "owner_id", postgresql_where=text("is_unlinked and removed_at is null")),
    ]


class Product(Table, table=True):
    """A product; the row stays when it is removed, so that its version only ever grows."""

    __tablename__ = "products"
    __table_args__ = (
        ForeignKeyConstraint(["owner_id"], ["catalog.companies.company_id"]),
        ForeignKeyConstraint(["base_product_id"], ["catalog.products.product_id"]),
        # What components refer to: the same owner, and at the target tracked stock.
        UniqueConstraint("product_id", "owner_id"),
        UniqueConstraint("product_id", "owner_id", "is_tracked"),
        # SKUs are unique per owner and type (rule 9); that of a removed product is free again.
        Index(
            "uq_products_owner_id_type_sku",
            "owner_id",
            "type",
            "sku",
            unique=True,
            postgresql_where=text("removed_at is null"),
        ),
        Index("ix_products_base_product_id", "base_product_id"),
        *_indexes_of_lists(),
        CheckConstraint(
            "type in ('stock', 'customisable', 'stock_customisable', 'configurable_stock', 'virtual')", name="type"
        ),
        # Rule 1; a removed product is nobody's stock, so that the components' foreign key forbids removing a target.
        CheckConstraint(
            "is_tracked = (type in ('stock', 'stock_customisable') and removed_at is null)", name="is_tracked"
        ),
        # What `unlinked` lists: a product that should be linked, and is not in any of its parts.
        CheckConstraint(
            "not is_unlinked or (type in ('customisable', 'configurable_stock') and removed_at is null)",
            name="is_unlinked",
        ),
        # Rule 6: virtual products, and they alone, have a base product.
        CheckConstraint("(type = 'virtual') = (base_product_id is not null)", name="base_of_virtual"),
        CheckConstraint("base_product_id <> product_id", name="base_is_another"),
        CheckConstraint("sku <> ''", name="sku"),
        CheckConstraint("visibility in ('private', 'connected', 'listed')", name="visibility"),
        CheckConstraint("(visibility = 'listed') = (cardinality(visible_to) > 0)", name="visible_to"),
        CheckConstraint("version > 0", name="version"),
    )

    product_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    owner_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    is_tracked: bool = Field(sa_column=Column(Boolean, nullable=False))
    is_unlinked: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    sku: str = Field(sa_column=Column(Text, nullable=False))
    title: str = Field(sa_column=Column(Text, nullable=False))
    barcode: str | None = Field(sa_column=Column(Text))
    base_product_id: int | None = Field(sa_column=Column(BigInteger))
    visibility: str = Field(sa_column=Column(Text, nullable=False))
    visible_to: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    removed_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    changed_at: datetime = Field(sa_column=_changed_at())
    # What lists are sorted by: regardless of case, and by code point, so that a prefix is a range.
    sku_key: str = Field(sa_column=Column(Text(collation="C"), Computed("lower(sku)", persisted=True), nullable=False))
    name_key: str = Field(
        sa_column=Column(Text(collation="C"), Computed("lower(title)", persisted=True), nullable=False)
    )


class Variant(Table, table=True):
    """A variant of a product, known by its SKU: its id stays while the SKU stays."""

    __tablename__ = "variants"
    __table_args__ = (
        ForeignKeyConstraint(["product_id"], ["catalog.products.product_id"]),
        UniqueConstraint("product_id", "sku"),
        # What components refer to: a variant of their own product.
        UniqueConstraint("product_id", "variant_id"),
        # The empty SKU stands for "the product itself" elsewhere.
        CheckConstraint("sku <> ''", name="sku"),
    )

    variant_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    product_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    sku: str = Field(sa_column=Column(Text, nullable=False))
    attributes: list[dict[str, str]] = Field(sa_column=Column(JSONB, nullable=False))
    position: int = Field(sa_column=Column(Integer, nullable=False))


class Component(Table, table=True):
    """One unit of a product (`variant_id` is null) or of a variant draws `quantity` of a base stock product."""

    __tablename__ = "components"
    __table_args__ = (
        # Rule 7, kept by the database: source and target have one owner, and the target is tracked stock, for as long
        # as the link is there.
        ForeignKeyConstraint(["product_id", "owner_id"], ["catalog.products.product_id", "catalog.products.owner_id"]),
        ForeignKeyConstraint(
            ["base_stock_product_id", "owner_id", "base_is_tracked"],
            ["catalog.products.product_id", "catalog.products.owner_id", "catalog.products.is_tracked"],
            name="fk_components_base_stock_product",
        ),
        ForeignKeyConstraint(
            ["product_id", "variant_id"],
            ["catalog.variants.product_id", "catalog.variants.variant_id"],
            ondelete="cascade",
        ),
        UniqueConstraint("product_id", "variant_id", "base_stock_product_id", postgresql_nulls_not_distinct=True),
        Index("ix_components_base_stock_product_id", "base_stock_product_id"),
        CheckConstraint("base_is_tracked", name="base_is_tracked"),
        CheckConstraint("base_stock_product_id <> product_id", name="base_is_another"),
        CheckConstraint("quantity > 0", name="quantity"),
    )

    component_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    product_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    variant_id: int | None = Field(sa_column=Column(BigInteger))
    owner_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    base_stock_product_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    base_is_tracked: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("true")))
    quantity: int = Field(sa_column=Column(BigInteger, nullable=False))


class AuditEntry(Table, table=True):
    """Who changed what; only ever added to. `changes` is `{field: [before, after]}`."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_company_id_entry_id", "company_id", "entry_id"),
        Index("ix_audit_entries_subject_entry_id", "subject", "entry_id"),
        Index("ix_audit_entries_actor_entry_id", "actor", "entry_id"),
        CheckConstraint("actor <> '' and action <> '' and subject <> ''", name="says_who_and_what"),
    )

    entry_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    recorded_at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))
    )
    actor: str = Field(sa_column=Column(Text, nullable=False))
    # What the change came with, like `import 12`; null for a request by itself.
    source: str | None = Field(sa_column=Column(Text))
    # Whose thing was changed; null for what belongs to the platform. No foreign key: the trail outlives its subjects.
    company_id: int | None = Field(sa_column=Column(BigInteger))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    changes: dict[str, list[object]] = Field(sa_column=Column(JSONB, nullable=False))


class Import(Table, table=True):
    """A file of products: `receiving` while it comes in, then `received`, `running`, `done` or `failed`.

    Who works on it (or receives it) holds it until `leased_until`, by the database's clock, and knows `attempt`.
    """

    __tablename__ = "imports"
    __table_args__ = (
        ForeignKeyConstraint(["owner_id"], ["catalog.companies.company_id"]),
        Index(
            "ix_imports_open",
            "import_id",
            postgresql_where=text("state in ('receiving', 'received', 'running')"),
        ),
        CheckConstraint("state in ('receiving', 'received', 'running', 'done', 'failed')", name="state"),
        CheckConstraint("format in ('csv', 'ndjson')", name="format"),
        CheckConstraint("mode in ('rows', 'all')", name="mode"),
    )

    import_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    owner_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    format: str = Field(sa_column=Column(Text, nullable=False))
    mode: str = Field(sa_column=Column(Text, nullable=False))
    dry_run: bool = Field(sa_column=Column(Boolean, nullable=False))
    # Only the platform admin chooses ids.
    ids_allowed: bool = Field(sa_column=Column(Boolean, nullable=False))
    # Who sent the file, for the audit trail.
    actor: str = Field(sa_column=Column(Text, nullable=False))
    traceparent: str | None = Field(sa_column=Column(Text))
    state: str = Field(sa_column=Column(Text, nullable=False))
    reason: str | None = Field(sa_column=Column(Text))
    rows: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    rows_done: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    created: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    changed: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    unchanged: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    refused: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    # All products up to this place of the order of work are done.
    place_done: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    attempt: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    leased_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    created_at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))
    )
    finished_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class ImportRow(Table, table=True):
    """A row of a file, and what came of it. `type` and `sku` are null where they cannot be read.

    Products are worked through by `place`, which their rows share: stock, what links to it, then virtual products after
    those they are based on.
    """

    __tablename__ = "import_rows"
    __table_args__ = (
        ForeignKeyConstraint(["import_id"], ["catalog.imports.import_id"], ondelete="cascade"),
        Index("ix_import_rows_import_id_place", "import_id", "place"),
        Index("ix_import_rows_refused", "import_id", "sku", postgresql_where=text("status = 'refused'")),
        CheckConstraint("status in ('pending', 'created', 'changed', 'unchanged', 'refused')", name="status"),
    )

    import_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    row_number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    line_number: int = Field(sa_column=Column(Integer, nullable=False))
    stage: int = Field(sa_column=Column(Integer, nullable=False))
    place: int | None = Field(sa_column=Column(Integer))
    type: str | None = Field(sa_column=Column(Text))
    sku: str | None = Field(sa_column=Column(Text))
    # What the stages of virtual products are found by.
    chosen_id: int | None = Field(sa_column=Column(BigInteger))
    base_product_id: int | None = Field(sa_column=Column(BigInteger))
    base_sku: str | None = Field(sa_column=Column(Text))
    # The row as JSON, whatever the file's format; null when it cannot be read.
    body: str | None = Field(sa_column=Column(Text))
    status: str = Field(sa_column=Column(Text, nullable=False))
    product_id: int | None = Field(sa_column=Column(BigInteger))
    errors: list[dict[str, str]] | None = Field(sa_column=Column(JSONB))
