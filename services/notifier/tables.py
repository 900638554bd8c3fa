"""Notifier's tables: whom to tell, what there is to tell, what each has been told, and the log of attempts.

Times in them are always `db_now()`, a function of this schema (first migration), never a process's clock.
"""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.catalog_view import add_access_tables, add_product_tables
from shared.database import one_of, registry_in
from shared.idempotency import add_idempotency_table
from shared.messaging.tables import add_messaging_tables

EndpointState = Literal["active", "paused", "disabled"]
Format = Literal["stock_level", "variant_stock", "fulfillment"]
SlotKind = Literal["stock_level", "variant_stock", "variant_stock_delta"]
# What a call carries: a format, or a sample.
CallKind = Literal["stock_level", "variant_stock", "fulfillment", "ping", "test"]
DeltaSemantics = Literal["change", "total"]

# Of an endpoint: some of its slots are still to be changed, in parts.
HAS_PARTS_TO_DO = "catch_up or replay_after is not null or shorten_after is not null"


class Table(SQLModel, registry=registry_in("notifier")):
    """Base of notifier's tables."""

    __abstract__ = True


METADATA = Table.metadata
add_messaging_tables(METADATA)
add_idempotency_table(METADATA)
add_access_tables(METADATA)
add_product_tables(METADATA)


class Endpoint(Table, table=True):
    """Where a company wants to be told, of what, and how its calls went lately.

    `window_seconds` can only lengthen the platform's window. The filters (`supplier_ids`, `product_ids`, `only`) are
    null where everything is wanted. Before `next_call_at` there is no call at all: it wants only so many a second, or
    its calls fail. `products_per_call` is what it has not refused as too much. `failing_since` is the first of the
    `failures` in a row, `warned` how many warnings of them were given. What was due before `backlog_until`, when it was
    enabled, goes slowly.

    What is done to its slots in parts: `catch_up`: its filters were changed, or its company was connected with
    `catch_up_suppliers` (null where it was the filters), and of the products with ids above `catch_up_after` it is
    still to be told what that let in. Those above `replay_after` are still to be told again, if it was told or they
    changed since `replay_since` (null: in any case). Those above `shorten_after` are still to wait for no longer than
    `shorten_to_seconds`. These two are null where there is nothing to do.
    """

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("ix_endpoints_company_id", "company_id"),
        Index("ix_endpoints_in_parts", "endpoint_id", postgresql_where=text(HAS_PARTS_TO_DO)),
        one_of("state", get_args(EndpointState)),
        one_of("format", get_args(Format)),
        one_of("delta_semantics", get_args(DeltaSemantics)),
        # Whoever finds an endpoint disabled is told why.
        CheckConstraint("(state = 'disabled') = (reason is not null)", name="reason"),
        CheckConstraint("window_seconds >= 0", name="window_seconds"),
        CheckConstraint("(auth_header_name is null) = (auth_header_value is null)", name="auth_header"),
        CheckConstraint("calls_at_once > 0", name="calls_at_once"),
        CheckConstraint("calls_per_second > 0", name="calls_per_second"),
        CheckConstraint("products_per_call > 0", name="products_per_call"),
        CheckConstraint("(failing_since is null) = (failures = 0)", name="failing"),
        CheckConstraint("replay_since is null or replay_after is not null", name="replay"),
        CheckConstraint("(shorten_to_seconds is null) = (shorten_after is null)", name="shorten"),
        CheckConstraint("version > 0", name="version"),
    )

    endpoint_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    company_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    url: str = Field(sa_column=Column(Text, nullable=False))
    format: str = Field(sa_column=Column(Text, nullable=False, server_default="stock_level"))
    # Encrypted (services/notifier/encryption.py); in `old_secrets`, `[{"secret": ..., "expires_at": ...}]`, too.
    secret: str = Field(sa_column=Column(Text, nullable=False))
    old_secrets: list[dict[str, str]] = Field(sa_column=Column(JSONB, nullable=False, server_default="[]"))
    auth_header_name: str | None = Field(sa_column=Column(Text))
    # Encrypted.
    auth_header_value: str | None = Field(sa_column=Column(Text))
    legacy_key: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    delta_semantics: str = Field(sa_column=Column(Text, nullable=False, server_default="change"))
    dotted_names: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    early_retry: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    event_types: list[str] | None = Field(sa_column=Column(ARRAY(Text)))
    supplier_ids: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger)))
    product_ids: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger)))
    only: list[str] | None = Field(sa_column=Column(ARRAY(Text)))
    catch_up: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    catch_up_after: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    catch_up_suppliers: list[int] | None = Field(sa_column=Column(ARRAY(BigInteger)))
    replay_after: int | None = Field(sa_column=Column(BigInteger))
    replay_since: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    shorten_after: int | None = Field(sa_column=Column(BigInteger))
    shorten_to_seconds: int | None = Field(sa_column=Column(Integer))
    backlog_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    calls_at_once: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("1")))
    calls_per_second: float | None = Field(sa_column=Column(Double))
    next_call_at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default="-infinity")
    )
    products_per_call: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("100")))
    failing_since: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    failures: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    warned: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    window_seconds: int = Field(sa_column=Column(Integer, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    reason: str | None = Field(sa_column=Column(Text))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class NewConnection(Table, table=True):
    """A connection that became active, and whose retailer's endpoints are still to be asked to catch up with."""

    __tablename__ = "new_connections"

    new_connection_id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    supplier_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    retailer_id: int = Field(sa_column=Column(BigInteger, nullable=False))


class StockProduct(Table, table=True):
    """A base stock product as its newest `stock_changed` has it; the slots up to `fanned_out_version` know of it.

    `changes` counts all ledger entries ever heard of, `fanned_out_changes` those at the last fan-out. `levels` is what
    is available at each location that stocks it, `{location: available}`, `causes` are the last change's. `band` is 0
    when it is out of stock, 1 when it is low, else 2 (`domain/bands.py`); `fanned_out_band` that at the last fan-out.
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
    levels: dict[str, int] = Field(sa_column=Column(JSONB, nullable=False, server_default="{}"))
    causes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default="{}"))
    band: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default=text("2")))
    fanned_out_band: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default=text("2")))
    previous_available: int = Field(sa_column=Column(BigInteger, nullable=False))
    occurred_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    changes: int = Field(sa_column=Column(BigInteger, nullable=False))
    fanned_out_version: int = Field(sa_column=Column(BigInteger, nullable=False))
    fanned_out_changes: int = Field(sa_column=Column(BigInteger, nullable=False))


class Slot(Table, table=True):
    """What one endpoint has been told of one base stock product, and whether it must be told again.

    `kind` is the format it is told in, or `variant_stock_delta`. A variant's stock is that of one location; there,
    `told_available` is also null once it was told that the location does not stock it any more. `frozen_body` is a
    delta that is sent until it is acknowledged. `sent_*` is what the last attempt carried, `told_*` and `acked_version`
    what the endpoint last acknowledged; but `told_band` is that of what it was told or did not ask to be told since,
    which its filter `only` compares with, and null where the location did not stock it. `dirty`: what it was told is
    not what is now, or it is not known what it was told, and whether it asked for that is still to be looked at.
    `not_before` is the window, `infinity` while the retailer has no active connection to the supplier.
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
        one_of("kind", get_args(SlotKind)),
        # A total is of no location; a variant's stock is of one.
        CheckConstraint("(kind = 'stock_level') = (location = '')", name="location"),
        # Nobody acknowledges what was never sent.
        CheckConstraint("acked_version between 0 and sent_version", name="acked_version"),
        CheckConstraint("location <> '' or (sent_version = 0) = (sent_available is null)", name="sent_available"),
        CheckConstraint("location <> '' or (acked_version = 0) = (told_available is null)", name="told_available"),
        # Only a delta may never be told as anything else.
        CheckConstraint("frozen_body is null or (kind = 'variant_stock_delta' and dirty)", name="frozen_body"),
        # As long as the last attempt is not acknowledged the endpoint may hold either state: it has to be told, unless
        # it did not ask for what is now. Of changes it asks for all.
        CheckConstraint("dirty or kind <> 'variant_stock_delta' or acked_version = sent_version", name="clean"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint("call_limit > 0", name="call_limit"),
    )

    endpoint_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    product_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    location: str = Field(sa_column=Column(Text, primary_key=True, server_default=""))
    kind: str = Field(sa_column=Column(Text, primary_key=True, server_default="stock_level"))
    dirty: bool = Field(sa_column=Column(Boolean, nullable=False))
    not_before: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sent_version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    sent_available: int | None = Field(sa_column=Column(BigInteger))
    sent_changes: int = Field(sa_column=Column(BigInteger, nullable=False))
    acked_version: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    told_available: int | None = Field(sa_column=Column(BigInteger))
    told_changes: int = Field(sa_column=Column(BigInteger, nullable=False))
    sent_band: int | None = Field(sa_column=Column(SmallInteger))
    told_band: int | None = Field(sa_column=Column(SmallInteger))
    acked_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    frozen_body: bytes | None = Field(sa_column=Column(LargeBinary))
    lease_id: UUID | None = Field(sa_column=Column(Uuid))
    lease_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    # Failures in a row.
    attempt: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    # Null, or how many products may go together at most with this one, as a call with it was refused.
    call_limit: int | None = Field(sa_column=Column(SmallInteger))
    # How often it was asked to be told again: then the same state is another message.
    replays: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))


class Attempt(Table, table=True):
    """One call as it was made and answered. No foreign key: the log outlives the endpoint it is about."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_endpoint_id_attempt_id", "endpoint_id", "attempt_id"),
        # What went wrong, in a log of calls that mostly went well.
        Index("ix_attempts_failed", "endpoint_id", "attempt_id", postgresql_where=text("error is not null")),
        Index("ix_attempts_at", "at"),
        one_of("kind", get_args(CallKind)),
        CheckConstraint(
            "cardinality(product_ids) > 0 or kind not in ('stock_level', 'variant_stock')", name="product_ids"
        ),
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
    kind: str = Field(sa_column=Column(Text, nullable=False, server_default="stock_level"))
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
    # False where the failure was our own.
    charged: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("true")))


class Ping(Table, table=True):
    """A sample that an endpoint is to be sent: once, whatever its state. It is being sent until `lease_until`."""

    __tablename__ = "pings"
    __table_args__ = (
        ForeignKeyConstraint(["endpoint_id"], ["notifier.endpoints.endpoint_id"], ondelete="CASCADE"),
        one_of("kind", ("ping", "test")),
    )

    endpoint_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    webhook_id: str = Field(sa_column=Column(Text, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    lease_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class FulfillmentStream(Table, table=True):
    """A supplier's fulfillment events: those up to `forgotten_timestamp` are deleted, as each feed has had them.

    Its lock keeps those who delete events and those who set a feed back apart.
    """

    __tablename__ = "fulfillment_streams"
    __table_args__ = (CheckConstraint("forgotten_timestamp >= 0", name="forgotten_timestamp"),)

    supplier_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    forgotten_timestamp: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))


class FulfillmentEvent(Table, table=True):
    """What happened to an item of a supplier's fulfillment, as its feeds tell it; `body` is the event's fields."""

    __tablename__ = "fulfillment_events"

    supplier_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    logical_timestamp: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    body: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    heard_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class Feed(Table, table=True):
    """How far an endpoint of a supplier has acknowledged its fulfillment events: each in its turn, no gap."""

    __tablename__ = "feeds"
    __table_args__ = (
        ForeignKeyConstraint(["endpoint_id"], ["notifier.endpoints.endpoint_id"], ondelete="CASCADE"),
        CheckConstraint("(lease_id is null) = (lease_until is null)", name="lease"),
        CheckConstraint("acked_timestamp >= 0", name="acked_timestamp"),
        CheckConstraint("attempt >= 0", name="attempt"),
    )

    endpoint_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    acked_timestamp: int = Field(sa_column=Column(BigInteger, nullable=False))
    not_before: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    lease_id: UUID | None = Field(sa_column=Column(Uuid))
    lease_until: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    attempt: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))


class Alert(Table, table=True):
    """Something that operators are to be told at `BASESTOCK_ALERT_URL`; deleted when they have been."""

    __tablename__ = "alerts"

    alert_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    body: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    not_before: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    attempt: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    raised_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
