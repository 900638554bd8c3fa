"""What orders took, what became of it, and what waits for catalog."""

from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.inventory.domain.stock import OrderEffect
from services.inventory.tables.table import Table
from shared.database import MOMENT, one_of
from shared.events.orders import OrderSource, OrderState


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
        one_of("effect", get_args(OrderEffect)),
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
        one_of("kind", ("assigned", "failed", "completed")),
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
        one_of("source", get_args(OrderSource)),
        one_of("state", get_args(OrderState)),
        CheckConstraint("version >= 0", name="version_counts_from_0"),
        # What a known order is, its event has said.
        CheckConstraint("version = 0 or source is not null", name="source_given"),
        CheckConstraint("decision >= 1", name="decision_counts_from_1"),
        # Whoever confirms a reservation to an order asks whether it has come.
        Index("ix_order_states_seller_id_external_ref", "seller_id", "external_ref"),
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
    __table_args__: ClassVar[Any] = (one_of("source", get_args(OrderSource)),)

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
        one_of("kind", ("order", "return", "fulfillment")),
    )

    # The id of the order, return or fulfillment request; a line waits for one product at a time.
    document_id: UUID = Field(primary_key=True)
    line_id: int = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    product_id: int = Field(sa_type=BigInteger)
    variant_sku: str = Field(sa_type=Text)
    waits_for: int = Field(sa_type=BigInteger)
