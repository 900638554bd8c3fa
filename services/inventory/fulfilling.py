"""Fulfillment items on their way through one transaction, and what an import lets go of what they hold."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from services.inventory.domain.fulfillment import Completed, RequestItem, settle
from services.inventory.domain.orders import Taking
from services.inventory.domain.stock import Cause, Stock
from services.inventory.links import key_of
from services.inventory.store import fulfillment as fulfillment_store
from services.inventory.store.fulfillment import ItemKey, WaitingItem
from services.inventory.store.orders import ParkedLine
from shared.catalog_view import Link
from shared.database import Session
from shared.events import Event
from shared.events.orders import FulfillmentItem, FulfillmentRequestCompleted


class ItemToApply(NamedTuple):
    """An item of a locked order that is completed or has failed, for the first time.

    `event` is the one being handled, for its trace; `parked` is how the item waits, if nothing says what it is made of.
    """

    event: Event
    order_id: UUID
    key: ItemKey
    item: RequestItem
    cause: Cause
    parked: ParkedLine | None

    @property
    def reference(self) -> str:
        """The order's id as the ledger has it."""
        return str(self.order_id)


def item_as_it_came(event: FulfillmentItem, link: Link) -> ItemToApply:
    """An item that is new."""
    completed = isinstance(event, FulfillmentRequestCompleted)
    item = RequestItem(
        "completed" if completed else "failed", event.line_id, event.quantity, event.location, link.components
    )
    parked = None
    if completed and link.waits_for is not None:
        parked = ParkedLine(event.request_id, event.line_id, "fulfillment", *key_of(event), link.waits_for)
    key = (event.supplier_id, event.logical_timestamp)
    return ItemToApply(event, event.order_id, key, item, _cause(item, event.order_id, event.request_id, key), parked)


def item_that_waited(waiting: WaitingItem, link: Link, event: Event) -> ItemToApply:
    """A completed item whose product has come with `event`."""
    item = RequestItem("completed", waiting.line_id, waiting.quantity, waiting.location, link.components, late=True)
    key = (waiting.supplier_id, waiting.logical_timestamp)
    cause = _cause(item, waiting.order_id, waiting.request_id, key)
    return ItemToApply(event, waiting.order_id, key, item, cause, None)


def waits(one: ItemToApply, takings: Collection[Taking]) -> bool:
    """Whether an item has to wait: its product is not known, and its line holds nothing (of `takings`) that tells."""
    return one.parked is not None and all(taking.line_id != one.item.line_id for taking in takings)


def apply(
    items: Sequence[ItemToApply], held: dict[UUID, list[Taking]], stock: Stock
) -> list[tuple[ItemKey, Completed]]:
    """Make the changes of these items, in the order of their logical timestamps; returns what has left.

    `held` is what the orders hold, and what they hold then.
    """
    gone: list[tuple[ItemKey, Completed]] = []
    for one in sorted(items, key=lambda one: one.key):
        left, completed = settle(one.item, held.get(one.order_id, []), stock, one.cause)
        if one.order_id in held:
            held[one.order_id] = left
        gone += [(one.key, part) for part in completed]
    return gone


async def clear_completed(
    session: Session,
    stock: Stock,
    supplier_id: int,
    logical_timestamps: tuple[int, int],
    pairs: Collection[tuple[int, int]],
    cause: Cause,
) -> None:
    """Let go of what a supplier's completed items hold whose logical timestamps are in this range, ends included.

    Only at these pairs of (product id, location id), locked in `stock`. For stock imports: whoever states on hand has
    counted these items. What is let go once is not let go again. Wait before until every item of the range is applied
    (`fulfillment_items.applied`): one that is applied later would be held for good.
    """
    for product_id, location_id, units in await fulfillment_store.let_go(
        session, supplier_id, *logical_timestamps, pairs
    ):
        stock.move(product_id, location_id, cause, allocated=-units)


def _cause(item: RequestItem, order_id: UUID, request_id: UUID, key: ItemKey) -> Cause:
    kind = "fulfilled" if item.kind == "completed" else "fulfillment_failed"
    reason = f"fulfillment request {request_id}, logical timestamp {key[1]}"
    return Cause(kind, "fulfillment", "orders", str(order_id), reason)
