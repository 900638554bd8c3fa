"""Consuming from RabbitMQ, on the aiormq channel beneath aio-pika's: `IncomingMessage` costs a third of the speed."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel as RawChannel

from shared.messaging.bus import BusUnavailableError, Delivery, Message
from shared.messaging.rabbitmq.connection import CLOSE_SECONDS, LOST, reporting_loss


@dataclass(frozen=True, slots=True)
class _RabbitDelivery:
    """One delivery on one channel; implements `Delivery`."""

    message: Message
    earlier_deliveries: int
    tag: int


class RabbitInflow:
    """A consumer's open end of one queue, on a channel of its own; implements `Inflow`."""

    def __init__(self, queue: str, channel: AbstractChannel, raw: RawChannel) -> None:
        """Consume `queue` on this channel (`raw` is the one beneath it) once `open` is called."""
        self._queue, self._channel, self._raw = queue, channel, raw
        self._arrived: deque[DeliveredMessage] = deque()
        self._out: dict[int, None] = {}
        self._wanted = 1
        self._wake = asyncio.Event()
        self._lost: str | None = None
        self._closing = raw.closing

    async def open(self, prefetch: int) -> None:
        """Start the flow: `prefetch` messages at most come before the first is settled."""
        self._closing.add_done_callback(lambda _: self._lose("the connection or channel was lost"))
        # aiormq itself only forgets a consumer that the broker cancels (queue deleted, no leader, consumer timeout).
        self._raw.on_consumer_cancel_callbacks.add(lambda _: self._lose("the broker cancelled it"))
        await self._raw.basic_qos(prefetch_count=prefetch)
        await self._raw.basic_consume(self._queue, self._arrive)

    async def batch(self, limit: int, linger_seconds: float) -> Sequence[Delivery]:
        """See `Inflow.batch`."""
        await self._wait_for(1)
        if linger_seconds > 0 and len(self._arrived) < limit:
            with suppress(TimeoutError):
                async with asyncio.timeout(linger_seconds):
                    await self._wait_for(limit)
        taken = [_delivery(self._arrived.popleft()) for _ in range(min(limit, len(self._arrived)))]
        self._out.update((delivery.tag, None) for delivery in taken)
        return taken

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `Inflow.ack`; `ValueError` when one of them is not out here, `BusUnavailableError` when they recur."""
        tags = self._tags(deliveries)
        prefix = 0
        for tag in self._out:
            if tag not in tags:
                break
            prefix = tag
        with reporting_loss(f"acknowledging messages of {self._queue}"):
            if prefix:
                await self._raw.basic_ack(prefix, multiple=True, wait=False)
            for tag in sorted(tag for tag in tags if tag > prefix):
                await self._raw.basic_ack(tag, wait=False)
        self._forget(tags)

    async def retry(self, deliveries: Sequence[Delivery]) -> None:
        """See `Inflow.retry`; errors as for `ack`. A reject counts on all versions, a nack not from 4.3 on."""
        tags = self._tags(deliveries)
        with reporting_loss(f"handing back messages of {self._queue}"):
            for tag in sorted(tags):
                await self._raw.basic_reject(tag, requeue=True, wait=False)
        self._forget(tags)

    async def close(self) -> None:
        """Close the channel, which hands back what is not settled (prefetched or handed out, it all counts)."""
        self._lose("it was closed")
        with suppress(*LOST, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._channel.close()

    async def _arrive(self, message: DeliveredMessage) -> None:
        self._arrived.append(message)
        if len(self._arrived) >= self._wanted:
            self._wake.set()

    async def _wait_for(self, count: int) -> None:
        self._wanted = count
        while True:
            self._raise_if_lost()
            if len(self._arrived) >= count:
                return
            self._wake.clear()
            await self._wake.wait()

    def _tags(self, deliveries: Sequence[Delivery]) -> set[int]:
        self._raise_if_lost()
        tags = {delivery.tag for delivery in deliveries if isinstance(delivery, _RabbitDelivery)} & self._out.keys()
        if len(tags) != len(deliveries):
            message = f"a delivery of {self._queue} was settled twice, or came from another inflow"
            raise ValueError(message)
        return tags

    def _forget(self, tags: set[int]) -> None:
        for tag in tags:
            del self._out[tag]

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._wake.set()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            message = f"The consumer of {self._queue} is gone ({self._lost}); open it again."
            raise BusUnavailableError(message)


def _delivery(received: DeliveredMessage) -> _RabbitDelivery:
    """Our view of a delivery; a dead letter shows the topic that it was published with.

    Senders may set any header to anything, the broker's own too: what does not fit is not believed.
    """
    properties = received.header.properties
    headers: dict[str, Any] = properties.headers or {}
    count = headers.get("x-delivery-count")
    return _RabbitDelivery(
        message=Message(
            message_id=properties.message_id or "",
            topic=_first_topic(headers.get("x-death")) or received.routing_key or "",
            content_type=properties.content_type or "",
            body=received.body,
            headers={name: value for name, value in headers.items() if isinstance(value, str)},
            user_id=properties.user_id,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
        ),
        earlier_deliveries=count if isinstance(count, int) else 0,
        tag=received.delivery_tag or 0,
    )


def _first_topic(deaths: object) -> str | None:
    """The topic in the oldest entry of a dead letter's `x-death`, `[{"routing-keys": [topic, ...], ...}, ...]`."""
    match deaths:
        case [*_, {"routing-keys": [str(topic), *_]}]:
            return topic
    return None
