"""The tables of inventory: locations, items, levels, the ledger, what orders took, and what waits for catalog.

Items of stock have no SKU of their own here: it is in `products`, the copy of what catalog tells. Levels, takings and
the ledger have no foreign keys where rows come by the thousand: they are only written under the lock of their item,
which exists.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from services.inventory.domain.stock import OnHandOwner, OrderEffect
from shared.catalog_view import add_access_tables, add_product_tables
from shared.database import registry_in
from shared.events.catalog import OversellPolicy
from shared.events.orders import OrderSource, OrderState
from shared.messaging.tables import add_messaging_tables

LedgerKind = Literal[
    "order",
    "order_amended",
    "order_cancelled",
    "fulfilled",
    "fulfillment_failed",
    "returned",
    "manual",
    "csv_import",
    "external_reset",
    "external_adjustment",
    "stock_sync",
    "reserved",
    "released",
    "expired",
    "removed",
    "relisted",
    "settings",
    "count",
]


class Table(SQLModel, registry=registry_in("inventory")):
    """The base of inventory's tables."""

    __abstract__ = True


METADATA = Table.metadata

MOMENT = DateTime(timezone=True)
ZERO: dict[str, Any] = {"server_default": text("0")}


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=f"{column}_known")


class Location(Table, table=True):
    """A place where a supplier keeps stock; every supplier has `main`. Lower `priority` is drawn from first."""

    __tablename__ = "locations"
    __table_args__: ClassVar[Any] = (
        # Orders and imports name locations by their code.
        UniqueConstraint("supplier_id", "code"),
        CheckConstraint("code <> ''", name="code_given"),
        _one_of("order_effect", get_args(OrderEffect)),
        _one_of("on_hand_owner", get_args(OnHandOwner)),
        # Where orders lower on hand themselves, nobody outside can say what it is.
        CheckConstraint("on_hand_owner = 'internal' or order_effect = 'allocate'", name="owner_outside_allocates"),
    )

    location_id: int | None = Field(None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], primary_key=True)
    supplier_id: int = Field(sa_type=BigInteger)
    code: str = Field(sa_type=Text)
    name: str | None = Field(sa_type=Text)
    priority: int = Field(sa_column_kwargs=ZERO)
    # Whether an order that names no location may draw from it.
    salable: bool = Field(sa_column_kwargs={"server_default": text("true")})
    # What new takings do here (rule 13); a taking remembers its own effect.
    order_effect: str = Field(sa_type=Text, sa_column_kwargs={"server_default": text("'decrement'")})
    on_hand_owner: str = Field(sa_type=Text, sa_column_kwargs={"server_default": text("'internal'")})


class StockItem(Table, table=True):
    """A base stock product. Its row is locked before anything of its stock changes, so versions follow commit order."""

    __tablename__ = "stock_items"
    __table_args__: ClassVar[Any] = (
        Index("ix_stock_items_supplier_id_product_id", "supplier_id", "product_id"),
        _one_of("policy", get_args(OversellPolicy)),
        CheckConstraint("version >= 0", name="version_counts_from_0"),
        # Counts of units and days.
        CheckConstraint("low_stock_threshold >= 0", name="low_stock_threshold_not_negative"),
        CheckConstraint("lead_time_days >= 0", name="lead_time_days_not_negative"),
        CheckConstraint("daily_capacity >= 0", name="daily_capacity_not_negative"),
        # Room for the next version of a row beside it: its indexes need no entry then.
        {"postgresql_with": {"fillfactor": 50}},
    )

    product_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    supplier_id: int = Field(sa_type=BigInteger)
    # Null is the supplier's `oversell_policy`.
    policy: str | None = Field(sa_type=Text)
    # Units; null never warns.
    low_stock_threshold: int | None = Field(sa_type=BigInteger)
    # What the supplier says of it, for retailers: days until it is there again, units that can be made a day.
    lead_time_days: int | None
    daily_capacity: int | None = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)


class StockLevel(Table, table=True):
    """The stock of an item at a location; on hand may be negative: under `backorder` an order is a fact.

    Safety stock is kept per location, so that what is available in total is the sum over the locations.
    """

    __tablename__ = "stock_levels"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["product_id"], ["inventory.stock_items.product_id"]),
        ForeignKeyConstraint(["location_id"], ["inventory.locations.location_id"]),
        # Both count units that somebody holds: below zero somebody was given back what nobody held.
        CheckConstraint("allocated >= 0", name="allocated_not_negative"),
        CheckConstraint("reserved >= 0", name="reserved_not_negative"),
        CheckConstraint("safety_stock >= 0", name="safety_stock_not_negative"),
        {"postgresql_with": {"fillfactor": 50}},
    )

    product_id: int = Field(sa_type=BigInteger, primary_key=True)
    location_id: int = Field(sa_type=BigInteger, primary_key=True)
    on_hand: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    allocated: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    reserved: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    safety_stock: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    # Set where the item is not stocked any more (rule 16): the units stay, but are not counted.
    removed_at: datetime | None = Field(sa_type=MOMENT)


class LedgerEntry(Table, table=True):
    """One change of one level, never changed afterwards: the sums of the deltas are the level (P5).

    `reference` is the order's or return's id, or the API key's; `line_id` the line of that order or return.
    """

    __tablename__ = "stock_ledger"
    __table_args__: ClassVar[Any] = (
        # What changes nothing is no entry; these kinds change something else of the item, which is a version too.
        CheckConstraint(
            "(on_hand_delta, allocated_delta, reserved_delta) <> (0, 0, 0) "
            "or kind in ('settings', 'removed', 'relisted')",
            name="changes_something",
        ),
        CheckConstraint("allocated >= 0 and reserved >= 0", name="holds_not_negative"),
        # The item's version 0 is the one before its first entry.
        CheckConstraint("item_version >= 1", name="item_version_counts_from_1"),
        _one_of("kind", get_args(LedgerKind)),
    )

    # The product leads: one index keeps the entries unique and reads an item's history.
    product_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    entry_id: int | None = Field(None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], primary_key=True)
    location_id: int = Field(sa_type=BigInteger)
    item_version: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=Text)
    on_hand_delta: int = Field(sa_type=BigInteger)
    allocated_delta: int = Field(sa_type=BigInteger)
    reserved_delta: int = Field(sa_type=BigInteger)
    on_hand: int = Field(sa_type=BigInteger)
    allocated: int = Field(sa_type=BigInteger)
    reserved: int = Field(sa_type=BigInteger)
    reason: str | None = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    reference: str = Field(sa_type=Text)
    line_id: int | None
    occurred_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs={"server_default": text("clock_timestamp()")})


class Taking(Table, table=True):
    """What a line of an order still holds of a base stock product, all of it at one location (rule 11).

    It is what cancelling gives back: units that are completed or failed are not in it.
    """

    __tablename__ = "takings"
    __table_args__: ClassVar[Any] = (
        # What is given back entirely is no taking any more.
        CheckConstraint("quantity > 0", name="quantity_positive"),
        # Only whole units of a line are taken, completed or given back.
        CheckConstraint("per_unit > 0 and quantity % per_unit = 0", name="whole_units"),
        _one_of("effect", get_args(OrderEffect)),
    )

    order_id: UUID = Field(primary_key=True)
    line_id: int = Field(primary_key=True)
    product_id: int = Field(sa_type=BigInteger, primary_key=True)
    location_id: int = Field(sa_type=BigInteger)
    quantity: int = Field(sa_type=BigInteger)
    # Giving it back raises on hand, or lowers what is allocated, whatever orders do at the location by then.
    effect: str = Field(sa_type=Text)
    # Units of the product for one unit of the line.
    per_unit: int = Field(sa_type=BigInteger)


class FulfillmentItem(Table, table=True):
    """A fulfillment event, once: of each order line it says how many units are completed or have failed.

    Counted when the order is decided, whichever came first. `applied` once its stock has moved: one that is completed
    waits while its product is not known. An import that names a range needs all of it applied.
    """

    __tablename__ = "fulfillment_items"
    __table_args__: ClassVar[Any] = (
        Index("ix_fulfillment_items_order_id", "order_id", postgresql_where=text("kind <> 'assigned'")),
        Index("ix_fulfillment_items_waiting", "request_id", postgresql_where=text("not applied")),
        _one_of("kind", ("assigned", "failed", "completed")),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("logical_timestamp > 0", name="logical_timestamp_counts_from_1"),
        # Only goods that have left can wait for what they are.
        CheckConstraint("applied or kind = 'completed'", name="only_completed_waits"),
    )

    # Logical timestamps are one supplier's: they are what makes the item one, however often it comes.
    supplier_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    logical_timestamp: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(sa_type=Text)
    request_id: UUID
    order_id: UUID
    line_id: int
    product_id: int = Field(sa_type=BigInteger)
    variant_sku: str = Field(sa_type=Text)
    quantity: int = Field(sa_type=BigInteger)
    location: str = Field(sa_type=Text)
    occurred_at: datetime = Field(sa_type=MOMENT)
    applied: bool


class CompletedItem(Table, table=True):
    """Units of a base stock product that left a location with a completed item.

    Where a system outside owns on hand they stay allocated (`held`) until a stock import names a range of logical
    timestamps which it already counts: then exactly these are let go.
    """

    __tablename__ = "completed_items"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(
            ["supplier_id", "logical_timestamp"],
            ["inventory.fulfillment_items.supplier_id", "inventory.fulfillment_items.logical_timestamp"],
        ),
        Index(
            "ix_completed_items_held",
            "product_id",
            "location_id",
            "logical_timestamp",
            postgresql_where=text("held"),
        ),
        CheckConstraint("quantity > 0", name="quantity_positive"),
    )

    supplier_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    logical_timestamp: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    product_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    location_id: int = Field(sa_type=BigInteger)
    quantity: int = Field(sa_type=BigInteger)
    held: bool


class OrderKnown(Table, table=True):
    """The newest version of an order that came, and the number of its decisions: one per version, or per unparking.

    An order of which only fulfillment has told is at version 0: the row is there so that both lock it.
    """

    __tablename__ = "order_states"
    __table_args__: ClassVar[Any] = (
        _one_of("source", get_args(OrderSource)),
        _one_of("state", get_args(OrderState)),
        CheckConstraint("version >= 0", name="version_counts_from_0"),
        # What a known order is, its event has said.
        CheckConstraint("version = 0 or source is not null", name="source_given"),
        CheckConstraint("decision >= 1", name="decision_counts_from_1"),
    )

    order_id: UUID = Field(primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    external_ref: str = Field(sa_type=Text)
    source: str | None = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    decision: int = Field(sa_type=BigInteger)
    # The event's lines as they came, not searched: a parked one is looked up again when its product comes.
    lines: list[dict[str, Any]] = Field(sa_type=JSON)
    # What was decided on each line, with its supplier; only kept while a line is parked, to be told again with it.
    decided: list[dict[str, Any]] | None = Field(sa_type=JSONB)


class ReturnKnown(Table, table=True):
    """A return that came: its row is what keeps it from being restocked twice."""

    __tablename__ = "return_states"
    __table_args__: ClassVar[Any] = (_one_of("source", get_args(OrderSource)),)

    return_id: UUID = Field(primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    external_ref: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    lines: list[dict[str, Any]] = Field(sa_type=JSONB)
    # [{line_id, reason}]: lines that were not restocked although they asked for it.
    refused: list[dict[str, Any]] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})


class ParkedLine(Table, table=True):
    """A line of an order or return, or a completed item, of which nothing can be done until a product's event comes."""

    __tablename__ = "parked_lines"
    __table_args__: ClassVar[Any] = (
        Index("ix_parked_lines_waits_for", "waits_for"),
        _one_of("kind", ("order", "return", "fulfillment")),
    )

    # The id of the order, return or fulfillment request; a line waits for one product at a time.
    document_id: UUID = Field(primary_key=True)
    line_id: int = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    product_id: int = Field(sa_type=BigInteger)
    variant_sku: str = Field(sa_type=Text)
    waits_for: int = Field(sa_type=BigInteger)


add_messaging_tables(METADATA)
add_access_tables(METADATA)
add_product_tables(METADATA)
