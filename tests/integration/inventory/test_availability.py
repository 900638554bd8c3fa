"""Suppliers set availability, and retailers poll it, as KornitX's API has it."""

import base64
from typing import Any

import pytest
from sqlalchemy import text

from services.inventory.domain.stock import Cause, default_location
from services.inventory.record import record
from services.inventory.store import stock_feed
from services.inventory.store.stock import lock_stock
from shared.events.catalog import ConnectionChanged
from shared.events.inventory import StockChanged
from tests.app import Answer, Client
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.world import RETAILER, SHIRT, SUPPLIER, World, order, stock_product

# As the vendor's document has them.
SET = [
    {"barcode": "1234567891011", "data": {"quantity_available": 200}},
    {"sku": "T01-S", "data": {"quantity_available": 101}},
]
SMALL = {"product": {"id": 100, "supplier_sku": "T01-S", "retail_sku": ""}, "variant": None}
OWN = {
    "product": {"id": 300, "supplier_sku": "T01", "retail_sku": "T01"},
    "variant": {"sku": "T01-S"},
}


async def put(client: Client, body: object) -> Answer:
    return await client.call("PUT", "/stock/availability", body)


async def ids(client: Client, **query: str) -> list[int]:
    answer = await client.get("/stock", params=query)
    assert answer.status == 200, answer.body
    return [item["linked"][0]["product"]["id"] for item in answer.body["stock"]]


class TestWhoCalls:
    async def test_ref_and_key_in_clear_or_in_base64(self, callers: Callers) -> None:
        pair = "supplier-a:bsk_7"
        for sent in (pair, base64.b64encode(pair.encode()).decode()):
            assert (await self.basic(callers, sent)).status == 200
        assert (await put(callers.supplier, SET[1:])).status == 200

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ("retailer-a:bsk_7", "unknown_key"),  # of another company
            ("nobody:bsk_7", "unknown_key"),
            ("supplier-a:bsk_77", "unknown_key"),
            ("supplier-a:bsk_the_platform_admin", "unknown_key"),
            ("bsk_7", "no_key"),
            (":bsk_7", "no_key"),
            ("supplier-a:secret", "no_key"),
            ("%%%", "no_key"),
            (base64.b64encode(b"\xff\xfe:bsk_7").decode(), "no_key"),
            ("", "no_key"),
        ],
    )
    async def test_anything_else_is_refused(self, callers: Callers, sent: str, code: str) -> None:
        answer = await self.basic(callers, sent)
        assert (answer.status, answer.body["code"]) == (401, code)
        assert "WWW-Authenticate" in answer.headers

    async def test_only_here(self, callers: Callers) -> None:
        answer = await self.basic(callers, "supplier-a:bsk_7", "GET", "/v1/stock")
        assert (answer.status, answer.body["code"]) == (401, "no_key")

    async def basic(
        self, callers: Callers, sent: str, method: str = "PUT", path: str = "/stock/availability"
    ) -> Answer:
        headers = {"Authorization": f"Basic {sent}"}
        return await callers.supplier.call(method, path, SET[1:], headers=headers)


class TestSetting:
    async def test_what_can_be_sold_is_set_over_what_is_held(self, world: World, callers: Callers) -> None:
        """On hand becomes the value plus what is allocated and the safety stock; items not named stay."""
        await world.locate("main", "allocate")
        await world.hear(order((102, "T01-S", 2)), stock_product(101, "T01-L", version=2, barcode="1234567891011"))
        assert (await callers.supplier.patch("/v1/stock/100", {"safety_stock": 3})).status == 200
        answer = await put(callers.supplier, SET)
        assert answer.status == 200
        assert answer.body == {
            "results": [
                {"barcode": "1234567891011", "status": "updated", "quantity_available": 200},
                {"sku": "T01-S", "status": "updated", "quantity_available": 101},
            ]
        }
        assert await world.levels() == {100: 106, 101: 200, 200: 10, 202: 10, 900: 0}
        (entry,) = await world.rows("select kind, actor, on_hand_delta from stock_ledger where on_hand = 106")
        assert entry == ("stock_sync", "key 7", 96)
        await world.assert_the_ledger_explains_every_level()

    async def test_lead_time_and_capacity_without_a_quantity(self, world: World, callers: Callers) -> None:
        data = {"lead_time_days": 3, "daily_capacity": 40}
        answer = await put(callers.supplier, [{"sku": "T01-S", "data": data}, {"sku": "S7", "data": data}])
        assert [row["quantity_available"] for row in answer.body["results"]] == [10, 10]
        answer = await put(callers.supplier, [{"sku": "T01-S", "data": {"lead_time_days": None}}])
        told: list[StockChanged] = await world.told(StockChanged)
        assert [(one.base_stock_product_id, one.lead_time_days, one.daily_capacity) for one in told] == [
            (100, 3, 40),
            (200, 3, 40),
            (100, None, 40),
        ]

    async def test_the_same_again_changes_nothing(self, world: World, callers: Callers) -> None:
        await put(callers.supplier, SET[1:])
        await world.told()
        assert (await put(callers.supplier, SET[1:])).status == 200
        assert await world.told() == []

    async def test_rows_are_independent(self, world: World, callers: Callers) -> None:
        await world.hear(
            stock_product(101, "T01-L", version=2, barcode="1"), stock_product(200, "S7", version=2, barcode="1")
        )
        rows: list[Any] = [
            {"sku": "T01-S", "data": {"quantity_available": 7}},
            {"barcode": "9", "data": {"quantity_available": 7}},
            {"barcode": "1", "data": {"quantity_available": 7}},
            {"sku": "T01-S", "data": {}},
            {"sku": "T01-S", "barcode": "1", "data": {"quantity_available": 7}},
            {"sku": "T01-S", "data": {"quantity_available": 10**30}},
            {"sku": "T01-S", "data": {"quantity_available": "7"}},
            {"sku": "nul \x00", "data": {"quantity_available": 7}},
            {"sku": "half \ud800", "data": {"quantity_available": 7}},
            {"sku": "T01-S", "data": {"quantity_available": None}},
            [],
            None,
        ]
        answer = await put(callers.supplier, rows)
        assert answer.status == 207
        results = answer.body["results"]
        assert [row.get("code") for row in results] == [
            None,
            "unknown_product",
            "ambiguous_barcode",
            *["invalid_row"] * 9,
        ]
        assert results[1]["barcode"] == "9"
        assert "several" in results[2]["detail"]
        assert (await world.levels())[100] == 7

    async def test_when_all_fail_it_is_a_problem_with_the_results(self, world: World, callers: Callers) -> None:
        answer = await put(callers.supplier, [{"sku": "T99", "data": {"quantity_available": 7}}])
        assert (answer.status, answer.body["code"]) == (422, "no_row_written")
        detail = "You keep no stock of a sku 'T99'."
        assert answer.body["results"] == [
            {"sku": "T99", "status": "error", "code": "unknown_product", "detail": detail}
        ]
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (await put(callers.other_supplier, [SET[1]])).status == 200  # its own T01-S
        assert (await world.levels())[100] == 10

    async def test_ten_thousand_rows_and_no_more(self, world: World, callers: Callers) -> None:
        rows = [{"sku": "T01-S", "data": {"quantity_available": number}} for number in range(10_000)]
        assert (await put(callers.supplier, rows)).status == 200
        assert (await world.levels())[100] == 9_999
        assert (await put(callers.supplier, [*rows, rows[0]])).status == 422

    async def test_retailers_set_nothing(self, callers: Callers) -> None:
        answer = await put(callers.retailer, SET)
        assert (answer.status, answer.body["code"]) == (403, "forbidden")


class TestPolling:
    async def test_every_stock_product_with_what_the_retailer_sees_of_it(self, world: World, callers: Callers) -> None:
        await put(
            callers.supplier,
            [{"sku": "T01-S", "data": {"quantity_available": 50, "lead_time_days": 3, "daily_capacity": None}}],
        )
        answer = await callers.retailer.get("/stock")
        assert answer.status == 200
        assert answer.body["stock"][0] == {
            "linked": [SMALL, OWN],
            "quantity_available": 50,
            "lead_time_days": 3,
            "daily_capacity": None,
        }
        assert [item["linked"][0]["product"]["id"] for item in answer.body["stock"]] == [100, 101, 200, 202]
        # Shown by its supplier, 102 stands between them.
        await world.hear(SHIRT.model_copy(update={"visible_to": "connected", "version": 2}))
        linked = (await callers.retailer.get("/stock")).body["stock"][0]["linked"]
        shirt = {"product": {"id": 102, "supplier_sku": "T01", "retail_sku": ""}, "variant": {"sku": "T01-S"}}
        assert linked == [SMALL, shirt, OWN]

    async def test_a_supplier_is_told_why_not(self, callers: Callers) -> None:
        answer = await callers.supplier.get("/stock")
        assert (answer.status, answer.body["detail"]) == (403, "This is for a retailer; you are a supplier.")

    async def test_page_by_page(self, callers: Callers) -> None:
        path = "/stock?limit=3&dropship_ref=1"
        seen: list[int] = []
        while path:
            answer = await callers.retailer.get(path)
            seen += [item["linked"][0]["product"]["id"] for item in answer.body["stock"]]
            link = answer.headers.get("Link", "")
            path = link.partition(">")[0].removeprefix("<")
        assert seen == [100, 101, 200, 202]

    async def test_all_of_it_flows_in_pages(self, callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = (await callers.retailer.get("/stock")).body
        monkeypatch.setattr("services.inventory.stock_feed.ITEMS_AT_ONCE", 1)
        assert (await callers.retailer.get("/stock")).body == whole

    async def test_connections_by_ref_or_id_and_only_active_ones(self, world: World, callers: Callers) -> None:
        other = ConnectionChanged(
            connection_id=2,
            supplier_id=OTHER_SUPPLIER,
            retailer_id=RETAILER,
            external_ref="1",
            state="active",
            version=1,
        )
        await world.hear(other)
        assert await ids(callers.retailer) == [100, 101, 200, 202, 900]
        # Its own name for one is the id of the other one.
        assert await ids(callers.retailer, dropship_ref="1") == [900]
        assert await ids(callers.retailer, dropship_ref="2") == [900]
        await world.hear(other.model_copy(update={"external_ref": "Küche/Bad", "version": 2}))
        assert await ids(callers.retailer, dropship_ref="1") == [100, 101, 200, 202]
        assert await ids(callers.retailer, dropship_ref="Küche/Bad") == [900]
        for state in ("paused", "ended"):
            changed = {"external_ref": "x", "state": state, "version": 3 if state == "paused" else 4}
            await world.hear(other.model_copy(update=changed))
            assert await ids(callers.retailer) == [100, 101, 200, 202]
            assert await ids(callers.retailer, dropship_ref="x") == []
        answer = await callers.retailer.get("/stock", params={"dropship_ref": "3"})
        assert (answer.status, answer.body["code"]) == (404, "connection_not_found")

    async def test_by_a_part_of_the_sku_in_any_case(self, callers: Callers) -> None:
        assert await ids(callers.retailer, q="t01-") == [100, 101]
        assert await ids(callers.retailer, q="-L") == [101]
        assert await ids(callers.retailer, q="%") == []
        first = await callers.retailer.get("/stock", params={"q": "t01", "limit": 1})
        following = first.headers["Link"].partition(">")[0].removeprefix("<")
        second = await callers.retailer.get(following)
        assert [item["linked"][0]["product"]["id"] for item in second.body["stock"]] == [101]
        assert "Link" not in second.headers

    async def test_what_is_not_stocked_any_more_is_only_told_as_a_change(self, callers: Callers) -> None:
        assert (await callers.supplier.delete("/v1/stock/100")).status == 200
        assert await ids(callers.retailer) == [101, 200, 202]
        changed = await callers.retailer.get("/stock", params={"changed_since": "2020-01-01 00:00:00"})
        assert changed.body["stock"][0]["quantity_available"] == 0

    @pytest.mark.parametrize("time", ["yesterday", "2026-02-31 00:00:00", "2026-01-31", "", "٢026-01-31 09:30:00"])
    async def test_a_time_that_is_none(self, callers: Callers, time: str) -> None:
        answer = await callers.retailer.get("/stock", params={"changed_since": time})
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "changed_since")


class TestChangedSince:
    async def test_only_what_has_changed(self, world: World, callers: Callers) -> None:
        since = await self.now(world)
        assert await ids(callers.retailer, changed_since=since) == []
        await world.hear(order((102, "T01-S", 2)))
        assert await ids(callers.retailer, changed_since=since) == [100]
        since = await self.now(world)
        assert await ids(callers.retailer, changed_since=since) == []
        await put(callers.supplier, [{"sku": "S7", "data": {"lead_time_days": 3}}])
        assert await ids(callers.retailer, changed_since=since) == [200]

    async def test_an_answer_says_what_to_send_next(self, callers: Callers) -> None:
        read_at = (await callers.retailer.get("/stock")).headers["Basestock-Read-At"]
        assert (await callers.retailer.get("/stock", params={"changed_since": read_at})).status == 200

    async def test_what_to_send_next_stands_on_the_first_page_so_no_change_between_pages_is_missed(
        self, callers: Callers
    ) -> None:
        pages = [await callers.retailer.get("/stock", params={"limit": "2"})]
        while "Link" in pages[-1].headers:
            pages.append(await callers.retailer.get(pages[-1].headers["Link"].split(">")[0].removeprefix("<")))
        assert ["Basestock-Read-At" in page.headers for page in pages] == [True, False]

    async def test_a_change_that_is_committed_late_is_not_missed(self, world: World, callers: Callers) -> None:
        """It is stamped before the reader reads, and can be read only afterwards."""
        async with world.database.transaction() as session:
            stock = await lock_stock(session, [100])
            main = default_location(stock.locations[SUPPLIER]).location_id
            stock.move(100, main, Cause("manual", "key 1", "api", "key 1", "counted"), on_hand=5)
            await record(session, stock)
            await session.flush()
            since = await self.now(world)
            assert await ids(callers.retailer, changed_since=since) == []
        assert await ids(callers.retailer, changed_since=since) == [100]
        # Once a mark says that nothing is under way, it is told no more.
        assert await ids(callers.retailer, changed_since=await self.now(world)) == []

    async def test_since_before_all_marks_everything_is_told(self, world: World, callers: Callers) -> None:
        async with world.database.transaction() as session:
            await session.execute(text("update stock_items set changed_at = '1999-01-01'"))
        assert await ids(callers.retailer, changed_since=await self.now(world)) == []
        assert await ids(callers.retailer, changed_since="2020-01-01 00:00:00") == [100, 101, 200, 202]

    async def now(self, world: World) -> str:
        """A mark, and the time of a reader who reads right after it."""
        async with world.database.transaction() as session:
            await stock_feed.add_mark(session)
        async with world.database.transaction() as session:
            return f"{await stock_feed.read_clock(session):%Y-%m-%d %H:%M:%S.%f}"
