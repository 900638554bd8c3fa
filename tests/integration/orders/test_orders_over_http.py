"""Orders as shops submit and read them over HTTP."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from services.orders.handlers import record_decisions
from shared.events.inventory import LineDecision, OrderShort, Take
from shared.events.orders import OrderCreated
from tests.app import Answer
from tests.integration.orders.shop import (
    ORDER,
    OTHER_SUPPLIER,
    RETAILER,
    SMALL,
    STRANGER,
    SUPPLIER,
    Shop,
    allocated,
    eventually,
    opened,
)


def errors_of(answer: Answer) -> dict[str, str]:
    return {error["field"]: error["detail"] for error in answer.body["errors"]}


def order_of(*lines: dict[str, object], ref: str = "R-1") -> dict[str, object]:
    return {"external_ref": ref, "lines": list(lines)}


async def test_a_new_order_is_received_and_told_once(shop: Shop) -> None:
    body = ORDER | {"placed_at": "2026-01-31T13:00:00+01:00", "source": "pos"}
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders", body)
    assert answer.status == 201
    order = answer.body
    assert answer.headers["Location"] == f"/v1/orders/{order['order_id']}"
    assert (order["seller_id"], order["external_ref"], order["source"]) == (RETAILER, "R-1", "pos")
    assert (order["status"], order["state"], order["version"], order["decision"]) == ("received", "open", 1, 0)
    undecided: dict[str, object] = {"location": None, "outcome": None, "takes": [], "shortfall": 0, "reason": None}
    nothing_yet = dict.fromkeys(("cancelled", "assigned", "fulfilled", "failed", "returned"), 0)
    known = {"line_id": 1, "supplier_id": SUPPLIER, "waits_for": None, "status": "received"}
    assert order["lines"] == [known | SMALL | undecided | nothing_yet]
    assert order["suppliers"] == [{"supplier_id": SUPPLIER, "status": "received"}]
    (event,) = await shop.told()
    assert isinstance(event, OrderCreated)
    assert (str(event.order_id), event.version, event.seller_id) == (order["order_id"], 1, RETAILER)
    assert event.placed_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert [line.model_dump() for line in event.lines] == [{"line_id": 1, **SMALL, "location": None, "checked": True}]


async def test_the_same_order_again_answers_with_it_as_it_is_now(shop: Shop) -> None:
    async with shop.client() as retailer:
        first = await retailer.post("/v1/orders", ORDER)
        (event,) = await shop.told()
        assert isinstance(event, OrderCreated)
        await shop.inventory.tell(allocated(event))
        again = await retailer.post("/v1/orders", ORDER | {"source": "console"})
    assert (again.status, again.body["order_id"]) == (200, first.body["order_id"])
    assert (again.body["status"], again.body["source"]) == ("allocated", "api")
    assert len(await shop.told()) == 1


async def test_the_same_order_again_is_not_checked_again(shop: Shop) -> None:
    async with shop.client() as retailer:
        await retailer.post("/v1/orders", ORDER)
        await shop.connect("ended", version=2)
        assert (await retailer.post("/v1/orders", ORDER)).status == 200


async def test_a_reference_stands_for_one_order_only(shop: Shop) -> None:
    async with shop.client() as retailer:
        first = await retailer.post("/v1/orders", ORDER)
        other = await retailer.post("/v1/orders", order_of(SMALL | {"quantity": 3}))
    assert (other.status, other.body["code"]) == (409, "order_ref_conflict")
    assert errors_of(other) == {
        "external_ref": f"this reference belongs to order {first.body['order_id']}, which says something else: "
        "send exactly the same again, or use a new reference"
    }
    assert len(await shop.told()) == 1


async def test_two_sellers_may_use_the_same_reference(shop: Shop) -> None:
    body = order_of({"product_id": 200, "quantity": 1})
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        answers = [await retailer.post("/v1/orders", body), await supplier.post("/v1/orders", body)]
    assert [answer.status for answer in answers] == [201, 201]
    assert len(await shop.told()) == 2


async def test_of_many_that_bring_one_order_at_once_one_creates_it(shop: Shop) -> None:
    async with shop.client() as retailer:
        answers = await asyncio.gather(*(retailer.post("/v1/orders", ORDER) for _ in range(32)))
    assert sorted(answer.status for answer in answers) == [200] * 31 + [201]
    assert len({answer.body["order_id"] for answer in answers}) == 1
    assert len(await shop.rows("select 1 from orders")) == len(await shop.rows("select 1 from order_lines")) == 1
    assert len(await shop.told()) == 1


async def test_of_many_that_use_one_reference_for_different_orders_one_wins(shop: Shop) -> None:
    bodies = [order_of(SMALL | {"quantity": quantity}) for quantity in range(1, 17)]
    async with shop.client() as retailer:
        answers = await asyncio.gather(*(retailer.post("/v1/orders", body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 15
    assert len(await shop.told()) == 1


@pytest.mark.parametrize(
    ("line", "field", "detail"),
    [
        ({"product_id": 900}, "product_id", "product 900 is neither company 2's own nor of a supplier with which"),
        ({"product_id": 102}, "variant_sku", "product 102 has variants, and the line names none"),
        ({"product_id": 102, "variant_sku": "T01-X"}, "variant_sku", "product 102 has no variant 'T01-X'"),
        ({"product_id": 300, "variant_sku": "T01-X"}, "variant_sku", "product 102 has no variant 'T01-X'"),
        ({"product_id": 200, "variant_sku": "T01-S"}, "variant_sku", "product 200 has no variant 'T01-S'"),
        ({"product_id": 101}, "product_id", "product 101, or one that it is a version of, was removed"),
        ({"product_id": 301}, "product_id", "product 301, or one that it is a version of, was removed"),
    ],
    ids=[
        "not connected",
        "no variant",
        "wrong variant",
        "of a version",
        "none to choose",
        "removed",
        "its base removed",
    ],
)
async def test_what_may_not_be_sold_is_refused_by_field(
    shop: Shop, line: dict[str, object], field: str, detail: str
) -> None:
    await shop.remove(101)
    await shop.add_version(301, of=101)
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders", order_of(SMALL, line | {"quantity": 1}))
    assert (answer.status, answer.body["code"]) == (422, "order_refused")
    ((where, why),) = errors_of(answer).items()
    assert where == f"lines[1].{field}"
    assert why.startswith(detail)
    assert await shop.told() == []


async def test_without_an_active_connection_not_even_the_own_version_can_be_sold(shop: Shop) -> None:
    await shop.connect("paused", version=2)
    own_version = SMALL | {"product_id": 300}
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders", order_of(SMALL, own_version))
    assert sorted(errors_of(answer)) == ["lines[0].product_id", "lines[1].product_id"]


async def test_a_product_nobody_knows_yet_is_accepted_and_left_to_inventory_to_check(shop: Shop) -> None:
    unknown = {"product_id": 5000, "variant_sku": "V", "quantity": 1}
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders", order_of(SMALL, unknown))
    assert answer.status == 201
    (event,) = await shop.told()
    assert isinstance(event, OrderCreated)
    assert [line.checked for line in event.lines] == [True, False]


async def test_a_body_that_cannot_be_is_refused_by_field(shop: Shop) -> None:
    bad = {
        "external_ref": "R\x00",
        "placed_at": "2026-01-31T12:00:00",
        "source": "amqp",
        "lines": [SMALL, SMALL | {"quantity": -1}],
    }
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders", bad)
        nothing = await retailer.post("/v1/orders", order_of())
    assert (answer.status, answer.body["code"]) == (422, "invalid_request")
    assert sorted(errors_of(answer)) == ["external_ref", "lines[1].quantity", "placed_at", "source"]
    assert errors_of(nothing) == {"lines": "Value error, must hold 1 to 1000 lines, not 0"}


async def test_an_order_belongs_to_whoever_sends_it(shop: Shop) -> None:
    async with shop.client() as retailer, shop.client(None) as admin:
        foreign = await retailer.post("/v1/orders", ORDER | {"seller_id": STRANGER})
        unnamed = await admin.post("/v1/orders", ORDER)
        unknown = await admin.post("/v1/orders", ORDER | {"seller_id": 77})
        named = await admin.post("/v1/orders", ORDER | {"seller_id": RETAILER})
    assert (foreign.status, foreign.body["code"]) == (403, "foreign_company")
    assert (unnamed.status, unnamed.body["code"]) == (422, "company_required")
    assert (unknown.status, unknown.body["code"]) == (422, "unknown_company")
    assert errors_of(unknown)["seller_id"].startswith("no company 77 is known to orders: create it in catalog")
    assert (named.status, named.body["seller_id"]) == (201, RETAILER)


async def test_whoever_waits_is_answered_when_inventory_has_decided(shop: Shop) -> None:
    def short(order: OrderCreated) -> OrderShort:
        missing = LineDecision(line_id=1, outcome="short", shortfall=2, reason="none left")
        took = LineDecision(line_id=2, outcome="allocated", takes=(Take(product_id=200, location="main", quantity=1),))
        return OrderShort(order_id=order.order_id, order_version=1, decision=1, lines=(missing, took))

    shop.inventory.decide = short
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders?wait=10", order_of(SMALL, {"product_id": 200, "quantity": 1}))
    assert (answer.status, answer.body["status"], answer.body["decision"]) == (201, "short", 1)
    first, second = answer.body["lines"]
    assert (first["outcome"], first["shortfall"], first["reason"], first["takes"]) == ("short", 2, "none left", [])
    assert (second["outcome"], second["takes"]) == (
        "allocated",
        [{"product_id": 200, "location": "main", "quantity": 1}],
    )


async def test_a_decision_answers_its_own_order_at_once(shop: Shop) -> None:
    shop.inventory.decide = lambda order: allocated(order) if order.external_ref == "R-2" else None

    async def heard() -> bool:
        return bool(shop.inventory.heard)

    async with shop.client() as retailer:
        first = asyncio.create_task(retailer.post("/v1/orders?wait=10", order_of(SMALL, ref="R-1")))
        await eventually("inventory hears of the first", heard)
        second = await retailer.post("/v1/orders?wait=10", order_of(SMALL, ref="R-2"))
        assert second.body["status"] == "allocated"
        # It came first, and would be answered first if nothing but time answered.
        assert not first.done()
        (event,) = [event for event in shop.inventory.heard if event.subject() != second.body["order_id"]]
        assert isinstance(event, OrderCreated)
        await shop.inventory.tell(allocated(event))
        assert (await first).body["status"] == "allocated"


async def test_whoever_waits_in_vain_gets_the_order_as_it_is(shop: Shop) -> None:
    async with shop.client() as retailer:
        answer = await retailer.post("/v1/orders?wait=0.05", ORDER)
        too_long = await retailer.post("/v1/orders?wait=11", ORDER)
    assert (answer.status, answer.body["status"]) == (201, "received")
    assert errors_of(too_long) == {"wait": "Input should be less than or equal to 10"}


async def test_those_who_wait_stand_in_nobodys_way(database_dsn: str) -> None:
    # Two connections, eight who wait: if each held one, no decision and no look-up would come through.
    async with opened(database_dsn, database_pool_size=2) as shop, shop.client() as retailer:
        bodies = [order_of(SMALL, ref=f"R-{number}") for number in range(8)]
        waiting = [asyncio.create_task(retailer.post("/v1/orders?wait=10", body)) for body in bodies]

        async def all_heard() -> bool:
            return len(shop.inventory.heard) == 8

        await eventually("inventory hears of all eight", all_heard)
        assert len((await retailer.get("/v1/orders")).body["items"]) == 8
        for event in list(shop.inventory.heard):
            assert isinstance(event, OrderCreated)
            await shop.inventory.tell(allocated(event))
        answers = await asyncio.gather(*waiting)
    assert [answer.body["status"] for answer in answers] == ["allocated"] * 8


async def test_the_newest_decision_counts_whatever_came_when(shop: Shop) -> None:
    async with shop.client() as retailer:
        order_id = (await retailer.post("/v1/orders", ORDER)).body["order_id"]
        (event,) = await shop.told()
        assert isinstance(event, OrderCreated)
        await shop.inventory.tell(allocated(event, decision=2))
        await shop.inventory.tell(allocated(event, decision=1, outcome="parked"))
        assert (await retailer.get(f"/v1/orders/{order_id}")).body["status"] == "allocated"
        async with shop.database.transaction() as session:
            newer = [allocated(event, decision=decision, outcome="untracked") for decision in (4, 3)]
            older = [allocated(event, decision=1, outcome="parked")]
            await record_decisions(session, [*newer, *older])
        answer = await retailer.get(f"/v1/orders/{order_id}")
    assert (answer.body["status"], answer.body["decision"]) == ("untracked", 4)


async def test_a_decision_on_an_order_nobody_made_is_set_aside_and_holds_up_none(shop: Shop) -> None:
    async with shop.client() as retailer:
        order_id = (await retailer.post("/v1/orders", ORDER)).body["order_id"]
        (event,) = await shop.told()
        assert isinstance(event, OrderCreated)
        strange = allocated(event).model_copy(update={"order_id": uuid4()})
        extra = LineDecision(line_id=7, outcome="allocated")
        longer = allocated(event, decision=2).model_copy(update={"lines": (extra,)})
        tellings = (shop.inventory.tell(decision) for decision in (strange, longer, allocated(event)))
        await asyncio.gather(*tellings)
        assert (await retailer.get(f"/v1/orders/{order_id}")).body["status"] == "allocated"
    assert sorted(await shop.dead_letters()) == [
        f"UnknownOrderError: inventory decided on order lines that are not known here: 7 of {order_id}",
        f"UnknownOrderError: inventory decided on orders that are not known here: {strange.order_id}",
    ]


async def test_nobody_sees_the_orders_of_another_company(shop: Shop) -> None:
    async with shop.client() as retailer:
        order_id = (await retailer.post("/v1/orders", ORDER)).body["order_id"]
    for company_id in (STRANGER, OTHER_SUPPLIER):
        async with shop.client(company_id) as other:
            hidden = await other.get(f"/v1/orders/{order_id}")
            assert (hidden.status, hidden.body["code"]) == (404, "order_not_found")
            assert (await other.get("/v1/orders")).body == {"items": [], "next_cursor": None}
            assert (await other.get("/v1/orders?external_ref=R-1")).body["items"] == []
            foreign = await other.get(f"/v1/orders?seller_id={RETAILER}")
            assert (foreign.status, foreign.body["code"]) == (403, "foreign_company")
    async with shop.client(None) as admin:
        assert (await admin.get(f"/v1/orders/{order_id}")).status == 200
        assert (await admin.get(f"/v1/orders/{UUID(int=0)}")).status == 404


async def test_orders_are_listed_newest_first_page_by_page(shop: Shop) -> None:
    refs = [f"R-{number}" for number in range(5)]
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        for ref in refs:
            await retailer.post("/v1/orders", order_of(SMALL, ref=ref))
        await supplier.post("/v1/orders", order_of(SMALL, ref="R-3"))
        seen: list[str] = []
        path = "/v1/orders?limit=2"
        while path and len(seen) < 10:
            page = (await retailer.get(path)).body
            seen += [item["external_ref"] for item in page["items"]]
            path = page["next_cursor"] and f"/v1/orders?limit=2&cursor={page['next_cursor']}"
        one = (await retailer.get("/v1/orders?external_ref=R-3")).body["items"]
    assert sorted(seen) == refs
    # Ids of one millisecond have no order; those of different ones do.
    received = {
        row.external_ref: row.received_at for row in await shop.rows("select * from orders where seller_id = 2")
    }
    assert [received[ref] for ref in seen] == sorted(received.values(), reverse=True)
    assert [(item["seller_id"], item["external_ref"]) for item in one] == [(RETAILER, "R-3")]
    async with shop.client(None) as admin:
        assert len((await admin.get("/v1/orders")).body["items"]) == 6
        assert len((await admin.get("/v1/orders?external_ref=R-3")).body["items"]) == 2
        assert len((await admin.get(f"/v1/orders?seller_id={SUPPLIER}")).body["items"]) == 1
