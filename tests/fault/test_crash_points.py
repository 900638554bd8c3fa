"""Whatever moment a process dies in, once it is back nothing is lost, doubled or told too often (P1 to P6).

Each test lets one process kill itself, -9, at one dangerous place of its code (`POINTS` in crash_points.py says what
each means), while clients work; starts it again, waits until nothing is under way, and has the checker read the books.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from services.all_in_one import SERVICES
from shared import clock
from shared.database import Database
from shared.events.key_use import ApiKeyUse
from shared.messaging.consumer import sources_of
from shared.messaging.in_process import InProcessBus
from shared.service import Service, published_by
from shared.service_context import Context
from shared.settings import Settings
from tests.fault.checker import check
from tests.fault.crash_points import CRASHES, POINTS, WRITING, Crash, install
from tests.fault.crashable import CrashableProcess
from tests.fault.plant import Plant, running_plant
from tests.fault.settling import left_open
from tests.fault.shop import Shop, open_shop

SERVING = [crash for crash in CRASHES if crash.point.kind != "migration"]
# Each service's busiest queues stand for the others in the default tests; `make soak` has them all.
LATER = pytest.mark.soak
CASES = [pytest.param(crash, marks=LATER if ".catalog" in crash.place else (), id=str(crash)) for crash in SERVING]
MIGRATING = [crash for crash in CRASHES if crash.point.kind == "migration"]

# The clients and the receiver live as long as the plant.
in_one_loop = pytest.mark.asyncio(loop_scope="module")

WINDOW_SECONDS = 2
DEATH_SECONDS = 30
SETTLED_SECONDS = 30
POLL_SECONDS = 0.02

Work = Callable[[], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    with running_plant(
        process_type=CrashableProcess,
        webhook_window_seconds=str(WINDOW_SECONDS),
        # Shorter than the window, so that the lease of a dead sender does not stand in for it.
        webhook_timeout_seconds="1",
    ) as prepared:
        yield prepared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(plant: Plant) -> AsyncIterator[Shop]:
    async with open_shop(plant) as opened:
        yield opened


def work_that_passes(crash: Crash, shop: Shop) -> Work:
    """What clients do to bring a process past this point."""
    if crash.point.name == "consumer: dead letter kept, before ack":
        return lambda: shop.publish_garbage(crash.place)
    if crash.point.name == "consumer: half of a failing batch committed":
        return shop.publish_batch_with_a_bad_order
    if crash.place.endswith(".urgent"):
        return shop.change_keys
    if "catalog" in crash.place:
        return shop.list_products
    if crash.service == "notifier":
        works = {"request": shop.register_endpoint, "effect": shop.close_an_endpoint, "relay": shop.close_an_endpoint}
        return works.get(crash.point.kind, shop.count_stock)
    return shop.take_back if crash.place == "inventory.orders" else shop.trade


async def work_until_death(process: CrashableProcess, work: Work, *, once: bool) -> list[asyncio.Task[None]]:
    """Let clients work, `once` or again and again, until the process is dead; returns them: some wait for an answer."""
    deadline = clock.monotonic() + DEATH_SECONDS
    clients = [asyncio.create_task(work())]
    while process.is_running:
        assert clock.monotonic() < deadline, f"{process.name} does not come by:\n{process.tail()}"
        if clients[-1].done() and not once:
            clients.append(asyncio.create_task(work()))
        await asyncio.sleep(POLL_SECONDS)
    return clients


async def settle_and_check(shop: Shop) -> None:
    """What must be true whenever nothing is under way."""
    still_open = await left_open(shop.plant, shop.journal, SETTLED_SECONDS)
    dead_letters = await shop.dead_letters()
    dead, shop.bad_messages = shop.bad_messages, set()
    verdict = await check(shop.plant.dsn, shop.journal, [shop.system.webhooks], WINDOW_SECONDS)
    if still_open:
        verdict.violations["P7"] = still_open
    assert not verdict.problems(), str(verdict)
    assert sorted(dead_letters) == sorted(dead)
    shop.system.webhooks.verify()
    assert sorted(endpoint["url"] for endpoint in await shop._endpoints()) == sorted(shop.endpoint_urls)


def crashable(plant: Plant, service: str) -> CrashableProcess:
    process = plant.of(service)
    assert isinstance(process, CrashableProcess)
    return process


@in_one_loop
@pytest.mark.parametrize("crash", CASES)
async def test_a_process_that_dies_there_and_comes_back_keeps_every_promise(crash: Crash, shop: Shop) -> None:
    process = crashable(shop.plant, crash.service)
    deaths = process.crashes()
    process.crash_at(crash)
    work = work_that_passes(crash, shop)
    # What is counted once is told once: nothing that comes later hides that it was not.
    clients = await work_until_death(process, work, once=work == shop.count_stock)
    assert await process.until_ended() == -9
    assert process.crashes() == [*deaths, str(crash)]
    process.crash_at(None)
    process.launch()
    await process.until_ready()
    await asyncio.gather(*clients)
    await settle_and_check(shop)


@in_one_loop
async def test_a_sender_that_dies_while_its_call_is_under_way_tells_again_a_window_later(shop: Shop) -> None:
    process, webhooks = shop.plant.of("notifier"), shop.system.webhooks
    earlier = len(webhooks.calls)
    webhooks.hold()
    trading = asyncio.create_task(shop.trade())
    await webhooks.wait_for_calls(earlier + 1)
    process.kill()
    webhooks.release()
    process.launch()
    await process.until_ready()
    await trading
    await settle_and_check(shop)
    told, *later = [call.available.keys() for call in webhooks.calls[earlier:]]
    assert any(told <= products for products in later), f"{told} had no answer, and were not told again: {later}"


@in_one_loop
@pytest.mark.parametrize("crash", MIGRATING, ids=str)
async def test_a_migration_that_dies_leaves_nothing_in_the_way_of_the_next(crash: Crash, plant: Plant) -> None:
    process = crashable(plant, crash.service)
    deaths = process.crashes()
    await fetch(plant.dsn, f"create database fresh_for_{crash.service}")
    fresh = urlsplit(plant.dsn)._replace(path=f"/fresh_for_{crash.service}").geturl()
    process.crash_at(crash)
    assert await asyncio.to_thread(process.migrate(fresh).wait) == -9
    assert process.crashes() == [*deaths, str(crash)]
    process.crash_at(None)
    assert await asyncio.to_thread(process.migrate(fresh).wait) == 0, process.tail()
    columns = f"""
        select table_name, column_name, data_type from information_schema.columns
        where table_schema = '{crash.service}' order by 1, 2"""
    assert await fetch(fresh, columns) == await fetch(plant.dsn, columns)


async def fetch(dsn: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def test_every_point_is_tried_wherever_the_code_has_it() -> None:
    # When a key was last used is no promise: what dies with it is told with the next use.
    promised = {
        service.name: [one for one in published_by(service.name) if not issubclass(one, ApiKeyUse)]
        for service in SERVICES
    }
    publishers = {name for name, events in promised.items() if events}
    writers = {service.name for service in SERVICES if has_route_that_writes(service)}
    # The shop of these tests fulfils nothing: `notifier.orders`, of the same consumer as notifier's others, is idle.
    idle = {"notifier.orders"}
    queues = {queue for service in SERVICES for queue in queues_of(service) if not queue.startswith("catalog.")} - idle
    everywhere = {
        "effect": publishers,
        "request": writers,
        "relay": publishers,
        "consumer": queues,
        "fan-out": {"notifier"},
        "sender": {"notifier"},
        "migration": {service.name for service in SERVICES},
    }
    # Only what comes from outside is good in part, and notifier tells of one endpoint at a time.
    elsewhere = {
        "consumer: half of a failing batch committed": {"orders.submitted"},
        "relay: one of a batch confirmed, others not sent": publishers - {"notifier"},
    }
    places = {point.name: set(point.places) for point in POINTS}
    assert places == {point.name: elsewhere.get(point.name, everywhere[point.kind]) for point in POINTS}
    assert sorted(map(str, SERVING + MIGRATING)) == sorted(
        {f"{place}-{name}" for name in places for place in places[name]}
    )


def has_route_that_writes(service: Service) -> bool:
    routes = [route for router in service.routers for route in router.routes if isinstance(route, APIRoute)]
    return any(WRITING & (route.methods or set()) for route in routes)


def queues_of(service: Service) -> list[str]:
    database = Database(service.name, "postgresql://nobody@127.0.0.1/nothing", pool_size=1)
    context = Context(service.name, Settings(_env_file=None), database, InProcessBus(publish_timeout_seconds=1))
    sources = [*sources_of(service.name, service.subscriptions, 1), *service.intake(context)]
    return [source.queue.name for source in sources]


def test_a_seam_that_was_renamed_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    gone = replace(POINTS[0], seam="shared.messaging.outbox:write_down")
    with pytest.raises(AttributeError, match="write_down"):
        install([Crash(gone, "orders")], tmp_path / "orders")
