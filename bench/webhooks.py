"""S5: how many signed webhook calls a second, one product each, with every attempt and acknowledgement committed.

`python -m bench.webhooks DSN` on an empty database. The ceiling is a bare aiohttp client that posts a body of the same
size to the same server in the same run, as many at once, and keeps nothing.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from sqlalchemy import text

from services.notifier import sender
from services.notifier.encryption import vault_of
from services.notifier.fan_out import fan_out_chunk
from services.notifier.signing import new_secret
from shared import clock
from shared.database import Database
from shared.messaging.in_process import InProcessBus
from shared.migrations import upgrade
from shared.service_context import Context
from shared.settings import Settings

# One endpoint each, as an endpoint has one call under way at most; enough for some seconds.
CALLS = 20_000
PRODUCTS = 1_000
# Both clients call these in turn: aiohttp remembers how it parsed the last few.
URLS = 100
BARE_CALLS_AT_ONCE = 64
# About what one product with one linked product makes.
BARE_BODY = b"x" * 330

# Each retailer is connected to the one supplier, whose every product another one that they see draws on.
RETAILERS_AND_PRODUCTS = """
    insert into connections (connection_id, supplier_id, retailer_id, state, version)
        select n, 1, 1000 + n, 'active', 1 from generate_series(1, :retailers) n;
    insert into products (product_id, owner_id, type, sku, visibility, visible_to, version)
        select n, 1, 'stock', 'S-' || n, 'private', cast('{}' as bigint[]), 1
        from generate_series(1, :products) n
        union all
        select 100000 + n, 1, 'customisable', 'C-' || n, 'connected', cast('{}' as bigint[]), 1
        from generate_series(1, :products) n;
    insert into product_parts (product_id, variant_sku, attributes, component_ids, quantities)
        select n, '', cast('[]' as jsonb), array[n], array[1] from generate_series(1, :products) n
        union all
        select 100000 + n, '', cast('[]' as jsonb), array[n], array[1] from generate_series(1, :products) n
"""
SEED = f"""
    {RETAILERS_AND_PRODUCTS};
    insert into stock_products (product_id, supplier_id, sku, available, previous_available, occurred_at, version,
            changes, fanned_out_version, fanned_out_changes)
        select n, 1, 'S-' || n, 10, 11, db_now(), 1, 1, 1, 0 from generate_series(1, :products) n;
    insert into endpoints (company_id, url, secret, window_seconds, state, version, created_at)
        select 1000 + n, :url || n % :urls, :secret, 0, 'active', 1, db_now() from generate_series(1, :retailers) n;
    insert into slots (endpoint_id, product_id, dirty, not_before, sent_changes, told_changes)
        select endpoint_id, 1 + endpoint_id % :products, true, db_now(), 0, 0 from endpoints;
    analyze
"""


async def measure(dsn: str) -> dict[str, object]:
    """Both figures, as a row of the bench's table. `dsn` is an empty database."""
    await upgrade("notifier", dsn)
    settings = Settings(
        dsn=dsn, webhook_encryption_key="k" * 32, webhook_allow_networks=("127.0.0.0/8",), _env_file=None
    )
    database = Database("notifier", dsn, pool_size=settings.database_pool_size)
    try:
        async with bare_server() as url:
            await _seed(database, url, vault_of(settings.webhook_encryption_key).encrypt(new_secret()))
            before = await _bare_calls_per_second(url)
            deliveries = await _deliveries_per_second(database, settings)
            # Before and after: other work on the machine changes during a run.
            bare = (before + await _bare_calls_per_second(url)) / 2
    finally:
        await database.close()
    return {
        "bar": "S5 signed webhook calls, one product each",
        "unit": "calls/s",
        "figure": round(deliveries),
        "ceiling": round(bare),
        "ceiling_is": "bare aiohttp client",
        "ratio": round(deliveries / bare, 2),
        "beside": f"{CALLS:,} endpoints, {sender.CALLS_AT_ONCE} calls at once",
    }


async def seed(database: Database, statements: str, values: dict[str, object]) -> None:
    """Execute statements, with semicolons between them, each with those of `values` that it names."""
    async with database.transaction() as session:
        for statement in statements.split(";"):
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            await session.execute(text(statement), used)


async def _seed(database: Database, url: str, secret: str) -> None:
    values = {"retailers": CALLS, "products": PRODUCTS, "url": f"{url}/", "urls": URLS, "secret": secret}
    await seed(database, SEED, values)
    # The fan-out of the bench's own making left nothing to do.
    assert not (await fan_out_chunk(database)).products


async def _deliveries_per_second(database: Database, settings: Settings) -> float:
    bus = InProcessBus(publish_timeout_seconds=settings.publish_timeout_seconds)
    context = Context("notifier", settings, database, bus)
    started = clock.monotonic()
    running = asyncio.create_task(sender.Sender(context, asyncio.Event()).run())
    try:
        while await _count(database, "select count(*) from (select from slots where dirty limit 1) s"):
            assert not running.done(), "the sender died"
            await clock.sleep(0.05)
        seconds = clock.monotonic() - started
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bus.close()
    assert await _count(database, "select count(*) from attempts where error is null") == CALLS
    return CALLS / seconds


async def _count(database: Database, query: str) -> int:
    async with database.transaction() as session:
        return int((await session.execute(text(query))).scalar_one())


async def _bare_calls_per_second(url: str) -> float:
    calls = iter(range(CALLS))

    async def call_on(session: aiohttp.ClientSession) -> None:
        for number in calls:
            async with session.post(f"{url}/{number % URLS}", data=BARE_BODY) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = clock.monotonic()
        await asyncio.gather(*(call_on(session) for _ in range(BARE_CALLS_AT_ONCE)))
        return CALLS / (clock.monotonic() - started)


@asynccontextmanager
async def bare_server() -> AsyncIterator[str]:
    """A bare aiohttp server in a process of its own; yields its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.webhooks", "serve", stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _serve() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Measure on the database named on the command line, or be the server."""
    (argument,) = sys.argv[1:]
    if argument == "serve":
        asyncio.run(_serve())
    else:
        for name, value in asyncio.run(measure(argument)).items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
