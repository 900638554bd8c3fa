"""Suppliers read and write their own stock over HTTP, and nobody else's."""

from typing import Any

import pytest

from shared.events.catalog import ProductRemoved
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.world import (
    CASE,
    LARGE,
    SHORTCUT,
    SUPPLIER,
    World,
    order,
    stock_product,
)


class TestReading:
    async def test_an_item_shows_its_levels_totals_and_version(self, world: World, callers: Callers) -> None:
        await world.hear(order((102, "T01-S", 2)))
        answer = await callers.supplier.get("/v1/stock/100")
        assert answer.status == 200
        numbers = {"on_hand": 8, "allocated": 0, "reserved": 0, "safety_stock": 0, "available": 8}
        assert answer.body == numbers | {
            "product_id": 100,
            "supplier_id": SUPPLIER,
            "sku": "T01-S",
            "title": "T01-S",
            "barcode": None,
            "policy": "backorder",
            "low_stock_threshold": None,
            "lead_time_days": None,
            "daily_capacity": None,
            "version": 2,
            "removed_at": None,
            "levels": [{"location": "main", **numbers, "removed_at": None}],
        }

    async def test_page_by_page_each_item_comes_once(self, callers: Callers) -> None:
        first = (await callers.supplier.get("/v1/stock?limit=3")).body
        second = (await callers.supplier.get(f"/v1/stock?limit=3&cursor={first['next_cursor']}")).body
        assert [item["product_id"] for item in first["items"] + second["items"]] == [100, 101, 200, 202]
        assert second["next_cursor"] is None

    async def test_by_sku_exactly(self, callers: Callers) -> None:
        found = await callers.supplier.get("/v1/stock", params={"sku": "S7"})
        assert [item["product_id"] for item in found.body["items"]] == [200, 202]
        assert (await callers.supplier.get("/v1/stock", params={"sku": "s7"})).body["items"] == []

    async def test_a_removed_or_untracked_item_is_listed_no_more_but_its_levels_can_be_seen(
        self, world: World, callers: Callers
    ) -> None:
        await world.hear(
            ProductRemoved(product_id=200, owner_id=SUPPLIER, version=2),
            stock_product(101, "T01-L", version=2, type="customisable"),
        )
        listed = await callers.supplier.get("/v1/stock")
        assert [item["product_id"] for item in listed.body["items"]] == [100, 202]
        for product_id in (101, 200):
            shown = await callers.supplier.get(f"/v1/stock/{product_id}")
            assert (shown.status, shown.body["on_hand"]) == (200, 10)

    async def test_everybody_sees_their_own_only(self, callers: Callers) -> None:
        own = await callers.other_supplier.get("/v1/stock")
        assert [item["product_id"] for item in own.body["items"]] == [900]
        assert (await callers.supplier.get("/v1/stock/900")).status == 404
        assert (await callers.supplier.get("/v1/stock/900/ledger")).status == 404
        assert (await callers.supplier.get("/v1/stock", params={"supplier_id": OTHER_SUPPLIER})).status == 403
        all_of_them = await callers.admin.get("/v1/stock")
        assert [item["product_id"] for item in all_of_them.body["items"]] == [100, 101, 200, 202, 900]
        some = await callers.admin.get("/v1/stock", params={"supplier_id": OTHER_SUPPLIER})
        assert [item["product_id"] for item in some.body["items"]] == [900]

    async def test_the_ledger_newest_first_page_by_page(self, world: World, callers: Callers) -> None:
        placed = order((102, "T01-S", 2))
        await world.hear(placed)
        first = (await callers.supplier.get("/v1/stock/100/ledger?limit=1")).body
        (entry,) = first["items"]
        assert (entry["kind"], entry["on_hand_delta"], entry["on_hand_after"]) == ("order", -2, 8)
        assert (entry["reference"], entry["line_id"], entry["location"]) == (str(placed.order_id), 1, "main")
        second = (await callers.supplier.get(f"/v1/stock/100/ledger?limit=1&cursor={first['next_cursor']}")).body
        assert [(entry["kind"], entry["actor"]) for entry in second["items"]] == [("manual", "key 1")]
        assert second["next_cursor"] is None

    @pytest.mark.parametrize("path", ["/v1/stock", "/v1/stock/100", "/v1/stock/100/ledger"])
    async def test_a_retailer_is_told_that_this_is_for_suppliers(self, callers: Callers, path: str) -> None:
        answer = await callers.retailer.get(path)
        assert (answer.status, answer.body["code"]) == (403, "forbidden")
        assert "supplier" in answer.body["detail"]


class TestAdjusting:
    @pytest.mark.parametrize(
        ("stated", "on_hand"),
        [({"on_hand": 4}, 4), ({"available": 25}, 25), ({"adjustment": -3}, 7), ({"on_hand": -2}, -2)],
    )
    async def test_on_hand_or_available_or_an_adjustment(
        self, world: World, callers: Callers, stated: dict[str, int], on_hand: int
    ) -> None:
        answer = await callers.supplier.post("/v1/stock/100/adjustments", {**stated, "reason": "counted"})
        assert (answer.status, answer.body["on_hand"], answer.body["version"]) == (200, on_hand, 2)
        entry = (await callers.supplier.get("/v1/stock/100/ledger")).body["items"][0]
        assert (entry["kind"], entry["actor"], entry["source"]) == ("manual", "key 7", "api")
        assert (entry["on_hand_delta"], entry["reason"]) == (on_hand - 10, "counted")
        await world.assert_the_ledger_explains_every_level()

    async def test_what_changes_nothing_leaves_no_entry(self, world: World, callers: Callers) -> None:
        answer = await callers.supplier.post("/v1/stock/100/adjustments", {"on_hand": 10, "reason": "counted"})
        assert (answer.status, answer.body["version"]) == (200, 1)
        await world.assert_the_ledger_explains_every_level()

    async def test_only_if_on_hand_is_as_expected(self, world: World, callers: Callers) -> None:
        body = {"on_hand": 4, "reason": "counted", "expected_on_hand": 9}
        answer = await callers.supplier.post("/v1/stock/100/adjustments", body)
        assert (answer.status, answer.body["code"]) == (409, "on_hand_changed")
        assert "10 are on hand" in answer.body["detail"]
        assert (await world.levels())[100] == 10
        answer = await callers.supplier.post("/v1/stock/100/adjustments", body | {"expected_on_hand": 10})
        assert (answer.status, answer.body["on_hand"]) == (200, 4)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"reason": "?"}, "exactly one"),
            ({"on_hand": 1, "adjustment": 1, "reason": "?"}, "exactly one"),
            ({"on_hand": 1}, "reason"),
            ({"on_hand": 1.5, "reason": "?"}, "on_hand"),
            ({"on_hand": 2_000_000_000, "reason": "?"}, "on_hand"),
            ({"quantity": 1, "reason": "?"}, "quantity"),
            ({"on_hand": 1, "reason": "a\x00b"}, "reason"),
            ({"on_hand": 1, "reason": "?", "location": "moon"}, "moon"),
        ],
    )
    async def test_a_wrong_write_is_refused_in_words(
        self, world: World, callers: Callers, body: dict[str, Any], said: str
    ) -> None:
        answer = await callers.supplier.post("/v1/stock/100/adjustments", body)
        assert answer.status == 422
        assert said in answer.body["detail"]
        assert (await world.levels())[100] == 10

    async def test_nobody_changes_foreign_stock(self, world: World, callers: Callers) -> None:
        body = {"on_hand": 1, "reason": "?"}
        assert (await callers.supplier.post("/v1/stock/900/adjustments", body)).status == 404
        assert (await callers.retailer.post("/v1/stock/100/adjustments", body)).status == 403
        assert (await callers.retailer.post("/v1/stock/bulk", [{"id": 100, "on_hand": 1}])).status == 403
        assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 10, 900: 0}
        assert (await callers.admin.post("/v1/stock/900/adjustments", body)).status == 200


class TestBulk:
    async def test_rows_by_sku_barcode_and_id(self, world: World, callers: Callers) -> None:
        await world.hear(stock_product(101, "T01-L", version=2, barcode="4000"))
        rows = [
            {"sku": "T01-S", "on_hand": 5},
            {"barcode": "4000", "adjustment": 3, "reason": "found"},
            {"id": 202, "available": 1},
            {"sku": "T01-S", "adjustment": 2},
        ]
        answer = await callers.supplier.post("/v1/stock/bulk", rows)
        assert (answer.status, answer.body["written"], answer.body["refused"]) == (200, 4, 0)
        assert [(row["row"], row["product_id"], row["on_hand"]) for row in answer.body["rows"]] == [
            (0, 100, 5),
            (1, 101, 13),
            (2, 202, 1),
            (3, 100, 7),
        ]
        assert await world.levels() == {100: 7, 101: 13, 200: 10, 202: 1, 900: 0}
        await world.assert_the_ledger_explains_every_level()

    async def test_a_sku_finds_stock_before_the_shortcut(self, world: World, callers: Callers) -> None:
        """Rule 9: `S7` is the SKU of 200 (stock), 201 (customisable) and 202 (stock and customisable)."""
        await callers.supplier.post("/v1/stock/bulk", [{"sku": "S7", "on_hand": 3}])
        assert await world.levels() == {100: 10, 101: 10, 200: 3, 202: 10, 900: 0}

    async def test_codes_find_live_tracked_stock_only(self, world: World, callers: Callers) -> None:
        await world.hear(
            CASE.model_copy(update={"version": 2, "barcode": "4000"}),
            SHORTCUT.model_copy(update={"version": 2, "barcode": "4000"}),
            LARGE.model_copy(update={"version": 2, "barcode": "4001", "type": "customisable"}),
        )
        await world.hear(ProductRemoved(product_id=200, owner_id=SUPPLIER, version=3))
        rows: list[dict[str, Any]] = [
            {"sku": "S7", "on_hand": 3},
            {"barcode": "4000", "adjustment": 1},
            {"sku": "T01-L", "on_hand": 3},
            {"barcode": "4001", "on_hand": 3},
        ]
        answer = await callers.supplier.post("/v1/stock/bulk", rows)
        assert [row["product_id"] for row in answer.body["rows"]] == [202, 202, None, None]
        assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 4, 900: 0}

    @pytest.mark.parametrize("row", [{"on_hand": True}, {"adjustment": "3"}, {"on_hand": 1.0}, {"id": "100"}])
    async def test_numbers_are_whole_numbers(self, world: World, callers: Callers, row: dict[str, Any]) -> None:
        bulk = await callers.supplier.post("/v1/stock/bulk", [{"id": 100, "adjustment": 3} | row])
        one = await callers.supplier.post("/v1/stock/100/adjustments", {"reason": "?"} | row)
        assert (bulk.status, one.status) == (422, 422)
        assert (await world.levels())[100] == 10

    async def test_good_rows_are_written_and_bad_ones_are_named(self, world: World, callers: Callers) -> None:
        await world.hear(
            stock_product(100, "T01-S", version=2, barcode="4000"),
            stock_product(101, "T01-L", version=2, barcode="4000"),
        )
        rows = [
            {"sku": "t01-s", "on_hand": 5},
            {"barcode": "4000", "on_hand": 5},
            {"id": 900, "on_hand": 5},
            {"barcode": "5000", "on_hand": 5},
            {"sku": "T01-S", "on_hand": 5, "adjustment": 5},
            {"sku": "T01-S", "id": 100, "on_hand": 5},
            {"sku": "T01-S", "on_hand": 5, "location": "moon"},
            "T01-S",
            {"sku": "T01-L", "on_hand": 5},
        ]
        answer = await callers.supplier.post("/v1/stock/bulk", rows)
        assert (answer.status, answer.body["written"], answer.body["refused"]) == (207, 1, 8)
        assert [[error["field"] for error in row["errors"]] for row in answer.body["rows"]][:4] == [
            ["[0].sku"],
            ["[1].barcode"],
            ["[2].id"],
            ["[3].barcode"],
        ]
        assert "several items" in answer.body["rows"][1]["errors"][0]["detail"]
        assert [bool(row["errors"]) for row in answer.body["rows"]] == [True] * 8 + [False]
        assert await world.levels() == {100: 10, 101: 5, 200: 10, 202: 10, 900: 0}

    async def test_when_no_row_can_be_written_it_is_a_problem(self, callers: Callers) -> None:
        answer = await callers.supplier.post("/v1/stock/bulk", [{"sku": "nothing", "on_hand": 1}, {"on_hand": 1}])
        assert (answer.status, answer.body["code"]) == (422, "no_row_written")
        assert [error["field"] for error in answer.body["errors"]] == ["[0].sku", "[1]"]

    async def test_no_adjustment_takes_a_level_beyond_the_limit(
        self, world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.inventory.writing.LEVEL_LIMIT", 1_500_000_000)
        row = {"id": 100, "adjustment": 900_000_000}
        answer = await callers.supplier.post("/v1/stock/bulk", [row, row])
        assert (answer.status, answer.body["rows"][1]["errors"][0]["field"]) == (207, "[1].adjustment")
        alone = await callers.supplier.post("/v1/stock/100/adjustments", {"adjustment": 900_000_000, "reason": "?"})
        assert (alone.status, alone.body["code"]) == (422, "too_many_units")
        assert (await world.levels())[100] == 900_000_010

    async def test_a_refused_row_tells_of_no_level_that_is_not_there(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        refused = {"id": 100, "location": "shop", "on_hand": 5, "expected_on_hand": 3}
        assert (await callers.supplier.post("/v1/stock/bulk", [refused, {"id": 100, "adjustment": 1}])).status == 207
        (event,) = await world.told()
        assert [level.location for level in event.levels] == ["main"]

    @pytest.mark.parametrize("body", [[], {"sku": "T01-S"}, [{"sku": "T01-S", "on_hand": 1}] * 10_001])
    async def test_neither_nothing_nor_too_much(self, callers: Callers, body: object) -> None:
        assert (await callers.supplier.post("/v1/stock/bulk", body)).status == 422

    async def test_all_changes_of_an_item_in_one_call_make_one_version(self, callers: Callers) -> None:
        await callers.supplier.post("/v1/stock/bulk", [{"id": 100, "adjustment": 1}] * 3)
        item = (await callers.supplier.get("/v1/stock/100")).body
        assert (item["on_hand"], item["version"]) == (13, 2)
        entries = (await callers.supplier.get("/v1/stock/100/ledger")).body["items"]
        assert [entry["item_version"] for entry in entries] == [2, 2, 2, 1]
