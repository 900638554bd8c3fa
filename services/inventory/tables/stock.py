"""Locations, items, levels and the ledger.

Items of stock have no SKU of their own here: it is in `products`, the copy of what catalog tells. Levels, takings and
the ledger have no foreign keys where rows come by the thousand: they are only written under the lock of their item,
which exists.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Identity, Index, Text, UniqueConstraint, text
from sqlmodel import Field

from services.inventory.domain.stock import OnHandOwner, OrderEffect
from services.inventory.tables.table import Table
from shared.database import MOMENT, ZERO, one_of
from shared.events.catalog import OversellPolicy

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
    "converted",
    "repaired",
    "removed",
    "relisted",
    "settings",
    "count",
]


class Location(Table, table=True):
    """A place where a supplier keeps stock; every supplier has `main`. Lower `priority` is drawn from first."""

    __tablename__ = "locations"
    __table_args__: ClassVar[Any] = (
        # Orders and imports name locations by their code.
        UniqueConstraint("supplier_id", "code"),
        CheckConstraint("code <> ''", name="code_given"),
        one_of("order_effect", get_args(OrderEffect)),
        one_of("on_hand_owner", get_args(OnHandOwner)),
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
        one_of("policy", get_args(OversellPolicy)),
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
    # Sums over the levels that count, and how many these are, kept with each change: lists are sorted by them.
    # No index either: the row could not change in place any more, and each order would pay for it.
    on_hand: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    allocated: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    reserved: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    safety_stock: int = Field(sa_type=BigInteger, sa_column_kwargs=ZERO)
    # Every item begins in `main`.
    stocked_locations: int = Field(sa_column_kwargs={"server_default": text("1")})
    # What lists would have to ask of products and their links: that the product is tracked stock and not removed; and
    # that it is of the type `stock`, and nothing draws on it. Kept with each change of a product (`store/listing.py`).
    is_listed: bool = Field(sa_column_kwargs={"server_default": text("true")})
    is_unlinked: bool = Field(sa_column_kwargs={"server_default": text("false")})
    # When its version rose last. No index: one more entry for each change costs more than reading it beside the rest.
    changed_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs={"server_default": text("clock_timestamp()")})


class StockLevel(Table, table=True):
    """The stock of an item at a location; on hand may be negative: under `backorder` an order is a fact.

    Safety stock is kept per location, so that what is available in total is the sum over the locations.
    """

    __tablename__ = "stock_levels"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["product_id"], ["inventory.stock_items.product_id"]),
        ForeignKeyConstraint(["location_id"], ["inventory.locations.location_id"]),
        # Lists of what is stocked at one location; neither column ever changes.
        Index("ix_stock_levels_location_id_product_id", "location_id", "product_id"),
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
    # The latest moment of which somebody stated what is there, on hand or available; older statements change nothing.
    stated_as_of: datetime | None = Field(sa_type=MOMENT)


class LedgerEntry(Table, table=True):
    """One change of one level, never changed afterwards: the sums of the deltas are the level (P5).

    `reference` is the order's, return's or import's id, or the API key's; `line_id` the line of that order or return.
    """

    __tablename__ = "stock_ledger"
    __table_args__: ClassVar[Any] = (
        # What changes nothing is no entry; these kinds change something else of the item, which is a version too.
        CheckConstraint(
            "(on_hand_delta, allocated_delta, reserved_delta) <> (0, 0, 0) "
            "or kind in ('settings', 'removed', 'relisted', 'repaired')",
            name="changes_something",
        ),
        CheckConstraint("allocated >= 0 and reserved >= 0", name="holds_not_negative"),
        # The item's version 0 is the one before its first entry.
        CheckConstraint("item_version >= 1", name="item_version_counts_from_1"),
        one_of("kind", get_args(LedgerKind)),
        # Ranges of pages, with their times and ids: free for who writes, and enough for who looks across products.
        Index(
            "ix_stock_ledger_occurred_at_entry_id",
            "occurred_at",
            "entry_id",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
        # References of orders are in the order of time, so that each falls beside the one before: a hash index, or
        # ranges with Bloom filters, cost the writer far more.
        Index("ix_stock_ledger_reference", "reference"),
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
    # Set where what is there was stated, as of that moment: the difference it made is no movement of units. What was
    # stated and made no difference is no entry, only the level knows of it.
    stated_as_of: datetime | None = Field(sa_type=MOMENT)
    # Read under the item's lock, so it rises with the item's version as long as the server's clock is not set back.
    occurred_at: datetime = Field(sa_type=MOMENT, sa_column_kwargs={"server_default": text("clock_timestamp()")})
