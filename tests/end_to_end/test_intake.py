"""Order systems publish to RabbitMQ with a plain client; good messages lower stock, bad ones are set aside in words."""

import json
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest

from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import System, eventually


async def send(broker: Broker, body: bytes, content_type: str, **properties: Any) -> None:  # noqa: ANN401 - AMQP's
    """What an order system does: connect as its own user and publish to the intake exchange."""
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange("basestock.intake")
        properties.setdefault("user_id", urlsplit(broker.url).username)
        message = aio_pika.Message(body, content_type=content_type, **properties)
        await exchange.publish(message, routing_key="orders.submitted")


def order(ref: str, quantity: int = 1) -> dict[str, object]:
    return {"external_ref": ref, "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": quantity}]}


def cloudevent(event_id: str, data: dict[str, object]) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/shop/eu",
        "type": "basestock.orders.order_submitted.v1",
        "data": data,
    }


async def available_becomes(system: System, product_id: int, wanted: int) -> None:
    async def it_is() -> bool:
        return await system.available(product_id) == wanted

    await eventually(f"product {product_id} has {wanted} available", it_is)


async def test_plain_json_cloudevent_and_batch_lower_stock(rabbit_system: System, broker: Broker) -> None:
    system = rabbit_system
    await system.set_on_hand(100, 10)
    await send(broker, json.dumps(order("A-1")).encode(), "application/json", message_id="m-1")
    await available_becomes(system, 100, 9)
    single = cloudevent("e-2", order("A-2"))
    await send(broker, json.dumps(single).encode(), "application/cloudevents+json")
    await available_becomes(system, 100, 8)
    batch = [cloudevent("e-3", order("A-3")), cloudevent("e-4", order("A-4", quantity=2))]
    await send(broker, json.dumps(batch).encode(), "application/cloudevents-batch+json")
    await available_becomes(system, 100, 5)
    listed = (await system.retailer.get("/v1/orders")).body["items"]
    assert {(item["external_ref"], item["source"]) for item in listed} == {
        (ref, "amqp") for ref in ("A-1", "A-2", "A-3", "A-4")
    }


async def test_a_redelivered_message_is_one_order(rabbit_system: System, broker: Broker) -> None:
    system = rabbit_system
    await system.set_on_hand(100, 10)
    body = json.dumps(order("A-1", quantity=3)).encode()
    for message_id in ("m-1", "m-1", "m-2"):
        await send(broker, body, "application/json", message_id=message_id)
    await send(broker, json.dumps(order("A-2")).encode(), "application/json", message_id="m-3")
    await available_becomes(system, 100, 6)


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"{not json", "application/json", "JSON"),
        (json.dumps(order("A-1", quantity=-2)).encode(), "application/json", "quantity"),
        (json.dumps({"lines": []}).encode(), "application/json", "external_ref"),
        (json.dumps(cloudevent("e", {"lines": []})).encode(), "application/cloudevents+json", "external_ref"),
        (json.dumps(order("A-1")).encode(), "text/csv", "text/csv"),
    ],
)
async def test_a_bad_message_is_dead_lettered_and_the_next_goes_through(
    rabbit_system: System, broker: Broker, body: bytes, content_type: str, reason: str
) -> None:
    system = rabbit_system
    await send(broker, body, content_type, message_id="bad")
    await send(broker, json.dumps(order("A-good", quantity=4)).encode(), "application/json", message_id="good")
    await available_becomes(system, 100, -4)
    dead = await system.rows("orders", "select queue, body, reason from dead_letters")
    assert [(row.queue, row.body) for row in dead] == [("orders.submitted", body)]
    assert reason in dead[0].reason


async def test_a_message_without_a_validated_sender_is_refused(rabbit_system: System, broker: Broker) -> None:
    body = json.dumps(order("A-1") | {"seller_id": 2}).encode()
    await send(broker, body, "application/json", message_id="m-1", user_id=None)

    async def refused() -> bool:
        return bool(await rabbit_system.rows("orders", "select * from dead_letters"))

    await eventually("the message is dead-lettered", refused)
    (dead,) = await rabbit_system.rows("orders", "select reason from dead_letters")
    assert "user_id" in dead.reason
    assert (await rabbit_system.retailer.get("/v1/orders")).body["items"] == []
