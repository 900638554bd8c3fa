"""What orders does with each event it hears."""

from collections.abc import Sequence

from services.orders.domain.life import StoredOrder, UnknownOrderError, decided
from services.orders.store.life import Change, add_changes, lock_orders, save_orders
from shared import clock
from shared.catalog_view import keep_api_keys, keep_companies, keep_connections, keep_products
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged, ProductChanged, ProductRemoved
from shared.events.inventory import OrderAllocated, OrderShort
from shared.messaging.consumer import on


async def copy_connections(session: Session, events: Sequence[ConnectionChanged]) -> None:
    """Copy connections: who may sell whose products."""
    await keep_connections(session, events)


async def copy_products(session: Session, events: Sequence[ProductChanged | ProductRemoved]) -> None:
    """Copy products and their links: what can be ordered, and what cannot be ordered any more."""
    await keep_products(session, events)


async def record_decisions(session: Session, events: Sequence[OrderAllocated | OrderShort]) -> None:
    """Show on the orders what inventory decided; the newest decision on an order counts, whatever came when."""
    newest = {event.order_id: event for event in sorted(events, key=lambda event: event.decision)}
    orders = await lock_orders(session, newest)
    missing = sorted(newest.keys() - orders.keys())
    if missing:
        message = f"inventory decided on orders that are not known here: {', '.join(map(str, missing))}"
        raise UnknownOrderError(message)
    news = [decided(order, newest[id_]) for id_, order in orders.items() if order.decision < newest[id_].decision]
    await save_orders(session, news)
    changes = [
        Change(order, "decided", "inventory", _decided_units(order), cause=str(order.decision)) for order in news
    ]
    await add_changes(session, changes, clock.utc_now())


def _decided_units(order: StoredOrder) -> dict[int, int]:
    return {line.line_id: line.wanted for line in order.lines if line.outcome is not None}


SUBSCRIPTIONS = (
    on(CompanyChanged, keep_companies),
    on(ApiKeyChanged, keep_api_keys),
    on(ConnectionChanged, copy_connections),
    on((ProductChanged, ProductRemoved), copy_products),
    on((OrderAllocated, OrderShort), record_decisions),
)
