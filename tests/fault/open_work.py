"""What was under way at the moment of a kill: only rounds in which the victim had unacknowledged work count.

Transactions, calls and requests are the victim's own. What is queued for a service lies in front of all its replicas,
and which of them has it in hand only the broker knows: where there is more than one it is shown, and counts for none.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping

import asyncpg

from tests.fault.books import SCHEMAS
from tests.fault.plant import Plant

# Runs a statement that counts.
Count = Callable[..., Awaitable[int]]

POSTGRES, BROKER = "PostgreSQL", "RabbitMQ"

REQUESTS, PUBLISHES = "requests unanswered", "publishes unconfirmed"
TRANSACTIONS, CALLS, OUTBOX = "transactions open", "calls under way", "outbox"
# How the kinds end that are perhaps another replica's.
SHARED = " (of all replicas)"
# `$1` is a process's name for itself, or a pattern. A transaction counts once it has written or locked something:
# looking for work is no work.
COUNT_TRANSACTIONS = """
    select count(*) from pg_stat_activity where backend_xid is not null and application_name like $1
"""
COUNT_CALLS = """
    select count(distinct lease_id) from notifier.slots
    where lease_until > clock_timestamp() and claimed_by like $1
"""
NOTE_CLAIMS = """
    alter table notifier.slots add column if not exists claimed_by text;
    create or replace function notifier.note_claim() returns trigger language plpgsql as $$
        begin new.claimed_by := current_setting('application_name'); return new; end $$;
    create or replace trigger note_claim before update of lease_id on notifier.slots
        for each row when (new.lease_id is not null) execute function notifier.note_claim();
"""
# Work on its way to a service: a name for the histogram, and a statement that counts it.
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
    },
    "catalog": {},
}
ON_THE_BROKER = ("orders undecided", "returns not heard", "decisions not heard", "changes not copied")
NOT_ACCEPTED = "published orders not accepted"
COUNT_NOT_ACCEPTED = """
    select count(*) from unnest($1::text[]) as published (reference)
    where not exists (select from orders.orders o where o.external_ref = published.reference and o.seller_id = $2)
"""


async def note_claims(dsn: str) -> None:
    """Have the database note which process claims a call: a lease does not say whose it is."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(NOTE_CLAIMS)
    finally:
        await connection.close()


async def work_open_at(
    victim: str, plant: Plant, under_way: Mapping[str, int], published: tuple[Collection[str], int]
) -> dict[str, int]:
    """What concerns this victim and nobody has acknowledged yet: `{kind: how many}`, kinds without any left out.

    `victim` is a process's name, `PostgreSQL` or `RabbitMQ`. `under_way` and `published` are those of a `Load`.
    `note_claims` must have been called before.
    """
    connection = await asyncpg.connect(plant.dsn)
    try:
        if victim == POSTGRES:
            found = await _own(connection.fetchval, "basestock-%")
        elif victim == BROKER:
            found = await _queued(connection.fetchval, SCHEMAS, ON_THE_BROKER, published)
        else:
            found = await _of_process(connection.fetchval, victim, plant, published)
    finally:
        await connection.close()
    # Last and without waiting, so that it is as it was when the victim dies.
    found[REQUESTS] = sum(under_way.get(door, 0) for door in _doors(victim, plant))
    found[PUBLISHES] = under_way.get("broker", 0) if victim == BROKER else 0
    return {kind: count for kind, count in found.items() if count}


async def _of_process(
    count: Count, victim: str, plant: Plant, published: tuple[Collection[str], int]
) -> dict[str, int]:
    (process,) = (one for one in plant.processes if one.name == victim)
    queued = await _queued(count, [process.service], PIPE[process.service], published)
    if sum(one.service == process.service for one in plant.processes) > 1:
        queued = {f"{kind}{SHARED}": number for kind, number in queued.items()}
    return await _own(count, f"basestock-{process.service}-{process.pid}") | queued


async def _own(count: Count, names: str) -> dict[str, int]:
    return {
        TRANSACTIONS: await count(COUNT_TRANSACTIONS, names),
        CALLS: await count(COUNT_CALLS, names),
    }


async def _queued(
    count: Count, schemas: Collection[str], pipe: Collection[str], published: tuple[Collection[str], int]
) -> dict[str, int]:
    statements = {kind: statement for some in PIPE.values() for kind, statement in some.items()}
    found = {kind: await count(statements[kind]) for kind in pipe}
    found[OUTBOX] = sum([await count(f"select count(*) from {one}.outbox") for one in schemas])
    if "orders" in schemas:
        found[NOT_ACCEPTED] = await count(COUNT_NOT_ACCEPTED, *published)
    return found


def _doors(victim: str, plant: Plant) -> Collection[str]:
    """The services whose requests go to the victim: clients only know the first replica of each."""
    return SCHEMAS if victim == POSTGRES else [one for one in SCHEMAS if plant.of(one).name == victim]
