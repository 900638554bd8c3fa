"""Orders and returns as inventory knows them: their newest state, what they hold, what they wait for."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import text

from services.inventory.domain.orders import Connection, Taking
from shared.database import Session, copy_in
from shared.events.orders import FulfillmentItem, ItemsReturned, OrderEvent, OrderLine, ReturnedLine

TAKING_COLUMNS = ("order_id", "line_id", "product_id", "location_id", "quantity", "effect", "per_unit")
ORDER_LINES = TypeAdapter(tuple[OrderLine, ...])
RETURNED_LINES = TypeAdapter(tuple[ReturnedLine, ...])

FIND_CONNECTIONS = text("""
    select retailer_id, supplier_id, state, default_location from connections
    where retailer_id = any(cast(:seller_ids as bigint[]))
""")
# An update of nothing locks those that are known, in one order with those that are added.
AWAIT_ORDERS = text("""
    insert into order_states (order_id, seller_id, external_ref, state, version, decision, lines)
    select order_id, seller_id, external_ref, 'open', 0, 1, '[]'
    from unnest(cast(:order_ids as uuid[]), cast(:seller_ids as bigint[]), cast(:external_refs as text[]))
        as n (order_id, seller_id, external_ref)
    order by order_id
    on conflict (order_id) do update set version = order_states.version where false
""")
# A row that is not older stays as it is, and is locked all the same.
KEEP_ORDERS = text("""
    insert into order_states (order_id, seller_id, external_ref, source, state, version, decision, lines)
    select order_id, seller_id, external_ref, source, state, version, 1, cast(lines as json)
    from unnest(cast(:order_ids as uuid[]), cast(:seller_ids as bigint[]), cast(:external_refs as text[]),
        cast(:sources as text[]), cast(:states as text[]), cast(:versions as bigint[]), cast(:lines as text[]))
        as n (order_id, seller_id, external_ref, source, state, version, lines)
    on conflict (order_id) do update set source = excluded.source, state = excluded.state,
        version = excluded.version, lines = excluded.lines, decided = null,
        decision = order_states.decision + 1
    where order_states.version < excluded.version
    returning order_id, decision
""")
LOCK_ORDERS = text("""
    select order_id from order_states where order_id = any(cast(:order_ids as uuid[])) order by order_id for update
""")
NEXT_DECISIONS = text("""
    update order_states set decision = decision + 1 where order_id = any(cast(:order_ids as uuid[]))
    returning order_id, seller_id, source, version, decision, lines, decided
""")
SAVE_DECIDED = text("""
    update order_states o set decided = cast(n.decided as jsonb)
    from unnest(cast(:order_ids as uuid[]), cast(:decided as text[])) as n (order_id, decided)
    where o.order_id = n.order_id
""")
FIND_TAKINGS = text("""
    select order_id, line_id, product_id, location_id, quantity, effect, per_unit from takings
    where order_id = any(cast(:order_ids as uuid[])) order by order_id, line_id, product_id
""")
CLEAR_TAKINGS = text("delete from takings where order_id = any(cast(:order_ids as uuid[]))")
ADD_RETURNS = text("""
    insert into return_states (return_id, seller_id, external_ref, source, lines)
    select return_id, seller_id, external_ref, source, cast(lines as jsonb)
    from unnest(cast(:return_ids as uuid[]), cast(:seller_ids as bigint[]), cast(:external_refs as text[]),
        cast(:sources as text[]), cast(:lines as text[])) as n (return_id, seller_id, external_ref, source, lines)
    on conflict (return_id) do nothing
    returning return_id
""")
LOCK_RETURNS = text("""
    select return_id, seller_id, external_ref, source, lines from return_states
    where return_id = any(cast(:return_ids as uuid[])) order by return_id for update
""")
REFUSE_RETURNS = text("""
    update return_states r set refused = r.refused || cast(n.refused as jsonb)
    from unnest(cast(:return_ids as uuid[]), cast(:refused as text[])) as n (return_id, refused)
    where r.return_id = n.return_id
""")
FIND_PARKED = text("""
    select document_id, line_id, kind, product_id, variant_sku, waits_for from parked_lines
    where waits_for = any(cast(:product_ids as bigint[]))
""")
TAKE_PARKED = text("""
    delete from parked_lines
    where document_id = any(cast(:document_ids as uuid[])) and waits_for = any(cast(:product_ids as bigint[]))
    returning document_id, line_id, kind, product_id, variant_sku, waits_for
""")
CLEAR_PARKED = text("delete from parked_lines where document_id = any(cast(:document_ids as uuid[]))")
# Several items of one request and line wait as one.
PARK = text("""
    insert into parked_lines (document_id, line_id, kind, product_id, variant_sku, waits_for)
    select * from unnest(cast(:document_ids as uuid[]), cast(:line_ids as integer[]), cast(:kinds as text[]),
        cast(:product_ids as bigint[]), cast(:variant_skus as text[]), cast(:waits_for as bigint[]))
    on conflict (document_id, line_id) do nothing
""")


# What was decided on a line: the event's `LineDecision`.
DecidedLine = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order of which some lines were parked: its newest version, the number of its next decision.

    `decided` is what was decided on each line before.
    """

    order_id: UUID
    seller_id: int
    source: str
    version: int
    decision: int
    lines: Sequence[OrderLine]
    decided: Sequence[DecidedLine]


@dataclass(frozen=True, slots=True)
class StoredReturn:
    """A return that came."""

    return_id: UUID
    seller_id: int
    source: str
    lines: Sequence[ReturnedLine]


@dataclass(frozen=True, slots=True)
class ParkedLine:
    """A line of an order, return or fulfillment request (`kind`) that waits for a product's event."""

    document_id: UUID
    line_id: int
    kind: Literal["order", "return", "fulfillment"]
    product_id: int
    variant_sku: str
    waits_for: int

    @property
    def wanted(self) -> tuple[int, str]:
        """What its link is looked up by."""
        return self.product_id, self.variant_sku


async def find_connections(session: Session, seller_ids: Collection[int]) -> dict[int, dict[int, Connection]]:
    """The dropship connections of these sellers: `{seller id: {supplier id: connection}}`."""
    found: dict[int, dict[int, Connection]] = {seller_id: {} for seller_id in seller_ids}
    for row in await session.execute(FIND_CONNECTIONS, {"seller_ids": list(seller_ids)}):
        found[row.retailer_id][row.supplier_id] = Connection(row.state == "active", row.default_location)
    return found


async def await_orders(session: Session, orders: Sequence[OrderEvent | FulfillmentItem]) -> None:
    """Lock the orders that these events are about, as placeholders of version 0 where they are unknown.

    So whoever brings an order and whoever brings its fulfillment come one after the other, and neither misses the
    other.
    """
    by_id = {order.order_id: order for order in orders}
    await session.execute(
        AWAIT_ORDERS,
        {
            "order_ids": list(by_id),
            "seller_ids": [order.seller_id for order in by_id.values()],
            "external_refs": [order.external_ref for order in by_id.values()],
        },
    )


async def keep_orders(session: Session, events: Sequence[OrderEvent]) -> dict[UUID, int]:
    """Keep and lock these orders, at most one event each; returns `{order id: decision}` of those that were news."""
    if not events:
        return {}
    events = sorted(events, key=lambda event: event.order_id.int)
    rows = await session.execute(
        KEEP_ORDERS,
        {
            "order_ids": [event.order_id for event in events],
            "seller_ids": [event.seller_id for event in events],
            "external_refs": [event.external_ref for event in events],
            "sources": [event.source for event in events],
            "states": [event.state for event in events],
            "versions": [event.version for event in events],
            "lines": [ORDER_LINES.dump_json(event.lines).decode() for event in events],
        },
    )
    return {order_id: decision for order_id, decision in rows.all()}  # noqa: C416 - rows are no pairs to mypy


async def lock_orders(session: Session, order_ids: Collection[UUID]) -> None:
    """Lock these orders."""
    if not order_ids:
        return
    await session.execute(LOCK_ORDERS, {"order_ids": list(order_ids)})


async def next_decisions(session: Session, order_ids: Collection[UUID]) -> list[StoredOrder]:
    """Count one more decision on each of these locked orders, and read them, by id."""
    if not order_ids:
        return []
    orders = [
        StoredOrder(
            row.order_id,
            row.seller_id,
            row.source,
            row.version,
            row.decision,
            [OrderLine.model_validate(line) for line in row.lines],
            row.decided,
        )
        for row in await session.execute(NEXT_DECISIONS, {"order_ids": list(order_ids)})
    ]
    return sorted(orders, key=lambda order: order.order_id)


async def save_decided(session: Session, decided: Mapping[UUID, Sequence[DecidedLine]]) -> None:
    """Keep what was decided on the lines of orders that have parked ones."""
    if decided:
        parameters = {"order_ids": list(decided), "decided": [json.dumps(lines) for lines in decided.values()]}
        await session.execute(SAVE_DECIDED, parameters)


async def find_takings(session: Session, order_ids: Collection[UUID]) -> dict[UUID, list[Taking]]:
    """What these orders hold; orders that hold nothing are left out."""
    found: dict[UUID, list[Taking]] = {}
    if not order_ids:
        return found
    for order_id, *taking in (await session.execute(FIND_TAKINGS, {"order_ids": list(order_ids)})).all():
        found.setdefault(order_id, []).append(Taking(*taking))
    return found


async def save_takings(session: Session, takings: Sequence[tuple[UUID, Taking]], instead_of: Collection[UUID]) -> None:
    """Save what orders take now; those named in `instead_of` held something before, which is replaced."""
    if instead_of:
        await session.execute(CLEAR_TAKINGS, {"order_ids": list(instead_of)})
    await copy_in(session, "takings", TAKING_COLUMNS, [(order_id, *taking) for order_id, taking in takings])


async def add_returns(session: Session, events: Sequence[ItemsReturned]) -> set[UUID]:
    """Keep and lock these returns; returns the ids of those that were news."""
    if not events:
        return set()
    events = sorted(events, key=lambda event: event.return_id.int)
    rows = await session.execute(
        ADD_RETURNS,
        {
            "return_ids": [event.return_id for event in events],
            "seller_ids": [event.seller_id for event in events],
            "external_refs": [event.external_ref for event in events],
            "sources": [event.source for event in events],
            "lines": [RETURNED_LINES.dump_json(event.lines).decode() for event in events],
        },
    )
    return {row.return_id for row in rows}


async def lock_returns(session: Session, return_ids: Collection[UUID]) -> list[StoredReturn]:
    """Lock these returns, and read them."""
    if not return_ids:
        return []
    rows = await session.execute(LOCK_RETURNS, {"return_ids": list(return_ids)})
    return [
        StoredReturn(row.return_id, row.seller_id, row.source, [ReturnedLine.model_validate(one) for one in row.lines])
        for row in rows
    ]


async def refuse_return_lines(session: Session, refused: Mapping[UUID, Sequence[tuple[int, str]]]) -> None:
    """Note that these lines (`(line id, reason)`) of returns were not restocked."""
    if refused:
        lines = [[{"line_id": line_id, "reason": reason} for line_id, reason in some] for some in refused.values()]
        parameters = {"return_ids": list(refused), "refused": [json.dumps(some) for some in lines]}
        await session.execute(REFUSE_RETURNS, parameters)


async def find_parked(session: Session, product_ids: Collection[int]) -> list[ParkedLine]:
    """The lines that wait for one of these products."""
    rows = await session.execute(FIND_PARKED, {"product_ids": list(product_ids)})
    return [ParkedLine(*row) for row in rows]


async def take_parked(
    session: Session, document_ids: Collection[UUID], product_ids: Collection[int]
) -> list[ParkedLine]:
    """Take the lines of these locked documents that wait for one of these products out of the waiting."""
    parameters = {"document_ids": list(document_ids), "product_ids": list(product_ids)}
    return [ParkedLine(*row) for row in await session.execute(TAKE_PARKED, parameters)]


async def clear_parked(session: Session, document_ids: Collection[UUID]) -> None:
    """Forget what these orders waited for."""
    if document_ids:
        await session.execute(CLEAR_PARKED, {"document_ids": list(document_ids)})


async def park(session: Session, lines: Sequence[ParkedLine]) -> None:
    """Let these lines wait; the products that they wait for are locked (`wait_for_products`).

    An item that is completed in parts waits once for all of them.
    """
    if lines:
        await session.execute(
            PARK,
            {
                "document_ids": [line.document_id for line in lines],
                "line_ids": [line.line_id for line in lines],
                "kinds": [line.kind for line in lines],
                "product_ids": [line.product_id for line in lines],
                "variant_skus": [line.variant_sku for line in lines],
                "waits_for": [line.waits_for for line in lines],
            },
        )
