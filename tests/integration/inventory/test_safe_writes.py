"""Writing stock while others write it too: compare and set, and statements of what was there before."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from shared.events.inventory import StockChanged
from shared.idempotency import HEADER
from tests.app import Answer, Client
from tests.integration.inventory.callers import Callers
from tests.integration.inventory.world import World, order

ADJUSTMENTS = "/v1/stock/100/adjustments"


async def write(client: Client, if_match: str | None = None, **body: Any) -> Answer:  # noqa: ANN401 - fields
    headers = {} if if_match is None else {"If-Match": if_match}
    return await client.post(ADJUSTMENTS, {"reason": "count", **body}, headers=headers)


async def clock_of(world: World) -> str:
    """What the ledger's clock says, as a client writes it."""
    async with world.database.transaction() as session:
        now: datetime = (await session.execute(text("select clock_timestamp()"))).scalar_one()
    return now.isoformat()


async def newest_entry(client: Client) -> dict[str, Any]:
    entry: dict[str, Any] = (await client.get("/v1/stock/100/ledger?limit=1")).body["items"][0]
    return entry


class TestCompareAndSet:
    async def test_the_version_is_the_tag_of_what_is_shown_and_written(self, callers: Callers) -> None:
        shown = await callers.supplier.get("/v1/stock/100")
        assert shown.headers["ETag"] == f'"{shown.body["version"]}"' == '"1"'
        written = await write(callers.supplier, shown.headers["ETag"], on_hand=7)
        assert (written.status, written.body["on_hand"], written.headers["ETag"]) == (200, 7, '"2"')
        settings = await callers.supplier.patch(
            "/v1/stock/100", {"lead_time_days": 2}, headers={"If-Match": written.headers["ETag"]}
        )
        assert (settings.status, settings.headers["ETag"]) == (200, '"3"')
        removed = await callers.supplier.delete("/v1/stock/100", headers={"If-Match": '"3"'})
        assert (removed.status, removed.headers["ETag"]) == (200, '"4"')

    async def test_whoever_read_before_somebody_wrote_is_refused_with_both_versions(
        self, world: World, callers: Callers
    ) -> None:
        await world.hear(order((102, "T01-S", 1)))
        stale = {"If-Match": '"1"'}
        for answer in (
            await write(callers.supplier, '"1"', on_hand=7),
            await callers.supplier.patch("/v1/stock/100", {"lead_time_days": 2}, headers=stale),
            await callers.supplier.delete("/v1/stock/100", headers=stale),
        ):
            assert (answer.status, answer.body["code"], answer.headers["ETag"]) == (412, "version_changed", '"2"')
            assert "at version 2, not 1" in answer.body["detail"]
        shown = (await callers.supplier.get("/v1/stock/100")).body
        assert (shown["on_hand"], shown["version"], shown["lead_time_days"], shown["removed_at"]) == (9, 2, None, None)

    async def test_of_two_who_read_the_same_one_writes(self, callers: Callers) -> None:
        answers = await asyncio.gather(*(write(callers.supplier, '"1"', adjustment=1) for _ in range(2)))
        assert sorted(answer.status for answer in answers) == [200, 412]
        assert (await callers.supplier.get("/v1/stock/100")).body["on_hand"] == 11

    @pytest.mark.parametrize("tags", ["*", '"1"', '"9", "1"', 'W/"1", "1"'])
    async def test_any_of_several_tags_may_match(self, callers: Callers, tags: str) -> None:
        assert (await write(callers.supplier, tags, on_hand=7)).status == 200

    @pytest.mark.parametrize("tags", ['"0"', 'W/"1"', '"one"', f'"{"9" * 30}"'])
    async def test_other_tags_match_nothing(self, callers: Callers, tags: str) -> None:
        assert (await write(callers.supplier, tags, on_hand=7)).status == 412

    @pytest.mark.parametrize("tags", ["1", '"1', '"1" "2"', "", '"é"'])
    async def test_what_is_no_tag_is_refused(self, callers: Callers, tags: str) -> None:
        answer = await write(callers.supplier, tags, on_hand=7)
        assert (answer.status, answer.body["code"]) == (422, "invalid_if_match")

    async def test_a_replay_does_not_compare_again(self, callers: Callers) -> None:
        headers = {"If-Match": '"1"', HEADER: "k1"}
        first, second = [
            await callers.supplier.post(ADJUSTMENTS, {"on_hand": 7, "reason": "count"}, headers=headers)
            for _ in range(2)
        ]
        assert (second.status, second.body, second.headers["ETag"]) == (200, first.body, '"2"')

    async def test_rows_are_compared_one_by_one(self, callers: Callers) -> None:
        rows = [
            {"id": 100, "on_hand": 5, "expected_on_hand": 10},
            {"id": 100, "on_hand": 6, "expected_on_hand": 10},
            {"id": 101, "on_hand": 5, "expected_version": 1},
            {"id": 101, "adjustment": 1, "expected_version": 1},
            {"id": 200, "on_hand": 5, "expected_version": 2},
        ]
        answer = await callers.supplier.post("/v1/stock/bulk", rows)
        assert answer.status == 207
        refused = {row["row"]: row["errors"][0] for row in answer.body["rows"] if row["errors"]}
        assert refused == {
            1: {"field": "[1].expected_on_hand", "detail": "5 are on hand at 'main', not 10."},
            4: {"field": "[4].expected_version", "detail": "The item is at version 1, not 2."},
        }
        assert [row["on_hand"] for row in answer.body["rows"]] == [5, None, 5, 6, None]


class TestAsOf:
    async def test_units_sold_since_the_count_stay_sold(self, world: World, callers: Callers) -> None:
        await world.hear(order((102, "T01-S", 1)))
        counted = await clock_of(world)
        await world.hear(order((102, "T01-S", 2)), order((102, "T01-S", 1)))
        answer = await write(callers.supplier, on_hand=20, as_of=counted)
        assert (answer.status, answer.body["on_hand"], answer.body["superseded_by"]) == (200, 17, None)
        entry = await newest_entry(callers.supplier)
        assert (entry["on_hand_delta"], datetime.fromisoformat(entry["stated_as_of"])) == (
            11,
            datetime.fromisoformat(counted),
        )

    async def test_as_of_a_version_and_in_another_zone(self, world: World, callers: Callers) -> None:
        version = (await callers.supplier.get("/v1/stock/100")).body["version"]
        counted = datetime.fromisoformat(await clock_of(world))
        await world.hear(order((102, "T01-S", 2)))
        assert (await write(callers.supplier, available=30, as_of=version)).body["available"] == 28
        elsewhere = (counted + timedelta(hours=5)).replace(tzinfo=None).isoformat() + "+05:00"
        assert (await write(callers.supplier, on_hand=40, as_of=elsewhere)).body["on_hand"] == 38

    async def test_a_later_count_wins_and_the_answer_names_its_entry(self, world: World, callers: Callers) -> None:
        counted = await clock_of(world)
        await write(callers.supplier, on_hand=5)
        winner = await newest_entry(callers.supplier)
        late = await write(callers.supplier, on_hand=20, as_of=counted)
        assert (late.status, late.body["on_hand"], late.body["version"]) == (200, 5, 2)
        assert late.body["superseded_by"] == {"as_of": winner["stated_as_of"], "entry_id": winner["entry_id"]}

    async def test_a_count_that_changed_nothing_wins_as_well_and_is_no_version(
        self, world: World, callers: Callers
    ) -> None:
        counted = await clock_of(world)
        same = await write(callers.supplier, on_hand=10)
        assert (same.body["version"], await world.told()) == (1, [])
        late = await write(callers.supplier, on_hand=20, as_of=counted)
        assert late.body["on_hand"] == 10
        assert late.body["superseded_by"]["entry_id"] is None

    async def test_a_count_of_none_at_a_new_location_wins_as_well(self, world: World, callers: Callers) -> None:
        await callers.supplier.post("/v1/locations", {"code": "shop"})
        counted = await clock_of(world)
        await write(callers.supplier, on_hand=0, location="shop")
        late = await write(callers.supplier, on_hand=20, location="shop", as_of=counted)
        assert (late.status, late.body["on_hand"]) == (200, 10)
        assert late.body["superseded_by"] is not None

    async def test_a_delivery_and_another_location_are_no_statement(self, world: World, callers: Callers) -> None:
        await callers.supplier.post("/v1/locations", {"code": "shop"})
        counted = await clock_of(world)
        await write(callers.supplier, adjustment=4)
        await write(callers.supplier, on_hand=50, location="shop")
        late = await write(callers.supplier, on_hand=7, as_of=counted)
        assert {level["location"]: level["on_hand"] for level in late.body["levels"]} == {"main": 11, "shop": 50}

    async def test_two_late_counts_in_the_wrong_order(self, world: World, callers: Callers) -> None:
        first = await clock_of(world)
        await world.hear(order((102, "T01-S", 1)))
        second = await clock_of(world)
        await world.hear(order((102, "T01-S", 1)))
        assert (await write(callers.supplier, on_hand=30, as_of=first)).body["on_hand"] == 28
        assert (await write(callers.supplier, on_hand=50, as_of=second)).body["on_hand"] == 49
        again = await write(callers.supplier, on_hand=30, as_of=first)
        assert (again.body["on_hand"], again.body["superseded_by"] is None) == (49, False)

    async def test_the_same_feed_again_changes_nothing(self, world: World, callers: Callers) -> None:
        counted = await clock_of(world)
        await world.hear(order((102, "T01-S", 1)))
        rows = [{"id": 100, "on_hand": 30, "as_of": counted}, {"id": 200, "available": 5, "as_of": counted}]
        first, second = [await callers.supplier.post("/v1/stock/bulk", rows) for _ in range(2)]
        assert (first.status, second.body) == (200, first.body)
        assert [row["on_hand"] for row in first.body["rows"]] == [29, 5]
        assert (await callers.supplier.get("/v1/stock/100")).body["version"] == 3

    async def test_rows_each_have_their_moment(self, world: World, callers: Callers) -> None:
        counted = await clock_of(world)
        await world.hear(order((102, "T01-S", 1)), order((201, None, 1)))
        rows = [
            {"id": 200, "on_hand": 30, "as_of": 1},
            {"id": 100, "adjustment": 5},
            {"id": 100, "on_hand": 30, "as_of": counted},
            {"id": 101, "on_hand": 30, "as_of": 7},
            {"id": 101, "on_hand": 30, "as_of": "2999-01-01T00:00:00Z"},
            {"id": 101, "on_hand": 31},
            {"id": 101, "on_hand": 30, "as_of": counted},
        ]
        answer = await callers.supplier.post("/v1/stock/bulk", rows)
        assert answer.status == 207
        written = answer.body["rows"]
        assert [row["on_hand"] for row in written] == [29, 14, 34, None, None, 31, 31]
        assert [row["superseded_by"] is not None for row in written] == [False] * 6 + [True]
        assert written[3]["errors"] == [
            {"field": "[3].as_of", "detail": "there is no version 7 yet: the item is at version 1."}
        ]
        assert "in the future" in written[4]["errors"][0]["detail"]

    async def test_retailers_hear_one_change_to_the_level_as_it_is(self, world: World, callers: Callers) -> None:
        counted = await clock_of(world)
        await world.hear(order((102, "T01-S", 1)))
        await world.told()
        await write(callers.supplier, on_hand=30, as_of=counted)
        (event,) = await world.told()
        assert isinstance(event, StockChanged)
        assert (event.available, event.previous_available, event.causes) == (29, 9, ("manual",))

    @pytest.mark.parametrize(
        "as_of",
        [
            *(-1, 1.5, True, 2**63, "1", "", "now", [], {}, "2026-11-24", "2026-11-24T10:00:00", "1764000000"),
            *("2026-02-30T10:00:00Z", "2026-11-24T25:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"),
            *("2026-11-24T10:00:00Z\x00", "٢٠٢٦-11-24T10:00:00Z"),
        ],
    )
    async def test_what_is_neither_a_version_nor_a_time_is_refused(self, callers: Callers, as_of: object) -> None:
        answer = await write(callers.supplier, on_hand=7, as_of=as_of)
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "as_of")
        row = await callers.supplier.post("/v1/stock/bulk", [{"id": 100, "on_hand": 7, "as_of": as_of}])
        assert (row.status, row.body["errors"][0]["field"]) == (422, "[0].as_of")

    @pytest.mark.parametrize("as_of", [5, "2999-01-01T00:00:00Z"])
    async def test_what_is_to_come_is_refused_with_the_reason(self, callers: Callers, as_of: object) -> None:
        answer = await write(callers.supplier, on_hand=7, as_of=as_of)
        assert (answer.status, answer.body["code"], answer.body["errors"][0]["field"]) == (
            422,
            "as_of_to_come",
            "as_of",
        )
        assert "version 1" in answer.body["detail"] or "in the future" in answer.body["detail"]

    @pytest.mark.parametrize("as_of", [0, "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
    async def test_as_of_long_ago_everything_since_counts(self, callers: Callers, as_of: object) -> None:
        # The world's own ten units came as a movement.
        assert (await write(callers.supplier, on_hand=7, as_of=as_of)).body["on_hand"] == 17

    async def test_an_adjustment_is_the_same_whenever_it_comes(self, callers: Callers) -> None:
        answer = await write(callers.supplier, adjustment=7, as_of=1)
        assert (answer.status, answer.body["code"]) == (422, "invalid_request")


async def test_the_ledgers_clock_rises_with_the_versions_of_an_item(world: World, callers: Callers) -> None:
    await asyncio.gather(
        *(write(callers.supplier, adjustment=1) for _ in range(6)),
        *(world.hear(order((102, "T01-S", 1))) for _ in range(6)),
    )
    async with world.database.transaction() as session:
        rows = (
            await session.execute(
                text("select item_version, occurred_at from stock_ledger where product_id = 100 order by entry_id")
            )
        ).all()
    assert [row.item_version for row in rows] == list(range(1, len(rows) + 1))
    moments = [row.occurred_at for row in rows]
    assert all(one < other for one, other in pairwise(moments))
