"""The tables of orders and their lines."""

from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.orders.tables.table import MOMENT, Table, one_of
from shared.events.inventory import LineOutcome
from shared.events.orders import QUANTITY_LIMIT, OrderSource, OrderState


class Order(Table, table=True):
    """An order as it stands; `decision` is the newest of inventory's decisions on it, 0 before the first."""

    __tablename__ = "orders"
    __table_args__: ClassVar[Any] = (
        # One order per reference and seller (rule 10): a message that comes twice finds the first. The reference leads,
        # so that the platform's people can look one up without knowing whose it is.
        UniqueConstraint("external_ref", "seller_id"),
        # A seller's orders, newest first: ids are UUIDv7.
        Index("ix_orders_seller_id_order_id", "seller_id", "order_id"),
        one_of("source", get_args(OrderSource)),
        one_of("state", get_args(OrderState)),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
        CheckConstraint("external_ref <> ''", name="external_ref_given"),
        # Inventory applies an order by its version: the first is 1, so that 0 can mean "never seen".
        CheckConstraint("version >= 1", name="version_counts_from_1"),
        CheckConstraint("decision >= 0", name="decision_counts_from_0"),
    )

    order_id: UUID = Field(primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    external_ref: str = Field(sa_type=Text)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    source: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    placed_at: datetime = Field(sa_type=MOMENT)
    received_at: datetime = Field(sa_type=MOMENT)
    version: int = Field(sa_type=BigInteger)
    decision: int = Field(sa_type=BigInteger)


class OrderLine(Table, table=True):
    """A line of an order, and what inventory decided for it (`outcome` is null before)."""

    __tablename__ = "order_lines"
    __table_args__: ClassVar[Any] = (
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
    )

    order_id: UUID = Field(primary_key=True, foreign_key="orders.orders.order_id")
    line_id: int = Field(primary_key=True)
    product_id: int = Field(sa_type=BigInteger)
    variant_sku: str | None = Field(sa_type=Text)
    quantity: int = Field(sa_type=BigInteger)
    location: str | None = Field(sa_type=Text)
    outcome: str | None = Field(sa_type=Text)
    # [{product_id, location, quantity}]: what the line drew, of which base stock product, from where.
    takes: list[dict[str, Any]] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})
    shortfall: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    reason: str | None = Field(sa_type=Text)
