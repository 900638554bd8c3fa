"""Values that another system has sent for products that are not there yet; they are written when these come."""

from datetime import datetime
from typing import Any, ClassVar, get_args

from sqlalchemy import BigInteger, Identity, Index, Text, text
from sqlmodel import Field

from services.inventory.domain.external_imports import HeldOperation
from services.inventory.tables.table import Table
from shared.database import MOMENT, one_of


class PendingValue(Table, table=True):
    """A value as it was sent: a product's key, and its variant's or "". Several of one key are written in order.

    `waits_for` is the product whose event is missing, where that is known: what the key leads to may be there already.
    """

    __tablename__ = "pending_values"
    __table_args__: ClassVar[Any] = (
        # What comes is looked up by its owner and its SKU or id; what is replaced, by all four.
        Index("ix_pending_values_key", "supplier_id", "product_key", "variant_sku", "location_id"),
        Index("ix_pending_values_waits_for", "waits_for", postgresql_where=text("waits_for is not null")),
        one_of("operation", get_args(HeldOperation)),
    )

    value_id: int | None = Field(None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], primary_key=True)
    supplier_id: int = Field(sa_type=BigInteger)
    location_id: int = Field(sa_type=BigInteger)
    product_key: str = Field(sa_type=Text)
    variant_sku: str = Field(sa_type=Text)
    operation: str = Field(sa_type=Text)
    quantity: int = Field(sa_type=BigInteger)
    # The row of the import, which may be forgotten before the product comes.
    import_id: int = Field(sa_type=BigInteger)
    row_number: int
    source: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    waits_for: int | None = Field(sa_type=BigInteger)
    # What an absolute value is as of, by the database's clock.
    received_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs={"server_default": text("clock_timestamp()")})
