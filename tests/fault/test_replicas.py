"""Two replicas of inventory and of notifier share the work; one dies, and the other one takes over."""

import asyncio
import re
import signal
from collections.abc import Iterator, Sequence
from random import Random

import aiohttp
import pytest

from tests.end_to_end.system import RETAILER, SUPPLIER, eventually
from tests.fault.journal import Operation, submit, submit_until_acknowledged
from tests.fault.market import PRODUCT_IDS, Market, Stall, ask, held_item, running_market, until_inventory_waits
from tests.fault.open_work import CALLS, REQUESTS, SHARED, TRANSACTIONS, note_claims, work_open_at
from tests.fault.plant import ServiceProcess

DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    # Small batches make many transactions, which is what two replicas could trip over.
    with running_market({"inventory": 2, "notifier": 2}, batch_events=3) as running:
        yield running


async def counted(process: ServiceProcess, metric: str) -> float:
    """The sum of one of a replica's counters over its labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{process.url}/metrics") as answer:
        text = await answer.text()
    return sum(float(value) for value in re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, flags=re.MULTILINE))


async def test_both_replicas_do_the_seeds_story_and_its_load(market: Market) -> None:
    chance = Random(1)
    plant = market.plant
    async with market.open() as stall:
        await stall.register(count=4)
        count = Operation("adjustment", SUPPLIER, "counted", {100: 10}, {"adjustment": 10})
        assert await submit(market.journal.enter(count), stall.supplier)
        line = {"product_id": 102, "variant_sku": "T01-S", "quantity": 2}
        order = Operation("order", RETAILER, "R-1001", {100: -2}, {"lines": [line]})
        answer = await stall.retailer.post("/v1/orders?wait=10", market.journal.enter(order).payload())
        order.sent = order.acknowledged = 1
        assert (answer.status, answer.body["status"]) == (201, "allocated"), answer.body
        assert await stall.available(100) == 8

        async def retailer_heard() -> bool:
            return any(call.available == {100: 8} for call in stall.webhooks.calls)

        await eventually("the retailer hears that 8 are left", retailer_heard)
        handled = {
            name: await counted(plant.of("inventory", name), "basestock_events_handled_total") for name in (1, 2)
        }
        called = {name: await counted(plant.of("notifier", name), "basestock_webhook_calls_total") for name in (1, 2)}
        numbers = iter(range(1_000_000))

        async def both_worked() -> bool:
            await stall.publish([market.some_order(f"L-{next(numbers)}", chance) for _ in range(10)])
            replicas = [
                *((plant.of("inventory", name), "basestock_events_handled_total", handled[name]) for name in (1, 2)),
                *((plant.of("notifier", name), "basestock_webhook_calls_total", called[name]) for name in (1, 2)),
            ]
            return all([await counted(process, metric) > before for process, metric, before in replicas])

        await eventually("both replicas of both services work", both_worked)
        await stall.settled()


async def test_what_one_replica_has_under_way_counts_for_that_one_alone(market: Market) -> None:
    plant = market.plant
    await note_claims(plant.dsn)

    async def own_work(name: str) -> dict[str, int]:
        work = await work_open_at(name, plant, {"inventory": 2}, ([], RETAILER))
        return {kind: count for kind, count in work.items() if not kind.endswith(SHARED)}

    async with market.open() as stall:
        await stall.register()
        for service in ("inventory", "notifier"):
            plant.of(service, 2).kill()
        stall.webhooks.hold()
        assert await submit(market.order("told by the first", [(PRODUCT_IDS[0], 1)]), stall.retailer)
        await stall.webhooks.wait_for_calls(1)
        assert await own_work("notifier-1") == {CALLS: 1}
        assert await own_work("notifier-2") == {}
        stall.webhooks.release()
        async with held_item(plant, PRODUCT_IDS[1]):
            assert await submit(market.order("taken by the first", [(PRODUCT_IDS[1], 1)]), stall.retailer)
            await until_inventory_waits(plant)
            assert await own_work("inventory-1") == {TRANSACTIONS: 1, REQUESTS: 2}
            assert await own_work("inventory-2") == {}
            shared = await work_open_at("inventory-2", plant, {}, ([], RETAILER))
            assert shared[f"orders undecided{SHARED}"] == 1
        await plant.start()
        await stall.settled()


async def test_a_dead_replicas_work_is_done_by_the_other_one(market: Market) -> None:
    chance = Random(2)
    plant = market.plant
    async with market.open() as stall:
        await stall.register()
        # The one that lives is away for now, so that it is the other that has a call under way and messages in hand.
        for service in ("inventory", "notifier"):
            plant.of(service, 2).kill()
        stall.webhooks.hold()
        first = market.order("told by the dead", [(PRODUCT_IDS[0], 1)])
        assert await submit(first, stall.retailer)
        await stall.webhooks.wait_for_calls(1)
        plant.of("inventory", 1).send(signal.SIGSTOP)
        for service in ("inventory", "notifier"):
            plant.of(service, 2).launch()
            await plant.of(service, 2).until_ready()
        orders = [market.some_order(f"held-{number}", chance) for number in range(40)]
        await stall.publish(orders)

        async def handed_out() -> bool:
            listed = await asyncio.to_thread(plant.broker.ctl, "list_queues", "name", "messages_unacknowledged")
            out = dict(line.split() for line in listed.splitlines() if line.startswith("inventory.orders\t"))
            return int(out["inventory.orders"]) > 3

        await eventually("the broker has handed orders out to both", handed_out)
        for service in ("inventory", "notifier"):
            plant.of(service, 1).kill()
        stall.webhooks.release()
        await stall.settled()
        assert len(stall.webhooks.calls) > 1
        await plant.start()


async def test_ten_thousand_mixed_orders_wait_for_no_one_in_a_circle(market: Market) -> None:
    chance = Random(3)
    before = await ask(market.plant, DEADLOCKS)
    ends = {process.name: process.log.stat().st_size for process in market.plant.processes}
    async with market.open() as stall:
        bulk = [market.some_order(f"B-{number}", chance) for number in range(8_500)]
        single = [market.some_order(f"S-{number}", chance) for number in range(1_500)]
        await asyncio.gather(
            stall.publish(bulk, orders_a_message=100),
            stall.publish(single),
            stall.publish(chance.sample(bulk, 500), orders_a_message=50),  # again
            send_returns(stall, 400, Random(4)),
            write_stock(stall, 150, Random(5)),
        )
        await stall.settled()
    for process in market.plant.processes:
        with process.log.open("rb") as log:
            log.seek(ends[process.name])
            assert b"consumer_paused" not in log.read(), process.tail()
    assert await ask(market.plant, DEADLOCKS) == before


async def send_returns(stall: Stall, count: int, chance: Random) -> None:
    for number in range(count):
        await submit_until_acknowledged(stall.market.some_return(f"back-{number}", chance), stall.retailer)


async def write_stock(stall: Stall, count: int, chance: Random) -> None:
    """Single adjustments, and bulk writes with rows in no order."""
    for number in range(count):
        products = chance.sample(PRODUCT_IDS, 8)
        rows = [stall.market.some_adjustment(f"row {number}-{one}", one, chance) for one in products]
        await write_bulk(stall, rows)
        single = stall.market.some_adjustment(f"single {number}", chance.choice(PRODUCT_IDS), chance)
        assert await submit(single, stall.supplier), stall.market.plant.of("inventory").tail()


async def write_bulk(stall: Stall, rows: Sequence[Operation]) -> None:
    body = [{"id": next(iter(row.effect)), "reason": row.reference, **row.body} for row in rows]
    answer = await stall.supplier.post("/v1/stock/bulk", body)
    assert answer.status == 200, answer.body
    for row in rows:
        row.sent = row.acknowledged = 1
