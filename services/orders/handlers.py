"""What orders does with each event it hears."""

from collections.abc import Sequence

from services.orders.store import orders as store
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
    await store.record_decisions(session, events)


SUBSCRIPTIONS = (
    on(CompanyChanged, keep_companies),
    on(ApiKeyChanged, keep_api_keys),
    on(ConnectionChanged, copy_connections),
    on((ProductChanged, ProductRemoved), copy_products),
    on((OrderAllocated, OrderShort), record_decisions),
)
