"""Lists of stock: searched, filtered, sorted, page by page, counted, exported; and who holds stock of an item."""

from typing import Any

import pytest
from sqlalchemy import text

from services.inventory import checking
from services.inventory.store.listing import RENEW_LISTINGS
from services.inventory.store.stock_lists import KEYS
from shared.database import plan_anew
from shared.events.catalog import ProductChanged, ProductRemoved
from tests.app import Client
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.test_reservations import reserve
from tests.integration.inventory.world import (
    RETAILER,
    SUPPLIER,
    World,
    amended,
    cancelled,
    completed,
    line,
    order,
    stock_product,
)


async def ids(client: Client, **params: str) -> list[int]:
    """The items of a list, in its order."""
    answer = await client.get("/v1/stock", params=params)
    assert answer.status == 200, answer.body
    return [item["product_id"] for item in answer.body["items"]]


async def pages(client: Client, **params: str) -> list[int]:
    """The items of a list, read two at a time."""
    found: list[int] = []
    cursor: object = None
    while True:
        more = {} if cursor is None else {"cursor": str(cursor)}
        answer = await client.get("/v1/stock", params=params | more | {"limit": "2"})
        assert answer.status == 200, answer.body
        found += [item["product_id"] for item in answer.body["items"]]
        cursor = answer.body["next_cursor"]
        if cursor is None:
            return found


@pytest.fixture
async def shelves(world: World, callers: Callers) -> Callers:
    """Stock of every kind: 100 low, 101 out, 200 backordered, 500 in the shop alone, 501 without any link, 502 gone."""
    mugs = [
        stock_product(500, "MUG-100%", title="Großer Becher", barcode="4006381333931"),
        stock_product(501, "MUG_200", title="Small mug, red"),
        stock_product(502, "MUG-300", title="Small mug, blue"),
        stock_product(503, "PRINTED", type="customisable", components=(stock_link(500),)),
    ]
    await world.hear(*mugs)
    await world.locate("shop")
    await world.count(_100=3, _101=0, _200=-2, _501=7)
    supplier = callers.supplier
    for product_id, settings in ((100, {"low_stock_threshold": 3}), (200, {"lead_time_days": 4})):
        assert (await supplier.patch(f"/v1/stock/{product_id}", settings)).status == 200
    body = {"location": "shop", "on_hand": 20, "reason": "counted"}
    for product_id in (202, 500):
        assert (await supplier.post(f"/v1/stock/{product_id}/adjustments", body)).status == 200
    assert (await supplier.delete("/v1/stock/500?location=main")).status == 200
    assert (await supplier.delete("/v1/stock/502")).status == 200
    return callers


def stock_link(product_id: int) -> Any:  # noqa: ANN401 - as events take it
    return {"product_id": product_id, "quantity": 1}


class TestSearching:
    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("mug", [500, 501]),
            ("SMALL MUG", [501]),
            ("red small", [501]),
            ("GROSSER", []),
            ("GROßER", [500]),
            ("3813339", [500]),
            ("100%", [500]),
            ("%", [500]),
            ("mug_", [501]),
            ("_", [501]),
            ("\\", []),
            ("mug becher", [500]),
            ("becher4006", []),
            ("  ", [100, 101, 200, 202, 500, 501]),
        ],
    )
    async def test_each_word_is_contained_somewhere_and_is_nothing_but_itself(
        self, shelves: Callers, q: str, found: list[int]
    ) -> None:
        assert await ids(shelves.supplier, q=q) == found

    @pytest.mark.parametrize(
        ("state", "found"),
        [
            ("low", [100]),
            ("out", [101, 200]),
            ("backordered", [200]),
            ("unlinked", [501]),
            ("removed", [502]),
        ],
    )
    async def test_by_state(self, shelves: Callers, state: str, found: list[int]) -> None:
        assert await ids(shelves.supplier, state=state) == found

    async def test_a_link_of_a_product_that_is_removed_or_linked_elsewhere_counts_no_more(
        self, world: World, shelves: Callers
    ) -> None:
        await world.hear(
            ProductRemoved(product_id=503, owner_id=SUPPLIER, version=2),
            stock_product(400, "KIT", version=2, type="customisable", components=(stock_link(200),)),
        )
        assert await ids(shelves.supplier, state="unlinked") == [500, 501]

    async def test_by_location_and_the_numbers_stay_totals(self, shelves: Callers) -> None:
        answer = await shelves.supplier.get("/v1/stock", params={"location": "shop"})
        assert [(item["product_id"], item["on_hand"]) for item in answer.body["items"]] == [(202, 30), (500, 20)]
        assert [level["location"] for level in answer.body["items"][0]["levels"]] == ["main", "shop"]
        assert await ids(shelves.supplier, location="main") == [100, 101, 200, 202, 501]
        assert await ids(shelves.supplier, location="nowhere") == []
        assert await ids(shelves.supplier, location="main", state="removed") == [502]

    async def test_what_is_removed_shows_its_levels(self, shelves: Callers) -> None:
        (item,) = (await shelves.supplier.get("/v1/stock", params={"state": "removed"})).body["items"]
        assert item["removed_at"] is not None
        assert [level["location"] for level in item["levels"]] == ["main"]

    @pytest.mark.parametrize("params", [{"q": "t01"}, {"state": "unlinked"}, {"location": "main"}, {"sort": "-sku"}])
    async def test_no_filter_finds_what_is_another_suppliers(self, shelves: Callers, params: dict[str, str]) -> None:
        assert await ids(shelves.other_supplier, **params) == [900]
        assert 900 not in await ids(shelves.supplier, **params)
        foreign = params | {"supplier_id": str(OTHER_SUPPLIER)}
        assert (await shelves.supplier.get("/v1/stock", params=foreign)).status == 403
        assert await ids(shelves.admin, **foreign) == [900]


class TestSorting:
    @pytest.mark.parametrize("column", KEYS)
    @pytest.mark.parametrize("sign", ["", "-"])
    async def test_page_by_page_each_item_comes_once_also_where_many_are_equal(
        self, shelves: Callers, column: str, sign: str
    ) -> None:
        items = (await shelves.admin.get("/v1/stock")).body["items"]

        def place(item: dict[str, Any]) -> tuple[bool, Any, int]:
            value = item[column].lower() if column in {"sku", "title"} else item[column]
            if value is None:
                return True, 0, item["product_id"]
            by_id = -item["product_id"] if sign == "-" and column == "product_id" else item["product_id"]
            if isinstance(value, str):
                return False, [-ord(one) for one in value] + [1] if sign else [ord(one) for one in value], by_id
            return False, -value if sign else value, by_id

        wanted = [item["product_id"] for item in sorted(items, key=place)]
        assert len(wanted) == 7
        assert await pages(shelves.admin, sort=sign + column) == wanted

    async def test_cursors_of_lists_by_id_stay_numbers(self, shelves: Callers) -> None:
        first = (await shelves.supplier.get("/v1/stock", params={"limit": "2"})).body
        assert first["next_cursor"] == 101

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"sort": "sku", "cursor": "101"}, "of another list"),
            ({"sort": "sku", "cursor": "own"}, "of another list"),
            ({"cursor": "own"}, "of another list"),
            ({"cursor": "nonsense"}, "no cursor"),
            ({"cursor": str(2**63)}, "no cursor"),
            ({"cursor": "²"}, "no cursor"),
        ],
    )
    async def test_a_cursor_of_another_order_is_refused(
        self, shelves: Callers, params: dict[str, str], words: str
    ) -> None:
        page = await shelves.supplier.get("/v1/stock", params={"sort": "-available", "limit": "1"})
        asked = params | ({"cursor": page.body["next_cursor"]} if params["cursor"] == "own" else {})
        answer = await shelves.supplier.get("/v1/stock", params=asked)
        assert (answer.status, answer.body["code"], answer.body["errors"][0]["field"]) == (
            422,
            "invalid_cursor",
            "cursor",
        )
        assert words in answer.body["detail"]


class TestSummary:
    async def test_it_counts_what_the_lists_have(self, shelves: Callers) -> None:
        summary = (await shelves.supplier.get("/v1/stock/summary")).body
        assert summary == {
            "items": 6,
            "low": 1,
            "out": 2,
            "backordered": 1,
            "unlinked": 1,
            "units_on_hand": 3 + 0 - 2 + 30 + 20 + 7,
            "units_available": 58,
        }
        some = (await shelves.supplier.get("/v1/stock/summary", params={"q": "mug", "location": "shop"})).body
        assert (some["items"], some["unlinked"], some["units_on_hand"]) == (1, 0, 20)

    async def test_of_nothing_it_is_nothing(self, shelves: Callers) -> None:
        none = (await shelves.supplier.get("/v1/stock/summary", params={"q": "no such thing"})).body
        assert set(none.values()) == {0}

    async def test_everybody_counts_their_own(self, shelves: Callers) -> None:
        path = "/v1/stock/summary"
        assert (await shelves.other_supplier.get(path)).body["items"] == 1
        assert (await shelves.admin.get(path)).body["items"] == 7
        assert (await shelves.admin.get(path, params={"supplier_id": str(OTHER_SUPPLIER)})).body["items"] == 1
        assert (await shelves.supplier.get(path, params={"supplier_id": str(OTHER_SUPPLIER)})).status == 403
        assert (await shelves.retailer.get(path)).status == 403


class TestTotals:
    async def test_they_follow_every_change_of_a_level(self, world: World, shelves: Callers) -> None:
        placed = order((102, "T01-S", 2), (400, None, 1))
        await world.hear(placed)
        await world.locate("main", "allocate")
        second = order((101, None, 3), (202, None, 1))
        await world.hear(second, completed(second, 1), amended(placed, line(placed, quantity=1)))
        await reserve(world, (202, None, 2))
        await shelves.supplier.patch("/v1/stock/202", {"safety_stock": 5, "location": "shop"})
        await shelves.supplier.delete("/v1/stock/202?location=main")
        await world.hear(cancelled(second))
        assert await drifted(world) == []
        await shelves.supplier.post("/v1/stock/502/adjustments", {"adjustment": 1, "reason": "found"})
        assert await drifted(world) == []
        assert 502 in await ids(shelves.supplier, sort="-on_hand")


async def drifted(world: World) -> list[Any]:
    """Items whose totals are not the sums over their levels."""
    return await world.rows("""
        select i.product_id, i.on_hand, i.allocated, i.reserved, i.safety_stock, i.stocked_locations
        from stock_items i left join (
            select product_id, sum(on_hand) as on_hand, sum(allocated) as allocated, sum(reserved) as reserved,
                sum(safety_stock) as safety_stock, count(*) as places
            from stock_levels where removed_at is null group by 1) l using (product_id)
        where (i.on_hand, i.allocated, i.reserved, i.safety_stock, i.stocked_locations) <> (coalesce(l.on_hand, 0),
            coalesce(l.allocated, 0), coalesce(l.reserved, 0), coalesce(l.safety_stock, 0), coalesce(l.places, 0))
    """)


class TestUnlinked:
    """What items keep of products and their links: that they are in lists, and that nothing draws on them."""

    async def test_it_follows_every_change_of_a_link(self, world: World, shelves: Callers) -> None:
        async def unlinked(*events: ProductChanged | ProductRemoved) -> list[int]:
            await world.hear(*events)
            assert (await checking.check_some(world.database, None, 0)).drifts == []
            return await ids(shelves.supplier, state="unlinked", q="mug")

        assert await unlinked() == [501]
        assert await unlinked(print_on(503, 501)) == [500]
        both = print_on(504, 500, 501)
        assert await unlinked(both) == []
        assert await unlinked(gone(503)) == []
        assert await unlinked(gone(504)) == [500, 501]
        # The link was known before the stock was; and stock goes, and comes back.
        assert await unlinked(print_on(505, 506)) == [500, 501]
        assert await unlinked(stock_product(506, "MUG-506")) == [500, 501]
        assert await unlinked(gone(501)) == [500]
        assert await unlinked(stock_product(501, "MUG_200", title="Small mug, red", version=4)) == [500, 501]
        assert await unlinked(print_on(505, version=3)) == [500, 501, 506]


def print_on(product_id: int, *drawn_on: int, version: int = 2) -> ProductChanged:
    """A product that draws on these."""
    links = tuple(stock_link(one) for one in drawn_on)
    return stock_product(product_id, f"PRINTED-{product_id}", version=version, type="customisable", components=links)


def gone(product_id: int, version: int = 3) -> ProductRemoved:
    return ProductRemoved(product_id=product_id, owner_id=SUPPLIER, version=version)


class TestExport:
    async def test_what_is_listed_can_be_exported(self, shelves: Callers) -> None:
        async def skus(**params: str) -> list[list[str]]:
            answer = await shelves.supplier.get("/v1/stock/export", params=params)
            assert answer.status == 200, answer.body
            return [row.split(",") for row in answer.body.splitlines()]

        assert await skus(q="small") == [["sku", "quantity_available"], ["MUG_200", "7"]]
        assert await skus(state="out") == [["sku", "quantity_available"], ["T01-L", "0"], ["S7", "-2"]]
        # They would be imported to `main` otherwise.
        assert await skus(location="shop", q="mug") == [
            ["sku", "quantity_available", "location"],
            ["MUG-100%", "20", "shop"],
        ]
        removed = await shelves.supplier.get("/v1/stock/export", params={"state": "removed"})
        assert (removed.status, removed.body["errors"][0]["field"]) == (422, "state")


class TestTakings:
    async def test_who_holds_stock_of_an_item_newest_first(self, world: World, callers: Callers) -> None:
        first, second = [order((102, "T01-S", units), (400, None, 1)) for units in (2, 3)]
        first, second = sorted((first, second), key=lambda one: one.order_id)
        await world.hear(first, second)
        path = "/v1/stock/100/takings"
        whole = (await callers.supplier.get(path)).body
        assert [(one["order_id"], one["line_id"]) for one in whole["items"]] == [
            (str(placed.order_id), line_id) for placed in (second, first) for line_id in (1, 2)
        ]
        assert whole["items"][0] == {
            "order_id": str(second.order_id),
            "line_id": 1,
            "seller_id": RETAILER,
            "external_ref": second.external_ref,
            "source": "api",
            "location": "main",
            "quantity": second.lines[0].quantity,
            "effect": "decrement",
            "state": "open",
        }
        found: list[Any] = []
        asked: dict[str, str] = {"limit": "1"}
        while len(found) < len(whole["items"]):
            page = (await callers.supplier.get(path, params=asked)).body
            found += page["items"]
            asked["cursor"] = page["next_cursor"]
        assert asked["cursor"] is None
        assert found == whole["items"]
        await world.hear(cancelled(second))
        left = (await callers.supplier.get(path)).body["items"]
        assert {one["order_id"] for one in left} == {str(first.order_id)}

    async def test_it_is_for_the_items_supplier_alone(self, world: World, callers: Callers) -> None:
        await world.hear(order((102, "T01-S", 2)))
        path = "/v1/stock/100/takings"
        assert (await callers.other_supplier.get(path)).status == 404
        assert (await callers.retailer.get(path)).status == 403
        assert len((await callers.admin.get(path)).body["items"]) == 1
        cursor = (await callers.supplier.get("/v1/stock?sort=sku&limit=1")).body["next_cursor"]
        for wrong in (cursor, "nonsense"):
            answer = await callers.supplier.get(path, params={"cursor": wrong})
            assert (answer.status, answer.body["code"]) == (422, "invalid_cursor")

    async def test_reservations_that_hold_units_of_a_product(self, world: World, callers: Callers) -> None:
        of_small = await reserve(world, (102, "T01-S", 1))
        await reserve(world, (200, None, 1))
        found = (await callers.retailer.get("/v1/reservations", params={"product_id": "100"})).body["items"]
        assert [one["reservation_id"] for one in found] == [str(of_small)]
        assert (await callers.supplier.get("/v1/reservations", params={"product_id": "100"})).body["items"] == []
        await callers.retailer.delete(f"/v1/reservations/{of_small}")
        assert (await callers.retailer.get("/v1/reservations", params={"product_id": "100"})).body["items"] == []


async def test_what_draws_on_an_item_is_found_by_its_links_also_where_nothing_is_known_of_the_tables(
    world: World,
) -> None:
    """While a catalog is taken in nobody has analysed it: read otherwise, each item would cost all products."""
    await world.hear(*(stock_product(number, f"NEW-{number}") for number in range(1_000, 3_000)))
    async with world.database.transaction() as session:
        await plan_anew(session)
        plan = await session.execute(text(f"explain {RENEW_LISTINGS.text}"), {"product_ids": list(range(1_000, 1_500))})
        nodes = [row[0] for row in plan]
    looked_up = [node for node in nodes if " on product_parts" in node]
    assert looked_up
    assert all("Bitmap Heap Scan" in node for node in looked_up), nodes
    assert any("ix_product_parts_component_ids" in node for node in nodes), nodes
    assert not [node for node in nodes if "owner_id = i" in node], nodes
