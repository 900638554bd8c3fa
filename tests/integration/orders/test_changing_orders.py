"""Orders that change: amended, cancelled as a whole or by lines, returned; each change told once, and remembered."""

import asyncio
from typing import Any

import pytest

from shared.events.inventory import LineDecision, OrderAllocated, Take
from shared.events.orders import OrderAmended, OrderCancelled, OrderCreated
from tests.integration.orders.shop import ORDER, RETAILER, SMALL, STRANGER, SUPPLIER, Shop, allocated, eventually

MUG: dict[str, object] = {"product_id": 200, "quantity": 1}
TWO_LINES = {"external_ref": "R-2", "lines": [SMALL, MUG]}


async def submitted(shop: Shop, body: dict[str, Any] = TWO_LINES) -> str:
    async with shop.client() as retailer:
        return str((await retailer.post("/v1/orders", body)).body["order_id"])


async def settle(shop: Shop, order_id: str, line_id: int, **units: int) -> None:
    """Units of a line are assigned, fulfilled or failed, as fulfillment does it."""
    given = ", ".join(f"{name} = {count}" for name, count in units.items())
    await shop.rows(
        f"update order_lines set {given} where order_id = cast(:order_id as uuid) and line_id = :line_id returning 1",
        order_id=order_id,
        line_id=line_id,
    )


async def test_an_amended_order_is_told_whole_with_the_next_version(shop: Shop) -> None:
    order_id = await submitted(shop)
    body = {"lines": [{"line_id": 1, "quantity": 5}, {"product_id": 200, "quantity": 3, "location": "annex"}]}
    async with shop.client() as retailer:
        answer = await retailer.patch(f"/v1/orders/{order_id}", body | {"reason": "the customer called"})
        assert (answer.status, answer.headers["ETag"], answer.body["version"]) == (200, '"2"', 2)
        assert [(one["line_id"], one["quantity"]) for one in answer.body["lines"]] == [(1, 5), (2, 1), (3, 3)]
        history = (await retailer.get(f"/v1/orders/{order_id}/history")).body["items"]
    created, amended = await shop.told()
    assert isinstance(created, OrderCreated)
    assert isinstance(amended, OrderAmended)
    assert [(one.line_id, one.product_id, one.quantity, one.location) for one in amended.lines] == [
        (1, 102, 5, None),
        (2, 200, 1, None),
        (3, 200, 3, "annex"),
    ]
    assert amended.version == 2
    assert [(one["kind"], one["actor"], one["reason"]) for one in history] == [
        ("received", f"company {RETAILER}", None),
        ("amended", f"company {RETAILER}", "the customer called"),
    ]
    assert [(one["line_id"], one["quantity"]) for one in history[1]["lines"]] == [(1, 3), (3, 3)]


async def test_what_is_so_already_is_told_to_nobody(shop: Shop) -> None:
    order_id = await submitted(shop)
    async with shop.client() as retailer:
        answer = await retailer.patch(f"/v1/orders/{order_id}", {"lines": [{"line_id": 1, "quantity": 2}]})
    assert (answer.status, answer.body["version"]) == (200, 1)
    assert len(await shop.told()) == 1


async def test_who_changes_may_say_which_version_they_saw(shop: Shop) -> None:
    order_id = await submitted(shop)
    async with shop.client() as retailer:
        body = {"lines": [{"line_id": 1, "quantity": 5}]}
        late = await retailer.patch(f"/v1/orders/{order_id}", body, headers={"If-Match": '"7"'})
        assert (late.status, late.body["code"]) == (412, "version_changed")
        assert (await retailer.patch(f"/v1/orders/{order_id}", body, headers={"If-Match": '"1"'})).status == 200
        gone = await retailer.post(f"/v1/orders/{order_id}/cancel", {}, headers={"If-Match": '"1"'})
        assert gone.status == 412


async def test_amendments_at_once_are_all_made(shop: Shop) -> None:
    order_id = await submitted(shop)
    async with shop.client() as retailer:
        answers = await asyncio.gather(*(retailer.patch(f"/v1/orders/{order_id}", {"lines": [MUG]}) for _ in range(8)))
        order = (await retailer.get(f"/v1/orders/{order_id}")).body
    # Each is answered with the order as it is by then, which another amendment may have changed meanwhile.
    assert [answer.status for answer in answers] == [200] * 8
    assert (order["version"], len(order["lines"])) == (9, 10)
    versions = [event.sequence() for event in await shop.told()]
    assert sorted(versions) == [*range(1, 10)]


async def test_an_amendment_that_cannot_be_names_each_field(shop: Shop) -> None:
    order_id = await submitted(shop)
    await settle(shop, order_id, 1, assigned=1, fulfilled=1)
    cases: list[tuple[list[dict[str, object]], int, str, str]] = [
        ([{"line_id": 7, "quantity": 1}], 422, "order_refused", "lines[0].line_id"),
        ([{"line_id": 2, "quantity": 2}, {"line_id": 2, "quantity": 3}], 422, "order_refused", "lines[1].line_id"),
        ([MUG, {"product_id": 900, "quantity": 1}], 422, "order_refused", "lines[1].product_id"),
        ([{"line_id": 1, "quantity": 1}], 409, "in_fulfillment", "lines[0].quantity"),
        ([{"line_id": 1, "location": "annex"}], 409, "in_fulfillment", "lines[0]"),
        ([{"line_id": 1, "quantity": 3}], 409, "in_fulfillment", "lines[0]"),
        ([MUG], 409, "in_fulfillment", "lines"),
        ([{"line_id": 1, "quantty": 3}], 422, "invalid_request", "lines[0].quantty"),
        ([{"line_id": 1, "product_id": 200}], 422, "invalid_request", "lines[0]"),
        ([{"quantity": 1}], 422, "invalid_request", "lines[0]"),
        ([], 422, "invalid_request", "lines"),
    ]
    async with shop.client() as retailer:
        for lines, status, code, field in cases:
            answer = await retailer.patch(f"/v1/orders/{order_id}", {"lines": lines})
            assert (answer.status, answer.body["code"], answer.body["errors"][0]["field"]) == (status, code, field)
        assert (await retailer.get(f"/v1/orders/{order_id}")).body["version"] == 1


async def test_a_cancelled_order_stays_cancelled(shop: Shop) -> None:
    order_id = await submitted(shop)
    async with shop.client() as retailer:
        answer = await retailer.post(f"/v1/orders/{order_id}/cancel", {"reason": "changed their mind"})
        assert (answer.status, answer.body["state"], answer.body["status"]) == (200, "cancelled", "cancelled")
        assert [one["cancelled"] for one in answer.body["lines"]] == [2, 1]
        again = await retailer.post(f"/v1/orders/{order_id}/cancel")
        assert (again.status, again.body["version"]) == (200, 2)
        refused = await retailer.patch(f"/v1/orders/{order_id}", {"lines": [MUG]})
        assert (refused.status, refused.body.get("code")) == (409, "order_cancelled")
        same = await retailer.post("/v1/orders", TWO_LINES)
        assert (same.status, same.body["state"]) == (200, "cancelled")
    created, cancelled = await shop.told()
    assert isinstance(created, OrderCreated)
    assert isinstance(cancelled, OrderCancelled)
    assert (cancelled.version, [one.quantity for one in cancelled.lines]) == (2, [2, 1])
    await shop.inventory.tell(allocated(created))
    async with shop.client() as retailer:
        assert (await retailer.get(f"/v1/orders/{order_id}")).body["status"] == "cancelled"


async def test_the_decision_on_a_cancellation_says_that_nothing_is_taken_any_more(shop: Shop) -> None:
    order_id = await submitted(shop, ORDER)
    (created,) = await shop.told()
    assert isinstance(created, OrderCreated)
    take = Take(product_id=100, location="main", quantity=2)
    took = LineDecision(line_id=1, outcome="allocated", takes=(take,), supplier_id=SUPPLIER)
    await shop.inventory.tell(allocated(created).model_copy(update={"lines": (took,)}))
    async with shop.client() as retailer:
        assert (await retailer.get(f"/v1/orders/{order_id}")).body["lines"][0]["takes"] == [take.model_dump()]
        waiting = asyncio.create_task(retailer.post(f"/v1/orders/{order_id}/cancel?wait=10"))
        *_, cancelled = await told_so_much(shop, 2)
        await shop.inventory.tell(
            OrderAllocated(order_id=created.order_id, order_version=cancelled.sequence(), decision=2, lines=())
        )
        answer = await waiting
        assert (answer.body["decided_version"], answer.body["lines"][0]["takes"]) == (2, [])
        history = (await retailer.get(f"/v1/orders/{order_id}/history")).body["items"]
    assert [one["kind"] for one in history] == ["received", "decided", "cancelled", "decided"]


async def told_so_much(shop: Shop, count: int) -> list[Any]:
    """What orders told, as soon as it is so much."""

    async def is_told() -> bool:
        return len(await shop.told()) >= count

    await eventually(f"orders tells {count} things", is_told)
    return await shop.told()


async def test_lines_are_cancelled_by_units_until_nothing_is_left(shop: Shop) -> None:
    order_id = await submitted(shop)
    async with shop.client() as retailer:
        one = await retailer.post(f"/v1/orders/{order_id}/cancel", {"lines": [{"line_id": 1, "quantity": 1}]})
        assert (one.body["state"], one.body["lines"][0]["cancelled"]) == ("open", 1)
        more = await retailer.post(f"/v1/orders/{order_id}/cancel", {"lines": [{"line_id": 1, "quantity": 2}]})
        assert (more.status, more.body["errors"][0]["field"]) == (409, "lines[0].quantity")
        assert "only 1 can be cancelled" in more.body["detail"]
        rest = await retailer.post(f"/v1/orders/{order_id}/cancel", {"lines": [{"line_id": 1}, {"line_id": 2}]})
        assert (rest.body["state"], rest.body["status"]) == ("cancelled", "cancelled")
    _, amended, cancelled = await shop.told()
    assert isinstance(amended, OrderAmended)
    assert [(line.line_id, line.quantity) for line in amended.lines] == [(1, 1), (2, 1)]
    assert isinstance(cancelled, OrderCancelled)


async def test_what_is_on_its_way_is_not_cancelled(shop: Shop) -> None:
    order_id = await submitted(shop)
    await settle(shop, order_id, 1, assigned=1)
    async with shop.client() as retailer:
        refused = await retailer.post(f"/v1/orders/{order_id}/cancel")
        assert (refused.status, refused.body["code"]) == (409, "in_fulfillment")
        assert (
            "line 1 has 2, of them 1 in a fulfillment request: what is in a fulfillment request has"
            in refused.body["detail"]
        )
        await settle(shop, order_id, 1, assigned=0, fulfilled=1)
        rest = await retailer.post(f"/v1/orders/{order_id}/cancel")
        assert (rest.status, rest.body["state"], rest.body["status"]) == (200, "cancelled", "fulfilled")
        assert [one["cancelled"] for one in rest.body["lines"]] == [1, 1]


async def test_only_the_seller_changes_an_order(shop: Shop) -> None:
    order_id = await submitted(shop)
    for company_id in (SUPPLIER, STRANGER):
        async with shop.client(company_id) as other:
            assert (await other.patch(f"/v1/orders/{order_id}", {"lines": [MUG]})).status == 404
            assert (await other.post(f"/v1/orders/{order_id}/cancel")).status == 404
    async with shop.client(None) as admin:
        assert (await admin.post(f"/v1/orders/{order_id}/cancel")).status == 200


async def test_a_line_that_was_decided_on_is_not_checked_again(shop: Shop) -> None:
    order_id = await submitted(shop, {"external_ref": "R-3", "lines": [{"product_id": 555, "quantity": 1}]})
    (created,) = await shop.told()
    assert isinstance(created, OrderCreated)
    assert not created.lines[0].checked
    await shop.inventory.tell(allocated(created))
    async with shop.client() as retailer:
        await retailer.patch(f"/v1/orders/{order_id}", {"lines": [{"line_id": 1, "quantity": 2}]})
    *_, amended = await shop.told()
    assert isinstance(amended, OrderAmended)
    assert amended.lines[0].checked


async def test_returned_units_are_noted_on_the_order(shop: Shop) -> None:
    order_id = await submitted(shop)
    back = {"external_ref": "B-1", "order_id": order_id, "lines": [{**SMALL, "quantity": 2, "restock": True}]}
    async with shop.client() as retailer:
        more = back | {"lines": [{**SMALL, "quantity": 3, "restock": True}]}
        refused = await retailer.post("/v1/returns", more)
        assert (refused.status, refused.body["errors"][0]["field"]) == (422, "lines[0].quantity")
        answer = await retailer.post("/v1/returns", back)
        assert answer.status == 201
        assert (await retailer.post("/v1/returns", back)).status == 200
        order = (await retailer.get(f"/v1/orders/{order_id}")).body
        assert [(one["returned"], one["status"]) for one in order["lines"]] == [(2, "returned"), (0, "received")]
        history = (await retailer.get(f"/v1/orders/{order_id}/history")).body["items"]
    assert [(one["kind"], one["cause"]) for one in history] == [
        ("received", "api"),
        ("returned", answer.body["return_id"]),
    ]


async def test_what_came_back_is_not_cancelled_as_well(shop: Shop) -> None:
    order_id = await submitted(shop)
    back = {"external_ref": "B-2", "order_id": order_id, "lines": [{**SMALL, "quantity": 1, "restock": True}]}
    async with shop.client() as retailer:
        assert (await retailer.post("/v1/returns", back)).status == 201
        refused = await retailer.post(f"/v1/orders/{order_id}/cancel")
        assert refused.status == 409
        assert refused.body["code"] == "in_fulfillment"
        assert "line 1 has 2, of them 1 returned: cancel what is left line by line" in refused.body["detail"]
        less = await retailer.patch(f"/v1/orders/{order_id}", {"lines": [{"line_id": 2, "quantity": 2}]})
        assert less.status == 200
        rest = await retailer.post(f"/v1/orders/{order_id}/cancel", {"lines": [{"line_id": 1}, {"line_id": 2}]})
        assert rest.status == 200
        assert rest.body["state"] == "open"
        assert [(one["cancelled"], one["status"]) for one in rest.body["lines"]] == [(1, "returned"), (2, "cancelled")]
    *_, amended = await shop.told()
    assert isinstance(amended, OrderAmended)
    assert [(line.line_id, line.quantity) for line in amended.lines] == [(1, 1)]


async def test_what_was_cancelled_does_not_come_back_as_well(shop: Shop) -> None:
    order_id = await submitted(shop)
    back = {"external_ref": "B-3", "order_id": order_id, "lines": [{**SMALL, "quantity": 2, "restock": True}]}
    async with shop.client() as retailer:
        await retailer.post(f"/v1/orders/{order_id}/cancel")
        refused = await retailer.post("/v1/returns", back)
        assert refused.status == 422
        assert refused.body["code"] == "return_refused"
        alone = {name: value for name, value in back.items() if name != "order_id"}
        assert (await retailer.post("/v1/returns", alone)).status == 201


@pytest.mark.parametrize("body", [{"items": [{"line_id": 1}]}, {"lines": [{"line_id": 1, "units": 1}]}, {"lines": []}])
async def test_a_cancellation_that_is_misspelt_cancels_nothing(shop: Shop, body: dict[str, object]) -> None:
    order_id = await submitted(shop)
    async with shop.client() as retailer:
        assert (await retailer.post(f"/v1/orders/{order_id}/cancel", body)).status == 422
        assert (await retailer.get(f"/v1/orders/{order_id}")).body["version"] == 1


async def test_a_seller_whose_connection_has_ended_wants_no_more_but_less(shop: Shop) -> None:
    order_id = await submitted(shop)
    (created,) = await shop.told()
    assert isinstance(created, OrderCreated)
    await shop.inventory.tell(allocated(created))
    await shop.connect("ended", version=2)
    more: list[dict[str, object]] = [{"line_id": 1, "quantity": 3}, {"line_id": 1, "location": "annex"}]
    async with shop.client() as retailer:
        for line in more:
            refused = await retailer.patch(f"/v1/orders/{order_id}", {"lines": [line]})
            assert refused.status == 422
            assert refused.body["errors"][0]["field"] == "lines[0].product_id"
        less = await retailer.patch(f"/v1/orders/{order_id}", {"lines": [{"line_id": 1, "quantity": 1}]})
        assert (less.status, less.body["lines"][0]["quantity"]) == (200, 1)


@pytest.mark.parametrize("path", ["/cancel?wait=0.1", "?wait=0.1"])
async def test_a_change_with_a_key_that_waits_is_answered_the_same_again(shop: Shop, path: str) -> None:
    order_id = await submitted(shop)
    headers, body = {"Idempotency-Key": "once"}, {"lines": [{"line_id": 1, "quantity": 1}]}
    async with shop.client() as retailer:
        change = retailer.post if path.startswith("/cancel") else retailer.patch
        first, again = [await change(f"/v1/orders/{order_id}{path}", body, headers=headers) for _ in range(2)]
    assert (first.status, again.status, again.body["version"]) == (200, 200, 2)
    assert again.headers["Idempotent-Replayed"] == "true"
