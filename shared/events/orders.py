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


class OrderEvent(Event):
    """An order as it stands, in full, under the name of what happened to it.

    A later version of the order replaces what this one says, whatever either is named.
    """

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


class OrderCreated(OrderEvent):
    """The order is new."""

    name: ClassVar[str] = "orders.order_created"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory",)


class OrderAmended(OrderEvent):
    """The order's lines or quantities have changed; a line keeps its `line_id`."""

    name: ClassVar[str] = "orders.order_amended"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory",)


class OrderCancelled(OrderEvent):
    """The order was cancelled; its lines are those that it had."""

    name: ClassVar[str] = "orders.order_cancelled"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory",)

    state: OrderState = "cancelled"


class RejectedField(Part):
    """What is wrong with one field: `field` is a path like `lines[0].quantity`."""

    field: str
    detail: str


class OrderRejected(Event):
    """An order that came by message was refused: it is kept nowhere else, and changes nothing.

    `seller_id` and `external_ref` are null where the message did not say them in a way that counts.
    """

    name: ClassVar[str] = "orders.order_rejected"
    heard_by: ClassVar[tuple[str, ...]] = ()

    rejection_id: UUID
    seller_id: int | None = None
    external_ref: str | None = None
    source: OrderSource
    errors: tuple[RejectedField, ...]
    rejected_at: datetime

    def subject(self) -> str:
        """The rejection's id: the order has none."""
        return str(self.rejection_id)

    def sequence(self) -> int:
        """A rejection is stated once."""
        return 1


class FulfillmentItem(Event):
    """`quantity` units of an order's line, in a request to a supplier to send them from one of its locations.

    `logical_timestamp` counts the supplier's fulfillment events from 1 without a gap; it, and no clock, says in which
    order they happened. `product_id` and `variant_sku` are what was ordered, `external_ref` is the order's reference
    as its seller knows it, `seller_id` that seller; `request_ref` is the supplier's own reference of the request.
    """

    request_id: UUID
    supplier_id: int
    seller_id: int
    order_id: UUID
    line_id: int
    product_id: int
    variant_sku: str | None = None
    quantity: int
    location: str
    external_ref: str
    logical_timestamp: int
    occurred_at: datetime
    request_ref: str | None = None

    def subject(self) -> str:
        """The request's id."""
        return str(self.request_id)

    def sequence(self) -> int:
        """The logical timestamp."""
        return self.logical_timestamp


class FulfillmentRequestAssigned(FulfillmentItem):
    """The supplier was asked to send the item."""

    name: ClassVar[str] = "orders.fulfillment_request_assigned"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory", "notifier")


class FulfillmentRequestFailed(FulfillmentItem):
    """The supplier will not send the item: the order has no claim on these units any more."""

    name: ClassVar[str] = "orders.fulfillment_request_failed"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory", "notifier")

    reason: str | None = None


class FulfillmentRequestCompleted(FulfillmentItem):
    """The item has left the location."""

    name: ClassVar[str] = "orders.fulfillment_request_completed"
    heard_by: ClassVar[tuple[str, ...]] = ("inventory", "notifier")


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
