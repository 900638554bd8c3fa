"""What orders hold, what leaves and what does not: at every kind of location, in whatever order events come."""

from itertools import permutations
from uuid import UUID

import pytest

from services.inventory.domain.stock import Cause
from services.inventory.fulfilling import clear_completed
from services.inventory.record import record
from services.inventory.store.stock import lock_stock
from shared.events import Event
from shared.events.inventory import OrderAllocated, StockChanged
from tests.integration.inventory.world import (
    CASE,
    KIT,
    SHIRT,
    SMALL,
    SUPPLIER,
    World,
    amended,
    assigned,
    cancelled,
    completed,
    failed,
    line,
    order,
    returned,
)

PLACED = order((102, "T01-S", 4))
SYNC = Cause("stock_sync", "key 7", "api", "import 1")


async def ledger(world: World, kind: str) -> list[tuple[int, int]]:
    """On hand and allocated deltas of entries of this kind, as they came."""
    return await world.rows(f"""
        select on_hand_delta, allocated_delta from stock_ledger where kind = '{kind}' order by entry_id
    """)


async def let_go(world: World, first: int, last: int, *, on_hand: int | None = None, product_id: int = 100) -> None:
    """As a stock import does: state on hand at `main` and let go of a range."""
    async with world.database.transaction() as session:
        stock = await lock_stock(session, [product_id])
        main = stock.locations[SUPPLIER][0].location_id
        if on_hand is not None:
            stock.move(product_id, main, SYNC, on_hand=on_hand - stock.level(product_id, main).on_hand)
        await clear_completed(session, stock, SUPPLIER, (first, last), [(product_id, main)], SYNC)
        await record(session, stock)


class TestWhereOrdersAllocate:
    async def test_an_order_allocates_and_leaves_on_hand(self, world: World) -> None:
        await world.locate("main", "allocate")
        await world.hear(PLACED)
        assert await world.stock_at("main") == (10, 4)
        (changed,) = await world.told(StockChanged)
        assert (changed.on_hand, changed.allocated, changed.available, changed.previous_available) == (10, 4, 6, 10)
        await world.hear(cancelled(PLACED))
        assert await world.stock_at("main") == (10, 0)
        assert await ledger(world, "order_cancelled") == [(0, -4)]
        await world.assert_the_ledger_explains_every_level()

    async def test_completion_lowers_on_hand_and_ends_that_much_of_the_allocation(self, world: World) -> None:
        await world.locate("main", "allocate")
        await world.hear(PLACED, assigned(PLACED, 1, quantity=4))
        await world.hear(completed(PLACED, 2, quantity=3))
        assert await world.stock_at("main") == (7, 1)
        await world.hear(cancelled(PLACED))
        assert await world.stock_at("main") == (7, 0), "what has left is not given back"
        assert await ledger(world, "fulfilled") == [(-3, -3)]
        await world.assert_the_ledger_explains_every_level()

    async def test_a_kit_leaves_with_all_that_it_is_made_of(self, world: World) -> None:
        await world.locate("main", "allocate")
        kits = order((400, None, 3))
        await world.hear(kits, completed(kits, 1, quantity=2))
        assert (await world.stock_at("main"), await world.stock_at("main", 200)) == ((6, 2), (8, 1))
        await world.assert_the_ledger_explains_every_level()

    async def test_a_taking_keeps_its_effect_when_the_locations_changes(self, world: World) -> None:
        await world.hear(PLACED)
        await world.locate("main", "allocate")
        later = order((102, "T01-S", 1))
        await world.hear(later, amended(PLACED, line(PLACED, quantity=3)), completed(PLACED, 1))
        assert await world.stock_at("main") == (7, 1)
        await world.hear(cancelled(PLACED), cancelled(later))
        assert await world.stock_at("main") == (9, 0)
        await world.assert_the_ledger_explains_every_level()

    async def test_a_line_that_is_sent_from_elsewhere_is_taken_there(self, world: World) -> None:
        await world.locate("shop", "allocate")
        await world.hear(PLACED, completed(PLACED, 1, quantity=3, location="shop"))
        assert (await world.stock_at("main"), await world.stock_at("shop")) == ((9, 0), (-3, 0))
        await world.assert_the_ledger_explains_every_level()


class TestWhereOrdersDecrement:
    async def test_completion_only_ends_what_cancelling_could_give_back(self, world: World) -> None:
        await world.hear(PLACED)
        await world.told()
        await world.hear(completed(PLACED, 1, quantity=3))
        assert await world.stock_at("main") == (6, 0)
        assert await world.told() == []
        await world.hear(cancelled(PLACED))
        assert await world.stock_at("main") == (7, 0)
        await world.assert_the_ledger_explains_every_level()

    async def test_a_failed_item_is_given_back_once_and_not_taken_by_a_later_version(self, world: World) -> None:
        lost = failed(PLACED, 1)
        await world.hear(PLACED)
        await world.hear(lost)
        assert await world.stock_at("main") == (7, 0)
        assert await ledger(world, "fulfillment_failed") == [(1, 0)]
        await world.hear(amended(PLACED, line(PLACED, quantity=5)))
        await world.hear(lost)
        assert await world.stock_at("main") == (6, 0)
        await world.hear(cancelled(PLACED))
        assert await world.stock_at("main") == (10, 0)
        await world.assert_the_ledger_explains_every_level()

    async def test_single_lines_are_cancelled_by_amending(self, world: World) -> None:
        placed = order((102, "T01-S", 2), (201, None, 3))
        await world.hear(placed, completed(placed, 1, line_id=1))
        await world.hear(amended(placed, line(placed, 2)))
        assert (await world.stock_at("main"), await world.stock_at("main", 200)) == ((9, 0), (7, 0))
        await world.assert_the_ledger_explains_every_level()

    async def test_an_amended_line_that_has_left_is_no_want_of_stock(self, world: World) -> None:
        await world.rows("update stock_items set policy = 'deny' returning 1")
        placed = order((102, "T01-S", 10))
        await world.hear(placed, completed(placed, 1, quantity=10))
        await world.hear(amended(placed, line(placed)))
        assert [one.lines[0].outcome for one in await world.told(OrderAllocated)] == ["allocated", "allocated"]
        assert await world.stock_at("main") == (0, 0)

    async def test_what_has_left_of_a_short_order_has_left(self, world: World) -> None:
        await world.rows("update stock_items set policy = 'deny' returning 1")
        placed = order((102, "T01-S", 11))
        await world.hear(placed)
        await world.hear(completed(placed, 1, quantity=2))
        assert await world.stock_at("main") == (8, 0)
        await world.assert_the_ledger_explains_every_level()


class TestWhereASystemOutsideOwnsOnHand:
    async def test_the_example_of_the_newstore_guide(self, world: World) -> None:
        """compatibility.md D: 10 on hand, three of four items leave, 10 more come, and the system outside says 17."""
        await world.locate("main", "allocate", "external")
        orders = [order((100, None, 1)) for _ in range(4)]
        await world.hear(*orders)
        await world.hear(*(assigned(placed, 6 + n) for n, placed in enumerate(orders)))
        await world.hear(*(completed(placed, 10 + n) for n, placed in enumerate(orders[:3])))
        assert await world.stock_at("main") == (10, 4), "an allocation stays until the system outside has counted"
        await world.told()
        await let_go(world, 10, 12, on_hand=17)
        assert await world.stock_at("main") == (17, 1)
        (changed,) = await world.told(StockChanged)
        assert (changed.available, changed.previous_available) == (16, 6)
        await world.assert_the_ledger_explains_every_level()

    async def test_exactly_the_range_is_let_go_and_nothing_twice(self, world: World) -> None:
        await world.locate("main", "allocate", "external")
        shop = await world.locate("shop", "allocate", "external")
        placed = order((100, None, 5), (200, None, 5))
        await world.hear(placed)
        await world.hear(*(completed(placed, n) for n in (1, 2, 3, 4)))
        await world.hear(completed(placed, 5, line_id=2), completed(placed, 6, location="shop"))
        await let_go(world, 2, 3)
        assert await world.stock_at("main") == (10, 2)
        await let_go(world, 1, 6)
        assert (await world.stock_at("main"), await world.stock_at("shop")) == ((10, 0), (0, 1))
        assert await world.stock_at("main", 200) == (10, 5), "of a product that the import does not name nothing goes"
        held = await world.rows(f"select logical_timestamp, location_id = {shop} from completed_items where held")
        assert sorted(held) == [(5, False), (6, True)]
        assert await ledger(world, "stock_sync") == [(0, -2), (0, -2)]
        await world.assert_the_ledger_explains_every_level()

    async def test_cancelling_leaves_what_is_held_for_items_that_have_left(self, world: World) -> None:
        await world.locate("main", "allocate", "external")
        await world.hear(PLACED, completed(PLACED, 1), failed(PLACED, 2), cancelled(PLACED))
        assert await world.stock_at("main") == (10, 1)
        await world.assert_the_ledger_explains_every_level()


def story(number: int, last: str) -> list[Event]:
    """4 of line 1 are ordered; then 5 of it and 4 of line 2, or nothing; 2 have left, 1 failed, 1 came back."""
    placed = order((102, "T01-S", 4))
    newest = {
        "amended": amended(placed, line(placed, quantity=5), line(placed).model_copy(update={"line_id": 2})),
        "cancelled": cancelled(placed),
    }
    gone, lost = completed(placed, 2 * number + 1, quantity=2), failed(placed, 2 * number + 2)
    return [placed, newest[last], gone, lost, returned((102, "T01-S", 1))]


@pytest.mark.parametrize(
    ("effect", "owner", "last", "each"),
    [
        ("decrement", "internal", "amended", (-7, 0)),
        ("allocate", "internal", "amended", (-1, 6)),
        ("allocate", "external", "amended", (1, 8)),
        ("decrement", "internal", "cancelled", (-1, 0)),
        ("allocate", "internal", "cancelled", (-1, 0)),
        ("allocate", "external", "cancelled", (1, 2)),
    ],
)
async def test_a_story_in_every_order_and_twice_ends_the_same(
    world: World, effect: str, owner: str, last: str, each: tuple[int, int]
) -> None:
    await world.locate("main", effect, owner)
    arrivals = [list(arrival) for n in range(120) for arrival in [list(permutations(story(n, last)))[n]]]
    for step in zip(*arrivals, strict=True):
        await world.hear(*step)
        await world.assert_the_ledger_explains_every_level()
    for step in zip(*arrivals, strict=True):
        await world.hear(*step)
    assert await world.stock_at("main") == (10 + 120 * each[0], 120 * each[1])
    await world.assert_the_ledger_explains_every_level()


@pytest.mark.parametrize("arrival", list(permutations(["order", "item", "kit", "part"])))
async def test_an_item_waits_for_its_product(empty_world: World, arrival: tuple[str, ...]) -> None:
    world = empty_world
    kits = order((400, None, 3))
    events = {"order": kits, "item": completed(kits, 1, quantity=2), "kit": KIT, "part": SMALL}
    await world.locate("main", "allocate")
    await world.hear(CASE)
    for name in arrival:
        await world.hear(events[name])
        await world.hear(*(events[name] for name in ("order", "item") if name in arrival[: arrival.index(name)]))
    assert (await world.stock_at("main"), await world.stock_at("main", 200)) == ((-4, 2), (-2, 1))
    assert await world.rows("select * from parked_lines") == []
    assert await world.rows("select applied from fulfillment_items") == [(True,)]
    await world.assert_the_ledger_explains_every_level()


@pytest.mark.parametrize("together", [True, False])
async def test_an_item_that_is_completed_in_parts_waits_once_for_all_of_them(
    empty_world: World, together: bool
) -> None:
    """Two events of one request and line: the first waits already, or comes in the same transaction."""
    world, placed = empty_world, order((100, None, 3))
    parts = [completed(placed, number, request_id=UUID(int=7), quantity=number) for number in (1, 2)]
    for batch in [parts] if together else [[part] for part in parts]:
        await world.hear(*batch)
    assert await world.rows("select applied from fulfillment_items") == [(False,), (False,)]
    await world.hear(SMALL)
    await world.hear(placed)
    assert await world.stock_at("main") == (-3, 0), "each unit has left once"
    assert await world.rows("select sum(quantity) from completed_items") == [(3,)]
    assert await world.rows("select * from parked_lines") == []
    await world.assert_the_ledger_explains_every_level()


async def test_an_item_of_a_line_that_was_taken_away_has_left_all_the_same(empty_world: World) -> None:
    world = empty_world
    placed = order((100, None, 2), (200, None, 1))
    await world.hear(amended(placed, line(placed, 2)), completed(placed, 1))
    await world.hear(SMALL, CASE)
    assert (await world.stock_at("main"), await world.stock_at("main", 200)) == ((-1, 0), (-1, 0))
    assert await world.rows("select * from parked_lines") == []
    await world.assert_the_ledger_explains_every_level()


async def test_an_item_that_waited_gives_back_nothing_of_what_its_line_has_become(empty_world: World) -> None:
    world = empty_world
    placed = order((100, None, 3))
    await world.hear(CASE, completed(placed, 1))
    await world.hear(amended(placed, line(placed, product_id=200)))
    await world.hear(SMALL)
    assert (await world.stock_at("main"), await world.stock_at("main", 200)) == ((-1, 0), (-2, 0))
    await world.assert_the_ledger_explains_every_level()


async def test_of_a_requests_items_only_those_that_waited_are_done_when_the_product_comes(world: World) -> None:
    placed = order((102, "T01-S", 2))
    await world.hear(completed(placed, 1, request_id=placed.order_id))
    await world.hear(SHIRT.model_copy(update={"version": 2, "variants": SHIRT.variants[1:]}))
    await world.hear(completed(placed, 2, request_id=placed.order_id))
    assert await world.stock_at("main") == (9, 0)
    await world.hear(SHIRT.model_copy(update={"version": 3}))
    assert await world.stock_at("main") == (8, 0)
    await world.assert_the_ledger_explains_every_level()
