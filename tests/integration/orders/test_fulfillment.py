"""Fulfillment requests as suppliers make, complete and fail them over HTTP, and what they read of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.orders.fulfilling import AssignAction, carry_out
from services.orders.store.fulfillment import find_events
from shared.catalog_view import keep_connections
from shared.database import Session
from shared.events.catalog import ConnectionChanged
from shared.events.inventory import LineDecision, OrderAllocated, OrderShort, Take
from shared.events.orders import (
    FulfillmentItem,
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
    OrderCreated,
)
from tests.app import Answer, Client
from tests.integration.orders.shop import OTHER_SUPPLIER, RETAILER, STRANGER, SUPPLIER, Shop, eventually

SHIRTS: dict[str, object] = {"product_id": 102, "variant_sku": "T01-S", "quantity": 4}
MUGS: dict[str, object] = {"product_id": 200, "quantity": 3}
WAITS_FOR_A_NUMBER = """
    select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
      and query like '%fulfillment_counters%'
"""
REQUESTS, EVENTS = "/v1/fulfillment-requests", "/v1/fulfillment-events"


def drawn(order: OrderCreated) -> OrderAllocated:
    """Inventory gives every line its stock, where the line says, else at main."""
    lines = tuple(
        LineDecision(
            line_id=line.line_id,
            outcome="allocated",
            supplier_id=OTHER_SUPPLIER if line.product_id == 900 else SUPPLIER,
            takes=(Take(product_id=line.product_id, location=line.location or "main", quantity=line.quantity),),
        )
        for line in order.lines
    )
    return OrderAllocated(order_id=order.order_id, order_version=order.version, decision=1, lines=lines)


@pytest.fixture
async def supplier(shop: Shop) -> AsyncIterator[Client]:
    async with shop.client(SUPPLIER) as client:
        yield client


async def placed(shop: Shop, *lines: dict[str, object], ref: str = "R-1", seller_id: int = RETAILER) -> str:
    """The id of an order that inventory has given its stock."""
    shop.inventory.decide = drawn
    async with shop.client(seller_id) as seller:
        answer = await seller.post("/v1/orders?wait=10", {"external_ref": ref, "lines": list(lines or [SHIRTS])})
    assert (answer.status, answer.body["status"]) == (201, "allocated"), answer.body
    return str(answer.body["order_id"])


async def assign(client: Client, order_id: str, *items: tuple[int, int], **more: object) -> Answer:
    body = {"order_id": order_id, **more}
    if items:
        body["items"] = _items(items)
    return await client.post(REQUESTS, body)


async def settle(client: Client, what: str, request_id: str, *items: tuple[int, int], **more: object) -> Answer:
    body = {**more, **({"items": _items(items)} if items else {})}
    return await client.post(f"{REQUESTS}/{request_id}/{what}", body or None)


def _items(items: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"line_id": line_id, "quantity": quantity} for line_id, quantity in items]


def counts(answer: Answer) -> list[tuple[int, int, int, int]]:
    """Of each item its units, and how many of them are assigned, completed and failed."""
    assert answer.status in {200, 201}, answer.body
    return [(one["quantity"], one["assigned"], one["completed"], one["failed"]) for one in answer.body["items"]]


def refused(answer: Answer) -> tuple[int, str, dict[str, str]]:
    return answer.status, answer.body["code"], {error["field"]: error["detail"] for error in answer.body["errors"]}


async def line_of(shop: Shop, order_id: str, line_id: int = 1) -> tuple[int, int, int, str]:
    """Assigned, fulfilled, failed, and how the line stands, as the seller reads it."""
    async with shop.client() as seller:
        order = (await seller.get(f"/v1/orders/{order_id}")).body
    line = next(one for one in order["lines"] if one["line_id"] == line_id)
    return line["assigned"], line["fulfilled"], line["failed"], line["status"]


async def feed(client: Client, **query: int) -> list[dict[str, Any]]:
    answer = await client.get(EVENTS, params=query)
    assert answer.status == 200, answer.body
    items: list[dict[str, Any]] = answer.body["items"]
    return items


class UndoError(Exception):
    """Ends a transaction that is to leave nothing."""


@asynccontextmanager
async def undone(shop: Shop) -> AsyncIterator[Session]:
    """A transaction that is rolled back."""
    with suppress(UndoError):
        async with shop.database.transaction() as session:
            yield session
            raise UndoError


class TestOneRequest:
    async def test_all_that_is_open_is_assigned_and_leaves(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop, SHIRTS, MUGS)
        made = await assign(supplier, order_id, external_ref="ff1")
        assert made.status == 201
        request = made.body
        assert made.headers["Location"] == f"{REQUESTS}/{request['request_id']}"
        told = {"external_ref": "ff1", "order_ref": "R-1", "seller_id": RETAILER, "location": "main", "state": "open"}
        assert told.items() <= request.items()
        assert counts(made) == [(4, 4, 0, 0), (3, 3, 0, 0)]
        assert await line_of(shop, order_id) == (4, 0, 0, "allocated")
        done = await settle(supplier, "complete", request["request_id"])
        assert (counts(done), done.body["state"]) == ([(4, 0, 4, 0), (3, 0, 3, 0)], "completed")
        assert await line_of(shop, order_id) == (0, 4, 0, "fulfilled")
        assert (await supplier.get(f"{REQUESTS}/{request['request_id']}")).body == done.body

    async def test_in_parts_until_nothing_is_left(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        id_ = (await assign(supplier, order_id, (1, 3))).body["request_id"]
        assert counts(await settle(supplier, "complete", id_, (1, 1))) == [(3, 2, 1, 0)]
        assert counts(await settle(supplier, "fail", id_, (1, 1), reason="broken")) == [(3, 1, 1, 1)]
        status, code, errors = refused(await settle(supplier, "complete", id_, (1, 2)))
        assert (status, code) == (422, "too_many_units")
        assert errors == {
            "items[0].quantity": "2 units are more than the 1 of line 1 that are still assigned: of 3 1 are completed "
            "and 1 failed"
        }
        last = await settle(supplier, "complete", id_)
        assert (counts(last), last.body["state"]) == ([(3, 0, 2, 1)], "partly_completed")
        assert await line_of(shop, order_id) == (0, 2, 1, "partly_fulfilled")
        for items in ((), ((1, 1),)):
            status, code, errors = refused(await settle(supplier, "complete", id_, *items))
            assert (status, code) == (409, "nothing_assigned")
            assert "is partly_completed (line 1: 2 completed, 1 failed)" in next(iter(errors.values()))
        assert len(await feed(supplier)) == 4, "what is refused is no event"

    async def test_more_than_is_open_is_refused_with_the_numbers(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        await assign(supplier, order_id, (1, 3))
        assert refused(await assign(supplier, order_id, (1, 2))) == (
            422,
            "too_many_units",
            {"items[0].quantity": "2 units are more than the 1 that are open: line 1 is for 4, of them 3 assigned"},
        )
        assert refused(await assign(supplier, order_id, (7, 1)))[:2] == (422, "unknown_line")
        assert refused(await assign(supplier, order_id, (1, 1), (1, 1)))[:2] == (422, "unknown_line")
        assert counts(await assign(supplier, order_id)) == [(1, 1, 0, 0)]
        for items in ((), ((1, 1),)):
            assert refused(await assign(supplier, order_id, *items))[:2] == (409, "nothing_open")

    async def test_each_location_has_a_request_of_its_own(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop, SHIRTS, MUGS | {"location": "shelf"}, MUGS | {"location": "attic"})
        status, code, errors = refused(await assign(supplier, order_id))
        assert (status, code) == (422, "several_locations")
        assert "'attic' (lines 3), 'main' (lines 1), 'shelf' (lines 2)" in errors["location"]
        shelf = await assign(supplier, order_id, location="shelf")
        assert ([one["line_id"] for one in shelf.body["items"]], shelf.body["location"]) == ([2], "shelf")
        assert refused(await assign(supplier, order_id, location="cellar"))[:2] == (409, "nothing_open")
        # Named lines may be sent from elsewhere than they were drawn from.
        both = await assign(supplier, order_id, (1, 4), (3, 3), location="cellar")
        assert (both.status, both.body["location"]) == (201, "cellar")

    async def test_under_one_reference_there_is_one_request(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        answers = await asyncio.gather(*(assign(supplier, order_id, external_ref="ff1") for _ in range(16)))
        assert sorted(one.status for one in answers) == [200] * 15 + [201]
        assert len({one.body["request_id"] for one in answers}) == 1
        status, code, errors = refused(await assign(supplier, order_id, (1, 1), external_ref="ff1"))
        assert (status, code) == (409, "fulfillment_ref_conflict")
        assert answers[0].body["request_id"] in errors["external_ref"]
        assert len(await feed(supplier)) == 1

    async def test_of_many_that_complete_one_unit_each_gets_another(self, shop: Shop, supplier: Client) -> None:
        id_ = (await assign(supplier, await placed(shop))).body["request_id"]
        answers = await asyncio.gather(*(settle(supplier, "complete", id_, (1, 1)) for _ in range(16)))
        assert sorted(one.status for one in answers) == [200] * 4 + [409] * 12
        assert [one["logical_timestamp"] for one in await feed(supplier)] == [1, 2, 3, 4, 5]


class TestWhatInventoryDecided:
    async def test_nothing_is_assigned_before_it_has(self, shop: Shop, supplier: Client) -> None:
        async with shop.client() as seller:
            order_id = (await seller.post("/v1/orders", {"external_ref": "R-1", "lines": [SHIRTS]})).body["order_id"]
        status, code, errors = refused(await assign(supplier, order_id))
        assert (status, code) == (409, "not_decided")
        assert "inventory has not decided version 1" in errors["order_id"]
        (order,) = await shop.told()
        assert isinstance(order, OrderCreated)
        await shop.inventory.tell(drawn(order))
        assert (await assign(supplier, order_id)).status == 201

    @pytest.mark.parametrize(
        ("outcome", "code"), [("parked", "not_decided"), ("short", "short"), ("refused", "refused")]
    )
    async def test_nor_what_it_gave_no_stock(self, shop: Shop, supplier: Client, outcome: str, code: str) -> None:
        def decide(order: OrderCreated) -> OrderShort:
            allocated = drawn(order)
            second = LineDecision.model_validate(
                {"line_id": 2, "outcome": outcome, "reason": "why it is so", "supplier_id": SUPPLIER}
            )
            lines = (allocated.lines[0], second)
            return OrderShort(order_id=order.order_id, order_version=order.version, decision=1, lines=lines)

        shop.inventory.decide = decide
        async with shop.client() as seller:
            body = {"external_ref": "R-1", "lines": [SHIRTS, MUGS]}
            order_id = (await seller.post("/v1/orders?wait=10", body)).body["order_id"]
        status, found, errors = refused(await assign(supplier, order_id))
        assert (status, found) == (409, code)
        assert "line 2" in errors["items"]
        assert "why it is so" in errors["items"]
        assert (await assign(supplier, order_id, (1, 4))).status == 201, "the other line has its stock"

    async def test_nor_before_it_has_decided_the_newest_version(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        await shop.rows("update orders set version = 2 returning 1")
        answer = await assign(supplier, order_id)
        assert answer.status == 409, answer.body
        assert (answer.body["code"], answer.body["errors"][0]["field"]) == ("not_decided", "order_id")
        assert "inventory has not decided version 2" in answer.body["detail"]

    async def test_a_later_decision_leaves_what_is_assigned(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        id_ = (await assign(supplier, order_id, (1, 3))).body["request_id"]
        order = next(event for event in await shop.told() if isinstance(event, OrderCreated))
        await shop.inventory.tell(drawn(order).model_copy(update={"decision": 2}))

        async def heard() -> bool:
            return bool(await shop.rows("select 1 from orders where decision = 2"))

        await eventually("the second decision is heard", heard)
        assert counts(await settle(supplier, "complete", id_)) == [(3, 0, 3, 0)]
        assert await line_of(shop, order_id) == (0, 3, 0, "partly_fulfilled")


class TestWhoMay:
    async def test_neither_the_seller_nor_a_stranger(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        id_ = (await assign(supplier, order_id, (1, 1))).body["request_id"]
        for company_id, expected in ((RETAILER, 403), (STRANGER, 403), (OTHER_SUPPLIER, 404)):
            async with shop.client(company_id) as client:
                answers = [
                    await assign(client, order_id),
                    await settle(client, "complete", id_),
                    await settle(client, "fail", id_),
                    await client.get(f"{REQUESTS}/{id_}"),
                ]
                assert [one.status for one in answers] == [expected] * 4
                if expected == 404:
                    assert (await client.get(REQUESTS)).body["items"] == await feed(client) == []
                    for given, code in zip(answers, ["order_not_found", *["request_not_found"] * 3], strict=True):
                        assert given.body["code"] == code
                    unknown = await assign(client, str(uuid4()))
                    assert unknown.body["detail"][:30] == answers[0].body["detail"][:30]
        assert await line_of(shop, order_id) == (1, 0, 0, "allocated")

    async def test_the_platform_admin_for_the_supplier_of_the_lines(self, shop: Shop, supplier: Client) -> None:
        other = ConnectionChanged(
            connection_id=2, supplier_id=OTHER_SUPPLIER, retailer_id=RETAILER, state="active", version=1
        )
        async with shop.database.transaction() as session:
            await keep_connections(session, [other])
        order_id = await placed(shop, SHIRTS, {"product_id": 900, "quantity": 2})
        async with shop.client(None) as admin:
            status, code, errors = refused(await assign(admin, order_id))
            assert (status, code) == (422, "several_suppliers")
            assert "(1, 4)" in errors["items"]
            made = await assign(admin, order_id, (2, 2), external_ref="ff1")
            again = await assign(admin, order_id, (2, 2), external_ref="ff1")
            assert (made.status, again.status) == (201, 200)
            assert (made.body["supplier_id"], again.body["request_id"]) == (OTHER_SUPPLIER, made.body["request_id"])
            assert (await settle(admin, "complete", made.body["request_id"])).status == 200
            assert [one["supplier_id"] for one in (await admin.get(REQUESTS)).body["items"]] == [OTHER_SUPPLIER]
            assert (await admin.get(EVENTS)).body["code"] == "company_required"
            assert len(await feed(admin, supplier_id=OTHER_SUPPLIER)) == 2
        # Each supplier counts for itself, and assigns its own lines alone.
        mine = await assign(supplier, order_id, external_ref="ff1")
        assert [one["line_id"] for one in mine.body["items"]] == [1]
        assert [one["logical_timestamp"] for one in await feed(supplier)] == [1]
        assert refused(await assign(supplier, order_id, (2, 1)))[:2] == (422, "unknown_line")
        actors = await shop.rows("select actor from order_changes where kind like 'fulfillment%' order by changed_at")
        assert [row.actor for row in actors] == ["platform admin", "platform admin", "company 1"]


class TestWhatIsTold:
    async def test_events_feed_and_history_say_the_same(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        id_ = (await assign(supplier, order_id, (1, 3), external_ref="ff1")).body["request_id"]
        await settle(supplier, "complete", id_, (1, 2))
        await settle(supplier, "fail", id_, reason="broken")
        told = [event for event in await shop.told() if isinstance(event, FulfillmentItem)]
        read = await feed(supplier)
        types = [FulfillmentRequestAssigned, FulfillmentRequestCompleted, FulfillmentRequestFailed]
        assert sorted(event.logical_timestamp for event in told) == [1, 2, 3]
        for number, (event, item) in enumerate(zip(sorted(told, key=FulfillmentItem.sequence), read, strict=True), 1):
            assert isinstance(event, types[number - 1])
            assert item.pop("type") == event.name.removeprefix("orders.")
            assert item.pop("reason") == ("broken" if number == 3 else None)
            assert item == event.model_dump(mode="json", exclude={"reason"})
        assert [one["quantity"] for one in read] == [3, 2, 1]
        assert [(one["request_ref"], one["external_ref"]) for one in read] == [("ff1", "R-1")] * 3
        history = await shop.rows("select kind, actor, cause, reason, lines from order_changes order by changed_at")
        assert [(row.kind, row.actor, row.cause, row.reason) for row in history][1:] == [
            ("fulfillment_assigned", "company 1", id_, None),
            ("fulfillment_completed", "company 1", id_, None),
            ("fulfillment_failed", "company 1", id_, "broken"),
        ]
        assert [row.lines[0]["quantity"] for row in history] == [4, 3, 2, 1]

    async def test_the_feed_goes_on_where_one_stopped(self, shop: Shop, supplier: Client) -> None:
        id_ = (await assign(supplier, await placed(shop))).body["request_id"]
        for _ in range(3):
            await settle(supplier, "complete", id_, (1, 1))
        page = (await supplier.get(EVENTS, params={"limit": 3})).body
        assert ([one["logical_timestamp"] for one in page["items"]], page["last"]) == ([1, 2, 3], 3)
        page = (await supplier.get(EVENTS, params={"after": page["last"]})).body
        assert ([one["logical_timestamp"] for one in page["items"]], page["last"]) == ([4], 4)
        assert (await supplier.get(EVENTS, params={"after": 4})).body == {"items": [], "last": 4}

    async def test_lists_are_newest_first_and_filtered(self, shop: Shop, supplier: Client) -> None:
        first, second = await placed(shop), await placed(shop, MUGS | {"location": "shelf"}, ref="R-2")
        a = (await assign(supplier, first, (1, 1), external_ref="ff1")).body["request_id"]
        b = (await assign(supplier, first, (1, 1))).body["request_id"]
        c = (await assign(supplier, second)).body["request_id"]
        await settle(supplier, "complete", b)

        async def listed(**query: object) -> set[str]:
            page = (await supplier.get(REQUESTS, params={name: str(value) for name, value in query.items()})).body
            return {one["request_id"] for one in page["items"]}

        assert await listed() == {a, b, c}
        assert await listed(order_id=first) == {a, b}
        assert await listed(state="open") == {a, c}
        assert await listed(location="shelf") == {c}
        assert await listed(external_ref="ff1") == {a}
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await supplier.get(REQUESTS, params={"limit": "2", **cursor})).body
            found += [one["request_id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == sorted({a, b, c}, reverse=True)


class TestManyAtOnce:
    async def test_each_action_by_itself_in_their_order(self, shop: Shop, supplier: Client) -> None:
        order_id = await placed(shop)
        id_ = (await assign(supplier, order_id, (1, 2))).body["request_id"]
        actions = [
            {"action": "complete", "request_id": id_, "items": _items([(1, 1)])},
            {"action": "complete", "request_id": id_, "items": _items([(1, 2)])},
            {"action": "assign", "order_id": order_id, "external_ref": "ff1"},
            {"action": "assign", "order_id": order_id, "external_ref": "ff1"},
            {"action": "fail", "request_id": id_, "reason": "lost"},
            {"action": "fail", "request_id": str(uuid4())},
            {"action": "assign", "order_id": order_id, "items": [{"line_id": 1, "quantity": 0}]},
            {"action": "send", "order_id": order_id},
            "nonsense",
        ]
        answer = await supplier.post(f"{REQUESTS}/bulk", {"actions": actions})
        assert (answer.status, answer.body["accepted"], answer.body["refused"]) == (207, 4, 5)
        rows = answer.body["rows"]
        assert [row["result"] for row in rows] == [
            *["completed", "refused", "created", "existing", "failed"],
            *["refused"] * 4,
        ]
        assert [row["code"] for row in rows if row["result"] == "refused"] == [
            "too_many_units",
            "request_not_found",
            *["invalid_action"] * 3,
        ]
        assert rows[1]["errors"][0]["field"] == "actions[1].items[0].quantity"
        assert rows[6]["errors"][0]["field"] == "actions[6].items[0].quantity"
        assert rows[2]["request_id"] == rows[3]["request_id"]
        assert [(one["logical_timestamp"], one["type"].rpartition("_")[2]) for one in await feed(supplier)] == [
            (1, "assigned"),
            (2, "completed"),
            (3, "assigned"),
            (4, "failed"),
        ]
        assert await line_of(shop, order_id) == (2, 1, 1, "partly_fulfilled")

    async def test_none_accepted_is_a_problem_that_names_each(self, supplier: Client) -> None:
        ids = [str(uuid4()), str(uuid4())]
        actions = [{"action": "complete", "request_id": id_} for id_ in ids]
        answer = await supplier.post(f"{REQUESTS}/bulk", {"actions": actions})
        assert refused(answer) == (
            422,
            "no_action_accepted",
            {f"actions[{n}].request_id": f"you have no fulfillment request {id_}" for n, id_ in enumerate(ids)},
        )

    async def test_all_accepted(self, shop: Shop, supplier: Client) -> None:
        order_ids = [await placed(shop, ref=f"R-{number}") for number in range(3)]
        actions = [{"action": "assign", "order_id": id_, "external_ref": id_} for id_ in order_ids]
        answer = await supplier.post(f"{REQUESTS}/bulk", {"actions": actions})
        assert (answer.status, answer.body["accepted"]) == (200, 3)
        again = await supplier.post(f"{REQUESTS}/bulk", {"actions": actions[::-1]})
        assert [row["result"] for row in again.body["rows"]] == ["existing"] * 3
        assert len(await feed(supplier)) == 3


class TestLogicalTimestamps:
    async def test_the_next_number_waits_until_the_one_before_is_committed_or_was_never_given(
        self, shop: Shop, supplier: Client
    ) -> None:
        """While one transaction has a number and has not committed, nobody else of the supplier can commit another."""
        orders = [UUID(await placed(shop, ref=f"R-{number}")) for number in range(3)]

        async def assign_second() -> None:
            assert (await assign(supplier, str(orders[1]))).status == 201

        async with asyncio.TaskGroup() as others, undone(shop) as session:
            await carry_out(session, [AssignAction(action="assign", order_id=orders[0])], SUPPLIER)
            own = await find_events(session, SUPPLIER, 0, 10)
            assert [one["logical_timestamp"] for one in own] == [1]
            others.create_task(assign_second())

            async def it_waits() -> bool:
                return bool(await shop.rows(WAITS_FOR_A_NUMBER))

            await eventually("the second waits for the first", it_waits)
            assert await feed(supplier) == []
        assert [(one["logical_timestamp"], one["order_id"]) for one in await feed(supplier)] == [(1, str(orders[1]))]
        assert (await assign(supplier, str(orders[0]))).status == 201
        assert [one["logical_timestamp"] for one in await feed(supplier)] == [1, 2]

    async def test_two_that_lock_orders_and_requests_crosswise_do_not_deadlock(
        self, shop: Shop, supplier: Client
    ) -> None:
        orders = [await placed(shop, ref=f"R-{number}") for number in range(4)]
        ids = [(await assign(supplier, order_id, (1, 2))).body["request_id"] for order_id in orders]

        async def bulk(turn: int) -> Answer:
            # One unit at a time, of each order, in a direction of its own.
            step = 1 if turn % 2 else -1
            actions: list[dict[str, object]] = [
                {"action": "complete" if turn % 3 else "fail", "request_id": id_, "items": _items([(1, 1)])}
                for id_ in ids[::step]
            ]
            more = [{"action": "assign", "order_id": id_, "items": _items([(1, 1)])} for id_ in orders[::-step]]
            return await supplier.post(f"{REQUESTS}/bulk", {"actions": actions + more})

        answers = await asyncio.gather(*map(bulk, range(12)))
        assert {one.status for one in answers} <= {200, 207, 422}, answers
        stamps = [one["logical_timestamp"] for one in await feed(supplier, limit=1000)]
        # All four units of each order were assigned, two of them completed or failed.
        assert stamps == list(range(1, 4 * (1 + 2 + 2) + 1))
