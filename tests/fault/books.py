"""What the four schemas hold, read from the outside by plain SQL in one snapshot: none of it is the services' code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from tests.fault.journal import Kind

SCHEMAS = ("catalog", "orders", "inventory", "notifier")


class Entry(NamedTuple):
    """An entry of the ledger. `reference` is the id of its order or return; an adjustment's is in `reason`."""

    product_id: int
    location_id: int
    item_version: int
    kind: str
    reference: str
    line_id: int | None
    reason: str | None
    deltas: tuple[int, int, int]
    """Of on hand, allocated and reserved, in units; `after` are the three values after them."""
    after: tuple[int, int, int]
    occurred_at: datetime

    @property
    def available_delta(self) -> int:
        """By how much it changed what is available, in units."""
        on_hand, allocated, reserved = self.deltas
        return on_hand - allocated - reserved


class Document(NamedTuple):
    """An order or return as orders keeps it."""

    kind: Kind
    company_id: int
    reference: str
    document_id: str


class Level(NamedTuple):
    """The stock of an item at a location, in units."""

    on_hand: int
    allocated: int
    reserved: int
    safety_stock: int

    @property
    def available(self) -> int:
        """What can be sold."""
        return self.on_hand - self.allocated - self.reserved - self.safety_stock


class Endpoint(NamedTuple):
    """An active webhook endpoint, and the suppliers its retailer is connected with."""

    endpoint_id: int
    url: str
    created_at: datetime
    supplier_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that the promises are about.

    `ledger` is in the order of entry per product. By `(product id, location id)` are `levels` and, in units, `takings`,
    what is `completed` and has left, what of both is `allocating`, and what reservations hold (`reserving`).
    `attempts` are `(endpoint id, product id, version)` in the order they were made, `aside` are sentences on what no
    handler could deal with: dead letters and parked lines.
    """

    ledger: Sequence[Entry]
    levels: Mapping[tuple[int, int], Level]
    versions: Mapping[int, int]
    suppliers: Mapping[int, int]
    documents: Sequence[Document]
    takings: Mapping[tuple[int, int], int]
    completed: Mapping[tuple[int, int], int]
    allocating: Mapping[tuple[int, int], int]
    reserving: Mapping[tuple[int, int], int]
    endpoints: Sequence[Endpoint]
    attempts: Sequence[tuple[int, int, int]]
    aside: Sequence[str]


LEDGER = """
    select product_id, location_id, item_version, kind, reference, line_id, reason, on_hand_delta, allocated_delta,
        reserved_delta, on_hand, allocated, reserved, occurred_at
    from inventory.stock_ledger order by product_id, entry_id
"""
LEVELS = "select product_id, location_id, on_hand, allocated, reserved, safety_stock from inventory.stock_levels"
ITEMS = "select product_id, supplier_id, version from inventory.stock_items"
DOCUMENTS = """
    select 'order' as kind, seller_id, external_ref, order_id::text from orders.orders
    union all select 'return', seller_id, external_ref, return_id::text from orders.returns
"""
TAKINGS = "select product_id, location_id, sum(quantity)::bigint from inventory.takings group by 1, 2"
COMPLETED = "select product_id, location_id, sum(quantity)::bigint from inventory.completed_items group by 1, 2"
ALLOCATING = """
    select product_id, location_id, sum(quantity)::bigint from (
        select product_id, location_id, quantity from inventory.takings where effect = 'allocate'
        union all select product_id, location_id, quantity from inventory.completed_items where held) as parts
    group by 1, 2
"""
RESERVING = """
    select u.product_id, u.location_id, sum(u.quantity)::bigint
    from inventory.reserved_units u join inventory.reservations r using (reservation_id)
    where r.state in ('open', 'confirmed') group by 1, 2
"""
ENDPOINTS = """
    select e.endpoint_id, e.url, e.created_at,
        array(select c.supplier_id from catalog.connections c
              where c.retailer_id = e.company_id and c.state = 'active') as supplier_ids
    from notifier.endpoints e where e.state = 'active'
"""
ATTEMPTS = """
    select a.endpoint_id, told.product_id, told.version
    from notifier.attempts a cross join unnest(a.product_ids, a.versions) as told (product_id, version)
    order by a.attempt_id
"""
PARKED = "select kind, document_id::text, line_id, waits_for from inventory.parked_lines"


async def read_books(dsn: str) -> Books:
    """Read everything as it is at one moment."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _read(connection)
    finally:
        await connection.close()


async def _read(connection: Any) -> Books:  # noqa: ANN401 - asyncpg has no types
    items = await connection.fetch(ITEMS)
    dead = [
        f"{schema} has a dead letter of {row['queue']}, {row['message_id']}: {row['reason']}"
        for schema in SCHEMAS
        for row in await connection.fetch(f"select queue, message_id, reason from {schema}.dead_letters")
    ]
    parked = [
        f"line {row['line_id']} of {row['kind']} {row['document_id']} waits for product {row['waits_for']}"
        for row in await connection.fetch(PARKED)
    ]
    return Books(
        ledger=[_entry(row) for row in await connection.fetch(LEDGER)],
        levels={(row[0], row[1]): Level(*row[2:]) for row in await connection.fetch(LEVELS)},
        versions={row["product_id"]: row["version"] for row in items},
        suppliers={row["product_id"]: row["supplier_id"] for row in items},
        documents=[Document(*row) for row in await connection.fetch(DOCUMENTS)],
        takings=await _units(connection, TAKINGS),
        completed=await _units(connection, COMPLETED),
        allocating=await _units(connection, ALLOCATING),
        reserving=await _units(connection, RESERVING),
        endpoints=[Endpoint(row[0], row[1], row[2], frozenset(row[3])) for row in await connection.fetch(ENDPOINTS)],
        attempts=[(row[0], row[1], row[2]) for row in await connection.fetch(ATTEMPTS)],
        aside=[*dead, *parked],
    )


async def _units(connection: Any, query: str) -> dict[tuple[int, int], int]:  # noqa: ANN401 - asyncpg has no types
    return {(row[0], row[1]): row[2] for row in await connection.fetch(query)}


def _entry(row: Any) -> Entry:  # noqa: ANN401 - asyncpg has no types
    product_id, location_id, item_version, kind, reference, line_id, reason, *six, occurred_at = row
    on_hand_delta, allocated_delta, reserved_delta, on_hand, allocated, reserved = six
    return Entry(
        product_id=product_id,
        location_id=location_id,
        item_version=item_version,
        kind=kind,
        reference=reference,
        line_id=line_id,
        reason=reason,
        deltas=(on_hand_delta, allocated_delta, reserved_delta),
        after=(on_hand, allocated, reserved),
        occurred_at=occurred_at,
    )
