"""Send orders to Basestock over RabbitMQ: one JSON order a line on standard input.

    BROKER_URL=amqp://user:password@broker:5672/ python order_system.py [plain|event|batch] < orders.ndjson

Ends with 0 once RabbitMQ has confirmed every message. After any other end run it again: what has arrived counts once.
"""

import asyncio
import json
import os
import sys
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.exceptions import AMQPError

BROKER_URL = os.environ["BROKER_URL"]
USER = unquote(urlsplit(BROKER_URL).username or "guest")  # RabbitMQ takes no other name for user_id
SOURCE = f"/order-systems/{USER}"
ATTEMPTS = 5
CONFIRM_SECONDS = 10


def event(order: dict) -> dict:
    """The order as a CloudEvent; its id is the same whenever this order is sent."""
    return {
        "specversion": "1.0",
        "id": f"order {order['external_ref']}",
        "source": SOURCE,
        "type": "basestock.orders.order_submitted.v1",
        "data": order,
    }


def messages(form: str, orders: list[dict]) -> list[aio_pika.Message]:
    """A message for each order, or in the form `batch` one for every hundred."""
    if form == "plain":
        bodies, content_type = orders, "application/json"
    elif form == "event":
        bodies, content_type = [event(order) for order in orders], "application/cloudevents+json"
    else:
        events = [event(order) for order in orders]
        bodies = [events[start : start + 100] for start in range(0, len(events), 100)]
        content_type = "application/cloudevents-batch+json"
    return [
        aio_pika.Message(
            json.dumps(body).encode(),
            content_type=content_type,
            message_id=f"order {body['external_ref']}" if form == "plain" else None,
            user_id=USER,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        for body in bodies
    ]


async def publish(waiting: list[aio_pika.Message]) -> None:
    """Publish one by one, taking off the list what is confirmed."""
    async with await aio_pika.connect(BROKER_URL) as connection:
        # A message that no queue takes is an error here, not a silence.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange("basestock.intake", ensure=False)
        while waiting:
            await exchange.publish(waiting[0], "orders.submitted", mandatory=True, timeout=CONFIRM_SECONDS)
            waiting.pop(0)


async def main(form: str) -> None:
    """Send all, again where there was no confirm."""
    waiting = messages(form, [json.loads(line) for line in sys.stdin if line.strip()])
    for attempt in range(1, ATTEMPTS + 1):
        try:
            await publish(waiting)
        except (AMQPError, OSError, TimeoutError) as error:
            if attempt == ATTEMPTS:
                sys.exit(f"{len(waiting)} messages are not confirmed: {error!r}")
            await asyncio.sleep(2**attempt)
        else:
            return


asyncio.run(main(*(sys.argv[1:] or ["plain"])))
