"""S6: a million changes of 5,000 products that 200 retailers hear of: what is written, what is called, what is kept.

`python -m bench.fan_out DSN` on an empty database. The window is scaled (two minutes for fifteen); changes come at an
even pace through the handler of stock events, 500 a transaction as from the queue, while fan-out and sender run as they
do in production. The ceiling is what the promise allows: a slot is marked, claimed and acknowledged once per window.
"""

import asyncio
import random
import resource
import sys
from pathlib import Path

from sqlalchemy import text

from bench.webhooks import RETAILERS_AND_PRODUCTS, bare_server, seed
from services.notifier import fan_out, handlers
from services.notifier.encryption import vault_of
from services.notifier.sender import Sender
from services.notifier.signing import new_secret
from shared import clock
from shared.database import Database
from shared.events.inventory import StockChanged
from shared.messaging.in_process import InProcessBus
from shared.migrations import upgrade
from shared.service_context import Context
from shared.settings import Settings

CHANGES = 1_000_000
PRODUCTS, RETAILERS = 5_000, 200
WINDOW_SECONDS = 120
# So many windows the changes last; each retailer is told of each product in the one after as well.
WINDOWS = 2
BATCH_EVENTS = 500
# A slot is marked by the fan-out, claimed, and acknowledged.
WRITES_PER_SLOT = 3

SEED = f"""
    {RETAILERS_AND_PRODUCTS};
    insert into endpoints (company_id, url, secret, window_seconds, state, version, created_at)
        select 1000 + n, :url || n, :secret, 0, 'active', 1, db_now() from generate_series(1, :retailers) n;
    analyze
"""
WRITTEN = """
    select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables
    where schemaname = 'notifier' and relname in ('slots', 'stock_products', 'attempts', 'endpoints')
"""


async def measure(dsn: str) -> list[dict[str, object]]:
    """Rows of the bench's table. `dsn` is an empty database."""
    await upgrade("notifier", dsn)
    settings = Settings(
        dsn=dsn,
        webhook_encryption_key="k" * 32,
        webhook_window_seconds=WINDOW_SECONDS,
        webhook_allow_networks=("127.0.0.0/8",),
        _env_file=None,
    )
    database = Database("notifier", dsn, pool_size=settings.database_pool_size)
    try:
        async with bare_server() as url:
            await _seed(database, url, vault_of(settings.webhook_encryption_key).encrypt(new_secret()))
            return await _run(database, settings)
    finally:
        await database.close()


async def _seed(database: Database, url: str, secret: str) -> None:
    values = {"retailers": RETAILERS, "products": PRODUCTS, "url": f"{url}/", "secret": secret}
    await seed(database, SEED, values)


async def _run(database: Database, settings: Settings) -> list[dict[str, object]]:
    bus = InProcessBus(publish_timeout_seconds=settings.publish_timeout_seconds)
    woken = asyncio.Event()
    running = [
        asyncio.create_task(fan_out.run(database, woken)),
        asyncio.create_task(Sender(Context("notifier", settings, database, bus), woken).run()),
    ]
    memory_mib: list[float] = []
    started = clock.monotonic()
    try:
        await _change(database, memory_mib)
        changed_seconds = clock.monotonic() - started
        while await _count(database, "select count(*) from (select from slots where dirty limit 1) s"):
            assert not any(task.done() for task in running), "the notifier died"
            await clock.sleep(1)
            memory_mib.append(_resident_mib())
        seconds = clock.monotonic() - started
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await bus.close()
    return await _rows(database, changed_seconds, seconds, memory_mib)


async def _change(database: Database, memory_mib: list[float]) -> None:
    """All changes, evenly over the windows."""
    chance = random.Random(7)
    available, versions = [100] * PRODUCTS, [0] * PRODUCTS
    started, batches = clock.monotonic(), CHANGES // BATCH_EVENTS
    for batch in range(batches):
        events = [_change_of(chance.randrange(PRODUCTS), chance, available, versions) for _ in range(BATCH_EVENTS)]
        async with database.transaction() as session:
            await handlers.keep_stock(session, events)
        if batch % 50 == 0:
            memory_mib.append(_resident_mib())
        ahead = started + batch / batches * WINDOWS * WINDOW_SECONDS - clock.monotonic()
        await clock.sleep(max(0, ahead))


def _change_of(index: int, chance: random.Random, available: list[int], versions: list[int]) -> StockChanged:
    previous = available[index]
    available[index] = previous - 1 if chance.random() < 0.9 else previous + 9
    versions[index] += 1
    return StockChanged(
        base_stock_product_id=index + 1,
        supplier_id=1,
        sku=f"S-{index + 1}",
        on_hand=available[index],
        allocated=0,
        reserved=0,
        available=available[index],
        previous_available=previous,
        levels=(),
        changes=1,
        causes=("order",),
        occurred_at=clock.utc_now(),
        version=versions[index],
    )


async def _rows(
    database: Database, changed_seconds: float, seconds: float, memory_mib: list[float]
) -> list[dict[str, object]]:
    async with database.transaction() as session:
        # What backends counted is told to others when they are idle, at the latest.
        await session.execute(text("select pg_stat_clear_snapshot()"))
        written = {name: int(rows) for name, rows in (await session.execute(text(WRITTEN))).all()}
    calls = await _count(database, "select count(*) from attempts where error is null")
    told = await _count(database, "select sum(cardinality(product_ids)) from attempts where error is null")
    # The first window begins with the first change, the last one ends after the last call.
    windows = int(seconds / WINDOW_SECONDS) + 1
    most = PRODUCTS * RETAILERS * windows
    settled = await _count(
        database,
        "select count(*) from slots s join stock_products p using (product_id) where s.told_available = p.available",
    )
    assert settled == PRODUCTS * RETAILERS, "somebody does not know what is now"
    # Flat: what the second half holds beside the first.
    half = len(memory_mib) // 2
    bounds = f"{PRODUCTS:,} products x {RETAILERS} retailers x {windows} windows"
    other = f"{written['stock_products']:,} of products, {written['attempts']:,} of the log"
    first, second = max(memory_mib[:half]), max(memory_mib[half:])
    return [
        _row(
            "S6 slots written", "rows", written["slots"], most * WRITES_PER_SLOT, f"{bounds} x {WRITES_PER_SLOT}", other
        ),
        _row("S6 products told", "products", told, most, bounds, f"{calls:,} calls in {seconds:.0f} s"),
        _row(
            "S6 memory, second half",
            "MiB",
            round(second),
            round(first),
            "first half",
            f"changes: {changed_seconds:.0f} s",
        ),
    ]


def _row(bar: str, unit: str, figure: int, ceiling: int, *said: str) -> dict[str, object]:
    ceiling_is, beside = said
    return {
        "bar": bar,
        "unit": unit,
        "figure": figure,
        "ceiling": ceiling,
        "ceiling_is": ceiling_is,
        "ratio": round(figure / ceiling, 2),
        "beside": beside,
    }


async def _count(database: Database, query: str) -> int:
    async with database.transaction() as session:
        return int((await session.execute(text(query))).scalar_one())


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Measure on the database named on the command line."""
    (dsn,) = sys.argv[1:]
    for row in asyncio.run(measure(dsn)):
        print(row)


if __name__ == "__main__":
    main()
