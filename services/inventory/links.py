"""Looking up where ordered products lead, and waiting for those that catalog has not told of yet."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from services.inventory.domain.orders import Line
from services.inventory.store import stock as stock_store
from shared.catalog_view import Link, find_links, wait_for_products
from shared.database import Session
from shared.events.catalog import ProductChanged, ProductRemoved
from shared.events.orders import FulfillmentItem, OrderLine, ReturnedLine

# What is looked up: a product, and its variant or "".
Key = tuple[int, str]


def key_of(line: OrderLine | ReturnedLine | FulfillmentItem) -> Key:
    """What a line's link is looked up by."""
    return line.product_id, line.variant_sku or ""


def linked(line: OrderLine | ReturnedLine, link: Link) -> Line:
    """The line as it is decided on."""
    if link.waits_for is not None:
        return Line(line.line_id, line.quantity, line.location, parked=link.reason)
    components = link.components if len(link.components) < 2 else _merged(link.components)  # noqa: PLR2004 - of two on
    return Line(
        line.line_id,
        line.quantity,
        line.location,
        link.owner_id or 0,
        link.supplier_id or 0,
        components,
        product_id=line.product_id,
        checked=isinstance(line, OrderLine) and line.checked,
    )


def _merged(components: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Components with each product once: a line takes it once."""
    quantities: dict[int, int] = {}
    for product_id, quantity in components:
        quantities[product_id] = quantities.get(product_id, 0) + quantity
    return tuple(quantities.items())


async def find_known_links(session: Session, wanted: Collection[Key]) -> dict[Key, Link]:
    """Where each product leads, as far as it is known now."""
    return await _find(session, wanted)


async def find_links_or_wait(session: Session, wanted: Collection[Key]) -> dict[Key, Link]:
    """Where each product leads; a product that one of them waits for stays locked until the transaction ends.

    So whoever parks a line and whoever brings its product come one after the other, and neither misses the other.
    """
    links = await _find(session, wanted)
    locked: set[int] = set()
    while missing := {link.waits_for for link in links.values() if link.waits_for is not None} - locked:
        await wait_for_products(session, missing)
        locked |= missing
        links |= await _find(session, {key for key, link in links.items() if link.waits_for is not None})
    return links


async def lock_with_what_they_need(session: Session, events: Sequence[ProductChanged | ProductRemoved]) -> None:
    """Lock these products together with those they lead to and that are unknown: parked lines may come to wait for one.

    That is the unknown end of a chain of virtual bases, and a base stock product that no stock is kept of yet.
    """
    changed = [event for event in events if isinstance(event, ProductChanged)]
    bases = {(event.base_product_id, "") for event in changed if event.base_product_id is not None}
    links = await _find(session, bases) if bases else {}
    components = [item for event in changed for item in event.components]
    components += [item for event in changed for variant in event.variants for item in variant.components]
    missing = await stock_store.without_item(session, {item.product_id for item in components})
    missing |= {link.waits_for for link in links.values() if link.waits_for is not None}
    if missing:
        await wait_for_products(session, missing | {event.product_id for event in events})


async def _find(session: Session, wanted: Collection[Key]) -> dict[Key, Link]:
    links = await find_links(session, wanted)
    component_ids = {product_id for link in links.values() for product_id, _ in link.components}
    without_item = await stock_store.without_item(session, component_ids)
    if not without_item:
        return links
    return {key: _waiting(link, without_item) for key, link in links.items()}


def _waiting(link: Link, without_item: set[int]) -> Link:
    missing = next((product_id for product_id, _ in link.components if product_id in without_item), None)
    if missing is None:
        return link
    return replace(link, waits_for=missing, reason=f"the stock of product {missing} is not known yet")
