"""The check finds what does not add up and names it, is not misled by what is under way, and repairs sums alone."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from typer.testing import CliRunner

from services.command_line import app
from services.inventory import checking, reserving
from services.inventory.domain.checking import Drift, OrderDrift
from services.inventory.reserving import NewReservation, WantedLine
from services.inventory.store import checking as store
from shared.events.inventory import StockChanged
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from shared.settings import Settings
from tests.integration.inventory.callers import Callers
from tests.integration.inventory.world import (
    COMPANIES,
    CONNECTION,
    PRODUCTS,
    RETAILER,
    World,
    amended,
    an_empty_world,
    completed,
    failed,
    line,
    order,
    returned,
)


async def damage(world: World, statement: str) -> None:
    async with world.database.transaction() as session:
        await session.execute(text(statement))


async def found(world: World, limit: int = 100) -> list[tuple[int, str | None, str, int, int]]:
    """`(product id, location, kind, stored, expected)` of all drifts, checked so many items at a time."""
    drifts: list[Drift] = []
    after: int | None = 0
    while after is not None:
        checked = await checking.check_some(world.database, None, after, limit)
        drifts += checked.drifts
        after = checked.next_after
    return [(one.product_id, one.location, one.kind, one.stored, one.expected) for one in drifts]


async def repaired(world: World) -> list[str]:
    """What was repaired, in words."""
    drifts = (await checking.check_some(world.database, None, 0)).drifts
    return [
        f"{one.what}: {one.stored} -> {one.expected}" for one in await checking.repair(world.database, drifts, "me")
    ]


@pytest.fixture
async def busy(world: World) -> World:
    """Orders, fulfillment, a return and reservations at locations of every effect."""
    await world.locate("main", "allocate")
    first = order((102, "T01-S", 4), (400, None, 1), order_id=UUID(int=1))
    await world.hear(first, completed(first, 1, quantity=2), failed(first, 2), returned((200, None, 1)))
    await world.locate("main", "allocate", "external")
    second = order((101, None, 3), order_id=UUID(int=2))
    await world.hear(second, completed(second, 3))
    await world.locate("main")
    await world.hear(order((202, None, 2), order_id=UUID(int=3)), amended(first, line(first, quantity=5)))
    async with world.database.transaction() as session:
        lines = [WantedLine(product_id=102, variant_sku="T01-S", quantity=1)]
        await reserving.reserve(session, RETAILER, NewReservation(lines=lines))
    await world.told()
    return world


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_what_adds_up_is_no_drift(busy: World, limit: int) -> None:
    await busy.assert_the_ledger_explains_every_level()
    assert await found(busy, limit) == []


@pytest.mark.parametrize(
    ("statement", "drifts"),
    [
        (
            "update stock_levels set on_hand = on_hand + 5 where product_id = 202",
            [(202, "main", "level", 13, 8)],
        ),
        (
            "update stock_levels set allocated = 7, reserved = 3 where product_id = 202",
            [(202, "main", "level", 7, 0), (202, "main", "level", 3, 0)],
        ),
        ("update stock_items set version = 9 where product_id = 202", [(202, None, "version", 9, 2)]),
        (
            "update stock_items set on_hand = 9, stocked_locations = 0 where product_id = 202",
            [(202, None, "total", 9, 8), (202, None, "total", 0, 1)],
        ),
        (
            "update stock_items set is_listed = false, is_unlinked = true where product_id = 202",
            [(202, None, "listing", 0, 1), (202, None, "listing", 1, 0)],
        ),
        ("update takings set quantity = 1 where product_id = 202", [(202, "main", "takings", 1, 2)]),
        ("delete from takings where product_id = 202", [(202, "main", "takings", 0, 2)]),
        (
            "update takings set quantity = 5 where product_id = 101",
            [(101, "main", "allocated", 3, 6), (101, "main", "takings", 6, 3)],
        ),
        ("update completed_items set held = false where held", [(101, "main", "allocated", 3, 2)]),
        (
            "update stock_ledger set on_hand = 99 where product_id = 202 and kind = 'order'",
            [(202, "main", "ledger", 99, 8)],
        ),
        ("delete from reserved_units", [(100, "main", "reserved", 1, 0)]),
        (
            "update stock_ledger set on_hand_delta = -1 where product_id = 202 and kind = 'order'",
            [(202, "main", "level", 8, 9), (202, "main", "takings", 2, 1)],
        ),
    ],
)
async def test_each_damage_is_found_and_named(
    busy: World, statement: str, drifts: list[tuple[int, str | None, str, int, int]]
) -> None:
    await damage(busy, statement)
    assert await found(busy) == drifts


async def test_a_damaged_taking_names_its_order(busy: World) -> None:
    await damage(busy, "update takings set quantity = 1 where product_id = 202")
    (drift,) = (await checking.check_some(busy.database, None, 0)).drifts
    assert [(one.order_id, one.held, one.drawn) for one in drift.orders] == [(str(UUID(int=3)), 1, 2)]


async def test_all_of_a_chunk_is_of_one_moment(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await damage(busy, "update takings set quantity = 1 where product_id = 202")
    find_orders = store.find_orders

    async def after_somebody_mended_it(*arguments: Any) -> list[OrderDrift]:  # noqa: ANN401 - as they come
        await damage(busy, "update takings set quantity = 2 where product_id = 202")
        return await find_orders(*arguments)

    monkeypatch.setattr(store, "find_orders", after_somebody_mended_it)
    (drift,) = (await checking.check_some(busy.database, None, 0)).drifts
    assert [(one.held, one.drawn) for one in drift.orders] == [(1, 2)]


async def test_a_missing_level_is_found_and_made_anew(busy: World) -> None:
    await damage(busy, "delete from stock_levels where product_id = 202")
    assert await found(busy) == [(202, "main", "level", 0, 8)]
    await repaired(busy)
    assert await busy.stock_at("main", 202) == (8, 0)


async def test_repair_mends_levels_and_versions_and_tells_of_it(busy: World) -> None:
    await damage(busy, "update stock_levels set on_hand = 13, reserved = 2 where product_id = 202")
    await damage(busy, "update stock_items set version = 1 where product_id = 200")
    assert await repaired(busy) == [
        "the item's version, and that of its newest entry: 1 -> 3",
        "on_hand, and the sum of the ledger: 13 -> 8",
        "reserved, and the sum of the ledger: 2 -> 0",
    ]
    assert await found(busy) == []
    await busy.assert_the_ledger_explains_every_level()
    case, shortcut = await busy.told(StockChanged)
    assert (case.base_stock_product_id, case.version, case.causes) == (200, 4, ("repaired",))
    assert (shortcut.previous_available, shortcut.available, shortcut.version) == (11, 8, 3)
    entries = await busy.rows("""
        select kind, on_hand_delta, reserved_delta, on_hand, reserved, reason, actor from stock_ledger
        where product_id = 202 order by entry_id desc limit 1
    """)
    assert entries == [("repaired", 0, 0, 8, 0, "on_hand 13 -> 8, reserved 2 -> 0", "me")]
    assert await repaired(busy) == []


async def test_a_total_is_set_and_nothing_is_told(busy: World) -> None:
    await damage(busy, "update stock_items set reserved = 9, safety_stock = 1 where product_id = 202")
    assert await repaired(busy) == [
        "reserved in lists, and the sum of the levels: 9 -> 0",
        "safety_stock in lists, and the sum of the levels: 1 -> 0",
    ]
    assert await found(busy) == []
    assert await busy.told() == []


async def test_a_level_that_orders_went_on_from_is_mended_all_the_same(busy: World) -> None:
    await damage(busy, "update stock_levels set on_hand = 13 where product_id = 202")
    await busy.hear(order((202, None, 1)))
    assert await found(busy) == [(202, "main", "level", 12, 7)]
    await repaired(busy)
    assert await found(busy) == []
    await busy.assert_the_ledger_explains_every_level()


async def test_a_version_that_ran_ahead_never_goes_back(busy: World) -> None:
    await damage(busy, "update stock_items set version = 9 where product_id = 202")
    await repaired(busy)
    assert await found(busy) == []
    assert [event.version for event in await busy.told(StockChanged)] == [10]


@pytest.mark.parametrize(
    "statement",
    [
        "update takings set quantity = 1 where product_id = 202",
        "delete from reserved_units",
        "update stock_ledger set on_hand_delta = -1 where product_id = 202 and kind = 'order'",
    ],
)
async def test_repair_touches_nothing_of_which_nobody_knows_who_is_right(busy: World, statement: str) -> None:
    await damage(busy, statement)
    before = await found(busy)
    assert await repaired(busy) == []
    assert await found(busy) == before
    assert await busy.told() == []


async def test_what_was_mended_since_is_left_alone(busy: World) -> None:
    await damage(busy, "update stock_levels set on_hand = 13 where product_id = 202")
    drifts = (await checking.check_some(busy.database, None, 0)).drifts
    await damage(busy, "update stock_levels set on_hand = 8 where product_id = 202")
    assert await checking.repair(busy.database, drifts, "me") == []
    assert await busy.told() == []


async def test_orders_that_are_under_way_are_no_drift(world: World) -> None:
    """Checked over and over, some items at a time, while orders come, are amended and sent, and stock is reserved."""
    done = asyncio.Event()

    async def sell() -> None:
        for number in range(1, 25):
            placed = order((102, "T01-S", 2), (400, None, 1), (202, None, 1))
            await world.hear(placed, completed(placed, number))
            await world.hear(amended(placed, line(placed, quantity=1)))
        done.set()

    async def check() -> int:
        checks = 0
        while not done.is_set():
            assert await found(world, 2) == []
            checks += 1
        return checks

    async with asyncio.TaskGroup() as group:
        group.create_task(sell())
        checks = group.create_task(check())
    assert checks.result() > 3


async def test_repair_waits_for_who_has_the_item_and_looks_again(busy: World) -> None:
    await damage(busy, "update stock_levels set on_hand = on_hand + 5 where product_id = 202")
    drifts = (await checking.check_some(busy.database, None, 0)).drifts
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(busy.hear(order((202, None, 1))))
            group.create_task(checking.repair(busy.database, drifts, "me"))
    assert await found(busy) == []
    assert await busy.stock_at("main", 202) == (3, 0)


async def test_every_process_checks_by_itself_and_says_what_it_found(
    busy: World, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(checking, "CHUNK_ITEMS", 3)
    await damage(busy, "update stock_levels set on_hand = on_hand + 1, reserved = reserved + 1 where product_id = 202")
    bus = InProcessBus(publish_timeout_seconds=10)
    worker = asyncio.create_task(
        checking.check_all_the_time(Context("inventory", Settings(dsn=database_dsn), busy.database, bus))
    )

    def rounds() -> float:
        return REGISTRY.get_sample_value("basestock_stock_checks_total") or 0

    before = rounds()
    try:
        async with asyncio.timeout(60):
            while rounds() == before:
                await asyncio.sleep(0.01)
    finally:
        worker.cancel()
        await asyncio.wait([worker])
    assert REGISTRY.get_sample_value("basestock_stock_drift_items") == 1


class TestOverHttp:
    async def test_a_supplier_checks_and_repairs_its_own(self, world: World, callers: Callers) -> None:
        clean = await callers.supplier.get("/v1/stock/check")
        assert (clean.status, clean.body["items_checked"], clean.body["drifts"]) == (200, 4, [])
        await damage(world, "update stock_levels set on_hand = 13 where product_id in (202, 900)")
        drift = {
            "product_id": 202,
            "location": "main",
            "kind": "level",
            "what": "on_hand, and the sum of the ledger",
            "stored": 13,
            "expected": 10,
            "repairable": True,
            "orders": [],
        }
        answer = await callers.supplier.post("/v1/stock/check", {"repair": True})
        assert answer.body == {"items_checked": 4, "drifts": [drift], "repaired": [drift], "next_cursor": None}
        left = await callers.admin.get("/v1/stock/check")
        assert [one["product_id"] for one in left.body["drifts"]] == [900]
        assert (await callers.retailer.get("/v1/stock/check")).status == 403

    async def test_page_by_page(self, callers: Callers) -> None:
        first = (await callers.supplier.get("/v1/stock/check?limit=3")).body
        second = (await callers.supplier.get(f"/v1/stock/check?limit=3&cursor={first['next_cursor']}")).body
        assert (first["items_checked"], second["items_checked"], second["next_cursor"]) == (3, 1, None)


class TestTheCommand:
    def run(self, dsn: str, *options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["check", "--dsn", dsn, *options], env={"COLUMNS": "200"})
        return result.exit_code, result.stdout

    def test_it_says_what_drifts_and_by_its_exit_status(self, database_dsn: str) -> None:
        async def stocked_and_damaged(statement: str) -> None:
            async with an_empty_world(database_dsn) as world:
                await world.hear(*COMPANIES, CONNECTION, *PRODUCTS)
                await world.count(_100=10, _101=10)
                await damage(world, statement)

        asyncio.run(stocked_and_damaged("select 1"))
        assert self.run(database_dsn) == (0, "Items checked: 4. Everything adds up.\n")
        asyncio.run(stocked_and_damaged("update stock_levels set on_hand = 12 where product_id = 100"))
        status, said = self.run(database_dsn)
        assert status == 1
        for words in ("Drifts: 1. Items checked: 4.", "main", "level", "12", "10", "repair"):
            assert words in said
        status, said = self.run(database_dsn, "--json")
        assert (status, json.loads(said)["found"][0]["stored"]) == (1, 12)
        status, said = self.run(database_dsn, "--repair", "--json")
        assert (status, json.loads(said)["repaired"][0]["expected"]) == (0, 10)
        assert self.run(database_dsn)[0] == 0
