"""Many orders in one request, as an array and as a stream of lines."""

import json
from typing import Any

from shared.events.orders import OrderCreated
from tests.integration.orders.shop import ORDER, OTHER_SUPPLIER, RETAILER, SMALL, STRANGER, Shop

NDJSON = {"Content-Type": "application/x-ndjson"}


def order(ref: str, **changes: object) -> dict[str, Any]:
    return {"external_ref": ref, "lines": [SMALL | changes]}


def lines_of(*orders: object) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in orders)


async def test_each_order_is_accepted_by_itself(shop: Shop) -> None:
    async with shop.client() as retailer:
        first = await retailer.post("/v1/orders", order("R-1"))
        answer = await retailer.post(
            "/v1/orders/bulk",
            [
                order("R-1"),
                order("R-2"),
                order("R-1", quantity=9),
                order("R-3", quantity=0),
                {"external_ref": "R-4", "lines": [{"product_id": 900, "quantity": 1}]},
                order("R-5") | {"seller_id": STRANGER},
                "no order",
                order("R-2"),
            ],
        )
    assert (answer.status, answer.body["accepted"], answer.body["refused"]) == (207, 3, 5)
    rows = answer.body["rows"]
    assert [row["row"] for row in rows] == list(range(8))
    assert [(row["external_ref"], row["result"]) for row in rows] == [
        ("R-1", "existing"),
        ("R-2", "created"),
        ("R-1", "refused"),
        ("R-3", "refused"),
        ("R-4", "refused"),
        ("R-5", "refused"),
        (None, "refused"),
        ("R-2", "existing"),
    ]
    assert rows[0]["order_id"] == first.body["order_id"]
    assert rows[7]["order_id"] == rows[1]["order_id"]
    assert [error["field"] for row in rows for error in row["errors"]] == [
        "[2].external_ref",
        "[3].lines[0].quantity",
        "[4].lines[0].product_id",
        "[5].seller_id",
        "[6]",
    ]
    told = await shop.told()
    assert sorted(event.external_ref for event in told if isinstance(event, OrderCreated)) == ["R-1", "R-2"]


async def test_when_no_order_is_accepted_the_answer_is_a_problem_that_names_each(shop: Shop) -> None:
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders/bulk", [order("R-1", quantity=0), {}])
        assert (answer.status, answer.body["code"]) == (422, "no_order_accepted")
        fields = [error["field"] for error in answer.body["errors"]]
        assert fields == ["[0].lines[0].quantity", "[1].external_ref", "[1].lines"]
        bodies: tuple[object, ...] = ([], {}, [order(f"R-{number}") for number in range(1001)])
        for body in bodies:
            assert (await retailer.post("/v1/orders/bulk", body)).status == 422
    assert await shop.told() == []


async def test_the_platform_admin_says_whose_each_order_is(shop: Shop) -> None:
    async with shop.client(None) as admin:
        answer = await admin.post(
            "/v1/orders/bulk",
            [order("R-1") | {"seller_id": RETAILER}, order("R-1"), order("R-1") | {"seller_id": 99}],
        )
    assert (answer.status, [row["result"] for row in answer.body["rows"]]) == (207, ["created", "refused", "refused"])
    details = [row["errors"][0]["detail"] for row in answer.body["rows"][1:]]
    assert "must say which company" in details[0]
    assert "no company 99" in details[1]


async def test_a_thousand_orders_are_one_transaction_and_a_stream_many(shop: Shop) -> None:
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders/bulk", [order(f"R-{number}") for number in range(1000)])
        assert (answer.status, answer.body["accepted"]) == (200, 1000)
        body = lines_of(*(order(f"R-{number}") for number in range(1300)))
        answer = await retailer.post("/v1/orders/bulk", data=body, headers=NDJSON)
        assert (answer.status, answer.body["accepted"]) == (200, 1300)
        results = [row["result"] for row in answer.body["rows"]]
        assert (results.count("existing"), results.count("created")) == (1000, 300)
    assert len(await shop.rows("select distinct received_at from orders where external_ref >= 'R-1'")) == 2
    assert len(await shop.told()) == 1300


async def test_a_bad_line_in_a_stream_is_told_and_the_others_go_through(shop: Shop) -> None:
    async with shop.client() as retailer:
        body = lines_of(order("R-1")) + b"\n{broken\n" + lines_of(order("R-2")).rstrip()
        answer = await retailer.post("/v1/orders/bulk", data=body, headers=NDJSON)
    assert [(row["external_ref"], row["result"]) for row in answer.body["rows"]] == [
        ("R-1", "created"),
        (None, "refused"),
        ("R-2", "created"),
    ]
    (error,) = answer.body["rows"][1]["errors"]
    assert error["field"] == "[1]"
    assert error["detail"].startswith("is no JSON:")


async def test_an_array_takes_an_idempotency_key_and_a_stream_does_not(shop: Shop) -> None:
    key = {"Idempotency-Key": "k-1"}
    async with shop.client() as retailer:
        first = await retailer.post("/v1/orders/bulk", [ORDER], headers=key)
        again = await retailer.post("/v1/orders/bulk", [ORDER], headers=key)
        assert again.body == first.body
        assert again.headers["Idempotent-Replayed"] == "true"
        refused = await retailer.post(
            "/v1/orders/bulk", data=lines_of(ORDER), headers=NDJSON | {"Idempotency-Key": "k-2"}
        )
        assert (refused.status, refused.body["code"]) == (422, "key_not_taken")


async def test_a_supplier_that_sells_itself_may_send_orders_too(shop: Shop) -> None:
    async with shop.client(OTHER_SUPPLIER) as supplier:
        answer = await supplier.post(
            "/v1/orders/bulk", [{"external_ref": "OWN", "lines": [{"product_id": 900, "quantity": 1}]}]
        )
    assert (answer.status, answer.body["accepted"]) == (200, 1)
