"""Two connections at once: neither an order nor a product misses the other, and nobody waits in a circle."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from services.inventory.handlers import learn_catalog, move_stock
from services.inventory.store import orders as order_store
from services.inventory.store.stock import add_main_locations, lock_stock
from shared import clock
from shared.catalog_view import wait_for_products
from shared.database import Session
from shared.events import Event
from shared.events.catalog import Component, ProductChanged, ProductRemoved
from shared.events.inventory import OrderAllocated, OrderShort
from shared.events.orders import FulfillmentItem, OrderCreated
from tests.integration.inventory.world import (
    CASE,
    KIT,
    OWN_VERSION,
    SHIRT,
    SMALL,
    SUPPLIER,
    World,
    cancelled,
    completed,
    link,
    order,
    returned,
    stock_product,
)

EARLY = order((100, None, 1))

WAITING = text("""
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and application_name like 'basestock-inventory-%'
""")


async def handle(session: Session, event: Event) -> None:
    if isinstance(event, OrderCreated | FulfillmentItem):
        await move_stock(session, [event])
    if isinstance(event, ProductChanged):
        await learn_catalog(session, [event])


async def until_somebody_waits(world: World) -> None:
    deadline = clock.monotonic() + 10
    while clock.monotonic() < deadline:
        async with world.database.transaction() as session:
            if (await session.execute(WAITING)).scalar_one():
                return
        await clock.sleep(0.01)
    pytest.fail("nobody waits for a lock: the two do not see each other")


async def overlap(world: World, first: Event, second: Event) -> None:
    """Handle `first`, and before it commits let another connection begin to handle `second`."""
    async with asyncio.TaskGroup() as group, world.database.transaction() as session:
        await handle(session, first)
        group.create_task(world.hear(second))
        await until_somebody_waits(world)


@pytest.mark.parametrize("order_first", [True, False])
@pytest.mark.parametrize(
    ("known", "product", "asked"),
    [
        ([], SMALL, (100, None, 2)),
        ([SHIRT], SMALL, (102, "T01-S", 2)),
        ([SMALL], SHIRT, (102, "T01-S", 2)),
        ([OWN_VERSION, SMALL], SHIRT, (300, "T01-S", 2)),
        ([SHIRT, SMALL], OWN_VERSION, (300, "T01-S", 2)),
    ],
)
async def test_a_product_and_an_order_for_it_at_the_same_time(
    empty_world: World,
    known: list[ProductChanged],
    product: ProductChanged,
    asked: tuple[int, str | None, int],
    *,
    order_first: bool,
) -> None:
    await empty_world.hear(*known)
    placed = order(asked)
    await overlap(empty_world, *((placed, product) if order_first else (product, placed)))
    assert await empty_world.levels() == {100: -2}
    assert await empty_world.rows("select * from parked_lines") == []
    newest = (await empty_world.told(OrderAllocated))[-1]
    assert [line.outcome for line in newest.lines] == ["allocated"]


async def test_two_products_that_one_order_waits_for_at_the_same_time(empty_world: World) -> None:
    await empty_world.hear(order((100, None, 1), (200, None, 2)))
    await overlap(empty_world, SMALL, CASE)
    assert await empty_world.levels() == {100: -1, 200: -2}
    newest = (await empty_world.told(OrderAllocated))[-1]
    assert (newest.decision, [line.outcome for line in newest.lines]) == (3, ["allocated", "allocated"])


async def test_a_newer_version_while_its_product_comes(empty_world: World) -> None:
    first = order((100, None, 1))
    await empty_world.hear(first, CASE)
    newer = order((100, None, 5), (200, None, 1), order_id=first.order_id, version=2)
    await overlap(empty_world, SMALL, newer)
    assert await empty_world.levels() == {100: -5, 200: -1}
    await empty_world.assert_the_ledger_explains_every_level()


@pytest.mark.parametrize(
    ("before", "first", "second", "pause"),
    [
        pytest.param(
            [EARLY, CASE],
            SMALL,
            [order((200, None, 1), order_id=EARLY.order_id, version=2)],
            "next_decisions",
            id="orders before what is parked of them",
        ),
        pytest.param(
            [order((300, "T01-S", 1))],
            OWN_VERSION,
            [SHIRT, OWN_VERSION.model_copy(update={"version": 2})],
            "find_parked",
            id="a virtual product together with its base",
        ),
    ],
)
async def test_locks_are_taken_in_one_order(
    empty_world: World,
    monkeypatch: pytest.MonkeyPatch,
    before: list[Event],
    first: Event,
    second: list[Event],
    pause: str,
) -> None:
    """Stop the first halfway, until the second waits for it: it must not hold what the first still needs."""
    await empty_world.hear(*before)
    go_on = getattr(order_store, pause)
    async with asyncio.TaskGroup() as group:

        async def paused(*arguments: object) -> object:
            monkeypatch.undo()
            group.create_task(empty_world.hear(*second))
            await until_somebody_waits(empty_world)
            return await go_on(*arguments)

        monkeypatch.setattr(order_store, pause, paused)
        await empty_world.hear(first)
    await empty_world.assert_the_ledger_explains_every_level()


@pytest.mark.parametrize(
    ("before", "batch", "first", "then"),
    [
        pytest.param(
            [SMALL, CASE],
            [order((200, None, 1)), returned((100, None, 1))],
            lambda session: lock_stock(session, [100]),
            lambda session: lock_stock(session, [200]),
            id="items of an order and of a return",
        ),
        pytest.param(
            [EARLY],
            [order((100, None, 1), (200, None, 1))],
            lambda session: wait_for_products(session, [100]),
            lambda session: wait_for_products(session, [200]),
            id="a product that is awaited already, and one that is awaited now",
        ),
        pytest.param(
            [order((400, None, 1))],
            [KIT],
            lambda session: wait_for_products(session, [100]),
            lambda session: wait_for_products(session, [400]),
            id="a product, and the unknown stock that it leads to",
        ),
        pytest.param(
            [SMALL, CASE],
            [CASE.model_copy(update={"version": 2}), ProductRemoved(product_id=100, owner_id=SUPPLIER, version=2)],
            lambda session: wait_for_products(session, [100]),
            lambda session: wait_for_products(session, [200]),
            id="products that are changed, and others that are removed",
        ),
        pytest.param(
            [],
            [stock_product(100, "NEW", owner_id=9)],
            lambda session: add_main_locations(session, {9}),
            lambda session: wait_for_products(session, [100]),
            id="the location of a new supplier, and its product",
        ),
    ],
)
async def test_a_batch_takes_its_locks_in_order(
    empty_world: World,
    before: list[Event],
    batch: list[Event],
    first: Callable[[Session], Awaitable[object]],
    then: Callable[[Session], Awaitable[object]],
) -> None:
    """Hold what comes first until the batch waits for it: it must not hold what comes later."""
    await empty_world.hear(*before)
    async with asyncio.TaskGroup() as group, empty_world.database.transaction() as session:
        await first(session)
        group.create_task(empty_world.hear(*batch))
        await until_somebody_waits(empty_world)
        await then(session)


async def test_one_order_on_two_connections_takes_once(world: World) -> None:
    placed = order((102, "T01-S", 2))
    await overlap(world, placed, placed)
    assert (await world.levels())[100] == 8
    assert [event.decision for event in await world.told(OrderAllocated)] == [1], "and is decided once"


async def test_two_orders_on_one_item_both_count(world: World) -> None:
    await overlap(world, order((100, None, 2)), order((100, None, 3)))
    assert (await world.levels())[100] == 5
    await world.assert_the_ledger_explains_every_level()


@pytest.mark.parametrize("order_first", [True, False])
async def test_an_item_and_its_order_at_the_same_time(world: World, *, order_first: bool) -> None:
    await world.locate("main", "allocate")
    placed = order((102, "T01-S", 4))
    item = completed(placed, 1)
    await overlap(world, *((placed, item) if order_first else (item, placed)))
    assert await world.stock_at("main") == (9, 3)
    await world.assert_the_ledger_explains_every_level()


async def test_who_links_to_an_item_and_who_lets_go_of_it_at_the_same_time(world: World) -> None:
    def printed(product_id: int, version: int, *components: Component) -> ProductChanged:
        return stock_product(product_id, f"P-{product_id}", version, type="customisable", components=components)

    await world.hear(stock_product(500, "MUG"), printed(501, 1, link(500)))
    await overlap(world, printed(502, 1, link(500)), printed(501, 2))
    assert await world.rows("select is_unlinked from stock_items where product_id = 500") == [(False,)]


async def test_one_item_on_two_connections_leaves_once(world: World) -> None:
    placed = order((102, "T01-S", 4))
    await world.hear(placed)
    await overlap(world, *(completed(placed, 1, location="shop") for _ in range(2)))
    assert await world.stock_at("main") == (6, 0)
    await world.hear(cancelled(placed))
    assert await world.stock_at("main") == (9, 0)


async def test_of_many_that_order_the_last_unit_under_deny_one_gets_it(world: World) -> None:
    await world.rows("update stock_items set policy = 'deny' returning 1")
    await world.count(_100=1)
    await world.told()
    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(world.hear(order((102, "T01-S", 1))))
    decisions = await world.told(OrderAllocated, OrderShort)
    assert sorted(decided.name for decided in decisions).count(OrderAllocated.name) == 1
    assert len(decisions) == 64
    assert await world.stock_at("main") == (0, 0)
    await world.assert_the_ledger_explains_every_level()


async def test_two_lines_that_lead_to_one_base_stock_are_summed_in_a_race_too(world: World) -> None:
    await world.rows("update stock_items set policy = 'deny' returning 1")
    await world.count(_100=3)
    await world.told()
    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(world.hear(order((102, "T01-S", 1), (300, "T01-S", 1))))
    outcomes = [
        tuple(line.outcome for line in decided.lines) for decided in await world.told(OrderAllocated, OrderShort)
    ]
    assert sorted(outcomes) == [("allocated", "allocated")] + 15 * [("short", "short")]
    assert await world.stock_at("main") == (1, 0)


async def test_many_connections_with_mixed_orders_neither_deadlock_nor_lose_anything(empty_world: World) -> None:
    chance = random.Random(20)
    numbers = list(range(1, 21))
    await empty_world.hear(*(stock_product(number, f"P{number}") for number in numbers))
    batches, wanted = [], dict.fromkeys(numbers, 0)
    for _ in range(24):
        batch = []
        for _ in range(10):
            asked = [(chance.choice(numbers), None, chance.randint(1, 3)) for _ in range(4)]
            for product_id, _, quantity in asked:
                wanted[product_id] -= quantity
            batch.append(order(*asked))
        batches.append(batch)

    async def drain() -> None:
        while batches:
            await empty_world.hear(*batches.pop())

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(drain())
    assert await empty_world.levels() == wanted
    await empty_world.assert_the_ledger_explains_every_level()
