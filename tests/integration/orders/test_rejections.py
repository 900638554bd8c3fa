"""Order messages that are refused: told by an event and a reply, kept as dead letters, and redriven over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from shared.events import BATCH, SINGLE, decode, types_by_wire_name
from shared.events.orders import OrderRejected
from shared.messaging.bus import Message, Queue
from tests.integration.orders.shop import ORDER, REFS, RETAILER, SMALL, STRANGER, SUPPLIER, Shop
from tests.integration.orders.test_orders_from_the_queue import event, order_of, stored

REPLIES = f"replies.{REFS[RETAILER]}"
PLAIN = "application/json"
NOT_MINE = {"product_id": 900, "variant_sku": None}


@asynccontextmanager
async def heard(shop: Shop, queue: Queue) -> AsyncIterator[list[Message]]:
    """What arrives in this queue, while it lasts."""
    await shop.bus.declare([queue])
    messages: list[Message] = []

    async def hear() -> None:
        async with shop.bus.consume(queue.name, prefetch=100) as inflow:
            while True:
                deliveries = await inflow.batch(100, 0)
                messages.extend(delivery.message for delivery in deliveries)
                await inflow.ack(deliveries)

    hearing = asyncio.create_task(hear())
    try:
        yield messages
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


def rejections_of(messages: list[Message]) -> list[OrderRejected]:
    known = types_by_wire_name([OrderRejected])
    found = [one for message in messages for one in decode(message.content_type, message.body, known)]
    return [one for one in found if isinstance(one, OrderRejected)]


REJECTED = Queue("test.rejected", topics=("orders.order_rejected",))


async def ids_of(shop: Shop) -> list[UUID]:
    return [row.dead_letter_id for row in await shop.rows("select dead_letter_id from dead_letters order by 1")]


@pytest.mark.parametrize(
    ("body", "content_type", "sender", "seller", "ref", "errors"),
    [
        (b"R-1;102", PLAIN, "retailer-a", RETAILER, None, {"message": "the body is not JSON"}),
        (ORDER, "text/csv", "retailer-a", RETAILER, None, {"message": "content type 'text/csv'"}),
        (order_of("R-1", quantity=-1), PLAIN, "retailer-a", RETAILER, "R-1", {"lines[0].quantity": "Input should be"}),
        ({"lines": [SMALL]}, PLAIN, "retailer-a", RETAILER, None, {"external_ref": "Field required"}),
        (ORDER, PLAIN, "nobody", None, "R-1", {"user_id": "its sender, AMQP user 'nobody', is neither"}),
        (ORDER, PLAIN, None, None, None, {"message": "nobody vouches for its sender"}),
        (ORDER | {"seller_id": 1}, PLAIN, "retailer-a", RETAILER, "R-1", {"seller_id": "may only sell as company 2"}),
        (order_of("R-1", **NOT_MINE), PLAIN, "retailer-a", RETAILER, "R-1", {"lines[0].product_id": "product 900 is"}),
        (order_of("OLD", quantity=3), PLAIN, "retailer-a", RETAILER, "OLD", {"external_ref": "this reference belongs"}),
    ],
    ids=["no JSON", "content type", "negative", "no ref", "unknown", "no sender", "as another", "not mine", "conflict"],
)
async def test_every_refusal_is_told_once_with_its_fields(  # noqa: PLR0913, PLR0917 - as parametrize hands them over
    shop: Shop,
    body: object,
    content_type: str,
    sender: str | None,
    seller: int | None,
    ref: str | None,
    errors: dict[str, str],
) -> None:
    await shop.submit(order_of("OLD"))
    async with heard(shop, REJECTED) as messages:
        for _ in range(2):  # a redelivery is the same dead letter
            await shop.submit(body, content_type, sender=sender, message_id="m-1")
        await shop.told()
        (rejected,) = rejections_of(messages)
    assert [rejected.rejection_id] == await ids_of(shop)
    assert (rejected.seller_id, rejected.external_ref, rejected.source) == (seller, ref, "amqp")
    assert [error.field for error in rejected.errors] == list(errors)
    assert all(
        error.detail.startswith(words) or words in error.detail
        for error, words in zip(rejected.errors, errors.values(), strict=True)
    )
    assert [known for _, known, _ in await stored(shop)] == ["OLD"]


async def test_of_a_batch_the_good_go_in_and_the_rejection_names_the_others(shop: Shop) -> None:
    bodies = [order_of("R-0"), order_of("R-1", quantity=0), order_of("R-2", **NOT_MINE), order_of("R-3")]
    batch = [*(event(body, f"e-{number}") for number, body in enumerate(bodies)), 7]
    async with heard(shop, REJECTED) as messages, heard(shop, Queue(REPLIES, topics=())) as replies:
        await shop.submit(batch, BATCH, reply_to=REPLIES, correlation_id="c-1")
        await shop.told()
        (rejected,) = rejections_of(messages)
        answers = sorted((json.loads(message.body) for message in replies), key=lambda answer: answer["row"])
    assert [ref for _, ref, _ in await stored(shop)] == ["R-0", "R-3"]
    assert rejected.external_ref is None
    assert [error.field for error in rejected.errors] == [
        "[1].lines[0].quantity",
        "[2].lines[0].product_id",
        "[4].message",
    ]
    assert {message.correlation_id for message in replies} == {"c-1"}
    assert [(one["row"], one["external_ref"], one["result"]) for one in answers] == [
        (0, "R-0", "created"),
        (1, "R-1", "refused"),
        (2, "R-2", "refused"),
        (3, "R-3", "created"),
        (4, None, "refused"),
    ]
    assert [[error["field"] for error in one["errors"]] for one in answers] == [
        [],
        ["lines[0].quantity"],
        ["lines[0].product_id"],
        [],
        ["message"],
    ]
    assert {one["rejection_id"] for one in answers} == {None, str(rejected.rejection_id)}


async def test_whoever_asks_is_answered_once_for_each_time_it_asks(shop: Shop) -> None:
    async with heard(shop, Queue(REPLIES, topics=())) as replies:
        for number in ("1", "1", "2"):
            await shop.submit(event(), SINGLE, message_id=number, reply_to=REPLIES, correlation_id=number)
        for number in ("3", "3", "4"):
            await shop.submit(b"{", PLAIN, message_id="bad", reply_to=REPLIES, correlation_id=number)
        await shop.submit(order_of("R-9"))
        await shop.told()
        answers = [(message.correlation_id, json.loads(message.body)["result"]) for message in replies]
    assert sorted(answers, key=str) == [("1", "created"), ("2", "existing"), ("3", "refused"), ("4", "refused")]
    assert len(await ids_of(shop)) == 2


async def test_an_answer_into_another_queue_is_not_written(shop: Shop) -> None:
    async with heard(shop, Queue("victim", topics=())) as victims:
        for reply_to in ("victim", "inventory.orders", "replies.retailer-b"):
            await shop.submit(ORDER, reply_to=reply_to)
            await shop.submit(b"{", reply_to=reply_to)
        assert [type(one).__name__ for one in await shop.told()] == ["OrderCreated"]
        assert victims == []


class TestPublishers:
    async def test_a_publisher_sends_for_its_company(self, shop: Shop) -> None:
        async with shop.client(None) as admin:
            body = {"amqp_user": "till-7", "company_id": RETAILER}
            first = await admin.post("/v1/publishers", body)
            assert (first.status, (await admin.post("/v1/publishers", body)).status) == (201, 200)
            await shop.submit(ORDER, sender="till-7")
            assert await stored(shop) == [(RETAILER, "R-1", "amqp")]
            assert (await admin.get("/v1/publishers")).body["items"] == [first.body]
            assert (await admin.get("/v1/publishers", params={"company_id": SUPPLIER})).body["items"] == []

    async def test_one_that_is_removed_is_nobodys_whatever_its_name(self, shop: Shop) -> None:
        async with shop.client(None) as admin:
            await admin.post("/v1/publishers", {"amqp_user": "late", "company_id": RETAILER})
            await shop.add_company(5, "late")  # a company whose ref was taken for a publisher of another
            assert (await admin.delete("/v1/publishers/late")).status == 204
            assert (await admin.delete("/v1/publishers/late")).status == 404
            await shop.submit(ORDER, sender="late")
            (reason,) = await shop.dead_letters()
            assert "AMQP user 'late', is neither a publisher" in reason
            assert await stored(shop) == []
            again = await admin.post("/v1/publishers", {"amqp_user": "late", "company_id": RETAILER})
            assert again.status == 200
            await shop.submit(order_of("R-2"), sender="late")
            assert await stored(shop) == [(RETAILER, "R-2", "amqp")]

    async def test_a_name_stays_with_its_company(self, shop: Shop) -> None:
        async with shop.client(None) as admin:
            await admin.post("/v1/publishers", {"amqp_user": "till", "company_id": RETAILER})
            taken = await admin.post("/v1/publishers", {"amqp_user": "till", "company_id": SUPPLIER})
            await admin.delete("/v1/publishers/till")
            still = await admin.post("/v1/publishers", {"amqp_user": "till", "company_id": SUPPLIER})
            ref = await admin.post("/v1/publishers", {"amqp_user": REFS[STRANGER], "company_id": SUPPLIER})
            assert [(one.status, one.body["code"]) for one in (taken, still, ref)] == [(409, "name_taken")] * 3
            own = await admin.post("/v1/publishers", {"amqp_user": REFS[STRANGER], "company_id": STRANGER})
            unknown = await admin.post("/v1/publishers", {"amqp_user": "till-2", "company_id": 77})
            assert (own.status, unknown.status, unknown.body["errors"][0]["field"]) == (201, 422, "company_id")

    async def test_only_the_platform_makes_them(self, shop: Shop) -> None:
        async with shop.client() as retailer, shop.client(None) as admin:
            await admin.post("/v1/publishers", {"amqp_user": "till-9", "company_id": RETAILER})
            await admin.post("/v1/publishers", {"amqp_user": "till-8", "company_id": SUPPLIER})
            made = await retailer.post("/v1/publishers", {"amqp_user": "till", "company_id": RETAILER})
            listed = await retailer.get("/v1/publishers")
            removed = await retailer.delete("/v1/publishers/till")
        assert [one.status for one in (made, listed, removed)] == [403, 200, 403]
        assert [one["amqp_user"] for one in listed.body["items"]] == ["till-9"]


class TestDeadLetters:
    async def test_a_company_sees_its_own_and_redrives_it_when_the_cause_is_gone(self, shop: Shop) -> None:
        await shop.connect("ended", version=2)
        await shop.submit(ORDER, message_id="m-1")
        await shop.submit(b"{", sender=REFS[STRANGER])
        async with shop.client() as retailer, shop.client(None) as admin, shop.client(STRANGER) as stranger:
            own = (await retailer.get("/v1/dead-letters")).body["items"]
            assert [letter["user_id"] for letter in own] == ["retailer-a"]
            letter = own[0]
            assert (letter["queue"], letter["user_id"], letter["message_id"]) == (
                "orders.submitted",
                "retailer-a",
                "m-1",
            )
            whole = (await retailer.get(f"/v1/dead-letters/{letter['id']}")).body
            assert (json.loads(whole["body"]), whole["body_encoding"]) == (ORDER, "text")
            assert len((await admin.get("/v1/dead-letters")).body["items"]) == 2
            path = f"/v1/dead-letters/{letter['id']}"
            assert (await stranger.get(path)).status == 404
            assert (await stranger.post(f"{path}/redrive", {})).status == 404
            assert (await stranger.delete(path)).status == 404
            assert (await retailer.get("/v1/dead-letters/orders")).status == 403

            early = await retailer.post(f"{path}/redrive", {})
            assert (early.status, early.body["code"]) == (409, "failed_again")
            assert "product 102 is neither company 2's own" in early.body["detail"]
            await shop.connect("active", version=3)
            assert (await retailer.post(f"{path}/redrive", {})).status == 204
            assert await stored(shop) == [(RETAILER, "R-1", "amqp")]
            assert (await retailer.post(f"{path}/redrive", {})).status == 404
            assert (await retailer.get("/v1/dead-letters")).body == {"items": [], "next_cursor": None}

    async def test_what_is_refused_again_stays_with_its_new_reason(self, shop: Shop) -> None:
        await shop.submit(order_of("R-1", **NOT_MINE), message_id="m-1")
        (letter,) = await ids_of(shop)
        async with shop.client() as retailer:
            await retailer.post("/v1/orders", ORDER)
            answer = await retailer.post(f"/v1/dead-letters/{letter}/redrive", {})
            assert (answer.status, answer.body["code"]) == (422, "refused_again")
            assert "external_ref: this reference belongs to order" in answer.body["detail"]
            assert await shop.dead_letters() == [answer.body["detail"]]
            assert (await retailer.delete(f"/v1/dead-letters/{letter}")).status == 204
            assert await shop.dead_letters() == []
            assert (await retailer.delete(f"/v1/dead-letters/{letter}")).status == 404

    async def test_of_two_that_redrive_at_once_one_has_an_effect(self, shop: Shop) -> None:
        await shop.connect("ended", version=2)
        await shop.submit(ORDER)
        await shop.connect("active", version=3)
        (letter,) = await ids_of(shop)
        async with shop.client() as one, shop.client() as other:
            path = f"/v1/dead-letters/{letter}/redrive"
            answers = await asyncio.gather(*(client.post(path, {}) for client in (one, other)))
        assert sorted(answer.status for answer in answers) == [204, 404]
        assert len(await shop.told()) == 1

    async def test_the_platform_sees_all_of_a_service_page_by_page(self, shop: Shop) -> None:
        for number in range(3):
            await shop.submit(bytes([0xFF, number]))
        async with shop.client(None) as admin:
            first = (await admin.get("/v1/dead-letters/orders", params={"limit": "2"})).body
            rest = (await admin.get("/v1/dead-letters/orders", params={"cursor": first["next_cursor"]})).body
            ids = [item["id"] for item in [*first["items"], *rest["items"]]]
            assert ids == [str(id_) for id_ in reversed(await ids_of(shop))]
            newest = (await admin.get(f"/v1/dead-letters/orders/{ids[0]}")).body
            assert (newest["body"], newest["body_encoding"], newest["body_bytes"]) == ("/wI=", "base64", 2)
            assert (await admin.get(f"/v1/dead-letters/orders/{uuid4()}")).status == 404

    async def test_the_answer_comes_late_when_it_is_redriven(self, shop: Shop) -> None:
        await shop.connect("ended", version=2)
        async with heard(shop, Queue(REPLIES, topics=())) as replies, shop.client() as retailer:
            await shop.submit(ORDER, reply_to=REPLIES, correlation_id="1")
            await shop.connect("active", version=3)
            (letter,) = await ids_of(shop)
            assert (await retailer.post(f"/v1/dead-letters/{letter}/redrive", {})).status == 204
            await shop.told()
            assert [json.loads(message.body)["result"] for message in replies] == ["refused", "created"]
