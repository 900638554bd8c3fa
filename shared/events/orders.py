"""What orders tells, and what order systems outside tell it (`OrderSubmitted`)."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.events import Event
from shared.events.catalog import Part
from shared.events.key_use import ApiKeyUse

OrderSource = Literal["api", "amqp", "pos", "integration", "console", "import"]
OrderState = Literal["open", "cancelled"]

# Far above any real order line. Times catalog's limit of a million components per unit, over the thousand lines that an
# order may have, it comes to 10^15 units: far from where PostgreSQL's bigint ends.
QUANTITY_LIMIT = 1_000_000


class OrderLine(Part):
    """`quantity` units of a product or of its variant; `line_id` counts from 1 within the order.

    `checked` says that orders knew the product and found that the seller may sell it: nobody has to ask that again.
    """

    line_id: int
    product_id: int
    variant_sku: str | None = None
    quantity: int
    location: str | None = None
    checked: bool = False


class OrderCreated(Event):
    """An order as it stands, in full; a later version of the order replaces what this one says."""

    name: ClassVar[str] = "orders.order_created"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory",)

    order_id: UUID
    seller_id: int
    external_ref: str
    state: OrderState = "open"
    source: OrderSource
    placed_at: datetime
    lines: tuple[OrderLine, ...]
    version: int

    def subject(self) -> str:
        """The order's id."""
        return str(self.order_id)

    def sequence(self) -> int:
        """The order's version."""
        return self.version


class ReturnedLine(Part):
    """Units that came back; they go into stock again only when `restock` says so."""

    line_id: int
    product_id: int
    variant_sku: str | None = None
    quantity: int
    restock: bool
    location: str | None = None


class ItemsReturned(Event):
    """Items came back, with or without (`order_id` is `None`) a known order. Stated once, never changed."""

    name: ClassVar[str] = "orders.items_returned"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory",)

    return_id: UUID
    seller_id: int
    external_ref: str
    order_id: UUID | None = None
    source: OrderSource
    returned_at: datetime
    lines: tuple[ReturnedLine, ...]

    def subject(self) -> str:
        """The return's id."""
        return str(self.return_id)

    def sequence(self) -> int:
        """A return is stated once."""
        return 1


class SubmittedLine(Part):
    """A line of an order that comes in."""

    product_id: int = Field(gt=0, lt=2**63, strict=True)
    variant_sku: str | None = Field(None, min_length=1, max_length=200)
    quantity: int = Field(gt=0, le=QUANTITY_LIMIT, strict=True)
    location: str | None = Field(None, min_length=1, max_length=100)


class OrderSubmitted(Event):
    """An order as an order system outside states it on the queue `orders.submitted`.

    `seller_id` counts only where the deployment trusts message bodies; otherwise the validated sender is the seller.
    """

    name: ClassVar[str] = "orders.order_submitted"
    heard_by: ClassVar[tuple[str, ...]] = ()

    external_ref: str = Field(min_length=1, max_length=200)
    seller_id: int | None = Field(None, gt=0, lt=2**63, strict=True)
    placed_at: datetime | None = None
    lines: tuple[SubmittedLine, ...] = Field(min_length=1, max_length=1000)

    def subject(self) -> str:
        """The sender's reference."""
        return self.external_ref

    def sequence(self) -> int:
        """A submission is stated once."""
        return 1


class ApiKeyUsedAtOrders(ApiKeyUse):
    """An API key was used at orders."""

    name: ClassVar[str] = "orders.api_key_used"
