"""Files of orders on their way in: jobs, their rows, and the orders that the rows are together."""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.orders.tables.table import Table
from shared.database import MOMENT, ZERO, one_of

ImportState = Literal["receiving", "received", "running", "done", "failed"]
Outcome = Literal["pending", "created", "existing", "refused"]

NOW: dict[str, Any] = {"server_default": text("clock_timestamp()")}


class OrderImport(Table, table=True):
    """A file of orders: `receiving` while it comes in, then `received`, `running`, `done` or `failed`.

    Who works on it (or receives it) holds it until `leased_until`, by the database's clock, and knows `attempt`. It is
    given back to `received` after each turn, so that all take turns; who has waited since the earliest `turn_at` goes
    first.
    """

    __tablename__ = "order_imports"
    __table_args__: ClassVar[Any] = (
        Index(
            "ix_order_imports_open",
            "seller_id",
            "import_id",
            postgresql_where=text("state in ('receiving', 'received', 'running')"),
        ),
        Index("ix_order_imports_seller_id_import_id", "seller_id", "import_id"),
        one_of("state", get_args(ImportState)),
    )

    import_id: int | None = Field(None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    dry_run: bool
    traceparent: str | None = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    rows: int = Field(sa_column_kwargs=ZERO)
    rows_done: int = Field(sa_column_kwargs=ZERO)
    # How many orders the rows are; null until they are gathered.
    orders: int | None
    created: int = Field(sa_column_kwargs=ZERO)
    existing: int = Field(sa_column_kwargs=ZERO)
    # Orders, and rows that are of none.
    refused: int = Field(sa_column_kwargs=ZERO)
    # All orders up to this place are done.
    place_done: int = Field(sa_column_kwargs=ZERO)
    attempt: int = Field(sa_column_kwargs=ZERO)
    leased_until: datetime | None = Field(sa_type=MOMENT)
    turn_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs=NOW)
    created_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs=NOW)
    finished_at: datetime | None = Field(sa_type=MOMENT)


class OrderImportRow(Table, table=True):
    """A row of a file: a line of an order, or why it is refused. `external_ref` is null where it is of no order."""

    __tablename__ = "order_import_rows"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["import_id"], ["orders.order_imports.import_id"], ondelete="cascade"),
        Index("ix_order_import_rows_import_id_external_ref", "import_id", "external_ref"),
        Index("ix_order_import_rows_refused", "import_id", "row_number", postgresql_where=text("errors is not null")),
    )

    import_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    row_number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    line_number: int
    external_ref: str | None = Field(sa_type=Text)
    placed_at: datetime | None = Field(sa_type=MOMENT)
    product_id: int | None = Field(sa_type=BigInteger)
    variant_sku: str | None = Field(sa_type=Text)
    quantity: int | None = Field(sa_type=BigInteger)
    location: str | None = Field(sa_type=Text)
    errors: list[dict[str, str]] | None = Field(sa_type=JSONB)


class OrderImportOrder(Table, table=True):
    """An order of a file, its rows gathered from wherever they stand, and what came of it.

    `place` is the number of its first row: orders are accepted in that order.
    """

    __tablename__ = "order_import_orders"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["import_id"], ["orders.order_imports.import_id"], ondelete="cascade"),
        UniqueConstraint("import_id", "external_ref"),
        one_of("status", get_args(Outcome)),
    )

    import_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    place: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    external_ref: str = Field(sa_type=Text)
    rows: int
    status: str = Field(sa_type=Text)
    order_id: UUID | None
