"""Many clients write stock of one product through two processes at once; one of these dies of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from services.commands.check import check_everything
from shared.database import Database
from tests.app import Client
from tests.end_to_end.system import RETAILER, SUPPLIER, eventually
from tests.fault.crash_points import CRASHES
from tests.fault.crashable import CrashableProcess
from tests.fault.journal import Operation, submit_under_key, submit_until_acknowledged
from tests.fault.market import INVENTORY_WAITS, PRODUCT_IDS, Market, Stall, ask, held_item, running_market

WRITERS, TURNS = 64, 3
BEFORE_THE_ANSWER = "inventory-request: after commit, before the answer"
# Orders lower on hand in main, and allocate on the shelf.
MAIN, SHELF = "main", "shelf"
PROCESSES_WAITING = INVENTORY_WAITS.replace("select 1", "select count(distinct application_name)")

Line = dict[str, object]
# The status of an order, and the outcome of each line.
Sold = tuple[str, list[str]]
CASE: Line = {"product_id": 200, "quantity": 1}
PRINTED_CASE: Line = {"product_id": 201, "quantity": 1}


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    # Small batches make many transactions, which is what two processes could trip over.
    with running_market({"inventory": 2}, batch_events=3, process_type=CrashableProcess) as running:
        yield running


@asynccontextmanager
async def both_replicas(market: Market) -> AsyncIterator[list[Client]]:
    """The supplier's clients of the two processes of inventory."""
    async with AsyncExitStack() as stack:
        processes = [market.plant.of("inventory", number) for number in (1, 2)]
        yield [await stack.enter_async_context(Client(one.url, market.keys[SUPPLIER])) for one in processes]


async def die_midway(process: CrashableProcess, adjustments: Sequence[Operation]) -> None:
    """Kill it, once a third of the adjustments is answered, between a commit and its answer."""

    async def is_midway() -> bool:
        return sum(one.acknowledged for one in adjustments) > len(adjustments) // 3

    await eventually("a third of the adjustments is answered", is_midway)
    process.crash_at(next(one for one in CRASHES if str(one) == BEFORE_THE_ANSWER))
    assert await process.until_ended() == -9
    assert any(not one.acknowledged for one in adjustments), "it died midway"


@asynccontextmanager
async def alive_afterwards(market: Market, process: CrashableProcess) -> AsyncIterator[None]:
    """Leave the process running to the next test, however this one ends."""
    try:
        yield
    finally:
        process.crash_at(None)
        await market.plant.start()


async def test_of_many_writers_nothing_is_lost_or_counted_twice_when_a_process_dies(market: Market) -> None:
    product_id, doomed = PRODUCT_IDS[0], market.plant.of("inventory", 1)
    assert isinstance(doomed, CrashableProcess)
    numbers = [(writer, turn) for writer in range(WRITERS) for turn in range(TURNS)]
    adjustments = {one: _adjustment(market, product_id, *one) for one in numbers}
    orders = {one: _order(market, product_id, *one) for one in numbers}
    replayed: list[bool] = []
    async with (
        alive_afterwards(market, doomed),
        market.open() as stall,
        both_replicas(market) as replicas,
        stall.intake() as publish,
    ):
        made = await stall.supplier.post("/v1/locations", {"code": SHELF, "order_effect": "allocate"})
        assert made.status == 201, made.body

        async def write(writer: int) -> None:
            for turn in range(TURNS):
                adjustment, order = adjustments[writer, turn], orders[writer, turn]
                replayed.append(await submit_under_key(adjustment, replicas if writer % 2 else replicas[::-1]))
                if turn % 2:
                    await publish([order])
                else:
                    await submit_until_acknowledged(order, stall.retailer)

        async with asyncio.TaskGroup() as clients:
            for writer in range(WRITERS):
                clients.create_task(write(writer))
            clients.create_task(die_midway(doomed, list(adjustments.values())))
        await stall.settled()
        assert any(replayed), "what was done and not answered is answered when it is sent again"
        shown = (await replicas[1].get(f"/v1/stock/{product_id}")).body
        levels = {level["location"]: (level["on_hand"], level["allocated"]) for level in shown["levels"]}
        assert levels == expected_levels(adjustments.values(), orders.values())
        keys = "select count(*) from inventory.idempotency_keys where key like 'write-%'"
        assert await ask(market.plant, keys) == len(adjustments)
        entries = f"select count(*) from inventory.stock_ledger where product_id = {product_id}"
        assert await ask(market.plant, entries) == len(adjustments) + len(orders)
        await everything_adds_up(market)


def _location_of(writer: int) -> str:
    return SHELF if writer % 3 == 0 else MAIN


def _adjustment(market: Market, product_id: int, writer: int, turn: int) -> Operation:
    units = 1 + (writer + turn) % 5
    body = {"adjustment": units, "location": _location_of(writer)}
    return market.journal.enter(Operation("adjustment", SUPPLIER, f"write-{writer}-{turn}", {product_id: units}, body))


def _order(market: Market, product_id: int, writer: int, turn: int) -> Operation:
    units = 1 + (writer + turn) % 3
    body = {"lines": [{"product_id": product_id, "quantity": units, "location": _location_of(writer)}]}
    return market.journal.enter(Operation("order", RETAILER, f"write-{writer}-{turn}", {product_id: -units}, body))


def expected_levels(adjustments: Iterable[Operation], orders: Iterable[Operation]) -> dict[str, tuple[int, int]]:
    """On hand and allocated by location, of what changes one product."""
    came, went = Counter[str](), Counter[str]()
    for one in adjustments:
        came[one.body["location"]] += sum(one.effect.values())
    for one in orders:
        went[one.body["lines"][0]["location"]] -= sum(one.effect.values())
    return {MAIN: (came[MAIN] - went[MAIN], 0), SHELF: (came[SHELF], went[SHELF])}


async def everything_adds_up(market: Market) -> None:
    """What `basestock check` says."""
    database = Database("inventory", market.plant.dsn, pool_size=1)
    try:
        _, drifts, _, count = await check_everything(database, repair=False)
    finally:
        await database.close()
    assert (count, drifts) == (0, [])


async def deny(stall: Stall, product_id: int, on_hand: int) -> None:
    """Have so many units there, and no order may take more."""
    path, effect = f"/v1/stock/{product_id}", {product_id: on_hand - await stall.available(product_id)}
    count = Operation("adjustment", SUPPLIER, f"{on_hand} for all of them", effect, {"on_hand": on_hand}, sent=1)
    written = await stall.supplier.post(f"{path}/adjustments", stall.market.journal.enter(count).payload())
    assert written.status == 200, written.body
    count.acknowledged = 1
    denied = await stall.supplier.patch(path, {"policy": "deny"})
    assert denied.status == 200, denied.body


async def sell(stall: Stall, orders: Mapping[str, Sequence[Line]]) -> list[Sold]:
    """Submit orders, by reference, of these lines of the case, all at once; what inventory decided of each."""

    async def decided(order: Operation) -> Sold:
        order.sent = 1
        answer = await stall.retailer.post("/v1/orders?wait=10", order.payload())
        assert answer.status == 201, answer.body
        order.acknowledged, order.ids = 1, {answer.body["order_id"]}
        if answer.body["status"] == "short":
            order.effect = {}
        return answer.body["status"], [line["outcome"] for line in answer.body["lines"]]

    entered = [
        stall.market.journal.enter(Operation("order", RETAILER, reference, {200: -len(lines)}, {"lines": lines}))
        for reference, lines in orders.items()
    ]
    return await asyncio.gather(*map(decided, entered))


async def both_at_once(market: Market, product_id: int, selling: Awaitable[list[Sold]]) -> list[Sold]:
    """Hold a product's item until each process of inventory is about to decide orders of it: neither is first."""

    async def both_wait() -> bool:
        return bool(await ask(market.plant, PROCESSES_WAITING) == 2)

    selling = asyncio.ensure_future(selling)
    async with held_item(market.plant, product_id):
        await eventually("both processes wait for the item", both_wait)
    return await selling


async def test_of_many_clients_that_order_the_last_unit_one_gets_it(market: Market) -> None:
    async with market.open() as stall:
        await deny(stall, 200, on_hand=1)
        orders = {f"last unit {number}": [[CASE], [PRINTED_CASE]][number % 2] for number in range(WRITERS)}
        sold = await both_at_once(market, 200, sell(stall, orders))
        assert Counter((status, *outcomes) for status, outcomes in sold) == {
            ("allocated", "allocated"): 1,
            ("short", "short"): WRITERS - 1,
        }
        assert await stall.available(200) == 0
        await stall.settled()
        await everything_adds_up(market)


async def test_what_two_products_of_one_order_draw_from_one_base_stock_is_summed(market: Market) -> None:
    async with market.open() as stall:
        await deny(stall, 200, on_hand=3)
        both = [CASE, PRINTED_CASE]
        sold = await both_at_once(market, 200, sell(stall, {"pair 1": both, "pair 2": both}))
        assert sorted(sold) == [("allocated", ["allocated", "allocated"]), ("short", ["short", "short"])]
        assert await stall.available(200) == 1
        await deny(stall, 200, on_hand=2)
        assert await sell(stall, {"pair 3": both}) == [("allocated", ["allocated", "allocated"])]
        assert await stall.available(200) == 0
        await stall.settled()
        await everything_adds_up(market)
