"""Order messages from outside: what they become, and the words in which they are refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.orders.domain.rejections import (
    DIRECT_REPLY_TO,
    all_errors,
    in_words,
    queue_for_replies,
    refused_order,
)
from services.orders.order_messages import ReceivedOrder, UnreadableOrder, order_decoder
from shared.events import BATCH, SINGLE, EventError
from shared.messaging.bus import Message
from shared.messaging.dead_letters import identity

PLAIN = "application/json"
ORDER: dict[str, Any] = {
    "external_ref": "R-1",
    "placed_at": "2026-01-31T13:00:00+01:00",
    "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 2}],
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(order: object = ORDER, event_id: str = "e-1", **more: object) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/shop",
        "type": "basestock.orders.order_submitted.v1",
        "data": order,
        **more,
    }


def message(
    body: object, content_type: str = PLAIN, *, message_id: str = "m-1", sender: str | None = "shop"
) -> Message:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(message_id, "orders.submitted", content_type, sent, {"traceparent": TRACE}, user_id=sender)


def decoded(sent: Message, *, trust: bool = False) -> list[ReceivedOrder]:
    found = order_decoder(trust_seller_id=trust)(sent)
    orders = [order for order in found if isinstance(order, ReceivedOrder)]
    assert len(orders) == len(found)
    return orders


def refusal(sent: Message, *, trust: bool = False) -> str:
    with pytest.raises(EventError) as caught:
        order_decoder(trust_seller_id=trust)(sent)
    return str(caught.value)


def with_line(**changes: object) -> dict[str, Any]:
    return {**ORDER, "lines": [{**ORDER["lines"][0], **changes}]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (ORDER, PLAIN),
        (ORDER, "Application/JSON; charset=utf-8"),
        (event(), SINGLE),
        ([event()], BATCH),
    ],
    ids=["plain", "plain with charset", "CloudEvent", "batch"],
)
def test_an_order_may_come_in_three_formats(body: object, content_type: str) -> None:
    (order,) = decoded(message(body, content_type))
    assert order.external_ref == "R-1"
    assert order.placed_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert [line.model_dump() for line in order.lines] == [
        {"product_id": 102, "variant_sku": "T01-S", "quantity": 2, "location": None}
    ]
    assert order.arrival.sender == "shop"
    assert order.traceparent == TRACE


def test_a_cloudevents_own_trace_goes_on() -> None:
    own = TRACE.replace("0af", "1bf")
    assert [order.traceparent for order in decoded(message(event(traceparent=own), SINGLE))] == [own]


def test_a_batch_may_hold_many_orders() -> None:
    orders = [event({**ORDER, "external_ref": f"R-{number}"}, f"e-{number}") for number in range(3)]
    assert [order.external_ref for order in decoded(message(orders, BATCH))] == ["R-0", "R-1", "R-2"]


def test_what_the_body_says_of_its_source_does_not_count() -> None:
    (order,) = decoded(message({**ORDER, "source": "pos", "sender": "boss"}))
    assert order.submitted(2, "amqp").source == "amqp"
    assert order.arrival.sender == "shop"


@pytest.mark.parametrize(
    ("body", "content_type"), [(ORDER, PLAIN), (event(), SINGLE), ([event()], BATCH)], ids=["plain", "single", "batch"]
)
def test_a_redelivered_message_has_the_same_event_id(body: object, content_type: str) -> None:
    (first,), (second,) = (decoded(message(body, content_type)) for _ in range(2))
    assert first.event_id == second.event_id != ""


@pytest.mark.parametrize(
    "other",
    [
        message(event(), SINGLE, sender="other"),
        message(event(event_id="e-2"), SINGLE),
        message(event(source="/till"), SINGLE),
        message(event({**ORDER, "external_ref": "R-2"}), SINGLE),
    ],
    ids=["sender", "id", "source", "an id used anew"],
)
def test_different_cloudevents_have_different_event_ids(other: Message) -> None:
    (first,), (second,) = decoded(message(event(), SINGLE)), decoded(other)
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    "other",
    [
        message({**ORDER, "external_ref": "R-2"}, message_id=""),
        message(with_line(quantity=3), message_id=""),
        message(ORDER, message_id="", sender="other"),
        message(ORDER, message_id="m-2"),
    ],
    ids=["reference", "content", "sender", "message id"],
)
def test_different_plain_messages_have_different_event_ids(other: Message) -> None:
    (first,), (second,) = decoded(message(ORDER, message_id="")), decoded(other)
    assert first.event_id != second.event_id


def test_a_message_nobody_vouches_for_is_refused() -> None:
    assert refusal(message({**ORDER, "seller_id": 2}, sender=None)) == (
        "nobody vouches for its sender: publish with the AMQP property user_id set to your own user name"
    )


def test_a_deployment_may_believe_the_body_instead() -> None:
    (order,) = decoded(message({**ORDER, "seller_id": 2}, sender=None), trust=True)
    assert (order.arrival.sender, order.seller_id) == (None, 2)


NAIVE, STRANGE = "2026-01-31T12:00:00", "0001-01-01T00:00:00+14:00"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "body: Input should be a valid dictionary or instance of ReceivedOrder"),
        ({"lines": ORDER["lines"]}, "external_ref: Field required"),
        ({**ORDER, "external_ref": ""}, "external_ref: String should have at least 1 character"),
        ({**ORDER, "external_ref": "R\x00"}, "external_ref: Value error, must not contain the character U+0000"),
        ({**ORDER, "placed_at": NAIVE}, "placed_at: Value error, needs a time zone, like 2026-01-31T12:00:00Z"),
        ({**ORDER, "placed_at": STRANGE}, "placed_at: Value error, is out of range"),
        ({"external_ref": "R-1"}, "lines: Field required"),
        ({**ORDER, "lines": []}, "lines: Value error, must hold 1 to 1000 lines, not 0"),
        ({**ORDER, "lines": ORDER["lines"] * 1001}, "lines: Value error, must hold 1 to 1000 lines, not 1001"),
        (with_line(quantity=-2), "lines[0].quantity: Input should be greater than 0"),
        (with_line(quantity=10**6 + 1), "lines[0].quantity: Input should be less than or equal to 1000000"),
        (with_line(quantity=1.5), "lines[0].quantity: Input should be a valid integer"),
        (with_line(quantity=1.0), "lines[0].quantity: Input should be a valid integer"),
        (with_line(quantity=True), "lines[0].quantity: Input should be a valid integer"),
        (with_line(quantity="3"), "lines[0].quantity: Input should be a valid integer"),
        (with_line(product_id="102"), "lines[0].product_id: Input should be a valid integer"),
        ({**ORDER, "seller_id": True}, "seller_id: Input should be a valid integer"),
        ({**ORDER, "placed_at": "1899-12-31T23:59:59Z"}, "placed_at: Value error, must not be before 1900"),
        (with_line(product_id=2**63), "lines[0].product_id: Input should be less than 9223372036854775808"),
        (with_line(variant_sku="T\x00"), "lines[0].variant_sku: Value error, must not contain the character U+0000"),
    ],
)
def test_what_is_wrong_with_an_order_is_said_by_field(body: object, reason: str) -> None:
    assert refusal(message(body)) == reason
    assert refusal(message(event(body), SINGLE)) == f"CloudEvent e-1: {reason}"


def test_all_that_is_wrong_with_a_batch_is_said_at_once() -> None:
    bad = [event(with_line(quantity=0), "e-1"), event({**ORDER, "external_ref": ""}, "e-3")]
    assert refusal(message(bad, BATCH)) == (
        "CloudEvent e-1: lines[0].quantity: Input should be greater than 0; "
        "CloudEvent e-3: external_ref: String should have at least 1 character"
    )


def test_beside_orders_what_is_none_is_known_by_its_place() -> None:
    sent = message([7, event(), event(with_line(quantity=0), "e-3")], BATCH)
    no_order, order, wrong = order_decoder(trust_seller_id=False)(sent)
    assert isinstance(order, ReceivedOrder)
    assert order.arrival.row == 1
    assert isinstance(no_order, UnreadableOrder)
    assert isinstance(wrong, UnreadableOrder)
    assert (no_order.refused.row, no_order.refused.external_ref) == (0, None)
    assert (wrong.refused.row, wrong.refused.external_ref) == (2, "R-1")
    assert in_words([no_order.refused, wrong.refused]) == (
        "event 0 of the batch must be a JSON object; CloudEvent e-3: lines[0].quantity: Input should be greater than 0"
    )
    assert all_errors([no_order.refused, wrong.refused], in_batch=True)[1].field == "[2].lines[0].quantity"
    assert len({no_order.event_id, order.event_id, wrong.event_id, ""}) == 4


def test_who_asks_again_has_sent_another_message() -> None:
    first, again, other = [
        replace(message(ORDER), reply_to=f"{DIRECT_REPLY_TO}abc", correlation_id=number) for number in ("1", "1", "2")
    ]
    ids = [decoded(one)[0].event_id for one in (first, again, other, message(ORDER))]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert identity(first) == identity(again) != identity(other)


@pytest.mark.parametrize(
    ("reply_to", "correlation_id", "queue"),
    [
        (f"{DIRECT_REPLY_TO}g1h2", "7", f"{DIRECT_REPLY_TO}g1h2"),
        ("replies.shop", None, "replies.shop"),
        (None, "7", None),
        ("replies.shop", "7" * 256, None),
        (f"{DIRECT_REPLY_TO}{'x' * 256}", None, None),
        ("inventory.orders", None, None),
        ("orders.submitted", None, None),
        ("replies.other", None, None),
        ("replies.shop.x", None, None),
        ("", None, None),
    ],
)
def test_answers_go_nowhere_but_to_the_sender(
    reply_to: str | None, correlation_id: str | None, queue: str | None
) -> None:
    assert queue_for_replies("shop", reply_to, correlation_id) == queue
    assert queue_for_replies(None, "replies.None", None) is None


def test_what_is_told_of_a_refusal_is_bounded() -> None:
    order = refused_order(0, "R" * 9999, [("f" * 9999, "d" * 9999)] * 1000, "l" * 9999)
    errors = all_errors([order] * 1000, in_batch=True)
    assert len(errors) == 101
    assert len(str(errors)) < 150_000
    assert len(order.external_ref or "") == 200
    assert len(in_words([order])) < 25 * 2000


def test_a_long_list_of_problems_is_cut() -> None:
    lines = [{"product_id": 102, "quantity": 0}] * 30
    reason = refusal(message({**ORDER, "lines": lines}))
    assert "lines[19].quantity" in reason
    assert reason.endswith("; and 10 more")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (message(ORDER, "text/plain"), "content type 'text/plain' is none of application/json, "),
        (message(b'{"external_ref": '), "the body is not JSON: EOF while parsing a value at line 1 column 17"),
        (message(b"\xff\xfe"), "the body is not JSON: expected value at line 1 column 1"),
        (message(event(), BATCH), "a CloudEvents batch must be a JSON array with at least one event"),
        (message([], BATCH), "a CloudEvents batch must be a JSON array with at least one event"),
        (message([7], BATCH), "event 0 of the batch must be a JSON object"),
        (message([event()], SINGLE), "the CloudEvent must be a JSON object"),
        (message(event(event_id=""), SINGLE), "the CloudEvent has no id"),
        (message(event(type="order"), SINGLE), "the CloudEvent (e-1) is of type 'order'; only "),
    ],
)
def test_what_is_no_order_message_is_refused(sent: Message, reason: str) -> None:
    assert refusal(sent).startswith(reason)
