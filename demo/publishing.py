"""Orders as an order system publishes them to RabbitMQ: as plain JSON, as CloudEvents, or in batches of these."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aio_pika
from aio_pika.exceptions import AMQPError
from rich.progress import Progress

from demo.concurrently import concurrently
from demo.options import Form, OrdersBroker
from demo.plan import Message
from demo.replay import IN_FLIGHT, Part, order_body

INTAKE_EXCHANGE, ROUTING_KEY = "basestock.intake", "orders.submitted"
ORDERS_PER_BATCH = 50


async def publish_orders(
    broker: OrdersBroker, orders: Sequence[Message], parts: Mapping[str, Part], progress: Progress
) -> None:
    """Publish the orders, many in flight; returns when the broker has confirmed each message.

    Raises `RuntimeError` (a sentence for people) when the broker cannot be reached, refuses a message or has no queue
    for it.
    """
    task = progress.add_task(f"Publish orders ({broker.form})", total=len(orders))
    messages = list(_messages(broker, orders, parts))
    try:
        async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(INTAKE_EXCHANGE)

            async def publish(message: tuple[aio_pika.Message, int]) -> None:
                await exchange.publish(message[0], ROUTING_KEY)
                progress.advance(task, message[1])

            await concurrently(messages, publish, IN_FLIGHT)
    except (AMQPError, OSError) as error:
        message = f"Orders cannot be published at {broker.host} as {broker.user!r}: {error or type(error).__name__}"
        raise RuntimeError(message) from error


def _messages(
    broker: OrdersBroker, orders: Sequence[Message], parts: Mapping[str, Part]
) -> Iterator[tuple[aio_pika.Message, int]]:
    """Each message, and how many orders it has."""
    if broker.form is Form.BATCHES:
        for start in range(0, len(orders), ORDERS_PER_BATCH):
            some = orders[start : start + ORDERS_PER_BATCH]
            events = [_event(order, parts) for order in some]
            yield _message(broker, events, "application/cloudevents-batch+json"), len(some)
        return
    for order in orders:
        if broker.form is Form.CLOUDEVENTS:
            yield _message(broker, _event(order, parts), "application/cloudevents+json"), 1
        else:
            yield _message(broker, order_body(order, parts), "application/json", order.reference), 1


def _event(order: Message, parts: Mapping[str, Part]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": order.reference,
        "source": "/demo",
        "type": "basestock.orders.order_submitted.v1",
        "data": order_body(order, parts),
    }


def _message(
    broker: OrdersBroker, content: object, content_type: str, message_id: str | None = None
) -> aio_pika.Message:
    return aio_pika.Message(
        json.dumps(content).encode(),
        content_type=content_type,
        message_id=message_id,
        user_id=broker.user,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
