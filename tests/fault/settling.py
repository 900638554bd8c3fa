"""Wait until nothing is under way any more: every effect of what was acknowledged is where it belongs."""

import asyncio

import asyncpg

from shared import clock
from tests.end_to_end.system import eventually
from tests.fault.books import SCHEMAS
from tests.fault.journal import Journal
from tests.fault.plant import Plant

POLL_SECONDS = 0.2

COPIED = {"companies": "company_id", "api_keys": "key_id", "connections": "connection_id", "products": "product_id"}


def _not_copied(schema: str) -> str:
    counts = [
        f"""(select count(*) from catalog.{table} o left join {schema}.{table} c using ({key})
             where o.version > coalesce(c.version, 0))"""
        for table, key in COPIED.items()
    ]
    return f"select {' + '.join(counts)}"


# What is still under way, in words, and a statement that counts it.
NEWS_OF_CATALOG = {f"news of catalog that {schema} has not copied": _not_copied(schema) for schema in SCHEMAS[1:]}
OPEN = {
    **{f"messages in the outbox of {schema}": f"select count(*) from {schema}.outbox" for schema in SCHEMAS},
    **NEWS_OF_CATALOG,
    "orders that inventory has not decided, or orders has not heard about": """
        select count(*) from orders.orders o left join inventory.order_states s using (order_id)
        where s.order_id is null or o.decision < s.decision""",
    "returns that inventory has not heard of": """
        select count(*) from orders.returns r left join inventory.return_states s using (return_id)
        where s.return_id is null""",
    "fulfillment events that inventory has not heard of": """
        select count(*) from orders.fulfillment_events e
            left join inventory.fulfillment_items i using (supplier_id, logical_timestamp)
        where i.supplier_id is null""",
    "fulfillment events that notifier has not heard of": """
        select count(*) from orders.fulfillment_events e
            left join notifier.fulfillment_events v using (supplier_id, logical_timestamp)
        where v.supplier_id is null""",
    "reservations that hold units": "select count(*) from inventory.reservations where state in ('open', 'confirmed')",
    "changes of stock that notifier has not copied": """
        select count(*) from inventory.stock_items i left join notifier.stock_products p using (product_id)
        where i.version > coalesce(p.version, 0)""",
    "changes of stock that are not fanned out": """
        select count(*) from notifier.stock_products where fanned_out_version < version""",
    "slots that still have to be told": """
        select count(*) from notifier.slots s join notifier.endpoints e using (endpoint_id)
        where s.dirty and s.not_before < 'infinity' and e.state = 'active'""",
    "slots with a call under way": "select count(*) from notifier.slots where lease_until > clock_timestamp()",
}
REFERENCES = """
    select 'order', seller_id, external_ref from orders.orders
    union all select 'return', seller_id, external_ref from orders.returns
"""


async def until_settled(plant: Plant, journal: Journal, seconds: float = 60) -> None:
    """Wait until everything that was acknowledged has had all its effects and every queue is empty.

    Fails after `seconds` with what is still open. All services must run.
    """
    if still_open := await left_open(plant, journal, seconds):
        raise AssertionError("; ".join(still_open))


async def left_open(plant: Plant, journal: Journal, seconds: float) -> list[str]:
    """Wait as `until_settled` does; says in sentences what is still open after `seconds`, instead of failing."""
    deadline = clock.monotonic() + seconds
    while still_open := await open_work(plant, journal):
        if clock.monotonic() > deadline:
            return [f"still open after {seconds:g} s: {what}" for what in still_open]
        await asyncio.sleep(POLL_SECONDS)
    return []


async def until_catalog_is_known(dsn: str, seconds: float = 60) -> None:
    """Wait until all services have heard of all companies, keys, connections and products."""

    async def all_is_copied() -> bool:
        connection = await asyncpg.connect(dsn)
        try:
            return not any([await connection.fetchval(statement) for statement in NEWS_OF_CATALOG.values()])
        finally:
            await connection.close()

    await eventually("everything in catalog is known to the other services", all_is_copied, seconds)


async def open_work(plant: Plant, journal: Journal) -> list[str]:
    """What is still under way, in words. Queues are only asked once the database shows nothing: it takes a second."""
    connection = await asyncpg.connect(plant.dsn)
    try:
        counts = {what: await connection.fetchval(statement) for what, statement in OPEN.items()}
        still_open = [f"{count} {what}" for what, count in counts.items() if count]
        if not still_open:
            there = {tuple(row) for row in await connection.fetch(REFERENCES)}
            still_open = [
                f"{operation}, which was acknowledged, is not in orders"
                for operation in journal.operations
                if operation.kind != "adjustment" and operation.acknowledged and operation.key not in there
            ]
    finally:
        await connection.close()
    return still_open or await asyncio.to_thread(_messages_queued, plant)


def _messages_queued(plant: Plant) -> list[str]:
    """Messages that nobody has acknowledged: those left over may be second copies, which must do no harm either."""
    listed = plant.broker.ctl("list_queues", "--silent", "--no-table-headers", "name", "messages").splitlines()
    queues = [line.split() for line in listed if line.strip()]
    return [f"{count} messages in queue {name}" for name, count in queues if count != "0"]
