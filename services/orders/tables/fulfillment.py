"""The tables of fulfillment: requests, their items, what happened to these, and each supplier's logical timestamps."""

from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field

from services.orders.domain.fulfillment import EventKind, RequestState
from services.orders.tables.table import Table
from shared.database import MOMENT, ZERO, one_of
from shared.events.orders import QUANTITY_LIMIT


class FulfillmentRequest(Table, table=True):
    """A supplier is to send units of one order from one of its locations."""

    __tablename__ = "fulfillment_requests"
    __table_args__: ClassVar[Any] = (
        # Assigned twice under the supplier's own reference is one request.
        UniqueConstraint("supplier_id", "external_ref"),
        # Lists are newest first: ids are UUIDv7.
        Index("ix_fulfillment_requests_supplier_id_request_id", "supplier_id", "request_id"),
        Index("ix_fulfillment_requests_supplier_id_state_request_id", "supplier_id", "state", "request_id"),
        Index("ix_fulfillment_requests_order_id", "order_id"),
        one_of("state", get_args(RequestState)),
        CheckConstraint("external_ref <> ''", name="external_ref_not_empty"),
        CheckConstraint("location <> ''", name="location_given"),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
    )

    request_id: UUID = Field(primary_key=True)
    supplier_id: int = Field(sa_type=BigInteger)
    order_id: UUID = Field(foreign_key="orders.orders.order_id")
    location: str = Field(sa_type=Text)
    external_ref: str | None = Field(sa_type=Text)
    # Of what was asked for, to tell the same again from something else under its reference.
    fingerprint: bytes = Field(sa_type=LargeBinary)
    # What `domain.fulfillment` makes of the items, kept to be searched.
    state: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=MOMENT)


class FulfillmentItem(Table, table=True):
    """Units of a line in a request: what is neither `completed` nor `failed` is still to be sent."""

    __tablename__ = "fulfillment_items"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["order_id", "line_id"], ["orders.order_lines.order_id", "orders.order_lines.line_id"]),
        CheckConstraint(f"quantity between 1 and {QUANTITY_LIMIT}", name="quantity_in_range"),
        # Each unit is in one place.
        CheckConstraint("least(completed, failed) >= 0", name="units_not_negative"),
        CheckConstraint("completed + failed <= quantity", name="units_were_assigned"),
    )

    request_id: UUID = Field(primary_key=True, foreign_key="orders.fulfillment_requests.request_id")
    line_id: int = Field(primary_key=True)
    order_id: UUID
    quantity: int = Field(sa_type=BigInteger)
    completed: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    failed: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)


class FulfillmentEvent(Table, table=True):
    """What happened to an item, as the supplier reads it: never changed, numbered without a gap."""

    __tablename__ = "fulfillment_events"
    __table_args__: ClassVar[Any] = (
        one_of("kind", get_args(EventKind)),
        CheckConstraint("logical_timestamp > 0", name="logical_timestamp_counts_from_1"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        ForeignKeyConstraint(
            ["request_id", "line_id"],
            ["orders.fulfillment_items.request_id", "orders.fulfillment_items.line_id"],
        ),
    )

    supplier_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    logical_timestamp: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(sa_type=Text)
    request_id: UUID
    line_id: int
    quantity: int = Field(sa_type=BigInteger)
    reason: str | None = Field(sa_type=Text)
    occurred_at: datetime = Field(sa_type=MOMENT)


class FulfillmentCounter(Table, table=True):
    """The newest of a supplier's logical timestamps; whoever takes the next ones holds the row until it commits."""

    __tablename__ = "fulfillment_counters"
    __table_args__: ClassVar[Any] = (CheckConstraint("last_timestamp > 0", name="last_timestamp_positive"),)

    supplier_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    last_timestamp: int = Field(sa_type=BigInteger)
