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
from shared.messaging.tables import add_messaging_tables


class Table(SQLModel, registry=registry_in("catalog")):
    """Base of catalog's tables."""

    __abstract__ = True


METADATA = Table.metadata
add_messaging_tables(METADATA)
add_access_tables(METADATA)


def _add_access_rules() -> None:
    """The copies in the other services may arrive in any order; here wrong rows are refused."""
    companies, keys, connections = (
        METADATA.tables[f"catalog.{name}"] for name in ("companies", "api_keys", "connections")
    )
    companies.append_constraint(CheckConstraint("role in ('supplier', 'retailer')", name="role"))
    companies.append_constraint(CheckConstraint("oversell_policy in ('backorder', 'deny')", name="oversell_policy"))
    keys.append_constraint(ForeignKeyConstraint(["company_id"], ["catalog.companies.company_id"]))
    # Only the platform admin's keys belong to no company.
    keys.append_constraint(CheckConstraint("(role = 'admin') = (company_id is null)", name="company"))
    for party in ("supplier_id", "retailer_id"):
        connections.append_constraint(ForeignKeyConstraint([party], ["catalog.companies.company_id"]))
    connections.append_constraint(CheckConstraint("supplier_id <> retailer_id", name="two_companies"))
    connections.append_constraint(CheckConstraint("state in ('active', 'paused', 'ended')", name="state"))


_add_access_rules()


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
        CheckConstraint(
            "type in ('stock', 'customisable', 'stock_customisable', 'configurable_stock', 'virtual')", name="type"
        ),
        # Rule 1; a removed product is nobody's stock, so that the components' foreign key forbids removing a target.
        CheckConstraint(
            "is_tracked = (type in ('stock', 'stock_customisable') and removed_at is null)", name="is_tracked"
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
    sku: str = Field(sa_column=Column(Text, nullable=False))
    title: str = Field(sa_column=Column(Text, nullable=False))
    barcode: str | None = Field(sa_column=Column(Text))
    base_product_id: int | None = Field(sa_column=Column(BigInteger))
    visibility: str = Field(sa_column=Column(Text, nullable=False))
    visible_to: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    removed_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))


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
    # Whose thing was changed; null for what belongs to the platform. No foreign key: the trail outlives its subjects.
    company_id: int | None = Field(sa_column=Column(BigInteger))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    changes: dict[str, list[object]] = Field(sa_column=Column(JSONB, nullable=False))
