"""What inventory tells: levels as they are now, and what became of an order's lines."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events import Event
from shared.events.catalog import OversellPolicy, Part
from shared.events.key_use import ApiKeyUse

# What a change of `available` passed: `low` at or below the item's threshold (if it has one), `out` at or below zero,
# and the two ways back up.
Crossing = Literal["low", "recovered", "out", "back_in_stock"]
LineOutcome = Literal["allocated", "short", "parked", "untracked", "refused"]


class Level(Part):
    """The stock of one item at one location: `available = on_hand - allocated - reserved - safety stock`."""

    location: str
    on_hand: int
    allocated: int
    reserved: int
    available: int
    safety_stock: int = 0


class StockChanged(Event):
    """The stock of a base stock product at `version`, which rises by one with each transaction that changes it.

    `levels` are those of the locations that stock it, and the totals are theirs; none means that it was removed
    everywhere (`StockRemoved`). `changes` is the number of ledger entries merged into this event, `causes` their
    kinds, `crossings` what the change from `previous_available` to `available` passed. `policy` is the one that holds,
    the item's own or its supplier's.
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
    safety_stock: int = 0
    policy: OversellPolicy | None = None
    low_stock_threshold: int | None = None
    lead_time_days: int | None = None
    daily_capacity: int | None = None
    crossings: tuple[Crossing, ...] = ()

    def subject(self) -> str:
        """The base stock product's id."""
        return str(self.base_stock_product_id)

    def sequence(self) -> int:
        """The item's version."""
        return self.version


class StockRemoved(Event):
    """A base stock product is not stocked anywhere any more (rule 16): its last location was removed.

    Told in the place of `StockChanged` for this version; the next write of its stock tells of it again.
    """

    name: ClassVar[str] = "inventory.stock_removed"
    heard_by: ClassVar[tuple[str, ...]] = ("notifier",)

    base_stock_product_id: int
    supplier_id: int
    sku: str
    previous_available: int
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

    `reason` says why it is short, refused or parked; `shortfall` counts the units that are missing. `supplier_id` keeps
    the stock that the line draws on, where that is known; `waits_for` is the product that a parked line waits for.
    """

    line_id: int
    outcome: LineOutcome
    takes: tuple[Take, ...] = ()
    shortfall: int = 0
    reason: str | None = None
    supplier_id: int | None = None
    waits_for: int | None = None


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
