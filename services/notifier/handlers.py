"""What notifier does with each event it hears."""

from collections.abc import Sequence

from services.notifier import fulfillment
from services.notifier.store import feeds as feed_store
from services.notifier.store import stock as stock_store
from shared.catalog_view import keep_api_keys, keep_companies, keep_connections, keep_products
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged, ProductChanged, ProductRemoved
from shared.events.inventory import StockChanged, StockRemoved
from shared.events.orders import (
    FulfillmentItem,
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
)
from shared.messaging.consumer import on


async def copy_connections(session: Session, events: Sequence[ConnectionChanged]) -> None:
    """Copy connections; a retailer whose connection becomes active, now or again, is told the current levels once."""
    before = await stock_store.lock_active(session, [event.connection_id for event in events])
    news = await keep_connections(session, events)
    connected = {
        (event.supplier_id, event.retailer_id)
        for event in news
        if event.state == "active" and event.connection_id not in before
    }
    if connected:
        await stock_store.add_new_connections(session, connected)


async def copy_products(session: Session, events: Sequence[ProductChanged | ProductRemoved]) -> None:
    """Copy products and their links, for what a payload lists; it does not list those that are removed."""
    await keep_products(session, events)


async def keep_stock(session: Session, events: Sequence[StockChanged | StockRemoved]) -> None:
    """Copy the newest stock, and nothing else: whom to tell is worked out by fan-out, once for many changes.

    What is stocked nowhere any more is kept, as none available: that is what a retailer has to be told.
    """
    await stock_store.keep_stock(session, events)


async def keep_fulfillment(session: Session, events: Sequence[FulfillmentItem]) -> None:
    """Keep what happened to fulfillment items, whoever is told of it: a feed may be opened later, and begin before."""
    await feed_store.keep_events(session, [fulfillment.fields_of(event) for event in events])


SUBSCRIPTIONS = (
    on(CompanyChanged, keep_companies),
    on(ApiKeyChanged, keep_api_keys),
    on(ConnectionChanged, copy_connections),
    on((ProductChanged, ProductRemoved), copy_products),
    on((StockChanged, StockRemoved), keep_stock),
    on((FulfillmentRequestAssigned, FulfillmentRequestFailed, FulfillmentRequestCompleted), keep_fulfillment),
)
