"""What inventory does with each event it hears."""

from collections.abc import Sequence
from uuid import UUID

from services.inventory import deciding
from services.inventory.links import find_links_or_wait, key_of, lock_with_ancestors
from services.inventory.store import orders as order_store
from services.inventory.store import stock as stock_store
from shared.catalog_view import keep_api_keys, keep_companies, keep_connections, keep_products, remove_products
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged, ProductChanged, ProductRemoved
from shared.events.orders import ItemsReturned, OrderCreated
from shared.messaging.consumer import on


async def take_stock(session: Session, events: Sequence[OrderCreated]) -> None:
    """Let orders take their stock: the newest version of each; one that is not newer than the known changes nothing."""
    newest: dict[UUID, OrderCreated] = {}
    for event in events:
        known = newest.get(event.order_id)
        if known is None or known.version < event.version:
            newest[event.order_id] = event
    links = await find_links_or_wait(session, {key_of(line) for event in newest.values() for line in event.lines})
    decisions = await order_store.keep_orders(session, list(newest.values()))
    orders = [deciding.order_as_it_came(newest[order_id], decision, links) for order_id, decision in decisions.items()]
    await deciding.decide(session, orders, [])


async def restock(session: Session, events: Sequence[ItemsReturned]) -> None:
    """Put returned items back into stock where the line says so, once per return (rule 15)."""
    returns = {event.return_id: event for event in events}
    lines = [line for event in returns.values() for line in event.lines if line.restock]
    links = await find_links_or_wait(session, {key_of(line) for line in lines})
    fresh = await order_store.add_returns(session, list(returns.values()))
    to_restock = [deciding.return_as_it_came(returns[return_id], links) for return_id in sorted(fresh)]
    await deciding.decide(session, [], to_restock)


async def learn_companies(session: Session, events: Sequence[CompanyChanged]) -> None:
    """Copy companies; every supplier has the location `main`."""
    await keep_companies(session, events)
    await stock_store.add_main_locations(session, {event.company_id for event in events if event.role == "supplier"})


async def learn_connections(session: Session, events: Sequence[ConnectionChanged]) -> None:
    """Copy connections; what was decided before stays decided."""
    await keep_connections(session, events)


async def learn_products(session: Session, events: Sequence[ProductChanged]) -> None:
    """Copy products, begin to keep stock of those that are tracked, and go on with the lines that waited for one."""
    await lock_with_ancestors(session, events)
    news = {event.product_id: event for event in await keep_products(session, events)}
    tracked = {product_id: event.owner_id for product_id, event in news.items() if event.is_tracked_stock}
    if tracked:
        await stock_store.add_main_locations(session, set(tracked.values()))
        await stock_store.add_items(session, tracked)
    await deciding.go_on(session, news)


async def forget_products(session: Session, events: Sequence[ProductRemoved]) -> None:
    """Mark products as removed; their stock stays, and orders that were accepted before still lower it."""
    await remove_products(session, events)


SUBSCRIPTIONS = (
    on(CompanyChanged, learn_companies),
    on(ApiKeyChanged, keep_api_keys),
    on(ConnectionChanged, learn_connections),
    on(ProductChanged, learn_products),
    on(ProductRemoved, forget_products),
    on(OrderCreated, take_stock),
    on(ItemsReturned, restock),
)
