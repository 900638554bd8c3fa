"""Files of stock on their way into the levels: jobs, what is left to do of them, and what came of their rows."""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.inventory.domain.imports import Writes
from services.inventory.tables.table import Table
from shared.database import MOMENT, ZERO, one_of

Mode = Literal["rows", "all"]
ImportState = Literal["receiving", "received", "running", "done", "failed"]
RowStatus = Literal["changed", "unchanged", "refused", "pending"]

NOW: dict[str, Any] = {"server_default": text("clock_timestamp()")}


class StockImport(Table, table=True):
    """A file of stock: `receiving` while it comes in, then `received`, `running`, `done` or `failed`.

    Who works on it (or receives it) holds it until `leased_until`, by the database's clock, and knows `attempt`. It is
    given back to `received` after each turn, so that all take turns; who has waited since the earliest `turn_at` goes
    first.
    """

    __tablename__ = "stock_imports"
    __table_args__: ClassVar[Any] = (
        Index(
            "ix_stock_imports_open",
            "supplier_id",
            "import_id",
            postgresql_where=text("state in ('receiving', 'received', 'running')"),
        ),
        Index("ix_stock_imports_supplier_id_import_id", "supplier_id", "import_id"),
        one_of("state", get_args(ImportState)),
        one_of("mode", get_args(Mode)),
        one_of("writes", get_args(Writes)),
    )

    import_id: int | None = Field(None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], primary_key=True)
    supplier_id: int = Field(sa_type=BigInteger)
    # What the ledger says of each change.
    kind: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    mode: str = Field(sa_type=Text)
    dry_run: bool
    # What the numbers in the file are; null until its header is read.
    writes: str | None = Field(sa_type=Text)
    # The code of the location of rows that name none.
    location: str = Field(sa_type=Text)
    # When that many were there; null is when they are written.
    as_of: datetime | None = Field(sa_type=MOMENT)
    traceparent: str | None = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    rows: int = Field(sa_column_kwargs=ZERO)
    rows_done: int = Field(sa_column_kwargs=ZERO)
    changed: int = Field(sa_column_kwargs=ZERO)
    unchanged: int = Field(sa_column_kwargs=ZERO)
    refused: int = Field(sa_column_kwargs=ZERO)
    # Of values from outside: those whose product is not there yet.
    pending: int = Field(sa_column_kwargs=ZERO)
    attempt: int = Field(sa_column_kwargs=ZERO)
    leased_until: datetime | None = Field(sa_type=MOMENT)
    turn_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs=NOW)
    created_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs=NOW)
    finished_at: datetime | None = Field(sa_type=MOMENT)


class StockImportChunk(Table, table=True):
    """Rows of a file that one transaction carries out, together as JSON: one by one they would cost more than that."""

    __tablename__ = "stock_import_chunks"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["import_id"], ["inventory.stock_imports.import_id"], ondelete="cascade"),
        CheckConstraint("rows > 0", name="rows_given"),
    )

    import_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    # How many rows of the file stand before its first one.
    after_row: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    rows: int
    body: str = Field(sa_type=Text)


class StockImportRow(Table, table=True):
    """What came of a row: of each one that was refused; of the others only where the ledger does not tell it.

    Of values that another system sent, of each; `sku` is then a product's SKU or id, as it was sent.
    """

    __tablename__ = "stock_import_rows"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["import_id"], ["inventory.stock_imports.import_id"], ondelete="cascade"),
        one_of("status", get_args(RowStatus)),
    )

    import_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    row_number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    line_number: int
    sku: str | None = Field(sa_type=Text)
    variant_sku: str | None = Field(sa_type=Text)
    barcode: str | None = Field(sa_type=Text)
    location: str | None = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    product_id: int | None = Field(sa_type=BigInteger)
    on_hand_before: int | None = Field(sa_type=BigInteger)
    on_hand_after: int | None = Field(sa_type=BigInteger)
    available_before: int | None = Field(sa_type=BigInteger)
    available_after: int | None = Field(sa_type=BigInteger)
    errors: list[dict[str, str]] | None = Field(sa_type=JSONB)
