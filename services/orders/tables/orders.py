"""The tables of orders, their lines, their parts at each supplier, and what changed on them."""

from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.orders.domain.life import Status
from services.orders.tables.table import Table
from shared.database import MOMENT, ZERO, one_of
from shared.events.inventory import LineOutcome
from shared.events.orders import QUANTITY_LIMIT, OrderSource, OrderState

STATUSES = get_args(Status)


class Order(Table, table=True):
    """An order as it stands; `decision` is the newest of inventory's decisions on it, 0 before the first."""

    __tablename__ = "orders"
    __table_args__: ClassVar[Any] = (
        # One order per reference and seller (rule 10): a message that comes twice finds the first. The reference leads,
        # so that the platform's people can look one up without knowing whose it is.
        UniqueConstraint("external_ref", "seller_id"),
        # Lists are newest first: ids are UUIDv7.
        Index("ix_orders_seller_id_order_id", "seller_id", "order_id"),
        Index("ix_orders_seller_id_status_order_id", "seller_id", "status", "order_id"),
        Index("ix_orders_status_order_id", "status", "order_id"),
        one_of("source", get_args(OrderSource)),
        one_of("state", get_args(OrderState)),
        one_of("status", STATUSES),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
        CheckConstraint("external_ref <> ''", name="external_ref_given"),
        # Inventory applies an order by its version: the first is 1, so that 0 can mean "never seen".
        CheckConstraint("version >= 1", name="version_counts_from_1"),
        CheckConstraint("decision >= 0", name="decision_counts_from_0"),
        CheckConstraint("decided_version between 0 and version", name="decided_version_was_there"),
    )

    order_id: UUID = Field(primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    external_ref: str = Field(sa_type=Text)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    source: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    # What `domain.life` makes of the lines, kept to be searched.
    status: str = Field(sa_type=Text, sa_column_kwargs={"server_default": text("'received'")})
    placed_at: datetime = Field(sa_type=MOMENT)
    received_at: datetime = Field(sa_type=MOMENT)
    version: int = Field(sa_type=BigInteger)
    decision: int = Field(sa_type=BigInteger)
    decided_version: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)


class OrderLine(Table, table=True):
    """A line of an order, and what inventory decided for it (`outcome` is null before). Lines are never deleted."""

    __tablename__ = "order_lines"
    __table_args__: ClassVar[Any] = (
        Index("ix_order_lines_product_id_order_id", "product_id", "order_id"),
        CheckConstraint("line_id >= 1", name="line_id_counts_from_1"),
        # A line of nothing, or of less, would give stock away.
        CheckConstraint(f"quantity between 1 and {QUANTITY_LIMIT}", name="quantity_in_range"),
        CheckConstraint("variant_sku <> ''", name="variant_sku_not_empty"),
        one_of("outcome", get_args(LineOutcome)),
        CheckConstraint("shortfall >= 0", name="shortfall_not_negative"),
        # What nobody has decided has taken nothing.
        CheckConstraint(
            "outcome is not null or (takes = '[]' and shortfall = 0 and reason is null)", name="undecided_is_empty"
        ),
        # Each unit is in one place.
        CheckConstraint("least(cancelled, assigned, fulfilled, failed, returned) >= 0", name="units_not_negative"),
        CheckConstraint(
            "cancelled + assigned + failed + greatest(fulfilled, returned) <= quantity", name="units_were_ordered"
        ),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="orders.orders.order_id")
    line_id: int = Field(primary_key=True)
    product_id: int = Field(sa_type=BigInteger)
    variant_sku: str | None = Field(sa_type=Text)
    quantity: int = Field(sa_type=BigInteger)
    location: str | None = Field(sa_type=Text)
    checked: bool = Field(sa_column_kwargs={"server_default": text("false")})
    supplier_id: int | None = Field(sa_type=BigInteger)
    outcome: str | None = Field(sa_type=Text)
    # [{product_id, location, quantity}]: what the line drew, of which base stock product, from where.
    takes: list[dict[str, Any]] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})
    shortfall: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    reason: str | None = Field(sa_type=Text)
    waits_for: int | None = Field(sa_type=BigInteger)
    cancelled: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    assigned: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    fulfilled: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    failed: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    returned: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)


class OrderPart(Table, table=True):
    """The lines of an order that one supplier keeps the stock of, as a whole: what the supplier looks for."""

    __tablename__ = "order_parts"
    __table_args__: ClassVar[Any] = (
        Index("ix_order_parts_supplier_id_order_id", "supplier_id", "order_id"),
        Index("ix_order_parts_supplier_id_status_order_id", "supplier_id", "status", "order_id"),
        one_of("status", STATUSES),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="orders.orders.order_id")
    supplier_id: int = Field(primary_key=True, sa_type=BigInteger)
    status: str = Field(sa_type=Text)


class OrderChange(Table, table=True):
    """Something that happened to an order after it was received: its history, oldest first by `change_id` (UUIDv7)."""

    __tablename__ = "order_changes"
    __table_args__: ClassVar[Any] = (
        one_of(
            "kind",
            (
                "decided",
                "amended",
                "cancelled",
                "fulfillment_assigned",
                "fulfillment_failed",
                "fulfillment_completed",
                "returned",
            ),
        ),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="orders.orders.order_id")
    change_id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    changed_at: datetime = Field(sa_type=MOMENT)
    version: int = Field(sa_type=BigInteger)
    # Who did it: `company 2`, `inventory`, the platform admin.
    actor: str = Field(sa_type=Text)
    # What brought it: the decision's number, a fulfillment request's or return's id.
    cause: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    # [{line_id, quantity, status}]: the lines that it touched, how many units, and how they stood afterwards.
    lines: list[dict[str, Any]] = Field(sa_type=JSONB)
