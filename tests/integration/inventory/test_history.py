"""The ledger by location, kind, reference and time, across products, and a product day by day."""

from typing import Any
from uuid import UUID

import pytest

from services.inventory.store import history
from services.inventory.store.history import Filters
from tests.integration.inventory.callers import Callers
from tests.integration.inventory.world import World, cancelled, completed, order, returned

FIRST, SECOND = UUID(int=1), UUID(int=2)


async def asked(callers: Callers, path: str, **params: Any) -> list[tuple[int, str, int]]:  # noqa: ANN401 - parameters
    """`(product id, kind, change of on hand)` of the entries, newest first."""
    answer = await callers.supplier.get(path, params=params)
    assert answer.status == 200, answer.body
    return [(one["product_id"], one["kind"], one["on_hand_delta"]) for one in answer.body["items"]]


@pytest.fixture
async def sold(world: World) -> World:
    """Two orders, of which one was cancelled, and a return."""
    first = order((102, "T01-S", 2), (200, None, 1), order_id=FIRST)
    await world.hear(first)
    await world.hear(order((102, "T01-S", 3), order_id=SECOND), returned((200, None, 4)))
    await world.hear(cancelled(first))
    return world


@pytest.mark.usefixtures("sold")
class TestFilters:
    async def test_by_kind_one_or_several(self, callers: Callers) -> None:
        path = "/v1/stock/100/ledger"
        assert await asked(callers, path, kind="order") == [(100, "order", -3), (100, "order", -2)]
        both = await callers.supplier.get(f"{path}?kind=order_cancelled&kind=manual")
        assert [one["kind"] for one in both.body["items"]] == ["order_cancelled", "manual"]

    async def test_by_reference(self, callers: Callers) -> None:
        assert await asked(callers, "/v1/stock/100/ledger", reference=str(SECOND)) == [(100, "order", -3)]
        assert await asked(callers, "/v1/stock/ledger", reference=str(FIRST)) == [
            (200, "order_cancelled", 1),
            (100, "order_cancelled", 2),
            (200, "order", -1),
            (100, "order", -2),
        ]
        some = await asked(callers, "/v1/stock/ledger", reference=str(FIRST), kind="order")
        assert some == [(200, "order", -1), (100, "order", -2)]
        assert await asked(callers, "/v1/stock/ledger", reference="nobody's") == []

    async def test_by_location(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        body = {"location": "shop", "on_hand": 5, "reason": "counted"}
        assert (await callers.supplier.post("/v1/stock/100/adjustments", body)).status == 200
        assert await asked(callers, "/v1/stock/100/ledger", location="shop") == [(100, "manual", 5)]
        assert await asked(callers, "/v1/stock/ledger", location="shop") == [(100, "manual", 5)]
        assert await asked(callers, "/v1/stock/ledger", location="nowhere") == []

    async def test_by_time_from_a_moment_on_and_before_another(self, world: World, callers: Callers) -> None:
        await world.rows(
            "update stock_ledger set occurred_at = '2026-01-01T12:00:00Z' where kind = 'order' returning 1"
        )
        for path in ("/v1/stock/100/ledger", "/v1/stock/ledger"):
            times = {"since": "2026-01-01T13:00:00+01:00", "until": "2026-01-01T12:00:00.001Z"}
            assert {kind for _, kind, _ in await asked(callers, path, **times)} == {"order"}
            assert await asked(callers, path, until="2026-01-01T12:00:00Z") == []
            since = await asked(callers, path, since="2026-01-01T12:00:01Z")
            assert since
            assert "order" not in {kind for _, kind, _ in since}

    @pytest.mark.parametrize(
        "query",
        [
            "kind=sold",
            "since=yesterday",
            "since=2026-01-01T12:00:00",
            "until=0001-01-01T00:00:00%2B14:00",
            "until=9999-12-31T23:59:59-14:00",
            "reference=a%00b",
            "location=%00",
            f"reference={201 * 'a'}",
            "cursor=0",
        ],
    )
    async def test_bad_ones_are_named(self, callers: Callers, query: str) -> None:
        for path in ("/v1/stock/100/ledger", "/v1/stock/ledger"):
            answer = await callers.supplier.get(f"{path}?{query}")
            assert (answer.status, answer.body["errors"][0]["field"]) == (
                422,
                query.partition("=")[0].replace("kind", "kind[0]"),
            )


@pytest.mark.usefixtures("sold")
class TestAcrossProducts:
    async def test_page_by_page_each_entry_comes_once_newest_first(
        self, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(history, "FIRST_WINDOW_ENTRIES", 1)
        whole = (await callers.supplier.get("/v1/stock/ledger")).body
        assert whole["next_cursor"] is None
        ids = [one["entry_id"] for one in whole["items"]]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 10
        paged, cursor = [], ""
        while cursor is not None:
            page = (await callers.supplier.get(f"/v1/stock/ledger?limit=3{cursor}")).body
            paged += page["items"]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        assert paged == whole["items"]

    async def test_suppliers_read_their_own_and_the_admin_all(self, callers: Callers) -> None:
        body = {"on_hand": 5, "reason": "counted"}
        await callers.other_supplier.post("/v1/stock/900/adjustments", body)
        assert await asked(callers, "/v1/stock/ledger", kind="manual", reference="key 8") == []
        assert 900 not in {one for one, _, _ in await asked(callers, "/v1/stock/ledger")}
        other = (await callers.other_supplier.get("/v1/stock/ledger")).body["items"]
        assert [one["product_id"] for one in other] == [900]
        everything = (await callers.admin.get("/v1/stock/ledger")).body["items"]
        assert {one["product_id"] for one in everything} == {100, 101, 200, 202, 900}
        assert (await callers.retailer.get("/v1/stock/ledger")).status == 403

    async def test_nothing_to_read(self, world: World) -> None:
        async with world.database.transaction() as session:
            assert await history.list_all_entries(session, 77, Filters(), before=None, limit=10) == []


class TestDayByDay:
    async def day(self, world: World, ago: int, *statements: Any) -> None:  # noqa: ANN401 - events
        """Let these events happen so many days ago."""
        await world.hear(*statements)
        await world.rows(
            f"update stock_ledger set occurred_at = occurred_at - interval '{ago} days' "
            "where occurred_at > date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' returning 1"
        )

    async def series(self, callers: Callers, product_id: int = 100, **params: object) -> list[Any]:
        answer = await callers.supplier.get(f"/v1/stock/{product_id}/series", params=params)
        assert answer.status == 200, answer.body
        return [
            (
                (one["opening_on_hand"], one["lowest_on_hand"], one["closing_on_hand"]),
                (one["opening_available"], one["lowest_available"], one["closing_available"]),
                one["units_sold"],
                one["units_received"],
            )
            for one in answer.body["days"]
        ]

    async def test_opening_closing_and_lowest_what_was_sold_and_received(self, world: World, callers: Callers) -> None:
        await self.day(world, 5)  # the ten that were counted
        await world.locate("main", "allocate")
        first, second = order((100, None, 4)), order((100, None, 3))
        await self.day(world, 3, first)
        await self.day(world, 2, completed(first, 1, quantity=4))
        await world.hear(second)
        await world.hear(cancelled(second), returned((100, None, 2)))
        await self.day(world, 1)
        assert await self.series(callers, days=5) == [
            ((10, 10, 10), (10, 10, 10), 0, 0),
            ((10, 10, 10), (10, 6, 6), 4, 0),
            ((10, 6, 6), (6, 6, 6), 0, 0),
            ((6, 6, 8), (6, 3, 8), 0, 2),
            ((8, 8, 8), (8, 8, 8), 0, 0),
        ]

    async def test_it_ends_with_what_is_now_and_begins_before_there_was_any(
        self, world: World, callers: Callers
    ) -> None:
        await callers.supplier.patch("/v1/stock/100", {"safety_stock": 4})
        await world.hear(order((100, None, 1)))
        days = await self.series(callers)
        assert len(days) == 90
        assert days[0] == ((0, 0, 0), (-4, -4, -4), 0, 0)
        assert days[-1] == ((0, 0, 9), (-4, -4, 5), 1, 10)

    async def test_at_one_location(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        await callers.supplier.post(
            "/v1/stock/100/adjustments", {"location": "shop", "on_hand": 5, "reason": "counted"}
        )
        assert await self.series(callers, days=1, location="shop") == [((0, 0, 5), (0, 0, 5), 0, 5)]
        assert await self.series(callers, days=1) == [((0, 0, 15), (0, 0, 15), 0, 15)]

    @pytest.mark.parametrize("query", ["days=0", "days=367", "days=many", "location=%00"])
    async def test_bad_ones_are_named(self, callers: Callers, query: str) -> None:
        answer = await callers.supplier.get(f"/v1/stock/100/series?{query}")
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, query.partition("=")[0])

    async def test_of_others_nothing(self, callers: Callers) -> None:
        assert (await callers.supplier.get("/v1/stock/900/series")).status == 404
        assert (await callers.retailer.get("/v1/stock/100/series")).status == 403
