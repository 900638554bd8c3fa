"""What inventory tells: levels as they are now, and what became of an order's lines."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events import Event
from shared.events.catalog import Part
from shared.events.key_use import ApiKeyUse

LineOutcome = Literal["allocated", "short", "parked", "untracked", "refused"]


class Level(Part):
    """The stock of one item at one location: `available = on_hand - allocated - reserved - safety stock`."""

    location: str
    on_hand: int
    allocated: int
    reserved: int
    available: int


class StockChanged(Event):
    """The stock of a base stock product at `version`, which rises by one with each transaction that changes it.

    `changes` is the number of ledger entries merged into this event, `causes` their kinds.
    """

    name: ClassVar[str] = "inventory.stock_changed"
    heard_by: ClassVar[tuple[str, ...]] = ("notifier",)

    base_stock_product_id: int
    supplier_id: int
    sku: str
    on_hand: int
    allocated: int
    reserved: int
    available: int
    previous_available: int
    levels: tuple[Level, ...]
    changes: int
    causes: tuple[str, ...]
    occurred_at: datetime
    version: int

    def subject(self) -> str:
        """The base stock product's id."""
        return str(self.base_stock_product_id)

    def sequence(self) -> int:
        """The item's version."""
        return self.version


class Take(Part):
    """Units of a base stock product that a line drew from a location."""

    product_id: int
    location: str
    quantity: int


class LineDecision(Part):
    """What inventory decided for one order line.

    `reason` says why it is short, refused or parked; `shortfall` counts the units that are missing.
    """

    line_id: int
    outcome: LineOutcome
    takes: tuple[Take, ...] = ()
    shortfall: int = 0
    reason: str | None = None


class _OrderDecided(Event):
    """The decision over all lines of an order as they stand: `decision` rises when parked lines are decided later."""

    order_id: UUID
    order_version: int
    decision: int
    lines: tuple[LineDecision, ...]

    def subject(self) -> str:
        """The order's id."""
        return str(self.order_id)

    def sequence(self) -> int:
        """Order of decisions on one order, whatever version of it they are about."""
        return self.decision


class OrderAllocated(_OrderDecided):
    """The order's lines have taken their stock, or need none; parked ones wait for the product they name."""

    name: ClassVar[str] = "inventory.order_allocated"
    heard_by: ClassVar[tuple[str, ...]] = ("orders",)


class OrderShort(_OrderDecided):
    """Some lines took nothing, for want of stock under `deny` or because the seller may not sell the product."""

    name: ClassVar[str] = "inventory.order_short"
    heard_by: ClassVar[tuple[str, ...]] = ("orders",)


class ApiKeyUsedAtInventory(ApiKeyUse):
    """An API key was used at inventory."""

    name: ClassVar[str] = "inventory.api_key_used"
