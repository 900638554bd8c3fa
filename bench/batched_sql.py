"""The ceiling of S2: the stock transaction alone, batched, with everything that it writes prepared beforehand.

Claim in the inbox, lock the items, lower the levels, enter in the ledger, keep orders and takings, raise versions,
write the outbox, commit: what inventory's transaction does to the same tables, by bare asyncpg, without a decision, an
event or a word of JSON being made meanwhile.
"""

import random
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from shared import clock

ORDERS_PER_TRANSACTION, TRANSACTIONS = 500, 60
PRODUCTS_PER_ORDER = 2
# What an item's `stock_changed` takes, and an order's `order_allocated`, as they are on the wire.
BYTES_PER_ITEM, BYTES_PER_ORDER = 900, 500

CLAIM = "insert into inbox (event_id) select * from unnest($1::text[]) on conflict do nothing returning event_id"
LOCK = """
    select i.product_id, i.version, v.on_hand from stock_items i join stock_levels v on v.product_id = i.product_id
    where i.product_id = any($1::bigint[]) order by i.product_id for update of i
"""
LOWER = """
    update stock_levels l set on_hand = l.on_hand - n.units
    from unnest($1::bigint[], $2::bigint[]) as n (product_id, units)
    where l.product_id = n.product_id
"""
RAISE = "update stock_items set version = version + 1 where product_id = any($1::bigint[])"
KEEP_ORDERS = """
    insert into order_states (order_id, seller_id, external_ref, source, state, version, decision, lines)
    select id, 1, id::text, 'amqp', 'open', 1, 1, '[]' from unnest($1::uuid[]) as id
"""
TELL = """
    insert into outbox (message_id, topic, content_type, body, traceparent, mandatory, urgent)
    select gen_random_uuid(), 'bench', 'bench', body, '', false, false from unnest($1::bytea[]) as body
"""
LEDGER = (
    "product_id",
    "location_id",
    "item_version",
    "on_hand_delta",
    "allocated_delta",
    "reserved_delta",
    "on_hand",
    "allocated",
    "reserved",
    "kind",
    "actor",
    "source",
    "reference",
)
TAKINGS = ("order_id", "line_id", "product_id", "location_id", "quantity", "effect", "per_unit")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes."""

    event_ids: list[str]
    order_ids: list[UUID]
    units: dict[int, int]
    ledger: list[tuple[object, ...]]
    takings: list[tuple[object, ...]]
    bodies: list[bytes]


async def measure(dsn: str, products: int) -> float:
    """Orders per second on inventory's own tables, in which these products (1 to `products`) have stock."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "inventory"})
    try:
        location_id = await connection.fetchval("select min(location_id) from locations")
        batches = [_batch(number, products, location_id) for number in range(TRANSACTIONS)]
        started = clock.monotonic()
        for batch in batches:
            await _run(connection, batch)
        rate = TRANSACTIONS * ORDERS_PER_TRANSACTION / (clock.monotonic() - started)
        await connection.execute("delete from outbox where topic = 'bench'")
        return rate
    finally:
        await connection.close()


def _batch(number: int, products: int, location_id: int) -> Batch:
    chance = random.Random(number)
    order_ids = [clock.uuid7() for _ in range(ORDERS_PER_TRANSACTION)]
    units: dict[int, int] = {}
    ledger: list[tuple[object, ...]] = []
    takings: list[tuple[object, ...]] = []
    for order_id in order_ids:
        for line, product in enumerate(chance.sample(range(1, products + 1), PRODUCTS_PER_ORDER), 1):
            units[product] = units.get(product, 0) + 1
            ledger.append((product, location_id, 1, -1, 0, 0, 0, 0, 0, "order", "order", "amqp", str(order_id)))
            takings.append((order_id, line, product, location_id, 1, "decrement", 1))
    told = len(units) * BYTES_PER_ITEM + ORDERS_PER_TRANSACTION * BYTES_PER_ORDER
    bodies = [b"x" * 90_000] * (told // 90_000)
    return Batch(
        [str(clock.uuid7()) for _ in order_ids], order_ids, dict(sorted(units.items())), ledger, takings, bodies
    )


async def _run(connection: "asyncpg.Connection[asyncpg.Record]", batch: Batch) -> None:
    product_ids, units = list(batch.units), list(batch.units.values())
    async with connection.transaction():
        await connection.fetch(CLAIM, batch.event_ids)
        await connection.fetch(LOCK, product_ids)
        await connection.execute(KEEP_ORDERS, batch.order_ids)
        await connection.execute(LOWER, product_ids, units)
        await connection.execute(RAISE, product_ids)
        await connection.copy_records_to_table("stock_ledger", records=batch.ledger, columns=LEDGER)
        await connection.copy_records_to_table("takings", records=batch.takings, columns=TAKINGS)
        await connection.execute(TELL, batch.bodies)
