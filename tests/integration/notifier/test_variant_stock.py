"""The format `variant_stock`: one event a call, by location; deltas that always add up."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.notifier.finishing import finish
from services.notifier.store.replay import replay_products
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SIZES,
    TIMEOUT_SECONDS,
    WINDOW_SECONDS,
    Desk,
    connection,
    product,
    stock_at,
    stock_removed,
)
from tests.receiver import Receiver, receiver

BACK_OFF_SECONDS = 3600
DELTAS = ["variant_stock_delta.updated"]


async def register(desk: Desk, shop: Receiver, company_id: int = RETAILER_A, **options: Any) -> int:  # noqa: ANN401 - columns
    """An endpoint of this format that leads to `shop`."""
    endpoint_id = await desk.register(shop, company_id)
    await desk.ask_for(endpoint_id, format="variant_stock", **options)
    return endpoint_id


def told(shop: Receiver) -> list[tuple[str, str, int | None]]:
    """`(event type, inventory id, quantity)` of each call."""
    events = [json.loads(call.body) for call in shop.calls]
    return [
        (
            one["event_type"].removeprefix("variant_stock"),
            one["payload"]["inventory_id"],
            one["payload"].get("quantity"),
        )
        for one in events
    ]


async def test_each_location_is_told_in_a_call_of_its_own_and_only_what_changed_there(desk: Desk) -> None:
    async with receiver() as shop:
        await register(desk, shop)
        await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 0}))
        await desk.tell()
        assert sorted(told(shop)) == [(".updated", "main:100", 5), (".updated", "shop:100", 0)]
        assert len({call.headers["webhook-id"] for call in shop.calls}) == 2
        await desk.hear_stock(stock_at(100, 2, {"main": 5, "shop": 3}))
        await desk.tell()
        assert told(shop)[2:] == [(".updated", "shop:100", 3)]


async def test_stock_that_moves_between_locations_is_told_though_the_total_stays(desk: Desk) -> None:
    async with receiver() as shop, receiver() as totals:
        await register(desk, shop)
        await desk.register(totals)
        await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 0}))
        await desk.tell()
        await desk.hear_stock(stock_at(100, 2, {"main": 3, "shop": 2}, previous=5))
        await desk.tell()
        assert sorted(told(shop)[2:]) == [(".updated", "main:100", 3), (".updated", "shop:100", 2)]
        assert [call.available for call in totals.calls] == [{100: 5}]


async def test_the_event_is_that_of_the_page(desk: Desk) -> None:
    async with receiver() as shop:
        await register(desk, shop)
        await desk.hear_stock(stock_at(100, 1, {"main": 5}, causes=("reserved", "csv_import")))
        await desk.tell()
        # 300, Retailer A's version of the T-shirt, is the first product with variants that it sees.
        assert json.loads(shop.calls[0].body) == {
            "event_type": "variant_stock.updated",
            "payload": {
                "inventory_id": "main:100",
                "product_parent_id": "300",
                "product_variant_id": "100",
                "product_variant_number": "T01-S",
                "quantity": 5,
                "inventory_date": "2026-01-01T12:00:01.000000Z",
                "update_source": "import",
                "available_online": True,
                "stock_updated": True,
            },
        }


async def test_a_parent_made_visible_is_told_from_the_next_call_on(desk: Desk) -> None:
    async with receiver() as shop:
        await register(desk, shop)
        await desk.hear_stock(stock_at(100, 1, {"main": 5}))
        await desk.tell()
        await desk.hear_products(
            product(102, "T01", type="customisable", variants=SIZES, visible_to="connected", version=2)
        )
        await desk.hear_stock(stock_at(100, 2, {"main": 4}))
        await desk.tell()
        assert [json.loads(call.body)["payload"]["product_parent_id"] for call in shop.calls] == ["300", "102"]


async def test_what_is_stocked_no_more_is_deleted_and_told_again_when_it_is(desk: Desk) -> None:
    async with receiver() as shop:
        await register(desk, shop)
        await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 2}))
        await desk.tell()
        await desk.hear_stock(stock_at(100, 2, {"main": 5}))
        await desk.tell()
        await desk.hear_stock(stock_removed(100, 3, previous=5))
        await desk.tell()
        await desk.hear_stock(stock_at(100, 4, {"main": 5}))
        await desk.tell()
        assert told(shop)[2:] == [
            (".deleted", "shop:100", None),
            (".deleted", "main:100", None),
            (".updated", "main:100", 5),
        ]


async def test_a_location_that_came_and_went_untold_is_not_deleted(desk: Desk) -> None:
    async with receiver() as shop:
        await register(desk, shop)
        await desk.hear_stock(stock_at(100, 1, {"main": 5}))
        await desk.fan_out()
        await desk.hear_stock(stock_removed(100, 2, previous=5))
        await desk.tell()
        assert shop.calls == []
        await desk.hear_stock(stock_at(100, 3, {"main": 5}))
        await desk.tell()
        assert told(shop) == [(".updated", "main:100", 5)]


async def test_an_endpoint_hears_the_events_it_asked_for(desk: Desk) -> None:
    async with receiver() as updates, receiver() as deletions, receiver() as deltas, receiver() as everything:
        await register(desk, updates, event_types=["variant_stock.updated"])
        await register(desk, deletions, event_types=["variant_stock.deleted"])
        await register(desk, deltas, event_types=DELTAS)
        await register(desk, everything, event_types=["variant_stock.updated", "variant_stock.deleted", *DELTAS])
        await desk.hear_stock(stock_at(100, 1, {"main": 5}))
        await desk.tell()
        await desk.hear_stock(stock_removed(100, 2, previous=5))
        await desk.tell()
        await desk.hear_stock(stock_at(100, 3, {"main": 5}))
        await desk.tell()
        # It does not know that these 5 were gone.
        assert told(updates) == [(".updated", "main:100", 5)]
        assert told(deletions) == [(".deleted", "main:100", None)]
        changes = [("_delta.updated", "main:100", 5), ("_delta.updated", "main:100", -5)]
        assert told(deltas) == [changes[0], changes[1], changes[0]]
        states = [*told(updates), *told(deletions), *told(updates)]
        assert sorted(map(str, told(everything))) == sorted(map(str, [*states, *told(deltas)]))


async def test_one_that_asks_for_deletions_too_is_told_of_those_it_did_not_ask_for(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await register(desk, shop, event_types=["variant_stock.updated"])
        await desk.hear_stock(stock_at(100, 1, {"main": 5}))
        await desk.tell()
        await desk.hear_stock(stock_removed(100, 2, previous=5))
        await desk.tell()
        assert told(shop) == [(".updated", "main:100", 5)]
        await desk.ask_anew(endpoint_id, event_types=["variant_stock.updated", "variant_stock.deleted"])
        await desk.tell()
        await desk.ask_anew(endpoint_id, event_types=None)
        await desk.tell()
        assert told(shop) == [(".updated", "main:100", 5), (".deleted", "main:100", None)]


async def test_one_that_may_have_heard_what_a_deletion_it_did_not_ask_for_followed_is_told_what_is_now(
    desk: Desk,
) -> None:
    async with receiver() as shop:
        await register(desk, shop, event_types=["variant_stock.updated"])
        await desk.hear_stock(stock_at(100, 1, {"main": 5}))
        await desk.tell()
        shop.answer_with(500)
        await desk.hear_stock(stock_at(100, 2, {"main": 7}))
        await desk.tell()
        shop.answer_with(204)
        await desk.hear_stock(stock_removed(100, 3, previous=7))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        await desk.hear_stock(stock_at(100, 4, {"main": 5}))
        await desk.tell()
        assert [quantity for _, _, quantity in told(shop)] == [5, 7, 5]


async def test_no_window_holds_up_a_variants_stock_but_the_one_it_asked_for(desk: Desk) -> None:
    async with receiver() as shop, receiver() as patient:
        await register(desk, shop)
        await register(desk, patient, window_seconds=60)
        for version in range(1, 4):
            await desk.hear_stock(stock_at(100, version, {"main": version}))
            await desk.tell()
        assert [quantity for _, _, quantity in told(shop)] == [1, 2, 3]
        await desk.move(61)
        await desk.tell()
        assert [quantity for _, _, quantity in told(patient)] == [1, 3]


async def test_a_variant_that_changes_all_the_time_does_not_keep_the_others_waiting(desk: Desk) -> None:
    async with receiver() as shop:
        await register(desk, shop)
        await desk.hear_stock(*(stock_at(product_id, 1, {"main": 1}) for product_id in range(1000, 1005)))
        await desk.fan_out()
        for version in range(2, 12):
            await desk.hear_stock(stock_at(1000, version, {"main": version}))
            await desk.fan_out()
            await finish(desk.database, await desk.send(await desk.claim()))
        assert {inventory_id for _, inventory_id, _ in told(shop)} == {f"main:{one}" for one in range(1000, 1005)}


class TestConnections:
    async def test_connecting_tells_the_current_stock_once(self, desk: Desk) -> None:
        async with receiver() as shop:
            await register(desk, shop, RETAILER_B)
            await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 1}))
            await desk.tell()
            assert shop.calls == []
            await desk.hear_connections(connection("active", 1, RETAILER_B))
            await desk.tell()
            await desk.hear_connections(connection("active", 2, RETAILER_B))
            await desk.tell()
            assert sorted(told(shop)) == [(".updated", "main:100", 5), (".updated", "shop:100", 1)]

    async def test_disconnecting_ends_it_at_once_and_connecting_again_tells_what_was_missed(self, desk: Desk) -> None:
        async with receiver() as shop:
            await register(desk, shop)
            await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 1}))
            await desk.tell()
            await desk.hear_stock(stock_at(100, 2, {"main": 4, "shop": 1}))
            await desk.fan_out()  # owed when the connection ends
            await desk.hear_connections(connection("ended", 2))
            await desk.hear_stock(stock_at(100, 3, {"main": 3}))
            assert await desk.tell() == []
            await desk.hear_connections(connection("active", 3))
            await desk.tell()
            assert sorted(told(shop)[2:], key=str) == [(".deleted", "shop:100", None), (".updated", "main:100", 3)]


class TestDeltas:
    async def test_the_first_is_the_whole_quantity_and_each_the_difference_to_the_last_acknowledged(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop, receiver() as totals:
            await register(desk, shop, event_types=DELTAS)
            await register(desk, totals, event_types=DELTAS, delta_semantics="total")
            for version, available in enumerate([10, 7, 12], 1):
                await desk.hear_stock(stock_at(100, version, {"main": available}))
                await desk.tell()
            assert [quantity for _, _, quantity in told(shop)] == [10, -3, 5]
            assert [quantity for _, _, quantity in told(totals)] == [10, 7, 12]
            payload = json.loads(totals.calls[1].body)["payload"]
            assert (payload["delta"], payload["quantity_after"]) == (-3, 7)

    async def test_one_that_may_have_arrived_is_sent_again_as_it_was_before_the_rest_is(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await register(desk, shop, event_types=DELTAS)
            shop.answer_with(500)
            await desk.hear_stock(stock_at(100, 1, {"main": 10}))
            await desk.tell()
            # Whatever happens meanwhile.
            await desk.hear_stock(stock_at(100, 2, {"main": 4}))
            await desk.ask_anew(endpoint_id, delta_semantics="total")
            await desk.hear_connections(connection("paused", 2))
            await desk.move(BACK_OFF_SECONDS)
            assert await desk.tell() == []
            await desk.hear_connections(connection("active", 3))
            shop.answer_with(204)
            await desk.tell()
            first, again, rest = shop.calls
            assert (first.body, first.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])
            assert rest.headers["webhook-id"] != first.headers["webhook-id"]
            assert json.loads(rest.body)["payload"] | {"inventory_id": ""} == {
                "inventory_id": "",
                "product_variant_number": "T01-S",
                "quantity": 4,
                "available_online": True,
                "delta": -6,
                "quantity_after": 4,
            }
            attempts = await desk.execute("select versions, kind from attempts order by attempt_id")
            assert [(attempt.versions, attempt.kind) for attempt in attempts] == [
                ([1], "variant_stock"),
                ([1], "variant_stock"),
                ([2], "variant_stock"),
            ]

    async def test_one_that_a_dead_sender_had_claimed_is_sent_as_it_was(self, desk: Desk) -> None:
        async with receiver() as shop:
            await register(desk, shop, event_types=DELTAS)
            await desk.hear_stock(stock_at(100, 1, {"main": 10}))
            await desk.fan_out()
            (lost,) = await desk.claim()  # and the process is gone, after the call or before
            await desk.hear_stock(stock_at(100, 2, {"main": 9}))
            await desk.move(TIMEOUT_SECONDS + 1)
            await desk.tell()
            assert (shop.calls[0].body, shop.calls[0].headers["webhook-id"]) == (lost.body, lost.webhook_id)
            assert [quantity for _, _, quantity in told(shop)] == [10, -1]

    async def test_one_that_is_back_where_it_was_when_it_is_acknowledged_is_taken_back(self, desk: Desk) -> None:
        async with receiver() as shop:
            await register(desk, shop, event_types=DELTAS)
            await desk.hear_stock(stock_at(100, 1, {"main": 10}))
            await desk.tell()
            await desk.hear_stock(stock_at(100, 2, {"main": 8}))
            await desk.fan_out()
            answered = await desk.send(await desk.claim())
            await desk.hear_stock(stock_at(100, 3, {"main": 10}))
            await finish(desk.database, answered)
            await desk.tell()
            assert [quantity for _, _, quantity in told(shop)] == [10, -2, 2]

    async def test_nothing_is_told_of_none(self, desk: Desk) -> None:
        async with receiver() as shop:
            await register(desk, shop, event_types=DELTAS)
            await desk.hear_stock(stock_at(100, 1, {"main": 0}))
            await desk.tell()
            assert shop.calls == []
            assert await desk.execute("select * from slots where dirty") == []

    async def test_a_replay_leaves_them_alone_and_says_of_the_others_that_nothing_changed(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await register(desk, shop, event_types=["variant_stock.updated", *DELTAS])
            await desk.hear_stock(stock_at(100, 1, {"main": 10}))
            await desk.tell()
            async with desk.database.transaction() as session:
                replayed = await replay_products(session, endpoint_id, [100])
            assert (replayed.marked, replayed.deltas_left) == (1, 1)
            await desk.tell()
            assert told(shop)[2:] == [(".updated", "main:100", 10)]
            assert json.loads(shop.calls[2].body)["payload"]["stock_updated"] is False

    async def test_an_endpoint_that_asks_for_them_no_more_gets_the_one_that_was_sent_when_it_does(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop:
            endpoint_id = await register(desk, shop, event_types=DELTAS)
            await desk.hear_stock(stock_at(100, 1, {"main": 10}))
            await desk.fan_out()
            (call,) = await desk.claim()
            answered = await desk.send([call])
            timed_out = replace(answered[0].outcome, error="timeout", status=None)
            await finish(desk.database, [replace(answered[0], outcome=timed_out)])
            await desk.ask_anew(endpoint_id, event_types=["variant_stock.updated"])
            await desk.hear_stock(stock_at(100, 2, {"main": 7}))
            await desk.move(BACK_OFF_SECONDS)
            await desk.tell()
            assert told(shop)[1:] == [(".updated", "main:100", 7)]
            await desk.ask_anew(endpoint_id, event_types=DELTAS)
            await desk.tell()
            assert [quantity for kind, _, quantity in told(shop) if kind == "_delta.updated"] == [10, 10, -3]
            assert shop.calls[2].headers["webhook-id"] == call.webhook_id


async def test_the_date_of_a_variant_never_goes_back(desk: Desk) -> None:
    """Receivers keep the newest date, and inventory's replicas have a clock each."""
    early, late = (datetime(2026, 1, 1, 12, 0, second, tzinfo=UTC) for second in (0, 1))
    async with receiver() as shop:
        await desk.ask_for(await desk.register(shop), format="variant_stock")
        await desk.hear_stock(stock_at(100, 1, {"main": 9}, occurred_at=late))
        await desk.tell()
        await desk.hear_stock(stock_at(100, 2, {"main": 0}, occurred_at=early))
        await desk.move(WINDOW_SECONDS + 1)
        await desk.tell()
        told = [json.loads(call.body)["payload"] for call in shop.calls]
        assert [one["quantity"] for one in told] == [9, 0]
        assert [one["inventory_date"] for one in told] == ["2026-01-01T12:00:01.000000Z"] * 2
