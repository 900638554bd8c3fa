"""What was under way at the moment of a kill: only rounds in which the victim had unacknowledged work count."""

from collections.abc import Sequence

import asyncpg

from tests.fault.books import SCHEMAS
from tests.fault.replay import Load

POSTGRES, BROKER = "PostgreSQL", "RabbitMQ"

REQUESTS, PUBLISHES = "requests unanswered", "publishes unconfirmed"
TRANSACTIONS, OUTBOX = "transactions open", "outbox"
# A transaction counts once it has written or locked something: looking for work is no work.
TRANSACTIONS_OF = """
    select count(*) from pg_stat_activity where backend_xid is not null and application_name like 'basestock-' || $1
"""
# Work on its way to a service, or under way in it: a name for the histogram, and a statement that counts it.
PIPE = {
    "orders": {
        "decisions not heard": """
            select count(*) from orders.orders o join inventory.order_states s using (order_id)
            where o.decision < s.decision""",
    },
    "inventory": {
        "orders undecided": """
            select count(*) from orders.orders o
            where not exists (select from inventory.order_states s where s.order_id = o.order_id)""",
        "returns not heard": """
            select count(*) from orders.returns r
            where not exists (select from inventory.return_states s where s.return_id = r.return_id)""",
    },
    "notifier": {
        "changes not copied": """
            select count(*) from inventory.stock_items i left join notifier.stock_products p using (product_id)
            where i.version > coalesce(p.version, 0)""",
        "changes not fanned out": "select count(*) from notifier.stock_products where fanned_out_version < version",
        "calls under way": """
            select count(distinct lease_id) from notifier.slots where lease_until > clock_timestamp()""",
    },
    "catalog": {},
}
ON_THE_BROKER = ("orders undecided", "returns not heard", "decisions not heard", "changes not copied")
NOT_ACCEPTED = "published orders not accepted"
COUNT_NOT_ACCEPTED = """
    select count(*) from unnest($1::text[]) as published (reference)
    where not exists (select from orders.orders o where o.external_ref = published.reference and o.seller_id = $2)
"""


async def work_open_at(victim: str, dsn: str, load: Load) -> dict[str, int]:
    """What concerns this victim and nobody has acknowledged yet: `{kind: how many}`, kinds without any left out.

    `victim` is a service (all its replicas share its work), `PostgreSQL` or `RabbitMQ`.
    """
    found: dict[str, int] = {}
    connection = await asyncpg.connect(dsn)
    try:
        if victim in PIPE:
            found[TRANSACTIONS] = await connection.fetchval(TRANSACTIONS_OF, victim)
            found[OUTBOX] = await connection.fetchval(f"select count(*) from {victim}.outbox")
            found |= {kind: await connection.fetchval(statement) for kind, statement in PIPE[victim].items()}
        elif victim == POSTGRES:
            found[TRANSACTIONS] = await connection.fetchval(TRANSACTIONS_OF, "%")
            found["calls under way"] = await connection.fetchval(PIPE["notifier"]["calls under way"])
        else:
            found[OUTBOX] = sum([await connection.fetchval(f"select count(*) from {one}.outbox") for one in SCHEMAS])
            statements = {kind: statement for some in PIPE.values() for kind, statement in some.items()}
            found |= {kind: await connection.fetchval(statements[kind]) for kind in ON_THE_BROKER}
        if victim in {"orders", BROKER}:
            found[NOT_ACCEPTED] = await connection.fetchval(COUNT_NOT_ACCEPTED, *load.lately_published())
    finally:
        await connection.close()
    # Last and without waiting, so that it is as it was when the victim dies.
    found[REQUESTS] = sum(load.under_way[door] for door in _doors(victim))
    found[PUBLISHES] = load.under_way["broker"] if victim == BROKER else 0
    return {kind: count for kind, count in found.items() if count}


def _doors(victim: str) -> Sequence[str]:
    return {POSTGRES: SCHEMAS, BROKER: ()}.get(victim, (victim,))
