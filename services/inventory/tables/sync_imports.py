"""Imports of what systems outside have on hand, with the logical timestamps that they account for."""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlmodel import Field

from services.inventory.tables.table import Table
from shared.database import MOMENT, ZERO, one_of

SyncState = Literal["received", "waiting", "importing", "completed", "failed"]
SyncStatus = Literal["pending", "updated", "error"]
OPEN = "state in ('received', 'waiting', 'importing')"


class SyncImport(Table, table=True):
    """An import as a job; its rows are in `sync_import_rows`, once they are here.

    `received` until it is started, `waiting` for its file and for all logical timestamps up to its last, `importing`
    while it is carried out: that is one transaction, in which it also becomes `completed` or `failed`.
    """

    __tablename__ = "sync_imports"
    __table_args__: ClassVar[Any] = (
        one_of("state", get_args(SyncState)),
        CheckConstraint(
            "(first_timestamp is null) = (last_timestamp is null) and "
            "(first_timestamp is null or 1 <= first_timestamp and first_timestamp <= last_timestamp)",
            name="range_in_order",
        ),
        CheckConstraint("state in ('received', 'failed') or started_at is not null", name="started_unless_received"),
        Index("ix_sync_imports_open", "supplier_id", "started_at", postgresql_where=text(OPEN)),
        Index(
            "ix_sync_imports_supplier_id", "supplier_id", "last_timestamp", postgresql_where=text("state = 'completed'")
        ),
        Index("ix_sync_imports_created_at", "created_at"),
    )

    import_id: UUID = Field(primary_key=True)
    supplier_id: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    # What it accounts for, both included; null where it accounts for nothing.
    first_timestamp: int | None = Field(sa_type=BigInteger)
    last_timestamp: int | None = Field(sa_type=BigInteger)
    # Null where the rows came with the request; `fetched` once the rows of the file are here.
    items_url: str | None = Field(sa_type=Text)
    fetched: bool
    # Why it failed, or what it waits for.
    reason: str | None = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    traceparent: str | None = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs={"server_default": text("clock_timestamp()")})
    started_at: datetime | None = Field(sa_type=MOMENT)
    # Until when it waits.
    deadline_at: datetime | None = Field(sa_type=MOMENT)
    finished_at: datetime | None = Field(sa_type=MOMENT)
    # Whose it is: of the attempt of this number, for so long.
    attempt: int = Field(sa_column_kwargs=ZERO)
    leased_until: datetime | None = Field(sa_type=MOMENT)


class SyncImportRow(Table, table=True):
    """A row of an import, and what became of it."""

    __tablename__ = "sync_import_rows"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["import_id"], ["inventory.sync_imports.import_id"], ondelete="CASCADE"),
        one_of("status", get_args(SyncStatus)),
    )

    import_id: UUID = Field(primary_key=True)
    row_number: int = Field(primary_key=True)
    # Null in a row that cannot be read.
    location: str | None = Field(sa_type=Text)
    product: str | None = Field(sa_type=Text)
    on_hand: int | None = Field(sa_type=BigInteger)
    status: str = Field(sa_type=Text, sa_column_kwargs={"server_default": text("'pending'")})
    product_id: int | None = Field(sa_type=BigInteger)
    available: int | None = Field(sa_type=BigInteger)
    # Units of completed items that were allocated until then.
    allocations_removed: int | None = Field(sa_type=BigInteger)
    detail: str | None = Field(sa_type=Text)


class FulfillmentSeen(Table, table=True):
    """Up to which logical timestamp of a supplier's every item has come and is applied: where to go on looking."""

    __tablename__ = "fulfillment_seen"

    supplier_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    complete_until: int = Field(sa_type=BigInteger)
