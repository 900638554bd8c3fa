"""Orders, returns and fulfillment on their way through one transaction: lock their items, decide, save, tell."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Literal, NamedTuple
from uuid import UUID

from services.inventory import fulfilling
from services.inventory.domain import orders as domain
from services.inventory.domain.orders import Connection, Decided, Line, Order, Taking
from services.inventory.domain.returns import restock
from services.inventory.domain.stock import Cause, Reserved, Stock
from services.inventory.fulfilling import ItemToApply, item_that_waited
from services.inventory.links import Key, find_links_or_wait, key_of, linked
from services.inventory.pending_values import DueValue, take_due, write_due
from services.inventory.record import record
from services.inventory.store import external_imports as external_store
from services.inventory.store import fulfillment as fulfillment_store
from services.inventory.store import orders as order_store
from services.inventory.store import stock as stock_store
from services.inventory.store.orders import DecidedLine, ParkedLine, StoredOrder, StoredReturn
from shared.catalog_view import Link
from shared.database import Session
from shared.events import Event
from shared.events.catalog import ProductChanged
from shared.events.inventory import OrderAllocated, OrderShort
from shared.events.orders import ItemsReturned, OrderEvent, OrderLine, ReturnedLine
from shared.messaging.outbox import publish

Links = Mapping[Key, Link]


class OrderToDecide(NamedTuple):
    """The lines of a locked order that are decided now: all of them, or those that were `parked` and are known now.

    In the latter case `decided` says what was decided on the others. `event` is the one being handled, for its trace;
    `reference` is the order's id as the ledger has it. What was `reserved` for the order is let go with its decision.
    """

    event: Event
    order_id: UUID
    reference: str
    seller_id: int
    source: str
    kind: str
    version: int
    decision: int
    lines: Sequence[Line]
    parked: Sequence[ParkedLine] = ()
    decided: Sequence[DecidedLine] | None = None
    reserved: Sequence[Reserved] = ()


class ReturnToRestock(NamedTuple):
    """The lines of a locked return that go into stock now."""

    event: Event
    return_id: UUID
    reference: str
    seller_id: int
    source: str
    lines: Sequence[Line]
    parked: Sequence[ParkedLine] = ()


def order_as_it_came(
    event: OrderEvent, decision: int, links: Links, reserved: Sequence[Reserved] = ()
) -> OrderToDecide:
    """An order of which nothing is decided yet, or all anew."""
    cancelled = event.state == "cancelled"
    kind = "order_cancelled" if cancelled else "order_amended" if event.version > 1 else "order"
    lines, parked = _look_up(event.order_id, "order", () if cancelled else event.lines, links)
    order_id = event.order_id
    return OrderToDecide(
        event,
        order_id,
        str(order_id),
        event.seller_id,
        event.source,
        kind,
        event.version,
        decision,
        lines,
        parked,
        reserved=reserved,
    )


def return_as_it_came(event: ItemsReturned, links: Links) -> ReturnToRestock:
    """A return that is new."""
    lines, parked = _look_up(event.return_id, "return", [line for line in event.lines if line.restock], links)
    return_id = event.return_id
    return ReturnToRestock(event, return_id, str(return_id), event.seller_id, event.source, lines, parked)


async def go_on(session: Session, news: Mapping[int, ProductChanged]) -> None:
    """Decide the lines that were parked until one of these (locked) products came, each line by itself.

    Before that, write the values that waited for them: lines find the stock that was there when they came.
    """
    values = await take_due(session, news)
    waiting = await order_store.find_parked(session, news)
    if not waiting and not values:
        return
    links = await find_links_or_wait(session, {line.wanted for line in waiting})
    ids = {
        kind: [one.document_id for one in waiting if one.kind == kind] for kind in ("order", "return", "fulfillment")
    }
    fulfilled = await fulfillment_store.find_waiting_orders(session, ids["fulfillment"])
    await order_store.lock_orders(session, {*ids["order"], *fulfilled})
    returns = await order_store.lock_returns(session, ids["return"])
    taken = await _take_parked(session, waiting, news, links)
    orders = await order_store.next_decisions(session, [id_ for id_ in ids["order"] if id_ in taken])
    requests = {(id_, line_id) for id_ in ids["fulfillment"] for line_id in taken.get(id_, ())}
    events = {id_: news[next(iter(lines.values())).waits_for] for id_, lines in taken.items()}
    await decide(
        session,
        [_rest_of_order(order, taken[order.order_id], links, events[order.order_id]) for order in orders],
        [
            _rest_of_return(item, taken[item.return_id], links, events[item.return_id])
            for item in returns
            if item.return_id in taken
        ],
        [
            item_that_waited(item, links[taken[item.request_id][item.line_id].wanted], events[item.request_id])
            for item in await fulfillment_store.take_waiting(session, requests)
        ],
        values,
    )


async def _take_parked(
    session: Session, waiting: Sequence[ParkedLine], news: Mapping[int, ProductChanged], links: Links
) -> dict[UUID, dict[int, ParkedLine]]:
    """Take what can be decided now out of the waiting, by document and line; the documents are locked.

    Only now it is certain what still waits: a newer version of an order may have come in between.
    """
    taken: dict[UUID, dict[int, ParkedLine]] = defaultdict(dict)
    still: list[ParkedLine] = []
    for line in await order_store.take_parked(session, {line.document_id for line in waiting}, news):
        waits_for = links[line.wanted].waits_for
        if waits_for is None:
            taken[line.document_id][line.line_id] = line
        else:
            still.append(replace(line, waits_for=waits_for))
    await order_store.park(session, still)
    return taken


def _rest_of_order(order: StoredOrder, line_ids: Collection[int], links: Links, event: Event) -> OrderToDecide:
    now = [line for line in order.lines if line.line_id in line_ids]
    lines, parked = _look_up(order.order_id, "order", now, links)
    return OrderToDecide(
        event,
        order.order_id,
        str(order.order_id),
        order.seller_id,
        order.source,
        "order",
        order.version,
        order.decision,
        lines,
        parked,
        [one for one in order.decided if one["line_id"] not in line_ids],
    )


def _rest_of_return(item: StoredReturn, line_ids: Collection[int], links: Links, event: Event) -> ReturnToRestock:
    now = [line for line in item.lines if line.line_id in line_ids]
    lines, parked = _look_up(item.return_id, "return", now, links)
    return ReturnToRestock(event, item.return_id, str(item.return_id), item.seller_id, item.source, lines, parked)


def _look_up(
    document_id: UUID, kind: Literal["order", "return"], lines: Sequence[OrderLine | ReturnedLine], links: Links
) -> tuple[list[Line], list[ParkedLine]]:
    """The lines as they are decided on, and those of them that have to wait."""
    found, parked = [], []
    for line in lines:
        key = key_of(line)
        link = links[key]
        found.append(linked(line, link))
        if link.waits_for is not None:
            parked.append(ParkedLine(document_id, line.line_id, kind, *key, link.waits_for))
    return found, parked


async def decide(
    session: Session,
    orders: Sequence[OrderToDecide],
    returns: Sequence[ReturnToRestock],
    items: Sequence[ItemToApply] = (),
    values: Sequence[DueValue] = (),
) -> None:
    """Write values, apply items, decide orders and restock returns, all of them locked; save it and tell of it."""
    if not orders and not returns and not items and not values:
        return
    both: list[OrderToDecide | ReturnToRestock] = [*orders, *returns]
    known_before = [order for order in orders if order.decision > 1]
    held = await order_store.find_takings(session, {*_ids(known_before), *_ids(items)})
    settled = await fulfillment_store.find_settled(session, _ids(known_before))
    connections = await order_store.find_connections(session, {one.seller_id for one in both})
    now = [item for item in items if not fulfilling.waits(item, held.get(item.order_id, ()))]
    others = [unit.product_id for order in orders for unit in order.reserved]
    others += [value.found.product_id for value in values if value.found.product_id is not None]
    stock = await _lock_stock(session, both, now, held, others)
    written = await write_due(session, stock, values) if values else {}
    gone = fulfilling.apply(now, held, stock)
    orders = [_what_is_left(order, settled.get(order.order_id)) for order in orders]
    outcomes = [_decide_order(order, held.get(order.order_id, []), connections, stock) for order in orders]
    refused = {item.return_id: _restock(item, connections[item.seller_id], stock) for item in returns}
    events = {str(unit.reservation_id): order.event for order in orders for unit in order.reserved}
    await record(session, stock, events | {one.reference: one.event for one in [*now, *both]})
    await order_store.save_takings(session, _takings(orders, outcomes, held), instead_of=held)
    await fulfillment_store.add_completed(session, gone)
    await order_store.clear_parked(session, [order.order_id for order in known_before if order.decided is None])
    await _park(session, both, [item for item in items if item not in now])
    await order_store.refuse_return_lines(session, {key: lines for key, lines in refused.items() if lines})
    await _tell(session, orders, outcomes, stock)
    await external_store.settle(session, written)


def _ids(some: Sequence[OrderToDecide] | Sequence[ItemToApply]) -> list[UUID]:
    return [one.order_id for one in some]


async def _park(
    session: Session, both: Sequence[OrderToDecide | ReturnToRestock], items: Sequence[ItemToApply]
) -> None:
    lines = [line for one in both for line in one.parked]
    lines += [item.parked for item in items if item.parked is not None]
    await order_store.park(session, lines)
    await fulfillment_store.let_wait(session, [item.key for item in items])


async def _lock_stock(
    session: Session,
    both: Sequence[OrderToDecide | ReturnToRestock],
    items: Sequence[ItemToApply],
    held: Mapping[UUID, Sequence[Taking]],
    others: Sequence[int],
) -> Stock:
    product_ids = {product_id for one in both for line in one.lines for product_id, _ in line.components}
    product_ids.update(product_id for one in items for product_id, _ in one.item.components)
    product_ids.update(taking.product_id for takings in held.values() for taking in takings)
    product_ids.update(others)
    return await stock_store.lock_stock(session, product_ids)


def _what_is_left(order: OrderToDecide, settled: Mapping[int, int] | None) -> OrderToDecide:
    """The order without the units that are completed or have failed: it takes them no more."""
    if not settled:
        return order
    left = [line._replace(quantity=max(0, line.quantity - settled.get(line.line_id, 0))) for line in order.lines]
    return order._replace(lines=left)


def _decide_order(
    order: OrderToDecide,
    held: Sequence[Taking],
    connections: Mapping[int, Mapping[int, Connection]],
    stock: Stock,
) -> list[Decided]:
    cause = Cause(order.kind, "order", order.source, order.reference)
    whole = Order(order.seller_id, order.lines, cause, connections[order.seller_id], held, reserved=order.reserved)
    if order.decided is None:
        return domain.decide(whole, stock)
    now = {line.line_id for line in order.lines}
    late = whole._replace(
        held=[taking for taking in held if taking.line_id in now],
        short_suppliers=frozenset(line["supplier_id"] for line in order.decided if line["outcome"] == "short"),
        drawn_suppliers=frozenset(line["supplier_id"] for line in order.decided if line["outcome"] == "allocated"),
    )
    return domain.decide(late, stock)


def _restock(item: ReturnToRestock, connections: Mapping[int, Connection], stock: Stock) -> list[tuple[int, str]]:
    """Restock a return's lines; returns those that were refused, with the reason."""
    cause = Cause("returned", "return", item.source, item.reference)
    reasons = (
        (line.line_id, restock(item.seller_id, line, connections, stock, cause))
        for line in item.lines
        if line.parked is None
    )
    return [(line_id, reason) for line_id, reason in reasons if reason is not None]


def _takings(
    orders: Sequence[OrderToDecide], outcomes: Sequence[Sequence[Decided]], held: Mapping[UUID, Sequence[Taking]]
) -> list[tuple[UUID, Taking]]:
    """What the orders that are decided, and those that held something, hold from now on."""
    takings = [
        (order.order_id, taking)
        for order, lines in zip(orders, outcomes, strict=True)
        for line in lines
        for taking in line.takes
    ]
    decided = {order.order_id: order for order in orders}
    for order_id, some in held.items():
        order = decided.get(order_id)
        if order is None:
            takings.extend((order_id, taking) for taking in some)
        elif order.decided is not None:
            now = {line.line_id for line in order.lines}
            takings.extend((order_id, taking) for taking in some if taking.line_id not in now)
    return takings


async def _tell(
    session: Session,
    orders: Sequence[OrderToDecide],
    outcomes: Sequence[Sequence[Decided]],
    stock: Stock,
) -> None:
    """Publish the decision on each order; where a line is parked still, keep what was decided on the others."""
    codes = stock.location_codes()
    to_keep: dict[UUID, list[DecidedLine]] = {}
    for order, outcome in zip(orders, outcomes, strict=True):
        suppliers = {line.line_id: line.supplier_id or None for line in order.lines}
        waits_for = {line.line_id: line.waits_for for line in order.parked}
        lines = [_line_decision(line, codes, suppliers, waits_for) for line in outcome]
        if order.decided is not None:
            lines = sorted([*lines, *order.decided], key=itemgetter("line_id"))
        kinds = {line["outcome"] for line in lines}
        event_type = OrderShort if kinds & {"short", "refused"} else OrderAllocated
        # Its parts are checked with it: made one by one, they would cost more than what they tell of.
        event = event_type.model_validate(
            {"order_id": order.order_id, "order_version": order.version, "decision": order.decision, "lines": lines}
        )
        publish(session, event, caused_by=order.event)
        if "parked" in kinds or order.decided is not None:
            to_keep[order.order_id] = lines
    await order_store.save_decided(session, to_keep)


def _line_decision(
    decided: Decided,
    codes: Mapping[int, str],
    suppliers: Mapping[int, int | None],
    waits_for: Mapping[int, int],
) -> DecidedLine:
    """What the event says of a line (`LineDecision`)."""
    return {
        "line_id": decided.line_id,
        "outcome": decided.outcome,
        "takes": [
            {"product_id": taking.product_id, "location": codes[taking.location_id], "quantity": taking.quantity}
            for taking in decided.takes
        ],
        "shortfall": decided.shortfall,
        "reason": decided.reason,
        # Of a product that it may not sell the seller does not learn whose it is, nor its owner of the order.
        "supplier_id": None if decided.outcome == "refused" else suppliers[decided.line_id],
        "waits_for": waits_for.get(decided.line_id),
    }
