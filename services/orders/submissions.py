"""The bodies in which orders and returns come in: one shape over HTTP and AMQP."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool, field_validator

from services.orders.domain.orders import Line, ReturnedLine, SubmittedOrder, SubmittedReturn
from shared import clock
from shared.events.orders import OrderSource, OrderSubmitted, SubmittedLine

# What a caller may say about where an order comes from; the other sources are known by their way in.
NamedSource = Literal["api", "pos", "integration", "console"]

LINES_LIMIT = 1000
# What is older was no order: a clock that was never set, or a year of two digits.
FIRST_YEAR = 1900
# Pydantic's own limits on a tuple also complain that it is empty when one of its items is wrong.
LINES = Field(json_schema_extra={"minItems": 1, "maxItems": LINES_LIMIT})


def countable(lines: object) -> object:
    """The lines themselves; `ValueError` for none or too many of them, before each is looked at."""
    if isinstance(lines, list | tuple) and not 1 <= len(lines) <= LINES_LIMIT:
        message = f"must hold 1 to {LINES_LIMIT} lines, not {len(lines)}"
        raise ValueError(message)
    return lines


def storable(value: str | None) -> str | None:
    """The text itself; `ValueError` for the one character that PostgreSQL's text cannot hold."""
    if value and "\x00" in value:
        message = "must not contain the character U+0000"
        raise ValueError(message)
    return value


def in_utc(moment: datetime | None) -> datetime | None:
    """The same moment in UTC; `ValueError` when it does not say in which time zone it is, or is before 1900."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        message = "needs a time zone, like 2026-01-31T12:00:00Z"
        raise ValueError(message)
    try:
        in_utc_zone = moment.astimezone(UTC)
    except OverflowError as error:
        message = "is out of range"
        raise ValueError(message) from error
    if in_utc_zone.year < FIRST_YEAR:
        message = f"must not be before {FIRST_YEAR}"
        raise ValueError(message)
    return in_utc_zone


class LineBody(SubmittedLine):
    """A line of an order: `quantity` units of a product, or of its variant, drawn from `location` if one is named."""

    _storable = field_validator("variant_sku", "location")(storable)

    def line(self) -> Line:
        """As the domain knows it."""
        return Line(self.product_id, self.variant_sku, self.quantity, self.location)


class OrderBody(OrderSubmitted):
    """An order: `external_ref` is the seller's own reference, unique per seller; lines keep their order."""

    lines: tuple[LineBody, ...] = LINES

    _countable = field_validator("lines", mode="before")(countable)
    _storable = field_validator("external_ref")(storable)
    _in_utc = field_validator("placed_at")(in_utc)

    def submitted(self, seller_id: int, source: OrderSource) -> SubmittedOrder:
        """As the domain knows it, with the id it gets if it is new."""
        return SubmittedOrder(
            order_id=clock.uuid7(),
            seller_id=seller_id,
            external_ref=self.external_ref,
            source=source,
            placed_at=self.placed_at,
            lines=tuple(line.line() for line in self.lines),
        )


class OrderRequest(OrderBody):
    """An order to submit; only the platform admin needs to say whose (`seller_id`)."""

    source: NamedSource = "api"


class ReturnLineBody(LineBody):
    """Units that came back; they go into stock again only with `restock`."""

    restock: StrictBool

    def line(self) -> ReturnedLine:
        """As the domain knows it."""
        return ReturnedLine(self.product_id, self.variant_sku, self.quantity, self.location, self.restock)


class ReturnBody(BaseModel):
    """Items that came back: `external_ref` is unique among the seller's returns; `order_id` may be left out."""

    external_ref: str = Field(min_length=1, max_length=200)
    seller_id: int | None = Field(None, gt=0, lt=2**63, strict=True)
    order_id: UUID | None = None
    returned_at: datetime | None = None
    lines: tuple[ReturnLineBody, ...] = LINES

    _countable = field_validator("lines", mode="before")(countable)
    _storable = field_validator("external_ref")(storable)
    _in_utc = field_validator("returned_at")(in_utc)

    def submitted(self, seller_id: int, source: OrderSource) -> SubmittedReturn:
        """As the domain knows it, with the id it gets if it is new."""
        return SubmittedReturn(
            return_id=clock.uuid7(),
            seller_id=seller_id,
            external_ref=self.external_ref,
            source=source,
            order_id=self.order_id,
            returned_at=self.returned_at,
            lines=tuple(line.line() for line in self.lines),
        )
