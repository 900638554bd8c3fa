"""Items that come back."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from shared.events.orders import ItemsReturned
from tests.integration.orders.shop import ORDER, RETAILER, SMALL, STRANGER, SUPPLIER, Shop

BACK: dict[str, Any] = {"external_ref": "B-1", "lines": [SMALL | {"quantity": 1, "restock": True}]}


async def test_a_return_may_stand_alone_and_is_told_once(shop: Shop) -> None:
    async with shop.client() as retailer:
        first = await retailer.post("/v1/returns", BACK | {"source": "pos"})
        again = await retailer.post("/v1/returns", BACK)
        other = await retailer.post("/v1/returns", {**BACK, "lines": [SMALL | {"restock": True}]})
    assert (first.status, again.status, first.body) == (201, 200, again.body)
    assert (first.body["seller_id"], first.body["order_id"], first.body["source"]) == (RETAILER, None, "pos")
    assert first.body["lines"] == [{"line_id": 1, **SMALL, "quantity": 1, "restock": True, "location": None}]
    assert (other.status, other.body["code"]) == (409, "return_ref_conflict")
    (event,) = await shop.told()
    assert isinstance(event, ItemsReturned)
    assert (str(event.return_id), event.order_id) == (first.body["return_id"], None)
    assert [(line.product_id, line.quantity, line.restock) for line in event.lines] == [(102, 1, True)]


async def test_of_many_that_bring_one_return_at_once_one_creates_it(shop: Shop) -> None:
    async with shop.client() as retailer:
        answers = await asyncio.gather(*(retailer.post("/v1/returns", BACK) for _ in range(16)))
    assert sorted(answer.status for answer in answers) == [200] * 15 + [201]
    assert len(await shop.told()) == 1


async def test_a_return_may_name_an_order_of_its_seller_only(shop: Shop) -> None:
    mug = {"product_id": 200, "quantity": 1}
    async with shop.client() as retailer, shop.client(STRANGER) as stranger:
        order_id = (await retailer.post("/v1/orders", {**ORDER, "lines": [mug]})).body["order_id"]
        body = {"external_ref": "B-1", "order_id": order_id, "lines": [mug | {"restock": False}]}
        accepted = await retailer.post("/v1/returns", body)
        unknown = await stranger.post("/v1/returns", {**body, "lines": [{**body["lines"][0], "product_id": 5000}]})
    assert (accepted.status, accepted.body["order_id"]) == (201, order_id)
    assert (unknown.status, unknown.body["code"]) == (422, "return_refused")
    assert unknown.body["errors"] == [{"field": "order_id", "detail": f"company {STRANGER} has no order {order_id}"}]
    told = [event for event in await shop.told() if isinstance(event, ItemsReturned)]
    assert [event.order_id for event in told] == [UUID(order_id)]


async def test_nobody_returns_what_is_a_strangers_and_restock_must_be_said(shop: Shop) -> None:
    async with shop.client(STRANGER) as stranger:
        foreign = await stranger.post("/v1/returns", BACK)
        silent = await stranger.post("/v1/returns", {**BACK, "lines": [SMALL]})
    assert (foreign.status, [error["field"] for error in foreign.body["errors"]]) == (422, ["lines[0].product_id"])
    assert silent.body["errors"] == [{"field": "lines[0].restock", "detail": "Field required"}]
    assert await shop.told() == []


async def test_goods_may_come_back_after_the_connection_has_ended(shop: Shop) -> None:
    await shop.connect("ended", version=2)
    async with shop.client() as retailer:
        assert (await retailer.post("/v1/orders", ORDER)).status == 422
        assert (await retailer.post("/v1/returns", BACK)).status == 201


@pytest.mark.parametrize(
    ("line", "field"),
    [({"quantity": True}, "quantity"), ({"quantity": "3"}, "quantity"), ({"quantity": 1.0}, "quantity")]
    + [({"restock": restock}, "restock") for restock in ("yes", 1, "true")],
)
async def test_quantities_are_whole_numbers_and_restock_is_true_or_false(
    shop: Shop, line: dict[str, object], field: str
) -> None:
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/returns", {**BACK, "lines": [BACK["lines"][0] | line]})
        ordered = await retailer.post("/v1/orders", {**ORDER, "lines": [SMALL | line]})
    assert (answer.status, [error["field"] for error in answer.body["errors"]]) == (422, [f"lines[0].{field}"])
    assert ordered.status == (422 if field == "quantity" else 201)


async def test_nothing_came_back_before_1900(shop: Shop) -> None:
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/returns", BACK | {"returned_at": "0026-01-31T12:00:00Z"})
    assert answer.body["errors"] == [{"field": "returned_at", "detail": "Value error, must not be before 1900"}]


async def test_a_removed_product_may_still_come_back(shop: Shop) -> None:
    await shop.remove(102)
    async with shop.client() as retailer:
        assert (await retailer.post("/v1/orders", ORDER)).status == 422
        assert (await retailer.post("/v1/returns", BACK)).status == 201


async def test_what_came_back_of_an_order_is_listed_to_its_seller_alone(shop: Shop) -> None:
    mug = {"product_id": 200, "quantity": 1}
    async with (
        shop.client() as retailer,
        shop.client(SUPPLIER) as supplier,
        shop.client(STRANGER) as stranger,
        shop.client(None) as admin,
    ):
        order_id = (await retailer.post("/v1/orders", {**ORDER, "lines": [mug | {"quantity": 3}]})).body["order_id"]
        await retailer.post("/v1/returns", BACK)
        made = [
            await retailer.post(
                "/v1/returns", {"external_ref": f"B-{n}", "order_id": order_id, "lines": [mug | {"restock": True}]}
            )
            for n in (2, 3, 4)
        ]
        newest_first = [answer.body for answer in reversed(made)]
        path = f"/v1/returns?order_id={order_id}"
        whole = [(await caller.get(path)).body for caller in (retailer, admin)]
        first = (await retailer.get(f"{path}&limit=2")).body
        second = (await retailer.get(f"{path}&limit=2&cursor={first['next_cursor']}")).body
        others = [(await caller.get(path)).body for caller in (supplier, stranger)]
        without = await retailer.get("/v1/returns")
    assert whole == [{"items": newest_first, "next_cursor": None}] * 2
    assert first["items"] + second["items"] == newest_first
    assert second["next_cursor"] is None
    assert others == [{"items": [], "next_cursor": None}] * 2, "the supplier, too, reads of it in its ledger alone"
    assert (without.status, without.body["errors"][0]["field"]) == (422, "order_id")
