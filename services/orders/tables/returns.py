"""The tables of returns."""

from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field

from services.orders.tables.table import Table
from shared.database import MOMENT, one_of
from shared.events.orders import QUANTITY_LIMIT, OrderSource


class Return(Table, table=True):
    """Items that came back; stated once, never changed."""

    __tablename__ = "returns"
    __table_args__: ClassVar[Any] = (
        # As for orders: what is stated twice is one return.
        UniqueConstraint("external_ref", "seller_id"),
        Index("ix_returns_order_id", "order_id"),
        one_of("source", get_args(OrderSource)),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
        CheckConstraint("external_ref <> ''", name="external_ref_given"),
    )

    return_id: UUID = Field(primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    external_ref: str = Field(sa_type=Text)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    source: str = Field(sa_type=Text)
    # A return may stand alone (rule 15).
    order_id: UUID | None = Field(foreign_key="orders.orders.order_id")
    returned_at: datetime = Field(sa_type=MOMENT)
    received_at: datetime = Field(sa_type=MOMENT)


class ReturnLine(Table, table=True):
    """A line of a return."""

    __tablename__ = "return_lines"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("line_id >= 1", name="line_id_counts_from_1"),
        CheckConstraint(f"quantity between 1 and {QUANTITY_LIMIT}", name="quantity_in_range"),
        CheckConstraint("variant_sku <> ''", name="variant_sku_not_empty"),
    )

    return_id: UUID = Field(primary_key=True, foreign_key="orders.returns.return_id")
    line_id: int = Field(primary_key=True)
    product_id: int = Field(sa_type=BigInteger)
    variant_sku: str | None = Field(sa_type=Text)
    quantity: int = Field(sa_type=BigInteger)
    restock: bool
    location: str | None = Field(sa_type=Text)
