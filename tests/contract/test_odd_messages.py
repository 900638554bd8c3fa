"""Messages whose AMQP properties make no sense reach their queue's consumer like any other, between good ones.

The bytes are written by hand here: no client library encodes them, and RabbitMQ hands them on as they are.
"""

import struct
from collections.abc import AsyncIterator
from datetime import datetime

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pamqp.commands import Basic

from shared.messaging.bus import Queue
from shared.messaging.rabbitmq import RabbitBus, tolerant
from shared.messaging.rabbitmq.connection import beneath
from shared.private_rabbitmq import RabbitNode
from tests.conftest import GivenBroker
from tests.contract.messages import DEADLINE_SECONDS, a_queue, ids, order, take

# Flags of the AMQP 0-9-1 properties, in the order in which their values follow.
CONTENT_TYPE, HEADERS, MESSAGE_ID, TIMESTAMP, USER_ID = 1 << 15, 1 << 13, 1 << 7, 1 << 6, 1 << 4


class HandWritten(Basic.Properties):
    """Properties that are these bytes."""

    def __init__(self, flags: int, values: bytes) -> None:
        super().__init__(message_id="aiormq makes one otherwise")
        self._bytes = struct.pack(">H", flags) + values

    def marshal(self) -> bytes:
        return self._bytes


def short(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def headers(*fields: bytes) -> bytes:
    return long(b"".join(fields))


def text_field(name: bytes, value: bytes) -> bytes:
    return short(name) + b"S" + long(value)


MICROSECONDS = struct.pack(">Q", 1_769_860_800_000_000)
NESTED_TABLES = b""
for _ in range(2000):
    NESTED_TABLES = b"\x01aF" + long(NESTED_TABLES)

ODD = {
    "a message id that is not UTF-8": HandWritten(MESSAGE_ID, short(b"q\xff")),
    "a content type that is not UTF-8": HandWritten(CONTENT_TYPE, short(b"\xff")),
    "a header's name that is not UTF-8": HandWritten(HEADERS, headers(text_field(b"\xff", b"x"))),
    "a header's value that is not UTF-8": HandWritten(HEADERS, headers(text_field(b"x", b"\xff"))),
    "a time in microseconds": HandWritten(TIMESTAMP, MICROSECONDS),
    "a header's time in microseconds": HandWritten(HEADERS, headers(short(b"at") + b"T" + MICROSECONDS)),
    "tables in tables in tables": HandWritten(HEADERS, headers(NESTED_TABLES)),
    "x-death that is a text": HandWritten(HEADERS, headers(text_field(b"x-death", b"foo"))),
    "x-death with another table": HandWritten(
        HEADERS, headers(short(b"x-death") + b"A" + long(b"F" + headers(text_field(b"a", b"1"))))
    ),
    "x-delivery-count that is a text": HandWritten(HEADERS, headers(text_field(b"x-delivery-count", b"foo"))),
}


@pytest.fixture
async def bus(broker: RabbitNode | GivenBroker) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(broker.url, publish_timeout_seconds=DEADLINE_SECONDS, heartbeat_seconds=10)
    yield bus
    await bus.close()


@pytest.fixture
async def stranger(broker: RabbitNode | GivenBroker) -> AsyncIterator[AbstractChannel]:
    """Somebody's channel with publisher confirms."""
    async with await aio_pika.connect(broker.url) as connection:
        yield await connection.channel()


@pytest.mark.parametrize("what", ODD)
async def test_an_odd_message_is_a_delivery_between_the_good_ones(
    bus: RabbitBus, stranger: AbstractChannel, what: str
) -> None:
    queue = a_queue("orders", "order_created")
    await bus.declare([queue])
    async with bus.consume(queue.name, prefetch=10) as inflow:
        await bus.publish(queue.exchange, [order(1)])
        raw = await beneath(stranger)
        await raw.basic_publish(b"odd", exchange=queue.exchange, routing_key="order_created", properties=ODD[what])
        await bus.publish(queue.exchange, [order(2)])
        deliveries = await take(inflow, 3)
        assert [delivery.message.body for delivery in deliveries] == [order(1).body, b"odd", order(2).body]
        assert {delivery.message.topic for delivery in deliveries} == {"order_created"}
        assert [delivery.earlier_deliveries for delivery in deliveries] == [0, 0, 0]
        await inflow.ack(deliveries)


async def test_an_odd_dead_letter_reaches_its_queue(bus: RabbitBus, stranger: AbstractChannel) -> None:
    queue: Queue = a_queue("orders", "order_created", delivery_limit=0)
    await bus.declare([queue])
    raw = await beneath(stranger)
    odd = HandWritten(MESSAGE_ID, short(b"q\xff"))
    await raw.basic_publish(b"odd", exchange=queue.exchange, routing_key="order_created", properties=odd)
    async with bus.consume(queue.name, prefetch=10) as inflow:
        await inflow.retry(await take(inflow, 1))
    async with bus.consume(queue.dead_letter_queue, prefetch=10) as inflow:
        deliveries = await take(inflow, 1)
        assert ids(deliveries) == ["q\ufffd"]
        assert deliveries[0].message.topic == "order_created"


def test_the_bytes_after_an_unreadable_value_are_still_read() -> None:
    """What an unknown field type or a lone byte takes must not shift the properties behind it."""
    flags = CONTENT_TYPE | HEADERS | MESSAGE_ID | TIMESTAMP | USER_ID
    odd_headers = headers(short(b"odd") + b"?1234", text_field(b"x", b"y"))
    values = short(b"\xff") + odd_headers + short(b"q\xff") + MICROSECONDS + short(b"guest")
    read = Basic.Properties()
    read.unmarshal(flags, values)
    assert (read.content_type, read.headers, read.message_id) == ("\ufffd", {}, "q\ufffd")
    assert (read.timestamp, read.user_id) == (None, "guest")


def test_readable_values_are_read_as_ever() -> None:
    assert tolerant.short_text(short("Stückzahl".encode()) + b"rest") == (11, "Stückzahl")
    assert tolerant.timestamp(struct.pack(">Q", 0)) == (8, datetime.fromisoformat("1970-01-01T00:00:00+00:00"))
    assert tolerant.table(headers(text_field(b"x", b"y"))) == (12, {"x": "y"})
