"""What inventory does with each event it hears.

Events that lock the same rows go to one handler, which locks them all in one order (docs/architecture.md).
"""

from collections.abc import Sequence
from uuid import UUID

from services.inventory import deciding
from services.inventory.fulfilling import item_as_it_came
from services.inventory.links import find_links_or_wait, key_of, lock_with_what_they_need
from services.inventory.store import fulfillment as fulfillment_store
from services.inventory.store import orders as order_store
from services.inventory.store import pending_values as pending_store
from services.inventory.store import reservations as reservation_store
from services.inventory.store import stock as stock_store
from services.inventory.store.fulfillment import ItemKey
from services.inventory.store.listing import renew_listings
from shared.catalog_view import keep_api_keys, keep_companies, keep_connections, keep_products
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged, ProductChanged, ProductRemoved
from shared.events.orders import (
    FulfillmentItem,
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
    ItemsReturned,
    OrderAmended,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderLine,
    ReturnedLine,
)
from shared.messaging.consumer import on

StockMover = OrderEvent | ItemsReturned | FulfillmentItem
STOCK_MOVERS: tuple[type[StockMover], ...] = (
    OrderCreated,
    OrderAmended,
    OrderCancelled,
    ItemsReturned,
    FulfillmentRequestAssigned,
    FulfillmentRequestFailed,
    FulfillmentRequestCompleted,
)


async def learn_connections(session: Session, events: Sequence[ConnectionChanged]) -> None:
    """Copy connections; what was decided before stays decided."""
    await keep_connections(session, events)


async def learn_catalog(session: Session, events: Sequence[CompanyChanged | ProductChanged | ProductRemoved]) -> None:
    """Copy companies and products, begin to keep stock of what is tracked, go on with what waited for it.

    Every supplier has the location `main`. A removed product's stock stays, and orders that were accepted before still
    lower it.
    """
    companies = [event for event in events if isinstance(event, CompanyChanged)]
    products = [event for event in events if not isinstance(event, CompanyChanged)]
    stocked = [event for event in products if isinstance(event, ProductChanged) and event.is_tracked_stock]
    suppliers = {event.company_id for event in companies if event.role == "supplier"}
    await keep_companies(session, companies)
    await stock_store.add_main_locations(session, suppliers | {event.owner_id for event in stocked})
    if not products:
        return
    await pending_store.share_locks(session, {event.owner_id for event in products})
    await lock_with_what_they_need(session, products)
    kept, drawn_on_before = await keep_products(session, products)
    news = {event.product_id: event for event in kept}
    await stock_store.add_items(session, {id_: event.owner_id for id_, event in news.items() if event.is_tracked_stock})
    await deciding.go_on(session, news)
    await renew_listings(session, drawn_on_before.union(event.product_id for event in products))


async def move_stock(session: Session, events: Sequence[StockMover]) -> None:
    """Let orders take their stock, items leave, and returned items come back where the line says so (rule 15).

    Of each order the newest version counts; one that is not newer than the known changes nothing. Each return and each
    logical timestamp of a supplier has its effect once.
    """
    newest: dict[UUID, OrderEvent] = {}
    returns: dict[UUID, ItemsReturned] = {}
    items: dict[ItemKey, FulfillmentItem] = {}
    for event in events:
        if isinstance(event, ItemsReturned):
            returns[event.return_id] = event
        elif isinstance(event, FulfillmentItem):
            items[event.supplier_id, event.logical_timestamp] = event
        elif event.order_id not in newest or newest[event.order_id].version < event.version:
            newest[event.order_id] = event
    lines: list[OrderLine | ReturnedLine | FulfillmentItem] = [
        line for event in newest.values() for line in event.lines
    ]
    lines += [line for event in returns.values() for line in event.lines if line.restock]
    lines += items.values()
    links = await find_links_or_wait(session, {key_of(line) for line in lines})
    await reservation_store.await_confirmations(session, {event.seller_id for event in newest.values()})
    if items:
        await order_store.await_orders(session, [*newest.values(), *items.values()])
    decisions = await order_store.keep_orders(session, list(newest.values()))
    reserved = await reservation_store.take_confirmed(session, [newest[order_id] for order_id in decisions])
    fresh_returns = await order_store.add_returns(session, list(returns.values()))
    fresh_items = [items[key] for key in await fulfillment_store.add_items(session, items)]
    await deciding.decide(
        session,
        [
            deciding.order_as_it_came(newest[order_id], decision, links, reserved.get(order_id, ()))
            for order_id, decision in decisions.items()
        ],
        [deciding.return_as_it_came(returns[return_id], links) for return_id in sorted(fresh_returns)],
        [
            item_as_it_came(item, links[key_of(item)])
            for item in fresh_items
            if not isinstance(item, FulfillmentRequestAssigned)
        ],
    )


SUBSCRIPTIONS = (
    on(ApiKeyChanged, keep_api_keys),
    on(ConnectionChanged, learn_connections),
    on((CompanyChanged, ProductChanged, ProductRemoved), learn_catalog),
    on(STOCK_MOVERS, move_stock),
)
