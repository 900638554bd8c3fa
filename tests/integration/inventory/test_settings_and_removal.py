"""What suppliers say of their items and locations beside the levels, and stock that they keep no more (rule 16)."""

from typing import Any

import pytest

from shared.events.inventory import OrderAllocated, StockChanged, StockRemoved
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.world import World, order


async def ledger_kinds(callers: Callers) -> list[str]:
    """Newest first."""
    entries = (await callers.supplier.get("/v1/stock/100/ledger")).body["items"]
    return [entry["kind"] for entry in entries]


class TestSettings:
    async def test_an_item_is_set_shown_and_told(self, world: World, callers: Callers) -> None:
        wanted = {"policy": "deny", "low_stock_threshold": 3, "lead_time_days": 14, "daily_capacity": 50}
        answer = await callers.supplier.patch("/v1/stock/100", wanted)
        assert (answer.status, {name: answer.body[name] for name in wanted}) == (200, wanted)
        (changed,) = await world.told(StockChanged)
        assert changed.model_dump(include=set(wanted)) == wanted
        assert (changed.version, changed.causes, changed.available) == (2, ("settings",), 10)
        entry = (await callers.supplier.get("/v1/stock/100/ledger")).body["items"][0]
        assert (entry["kind"], entry["actor"], entry["on_hand_delta"]) == ("settings", "key 7", 0)
        assert entry["reason"].startswith("policy none -> deny, low_stock_threshold none -> 3, ")
        again = await callers.supplier.patch("/v1/stock/100", wanted)
        assert again.body["version"] == 2, "nothing has changed"
        await world.assert_the_ledger_explains_every_level()

    async def test_null_takes_a_setting_away_and_what_is_left_out_stays(self, callers: Callers) -> None:
        await callers.supplier.patch("/v1/stock/100", {"policy": "deny", "lead_time_days": 14})
        answer = await callers.supplier.patch("/v1/stock/100", {"policy": None})
        assert (answer.body["policy"], answer.body["lead_time_days"]) == ("backorder", 14)

    async def test_safety_stock_cannot_be_sold(self, world: World, callers: Callers) -> None:
        answer = await callers.supplier.patch("/v1/stock/100", {"safety_stock": 4})
        assert (answer.body["on_hand"], answer.body["safety_stock"], answer.body["available"]) == (10, 4, 6)
        (changed,) = await world.told(StockChanged)
        assert (changed.available, changed.previous_available, changed.safety_stock) == (6, 10, 4)
        await callers.supplier.patch("/v1/stock/100", {"policy": "deny"})
        await world.hear(order((102, "T01-S", 7)))
        assert (await world.levels())[100] == 10
        await world.assert_the_ledger_explains_every_level()

    async def test_safety_stock_at_a_location_without_a_level_yet(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        answer = await callers.supplier.patch("/v1/stock/100", {"safety_stock": 2, "location": "shop"})
        levels = {level["location"]: level["available"] for level in answer.body["levels"]}
        assert (levels, answer.body["available"]) == ({"main": 10, "shop": -2}, 8)

    async def test_crossings_are_told_both_ways(self, world: World, callers: Callers) -> None:
        await callers.supplier.patch("/v1/stock/100", {"low_stock_threshold": 5})
        for on_hand in (6, 5, 4, 0, -1, 3, 7):
            await callers.supplier.post("/v1/stock/100/adjustments", {"on_hand": on_hand, "reason": "counted"})
        await callers.supplier.patch("/v1/stock/100", {"low_stock_threshold": 7})
        told = sorted(await world.told(StockChanged), key=lambda changed: int(changed.version))
        assert [changed.crossings for changed in told] == [
            (),
            (),
            ("low",),
            (),
            ("out",),
            (),
            ("back_in_stock",),
            ("recovered",),
            ("low",),
        ]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"policy": "maybe"}, "policy"),
            ({"low_stock_threshold": -1}, "low_stock_threshold"),
            ({"safety_stock": None}, "safety_stock"),
            ({"lead_time_days": 1.5}, "lead_time_days"),
            ({"on_hand": 3}, "on_hand"),
            ({"safety_stock": 1, "location": "moon"}, "moon"),
        ],
    )
    async def test_what_cannot_be_is_refused_in_words(self, callers: Callers, body: dict[str, Any], said: str) -> None:
        answer = await callers.supplier.patch("/v1/stock/100", body)
        assert answer.status == 422
        assert said in answer.body["detail"]

    async def test_nobody_sets_foreign_stock(self, callers: Callers) -> None:
        assert (await callers.supplier.patch("/v1/stock/900", {"policy": "deny"})).status == 404
        assert (await callers.retailer.patch("/v1/stock/100", {"policy": "deny"})).status == 403
        assert (await callers.supplier.delete("/v1/stock/900")).status == 404
        assert (await callers.retailer.delete("/v1/stock/100")).status == 403


class TestRemoval:
    async def test_the_row_stays_with_its_version_and_is_not_listed(self, world: World, callers: Callers) -> None:
        answer = await callers.supplier.delete("/v1/stock/100", params={"reason": "sold out for good"})
        assert (answer.status, answer.body["available"], answer.body["version"]) == (200, 0, 2)
        assert answer.body["removed_at"] == answer.body["levels"][0]["removed_at"]
        assert answer.body["levels"][0]["on_hand"] == 10, "no unit went"
        listed = (await callers.supplier.get("/v1/stock")).body["items"]
        assert [item["product_id"] for item in listed] == [101, 200, 202]
        (gone,) = await world.told()
        assert isinstance(gone, StockRemoved)
        assert (gone.version, gone.previous_available, gone.causes) == (2, 10, ("removed",))
        again = await callers.supplier.delete("/v1/stock/100")
        assert (again.body["version"], again.body["removed_at"]) == (2, answer.body["removed_at"])
        assert await world.told() == []
        await world.assert_the_ledger_explains_every_level()

    async def test_one_location_of_two(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        body = {"on_hand": 5, "location": "shop", "reason": "counted"}
        await callers.supplier.post("/v1/stock/100/adjustments", body)
        await world.told()
        answer = await callers.supplier.delete("/v1/stock/100", params={"location": "main"})
        assert (answer.body["available"], answer.body["removed_at"]) == (5, None)
        (changed,) = await world.told()
        assert isinstance(changed, StockChanged)
        assert ([level.location for level in changed.levels], changed.available) == (["shop"], 5)
        listed = (await callers.supplier.get("/v1/stock", params={"sku": "T01-S"})).body["items"]
        assert [level["location"] for level in listed[0]["levels"]] == ["shop"]
        await world.hear(order((102, "T01-S", 1)))
        assert (await world.stock_at("main"), await world.stock_at("shop")) == ((10, 0), (4, 0))
        await callers.supplier.delete("/v1/stock/100")
        assert [type(event) for event in await world.told(StockRemoved)] == [StockRemoved]

    async def test_orders_still_take_from_it_and_show_it(self, world: World, callers: Callers) -> None:
        await callers.supplier.delete("/v1/stock/100")
        await world.told()
        await world.hear(order((102, "T01-S", 3)))
        (decided,) = await world.told(OrderAllocated)
        assert [(take.product_id, take.quantity) for take in decided.lines[0].takes] == [(100, 3)]
        shown = (await callers.supplier.get("/v1/stock/100")).body
        assert (shown["available"], shown["levels"][0]["on_hand"]) == (0, 7)
        await world.assert_the_ledger_explains_every_level()

    async def test_the_next_write_lists_it_again(self, world: World, callers: Callers) -> None:
        await callers.supplier.delete("/v1/stock/100")
        await world.told()
        answer = await callers.supplier.post("/v1/stock/100/adjustments", {"on_hand": 10, "reason": "counted"})
        assert (answer.body["available"], answer.body["removed_at"], answer.body["version"]) == (10, None, 3)
        (changed,) = await world.told(StockChanged)
        assert (changed.available, changed.previous_available, changed.crossings) == (10, 0, ("back_in_stock",))
        assert await ledger_kinds(callers) == ["relisted", "removed", "manual"]
        await callers.supplier.delete("/v1/stock/100")
        answer = await callers.supplier.post("/v1/stock/bulk", [{"sku": "T01-S", "adjustment": 2}])
        assert answer.body["rows"][0]["on_hand"] == 12
        await world.assert_the_ledger_explains_every_level()

    async def test_an_unknown_location_is_refused(self, callers: Callers) -> None:
        answer = await callers.supplier.delete("/v1/stock/100", params={"location": "moon"})
        assert (answer.status, answer.body["code"]) == (422, "unknown_location")


class TestLocations:
    async def test_main_is_there_and_more_can_be_made(self, callers: Callers) -> None:
        body = {"code": "wms", "name": "Warehouse", "order_effect": "allocate", "on_hand_owner": "external"}
        made = await callers.supplier.post("/v1/locations", body)
        whole = {"supplier_id": 1, "salable": True, "priority": 0} | body
        assert (made.status, made.body) == (201, whole)
        listed = (await callers.supplier.get("/v1/locations")).body
        assert ([one["code"] for one in listed["items"]], listed["next_cursor"]) == (["main", "wms"], None)
        assert listed["items"][1] == whole
        first = (await callers.supplier.get("/v1/locations?limit=1")).body
        second = (await callers.supplier.get(f"/v1/locations?limit=1&cursor={first['next_cursor']}")).body
        assert [one["code"] for one in first["items"] + second["items"]] == ["main", "wms"]
        again = await callers.supplier.post("/v1/locations", body)
        assert (again.status, again.body["code"]) == (409, "location_exists")

    async def test_a_change_holds_from_then_on(self, world: World, callers: Callers) -> None:
        await world.hear(order((102, "T01-S", 1)))
        changed = await callers.supplier.patch("/v1/locations/main", {"order_effect": "allocate", "name": "Leeds"})
        assert (changed.status, changed.body["order_effect"], changed.body["salable"]) == (200, "allocate", True)
        await world.hear(order((102, "T01-S", 1)))
        assert await world.stock_at("main") == (9, 1)

    async def test_orders_that_name_none_are_drawn_by_priority_from_what_is_salable(
        self, world: World, callers: Callers
    ) -> None:
        for code, priority in (("far", -1), ("near", -2)):
            await callers.supplier.post("/v1/locations", {"code": code, "priority": priority})
            body = {"on_hand": 5, "location": code, "reason": "counted"}
            await callers.supplier.post("/v1/stock/100/adjustments", body)
        await world.hear(order((102, "T01-S", 1)))
        await callers.supplier.patch("/v1/locations/near", {"salable": False})
        await world.hear(order((102, "T01-S", 2)))
        assert [await world.stock_at(code) for code in ("near", "far", "main")] == [(4, 0), (3, 0), (10, 0)]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"code": "a b"}, "code"),
            ({"code": ""}, "code"),
            ({}, "code"),
            ({"code": "wms", "on_hand_owner": "external"}, "on_hand_owner"),
            ({"code": "wms", "order_effect": "nothing"}, "order_effect"),
            ({"code": "wms", "salable": "yes"}, "salable"),
            ({"code": "wms", "priority": 2**31}, "priority"),
            ({"code": "wms", "colour": "red"}, "colour"),
        ],
    )
    async def test_what_cannot_be_is_refused_in_words(self, callers: Callers, body: dict[str, Any], said: str) -> None:
        answer = await callers.supplier.post("/v1/locations", body)
        assert answer.status == 422
        assert said in answer.body["detail"]

    async def test_a_code_is_fixed_and_both_settings_must_fit(self, callers: Callers) -> None:
        renamed = await callers.supplier.patch("/v1/locations/main", {"code": "other"})
        assert renamed.status == 422
        await callers.supplier.patch("/v1/locations/main", {"order_effect": "allocate", "on_hand_owner": "external"})
        back = await callers.supplier.patch("/v1/locations/main", {"order_effect": "decrement"})
        assert (back.status, back.body["code"]) == (422, "invalid_location")
        assert (await callers.supplier.delete("/v1/locations/main")).status == 405

    async def test_everybody_has_their_own(self, callers: Callers) -> None:
        await callers.supplier.post("/v1/locations", {"code": "wms"})
        assert [one["code"] for one in (await callers.other_supplier.get("/v1/locations")).body["items"]] == ["main"]
        assert (await callers.other_supplier.patch("/v1/locations/wms", {"salable": False})).status == 404
        assert (await callers.retailer.get("/v1/locations")).status == 403
        assert (await callers.retailer.post("/v1/locations", {"code": "mine"})).status == 403
        assert (await callers.admin.get("/v1/locations")).status == 422, "whose?"
        of_other = await callers.admin.get("/v1/locations", params={"supplier_id": OTHER_SUPPLIER})
        assert [one["supplier_id"] for one in of_other.body["items"]] == [OTHER_SUPPLIER]
        assert (await callers.supplier.get("/v1/locations", params={"supplier_id": OTHER_SUPPLIER})).status == 403
