"""Orders take stock, returns give it back, and what waits for catalog is done when catalog tells."""

import random
from itertools import permutations

import pytest

from services.inventory.handlers import move_stock
from shared.events.catalog import ConnectionChanged, ProductRemoved
from shared.events.inventory import Level, LineDecision, OrderAllocated, OrderShort, StockChanged, Take
from tests.integration.inventory.world import (
    CASE,
    COMPANIES,
    CONNECTION,
    CUSTOM_CASE,
    LARGE,
    OWN_VERSION,
    RETAILER,
    SHIRT,
    SMALL,
    STRANGER,
    SUPPLIER,
    World,
    an_empty_world,
    link,
    order,
    returned,
    stock_product,
)


async def test_an_order_for_102_small_lowers_100_and_nothing_else(world: World) -> None:
    placed = order((102, "T01-S", 2)).received_as("event-1", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    await world.hear(placed)
    assert await world.levels() == {100: 8, 101: 10, 200: 10, 202: 10}
    changed, decided = sorted(await world.told(), key=lambda event: event.name, reverse=True)
    assert changed == StockChanged(
        base_stock_product_id=100,
        supplier_id=SUPPLIER,
        sku="T01-S",
        on_hand=8,
        allocated=0,
        reserved=0,
        available=8,
        previous_available=10,
        levels=(Level(location="main", on_hand=8, allocated=0, reserved=0, available=8),),
        changes=1,
        causes=("order",),
        occurred_at=changed.occurred_at,
        version=2,
        policy="backorder",
    )
    take = Take(product_id=100, location="main", quantity=2)
    assert decided == OrderAllocated(
        order_id=placed.order_id,
        order_version=1,
        decision=1,
        lines=(LineDecision(line_id=1, outcome="allocated", takes=(take,), supplier_id=SUPPLIER),),
    )
    assert {event.traceparent.split("-")[1] for event in (changed, decided)} == {"a" * 32}, "the order's trace goes on"
    entry = await world.rows("""
        select product_id, item_version, kind, on_hand_delta, on_hand, actor, source, reference, line_id, reason
        from stock_ledger where kind = 'order'
    """)
    assert entry == [(100, 2, "order", -2, 8, "order", "api", str(placed.order_id), 1, None)]


@pytest.mark.parametrize(
    ("asked", "lowered"),
    [
        ((300, "T01-S", 3), {100: 7}),
        ((300, "T01-L", 1), {101: 9}),
        ((201, None, 2), {200: 8}),
        ((202, None, 2), {202: 8}),
        ((100, None, 1), {100: 9}),
        ((400, None, 2), {100: 6, 200: 8}),
        ((200, None, 25), {200: -15}),
    ],
)
async def test_every_kind_of_product_leads_to_its_base_stock(
    world: World, asked: tuple[int, str | None, int], lowered: dict[int, int]
) -> None:
    await world.hear(order(asked))
    assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 10} | lowered
    await world.assert_the_ledger_explains_every_level()


async def test_a_batch_tells_each_changed_item_once(world: World) -> None:
    await world.hear(*(order((102, "T01-S", 1), (201, None, 1)) for _ in range(4)), order((102, "T01-L", 2)))
    changed = {event.base_stock_product_id: event for event in await world.told(StockChanged)}
    assert {key: (event.available, event.changes, event.version) for key, event in changed.items()} == {
        100: (6, 4, 2),
        200: (6, 4, 2),
        101: (8, 1, 2),
    }
    assert {event.previous_available for event in changed.values()} == {10}


async def test_deny_takes_nothing_and_says_which_line_lacks_how_much(world: World) -> None:
    await world.rows("update stock_items set policy = 'deny' where product_id = 100 returning 1")
    placed = order((102, "T01-S", 6), (300, "T01-S", 6), (201, None, 1))
    await world.hear(placed)
    assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 10}
    (decided,) = await world.told()
    assert isinstance(decided, OrderShort)
    assert [(line.outcome, line.shortfall) for line in decided.lines] == [("short", 0), ("short", 2), ("short", 0)]


async def test_the_suppliers_own_policy_is_the_default(world: World) -> None:
    await world.rows("update companies set oversell_policy = 'deny' where company_id = 1 returning 1")
    await world.hear(order((102, "T01-S", 11)))
    assert isinstance((await world.told())[0], OrderShort)


async def test_a_stranger_gets_nothing_and_is_told_why(world: World) -> None:
    await world.hear(order((102, "T01-S", 1), seller_id=STRANGER))
    assert (await world.levels())[100] == 10
    (decided,) = await world.told(OrderShort)
    assert (decided.lines[0].outcome, decided.lines[0].supplier_id) == ("refused", None)
    said = "product 102 is not yours, nor of a supplier you have an active connection with"
    assert decided.lines[0].reason == said


@pytest.mark.parametrize("connection", [None, CONNECTION.model_copy(update={"state": "ended", "version": 2})])
async def test_what_orders_has_checked_is_taken_however_late_or_early_the_connections_events_come(
    database_dsn: str, connection: ConnectionChanged | None
) -> None:
    async with an_empty_world(database_dsn) as world:
        await world.hear(*COMPANIES, SMALL, *([connection] if connection else []))
        checked, unchecked = order((100, None, 3), checked=True), order((100, None, 2))
        await world.hear(checked, unchecked)
        assert await world.levels() == {100: -3}
        await world.hear(CONNECTION, checked, unchecked)
        assert await world.levels() == {100: -3}


async def test_an_ended_connection_refuses_new_orders_and_leaves_old_ones(world: World) -> None:
    placed = order((102, "T01-S", 2))
    await world.hear(placed)
    await world.hear(CONNECTION.model_copy(update={"state": "ended", "version": 2}))
    await world.hear(order((102, "T01-S", 1)), placed)
    assert (await world.levels())[100] == 8


@pytest.mark.parametrize("last_state", ["open", "cancelled"])
@pytest.mark.parametrize("arrival", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 3), (1, 2, 1)])
async def test_versions_in_any_order_and_twice_end_in_the_newest(
    world: World, arrival: tuple[int, ...], last_state: str
) -> None:
    first = order((102, "T01-S", 3))
    versions = {1: first}
    versions[2] = order((102, "T01-S", 5), order_id=first.order_id, version=2)
    versions[3] = order((102, "T01-L", 4), order_id=first.order_id, version=3, state=last_state)
    for version in arrival:
        await world.hear(versions[version])
    ends = {
        1: {100: 7},
        2: {100: 5},
        3: {101: 6} if last_state == "open" else {},
    }
    assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 10} | ends[max(arrival)]
    decisions = [event.decision for event in await world.told(OrderAllocated)]
    assert decisions == list(range(1, len(decisions) + 1))
    await world.assert_the_ledger_explains_every_level()


async def test_a_smaller_quantity_gives_back_the_difference(world: World) -> None:
    first = order((102, "T01-S", 5))
    await world.hear(first)
    await world.hear(order((102, "T01-S", 2), order_id=first.order_id, version=2))
    assert (await world.levels())[100] == 8
    assert await world.rows(
        "select kind, on_hand_delta from stock_ledger where product_id = 100 order by entry_id"
    ) == [
        ("manual", 10),
        ("order", -5),
        ("order_amended", 3),
    ]


async def test_events_twice_and_shuffled_leave_the_same_levels(world: World) -> None:
    chance = random.Random(7)
    parts = [(102, "T01-S", 100), (102, "T01-L", 101), (300, "T01-S", 100), (201, None, 200), (202, None, 202)]
    wanted = {100: 10, 101: 10, 200: 10, 202: 10}
    events = []
    for _ in range(40):
        asked = [(*chance.choice(parts), chance.randint(1, 3)) for _ in range(2)]
        for _, _, base, quantity in asked:
            wanted[base] -= quantity
        events += [order(*((product, variant, quantity) for product, variant, _, quantity in asked))] * 2
    chance.shuffle(events)
    for start in range(0, len(events), 7):
        await world.hear(*events[start : start + 7])
    assert await world.levels() == wanted
    await world.assert_the_ledger_explains_every_level()


class TestParked:
    """What is ordered before catalog has told of it."""

    async def test_an_order_waits_for_the_product_and_the_other_lines_do_not(self, empty_world: World) -> None:
        world = empty_world
        await world.hear(SMALL, CASE, CUSTOM_CASE)
        placed = order((102, "T01-S", 2), (201, None, 1))
        await world.hear(placed)
        (first,) = await world.told(OrderAllocated)
        assert [line.outcome for line in first.lines] == ["parked", "allocated"]
        assert first.lines[0].reason == "product 102 is not known yet"
        await world.hear(LARGE)
        await world.hear(SHIRT)
        assert await world.levels() == {100: -2, 101: 0, 200: -1}
        (second,) = await world.told(OrderAllocated)
        assert second.decision == 2
        assert [line.outcome for line in second.lines] == ["allocated", "allocated"]
        assert second.lines[1] == first.lines[1]
        assert await world.rows("select * from parked_lines") == []
        await world.hear(placed, SHIRT.model_copy(update={"version": 2}))
        assert await world.levels() == {100: -2, 101: 0, 200: -1}
        await world.assert_the_ledger_explains_every_level()

    @pytest.mark.parametrize("arrival", list(permutations([OWN_VERSION, SHIRT, SMALL, LARGE])))
    async def test_a_chain_is_followed_in_whatever_order_it_comes(
        self, empty_world: World, arrival: tuple[object, ...]
    ) -> None:
        world = empty_world
        await world.hear(order((300, "T01-S", 3)), returned((300, "T01-S", 1)))
        for product in arrival:
            await world.hear(product)  # type: ignore[arg-type] # permutations of events
        assert await world.levels() == {100: -2, 101: 0}
        assert await world.rows("select * from parked_lines") == []
        (entry, back) = await world.rows("select kind, on_hand_delta from stock_ledger order by entry_id")
        assert (entry, back) == (("order", -3), ("returned", 1))

    async def test_two_lines_wait_for_two_products(self, empty_world: World) -> None:
        world = empty_world
        await world.hear(order((100, None, 1), (200, None, 2)))
        await world.hear(CASE)
        (_, second) = await world.told(OrderAllocated)
        assert [line.outcome for line in second.lines] == ["parked", "allocated"]
        await world.hear(SMALL)
        (third,) = await world.told(OrderAllocated)
        assert (third.decision, [line.outcome for line in third.lines]) == (3, ["allocated", "allocated"])
        assert await world.levels() == {100: -1, 200: -2}
        await world.assert_the_ledger_explains_every_level()

    async def test_an_unknown_variant_waits_for_the_product_to_get_it(self, world: World) -> None:
        await world.hear(order((102, "T01-M", 1)))
        (parked,) = await world.told()
        assert parked.lines[0].reason == "product 102 has no variant 'T01-M'"
        await world.hear(SHIRT.model_copy(update={"version": 2}))
        assert await world.told() == [], "still waiting: nothing was decided"
        medium = SHIRT.variants[0].model_copy(update={"sku": "T01-M", "variant_id": 3})
        await world.hear(SHIRT.model_copy(update={"version": 3, "variants": (*SHIRT.variants, medium)}))
        assert (await world.levels())[100] == 9

    async def test_a_late_line_that_is_short_under_deny_leaves_what_the_others_took(self, empty_world: World) -> None:
        world = empty_world
        await world.rows("update companies set oversell_policy = 'deny' where company_id = 1 returning 1")
        await world.hear(CASE)
        await world.count(_200=10)
        await world.hear(order((100, None, 1), (200, None, 2)))
        await world.hear(SMALL)
        (decided,) = await world.told(OrderShort)
        assert [line.outcome for line in decided.lines] == ["short", "allocated"]
        assert decided.lines[0].reason.endswith("for this line; the lines decided before keep what they took")
        assert await world.levels() == {100: 0, 200: 8}

    async def test_a_newer_version_takes_a_parked_line_away(self, empty_world: World) -> None:
        world = empty_world
        await world.hear(CASE)
        first = order((100, None, 1))
        await world.hear(first)
        await world.hear(order((200, None, 1), order_id=first.order_id, version=2))
        await world.hear(SMALL)
        assert await world.levels() == {100: 0, 200: -1}
        assert await world.rows("select * from parked_lines") == []

    async def test_a_cancelled_order_waits_for_nothing(self, empty_world: World) -> None:
        world = empty_world
        first = order((100, None, 1))
        await world.hear(first)
        await world.hear(first.model_copy(update={"state": "cancelled", "version": 2}))
        await world.hear(SMALL)
        assert await world.levels() == {100: 0}

    async def test_a_line_that_orders_has_checked_is_not_checked_when_the_product_comes(
        self, empty_world: World
    ) -> None:
        world = empty_world
        await world.hear(order((100, None, 1), checked=True))
        await world.hear(CONNECTION.model_copy(update={"state": "ended", "version": 2}))
        await world.hear(SMALL)
        assert await world.levels() == {100: -1}

    @pytest.mark.parametrize("arrival", list(permutations(["removed", "product", "order"])))
    async def test_an_order_of_a_removed_product_ends_the_same_in_whatever_order_events_come(
        self, empty_world: World, arrival: tuple[str, ...]
    ) -> None:
        world = empty_world
        events = {
            "removed": ProductRemoved(product_id=201, owner_id=SUPPLIER, version=2),
            "product": CUSTOM_CASE,
            "order": order((201, None, 1)),
        }
        await world.hear(CASE)
        for name in arrival:
            await world.hear(events[name])
        assert await world.levels() == {200: -1}
        assert await world.rows("select removed, version from products where product_id = 201") == [(True, 2)]
        assert await world.rows("select * from parked_lines") == []
        await world.hear(CUSTOM_CASE.model_copy(update={"version": 3}))
        assert await world.rows("select removed, version from products where product_id = 201") == [(False, 3)]

    async def test_permission_is_checked_when_the_product_comes(self, empty_world: World) -> None:
        world = empty_world
        await world.hear(order((100, None, 1), seller_id=STRANGER))
        await world.told()
        await world.hear(SMALL)
        (decided,) = await world.told()
        assert isinstance(decided, OrderShort)
        assert decided.lines[0].outcome == "refused"
        assert await world.levels() == {100: 0}


class TestReturns:
    async def test_a_return_restocks_once_and_only_where_it_says_so(self, world: World) -> None:
        back, kept = returned((102, "T01-S", 2), (400, None, 1)), returned((102, "T01-S", 5), restock=False)
        await world.hear(back, kept, back)
        await world.hear(back)
        assert await world.levels() == {100: 14, 101: 10, 200: 11, 202: 10}
        assert {event.causes for event in await world.told(StockChanged)} == {("returned",)}
        entries = await world.rows("select line_id, actor, reference from stock_ledger where kind = 'returned'")
        assert sorted(entries) == [(1, "return", str(back.return_id))] + 2 * [(2, "return", str(back.return_id))]
        await world.assert_the_ledger_explains_every_level()

    async def test_a_return_of_an_unknown_product_waits_for_it(self, empty_world: World) -> None:
        await empty_world.hear(returned((100, None, 4)))
        await empty_world.hear(SMALL)
        assert await empty_world.levels() == {100: 4}
        await empty_world.hear(SMALL.model_copy(update={"version": 2}))
        assert await empty_world.levels() == {100: 4}

    async def test_a_strangers_return_changes_nothing_and_the_reason_is_kept(self, world: World) -> None:
        await world.hear(returned((100, None, 4), seller_id=STRANGER))
        assert (await world.levels())[100] == 10
        ((refused,),) = await world.rows("select refused from return_states")
        assert [one["line_id"] for one in refused] == [1]
        assert refused[0]["reason"].startswith("product 100 is not yours")


async def test_an_order_beyond_all_stock_is_refused_and_no_dead_letter(world: World) -> None:
    await world.hear(stock_product(500, "MANY", type="customisable", components=(link(100, 1_000_000),)))
    await world.hear(order(*((500, None, 1_000_000) for _ in range(1001)), (100, None, 1)))
    (decided,) = await world.told(OrderShort)
    assert [line.outcome for line in decided.lines] == ["allocated"] * 1000 + ["refused", "allocated"]
    assert (await world.levels())[100] == 10 - 10**15 - 1
    await world.assert_the_ledger_explains_every_level()


async def test_a_relinked_product_draws_on_its_new_base(world: World) -> None:
    await world.hear(CUSTOM_CASE.model_copy(update={"version": 2, "components": (link(202),)}))
    await world.hear(CUSTOM_CASE, order((201, None, 1)))
    assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 9}


async def test_stock_is_kept_of_tracked_products_only_and_from_the_start(world: World) -> None:
    await world.hear(stock_product(500, "NEW", owner_id=RETAILER), stock_product(501, "PLAIN", type="customisable"))
    assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 10, 500: 0}
    await world.hear(order((500, None, 1), (501, None, 1)))
    (decided,) = await world.told(OrderAllocated)
    assert [line.outcome for line in decided.lines] == ["allocated", "untracked"]


async def test_nothing_is_left_of_a_transaction_that_fails(world: World) -> None:
    async def fail_after_taking() -> None:
        async with world.database.transaction() as session:
            await move_stock(session, [order((100, None, 1))])
            message = "the consumer died"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError):
        await fail_after_taking()
    assert (await world.levels())[100] == 10
    assert await world.told() == []
