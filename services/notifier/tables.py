"""Notifier's tables: whom to tell, what there is to tell, what each has been told, and the log of attempts.

Times in them are always `db_now()`, a function of this schema (first migration), never a process's clock.
"""

from datetime import datetime
from uuid import UUID

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
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.catalog_view import add_access_tables, add_product_tables
from shared.database import registry_in
from shared.idempotency import add_idempotency_table
from shared.messaging.tables import add_messaging_tables


class Table(SQLModel, registry=registry_in("notifier")):
    """Base of notifier's tables."""

    __abstract__ = True


METADATA = Table.metadata
add_messaging_tables(METADATA)
add_idempotency_table(METADATA)
add_access_tables(METADATA)
add_product_tables(METADATA)


class Endpoint(Table, table=True):
    """Where a retailer wants to be told. `window_seconds` can only lengthen the platform's window."""

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("ix_endpoints_company_id", "company_id"),
        CheckConstraint("state in ('active', 'disabled')", name="state"),
        # Whoever finds an endpoint disabled is told why.
        CheckConstraint("(state = 'disabled') = (reason is not null)", name="reason"),
        CheckConstraint("window_seconds >= 0", name="window_seconds"),
        CheckConstraint("secret like 'whsec\\_%'", name="secret"),
        CheckConstraint("version > 0", name="version"),
    )

    endpoint_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    company_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    url: str = Field(sa_column=Column(Text, nullable=False))
    # In clear: signing needs it.
    secret: str = Field(sa_column=Column(Text, nullable=False))
    window_seconds: int = Field(sa_column=Column(Integer, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    reason: str | None = Field(sa_column=Column(Text))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class StockProduct(Table, table=True):
    """A base stock product as its newest `stock_changed` has it; the slots up to `fanned_out_version` know of it.

    `changes` counts all ledger entries ever heard of, `fanned_out_changes` those at the last fan-out.
    """

    __tablename__ = "stock_products"
    __table_args__ = (
        Index("ix_stock_products_fan_out", "product_id", postgresql_where=text("fanned_out_version < version")),
        Index("ix_stock_products_supplier_id", "supplier_id"),
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("fanned_out_version between 0 and version", name="fanned_out_version"),
        CheckConstraint("fanned_out_changes between 0 and changes", name="fanned_out_changes"),
    )

    product_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    supplier_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    sku: str = Field(sa_column=Column(Text, nullable=False))
    available: int = Field(sa_column=Column(BigInteger, nullable=False))
    previous_available: int = Field(sa_column=Column(BigInteger, nullable=False))
    occurred_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    changes: int = Field(sa_column=Column(BigInteger, nullable=False))
    fanned_out_version: int = Field(sa_column=Column(BigInteger, nullable=False))
    fanned_out_changes: int = Field(sa_column=Column(BigInteger, nullable=False))


class Slot(Table, table=True):
    """What one endpoint has been told of one base stock product, and whether it must be told again.

    `sent_*` is what the last attempt carried, `told_*` and `acked_version` what the endpoint last acknowledged.
    `dirty`: what it was told is not what is now, or it is not known what it was told. `not_before` is the window,
    `infinity` while the retailer has no active connection to the supplier.
    """

    __tablename__ = "slots"
    __table_args__ = (
        ForeignKeyConstraint(["endpoint_id"], ["notifier.endpoints.endpoint_id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["product_id"], ["notifier.stock_products.product_id"]),
        # What is due, endpoint by endpoint; and which endpoints have a call in flight.
        Index("ix_slots_due", "endpoint_id", "not_before", postgresql_where=text("dirty")),
        Index("ix_slots_leased", "endpoint_id", "lease_until", postgresql_where=text("lease_until is not null")),
        # A lease is set or not: one without an end would never be taken over, one without an id fences nobody.
        CheckConstraint("(lease_id is null) = (lease_until is null)", name="lease"),
        # Nobody acknowledges what was never sent.
        CheckConstraint("acked_version between 0 and sent_version", name="acked_version"),
        CheckConstraint("(sent_version = 0) = (sent_available is null)", name="sent_available"),
        CheckConstraint("(acked_version = 0) = (told_available is null)", name="told_available"),
        # As long as the last attempt is not acknowledged the endpoint may hold either state: it has to be told.
        CheckConstraint("dirty or (acked_version > 0 and acked_version = sent_version)", name="clean"),
        CheckConstraint("attempt >= 0", name="attempt"),
    )

    endpoint_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    product_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    dirty: bool = Field(sa_column=Column(Boolean, nullable=False))
    not_before: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sent_version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    sent_available: int | None = Field(sa_column=Column(BigInteger))
    sent_changes: int = Field(sa_column=Column(BigInteger, nullable=False))
    acked_version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    told_available: int | None = Field(sa_column=Column(BigInteger))
    told_changes: int = Field(sa_column=Column(BigInteger, nullable=False))
    lease_id: UUID | None = Field(sa_column=Column(Uuid))
    lease_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    # Failures in a row.
    attempt: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))


class Attempt(Table, table=True):
    """One call as it was made and answered. No foreign key: the log outlives the endpoint it is about."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_endpoint_id_attempt_id", "endpoint_id", "attempt_id"),
        Index("ix_attempts_at", "at"),
        CheckConstraint("cardinality(product_ids) > 0", name="product_ids"),
        CheckConstraint("cardinality(product_ids) = cardinality(versions)", name="versions"),
        # Success is 2xx and nothing else; all else names what went wrong.
        CheckConstraint("(error is null) = coalesce(status between 200 and 299, false)", name="success"),
        CheckConstraint(
            "error in ('dns', 'forbidden', 'refused', 'tls', 'late', 'timeout', 'reset', 'http')", name="error"
        ),
    )

    attempt_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    endpoint_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    webhook_id: str = Field(sa_column=Column(Text, nullable=False))
    # Parallel arrays.
    product_ids: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    versions: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    duration_milliseconds: int = Field(sa_column=Column(Integer, nullable=False))
    request_headers: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    # The exact bytes, as the signature is over them.
    request_body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int | None = Field(sa_column=Column(Integer))
    response_body: str | None = Field(sa_column=Column(Text))
    error: str | None = Field(sa_column=Column(Text))
    detail: str | None = Field(sa_column=Column(Text))
