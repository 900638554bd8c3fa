"""Units that sellers reserved, and what became of it."""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.inventory.tables.table import Table
from shared.database import MOMENT, one_of

ReservationState = Literal["open", "confirmed", "converted", "released", "expired"]


class Reservation(Table, table=True):
    """Units that a seller reserved until `expires_at`; once confirmed they wait for the order `external_ref`.

    Times are `db_now()`, a function of this schema: all replicas go by one clock, and tests can move it.
    """

    __tablename__ = "reservations"
    __table_args__: ClassVar[Any] = (
        one_of("state", get_args(ReservationState)),
        # An order that comes looks for what is confirmed to it, and finds next to nothing.
        Index("ix_reservations_confirmed", "seller_id", "external_ref", postgresql_where=text("state = 'confirmed'")),
        Index("ix_reservations_held", "expires_at", postgresql_where=text("state in ('open', 'confirmed')")),
        Index("ix_reservations_ended", "ended_at", postgresql_where=text("ended_at is not null")),
        Index("ix_reservations_seller_id_reservation_id", "seller_id", "reservation_id"),
        CheckConstraint("(state in ('open', 'confirmed')) = (ended_at is null)", name="ended_when_over"),
        CheckConstraint("state <> 'confirmed' or external_ref is not null", name="confirmed_to_an_order"),
    )

    reservation_id: UUID = Field(primary_key=True)
    seller_id: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    external_ref: str | None = Field(sa_type=Text)
    # The order that converted it.
    order_id: UUID | None
    created_at: datetime = Field(sa_type=MOMENT)
    expires_at: datetime = Field(sa_type=MOMENT)
    ended_at: datetime | None = Field(sa_type=MOMENT)
    # As they were asked for, each with its `takes`; not searched.
    lines: list[dict[str, Any]] = Field(sa_type=JSONB)


class ReservedUnits(Table, table=True):
    """What a line of a reservation holds of a base stock product; gone when the reservation is over."""

    __tablename__ = "reserved_units"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["reservation_id"], ["inventory.reservations.reservation_id"]),
        Index("ix_reserved_units_product_id", "product_id"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
    )

    reservation_id: UUID = Field(primary_key=True)
    line_id: int = Field(primary_key=True)
    product_id: int = Field(sa_type=BigInteger, primary_key=True)
    location_id: int = Field(sa_type=BigInteger)
    quantity: int = Field(sa_type=BigInteger)
