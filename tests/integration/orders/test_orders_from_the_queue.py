"""Orders that order systems publish to `orders.submitted`."""

import asyncio
import json
from typing import Any

import pytest

from services.orders.accept import accept_orders
from services.orders.domain.orders import SubmittedOrder
from services.orders.intake import accept_received
from services.orders.order_messages import NotConnectedError, ReceivedOrder, UnknownSenderError, order_decoder
from services.orders.submissions import OrderBody
from shared.events import BATCH, SINGLE
from shared.events.orders import OrderCreated
from shared.messaging.bus import Message
from tests.integration.orders.shop import ORDER, REFS, RETAILER, SMALL, SUPPLIER, Shop, eventually, opened


def event(order: object = ORDER, event_id: str = "e-1") -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/shop",
        "type": "basestock.orders.order_submitted.v1",
        "data": order,
    }


def order_of(ref: str, **line: object) -> dict[str, Any]:
    return {"external_ref": ref, "lines": [SMALL | line]}


async def stored(shop: Shop) -> list[tuple[int, str, str]]:
    """Seller, reference and source of each order, by reference."""
    rows = await shop.rows("select seller_id, external_ref, source from orders order by external_ref")
    return [(row.seller_id, row.external_ref, row.source) for row in rows]


async def test_orders_come_in_three_formats_and_are_told(shop: Shop) -> None:
    await shop.submit(order_of("R-1") | {"source": "pos"})
    await shop.submit(event(order_of("R-2")), SINGLE)
    await shop.submit([event(order_of("R-3"), "e-3"), event(order_of("R-4"), "e-4")], BATCH)
    assert await shop.dead_letters() == []
    assert await stored(shop) == [(RETAILER, f"R-{number}", "amqp") for number in range(1, 5)]
    told = [event.external_ref for event in await shop.told() if isinstance(event, OrderCreated)]
    assert sorted(told) == ["R-1", "R-2", "R-3", "R-4"]


async def test_the_senders_trace_goes_on(shop: Shop) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    await shop.submit(event() | {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}, SINGLE)
    (told,) = await shop.told()
    assert told.traceparent is not None
    assert told.traceparent.split("-")[1] == trace


def submitted(ref: str, **line: object) -> SubmittedOrder:
    return OrderBody.model_validate(order_of(ref, **line)).submitted(RETAILER, "amqp")


async def test_of_two_that_bring_the_same_orders_in_opposite_order_one_waits_for_the_other(shop: Shop) -> None:
    async def blocked() -> bool:
        return bool(await shop.rows("select 1 from pg_stat_activity where wait_event_type = 'Lock'"))

    async def accept_both() -> list[str]:
        async with shop.database.transaction() as session:
            return [verdict.kind for verdict in await accept_orders(session, [submitted("R-2"), submitted("R-1")])]

    async with shop.database.transaction() as session:
        await accept_orders(session, [submitted("R-1")])
        other = asyncio.create_task(accept_both())
        await eventually("the other waits for R-1", blocked)
        # Had the other begun with its first order, R-2, each would now hold what the other needs.
        await accept_orders(session, [submitted("R-2")])
    assert await other == ["existing", "existing"]


async def test_of_two_orders_under_one_reference_the_earlier_stands(shop: Shop) -> None:
    both = [submitted("R-1", quantity=8), submitted("R-1", quantity=7), submitted("R-1", quantity=8)]
    async with shop.database.transaction() as session:
        verdicts = await accept_orders(session, both)
    assert [verdict.kind for verdict in verdicts] == ["created", "conflict", "existing"]
    assert {verdict.id for verdict in verdicts} == {both[0].order_id}


async def test_a_message_that_comes_again_changes_nothing(shop: Shop) -> None:
    for body, content_type in ((ORDER, "application/json"), (event(order_of("R-2")), SINGLE)):
        for message_id in ("m-1", "m-1", "m-2"):
            await shop.submit(body, content_type, message_id=message_id)
    assert [ref for _, ref, _ in await stored(shop)] == ["R-1", "R-2"]
    assert len(await shop.told()) == 2
    assert await shop.dead_letters() == []


async def test_messages_without_an_id_or_with_a_used_one_are_not_taken_for_one_another(shop: Shop) -> None:
    for number, message_id in enumerate(["", "", "m-1", "m-1"]):
        await shop.submit(order_of(f"R-{number}"), message_id=message_id)
    await shop.submit(event(order_of("R-4")), SINGLE)
    await shop.submit(event(order_of("R-5")), SINGLE)
    assert [ref for _, ref, _ in await stored(shop)] == [f"R-{number}" for number in range(6)]


async def test_http_and_the_queue_are_one_way_in(shop: Shop) -> None:
    async with shop.client() as retailer:
        await retailer.post("/v1/orders", ORDER)
        await shop.submit(ORDER)
        await shop.submit(order_of("R-2"))
        assert (await retailer.post("/v1/orders", order_of("R-2"))).status == 200
    assert await stored(shop) == [(RETAILER, "R-1", "api"), (RETAILER, "R-2", "amqp")]
    assert len(await shop.told()) == 2


async def test_a_refused_order_says_all_that_is_wrong_and_leaves_the_others_alone(shop: Shop) -> None:
    bad = {
        "external_ref": "R-3",
        "lines": [SMALL, SMALL | {"variant_sku": "T01-X"}, {"product_id": 900, "quantity": 1}],
    }
    await asyncio.gather(*(shop.submit(body) for body in (order_of("R-1"), order_of("R-2"), bad, order_of("R-4"))))
    assert [ref for _, ref, _ in await stored(shop)] == ["R-1", "R-2", "R-4"]
    (reason,) = await shop.dead_letters()
    where = "order 'R-3' of company 2: lines"
    assert reason == (
        f"{where}[1].variant_sku: product 102 has no variant 'T01-X'; {where}[2].product_id: product 900 "
        "is neither company 2's own nor of a supplier with which it has an active connection"
    )


async def test_of_a_batch_the_good_orders_are_taken_and_the_bad_one_explained(shop: Shop) -> None:
    bodies = [order_of("R-1"), order_of("R-2", product_id=900, variant_sku=None), order_of("R-3")]
    await shop.submit([event(body, f"e-{number}") for number, body in enumerate(bodies)], BATCH)
    assert [ref for _, ref, _ in await stored(shop)] == ["R-1", "R-3"]
    (reason,) = await shop.dead_letters()
    assert reason.startswith("NotConnectedError: order 'R-2' of company 2: lines[0].product_id: product 900 is neither")


async def test_an_order_that_overtakes_its_connection_is_taken_when_it_comes(shop: Shop) -> None:
    await shop.connect("ended", version=2)
    body = json.dumps(ORDER).encode()
    message = Message("m-1", "orders.submitted", "application/json", body, user_id=REFS[RETAILER])
    orders = [order for order in order_decoder(trust_seller_id=False)(message) if isinstance(order, ReceivedOrder)]
    with pytest.raises(NotConnectedError, match="neither company 2's own"):
        async with shop.database.transaction() as session:
            await accept_received(session, orders)
    await shop.connect("active", version=3)
    async with shop.database.transaction() as session:
        await accept_received(session, orders)
    assert await stored(shop) == [(RETAILER, "R-1", "amqp")]


async def test_another_order_under_a_used_reference_is_set_aside(shop: Shop) -> None:
    await shop.submit(ORDER)
    await shop.submit(order_of("R-1", quantity=3))
    (order_id,) = [row.order_id for row in await shop.rows("select order_id from orders")]
    (reason,) = await shop.dead_letters()
    assert reason == (
        f"order 'R-1' of company 2: external_ref: this reference belongs to order {order_id}, which says "
        "something else: send exactly the same again, or use a new reference"
    )
    assert len(await shop.told()) == 1


async def test_of_two_orders_under_one_reference_in_one_batch_the_first_stands(shop: Shop) -> None:
    await shop.submit([event(order_of("R-1", quantity=number), f"e-{number}") for number in (7, 8)], BATCH)
    assert [row.quantity for row in await shop.rows("select quantity from order_lines")] == [7]
    (reason,) = await shop.dead_letters()
    assert "external_ref: this reference belongs to order" in reason


@pytest.mark.parametrize(
    ("body", "content_type", "sender", "reason"),
    [
        (b"R-1;102", "application/json", "retailer-a", "the body is not JSON: expected value at line 1 column 1"),
        (ORDER, "text/csv", "retailer-a", "content type 'text/csv' is none of application/json, "),
        (
            event() | {"type": "com.shop.order"},
            SINGLE,
            "retailer-a",
            "the CloudEvent (e-1) is of type 'com.shop.order'",
        ),
        (order_of("R-1", quantity=-1), "application/json", "retailer-a", "lines[0].quantity: Input should be greater"),
        ({"lines": [SMALL]}, "application/json", "retailer-a", "external_ref: Field required"),
        (ORDER | {"seller_id": RETAILER}, "application/json", None, "nobody vouches for its sender: publish with"),
    ],
    ids=["no JSON", "content type", "event type", "negative", "no reference", "no sender"],
)
async def test_what_is_no_order_is_set_aside_with_the_reason(
    shop: Shop, body: object, content_type: str, sender: str | None, reason: str
) -> None:
    await shop.submit(body, content_type, sender=sender)
    (found,) = await shop.dead_letters()
    assert found.startswith(reason)
    assert await stored(shop) == []


async def test_a_sender_sells_as_itself_only(shop: Shop) -> None:
    await shop.submit(ORDER | {"seller_id": RETAILER})
    await shop.submit(order_of("R-2") | {"seller_id": SUPPLIER})
    assert await stored(shop) == [(RETAILER, "R-1", "amqp")]
    (reason,) = await shop.dead_letters()
    assert reason == (
        "order 'R-2': seller_id: AMQP user 'retailer-a' may only sell as company 2, not as 1: leave seller_id out"
    )


async def test_a_sender_nobody_knows_is_set_aside_after_some_tries(shop: Shop) -> None:
    await shop.submit(ORDER, sender="late")
    (reason,) = await shop.dead_letters()
    assert reason.startswith(
        "UnknownSenderError: order 'R-1': user_id: its sender, AMQP user 'late', is neither a publisher of a company"
    )


async def test_a_sender_whose_company_arrives_a_little_later_is_served(shop: Shop) -> None:
    body = json.dumps(order_of("R-1", product_id=5000)).encode()
    message = Message("m-1", "orders.submitted", "application/json", body, user_id="late")
    orders = [order for order in order_decoder(trust_seller_id=False)(message) if isinstance(order, ReceivedOrder)]
    with pytest.raises(UnknownSenderError):
        async with shop.database.transaction() as session:
            await accept_received(session, orders)
    await shop.add_company(5, "late")
    async with shop.database.transaction() as session:
        await accept_received(session, orders)
    assert await stored(shop) == [(5, "R-1", "amqp")]


async def test_a_deployment_may_believe_the_seller_in_the_body(database_dsn: str) -> None:
    async with opened(database_dsn, intake_trust_seller_id=True) as shop:
        await shop.submit(ORDER | {"seller_id": RETAILER}, sender=None)
        await shop.submit(order_of("R-2"), sender=None)
        await shop.submit(order_of("R-3") | {"seller_id": 77}, sender=None)
        await shop.submit(order_of("R-4") | {"seller_id": RETAILER}, sender=REFS[SUPPLIER])
        assert await stored(shop) == [(RETAILER, "R-1", "amqp")]
        nameless, unknown, foreign = await shop.dead_letters()
    assert nameless == "order 'R-2': seller_id: nobody vouches for the sender, so the body must name it"
    assert unknown.startswith("UnknownCompanyError: no company 77 is known to orders")
    assert "AMQP user 'supplier-a' may only sell as company 1, not as 2" in foreign
