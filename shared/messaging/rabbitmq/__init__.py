"""The bus on RabbitMQ 3.10 and later: quorum queues, publisher confirms, one connection each way.

Connections are opened by whoever needs one and found lost in plain sight, instead of by a robust connection in the
background: a lost consumer raises `BusUnavailableError`, and opening it again declares its queue again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog
from aio_pika.abc import AbstractChannel, ExchangeType
from aio_pika.exceptions import DeliveryError
from aio_pika.exceptions import PublishError as ReturnedError
from aiormq.channel import Channel as RawChannel
from pamqp.commands import Basic

from shared.messaging.bus import BusUnavailableError, Depth, Message, Queue
from shared.messaging.rabbitmq import tolerant
from shared.messaging.rabbitmq.connection import Link, beneath, reporting_loss
from shared.messaging.rabbitmq.inflow import RabbitInflow
from shared.messaging.rabbitmq.topology import QueueDiffersError, declare, depth_of

__all__ = ["QueueDiffersError", "RabbitBus"]

log = structlog.get_logger()
tolerant.install()

PERSISTENT = 2
# Enough to keep the broker busy between two round trips; more only lengthens the wait for the first confirm.
CONFIRMS_IN_FLIGHT = 500


class RabbitBus:
    """A bus on a RabbitMQ broker or cluster; implements `Bus`."""

    def __init__(self, url: str, *, publish_timeout_seconds: float, heartbeat_seconds: int) -> None:
        """Connect to `url` (amqp:// or amqps://) when needed; no call but `batch` waits longer than the time-out."""
        # aiormq prints a stack trace for every lost connection; each loss is logged here, in a line.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        self._timeout_seconds = publish_timeout_seconds
        # Apart, so that a publisher that the broker blocks does not hold up acknowledgements.
        self._publishing = Link(url, "publish", heartbeat_seconds)
        self._consuming = Link(url, "consume", heartbeat_seconds)
        self._queues: dict[str, Queue] = {}
        self._publisher: AbstractChannel | None = None
        self._ensured: set[str] = set()
        self._opening_publisher = asyncio.Lock()
        self._closed = False

    async def declare(self, queues: Sequence[Queue]) -> None:
        """See `Bus.declare`; `QueueDiffersError` when one exists with other settings. They are remembered."""
        self._raise_if_closed()
        self._queues.update({name: queue for queue in queues for name in (queue.name, queue.dead_letter_queue)})
        async with self._in_time("declaring queues"):
            channel = await self._publishing.channel(confirms=False)
            for queue in queues:
                await declare(channel, queue)
            await channel.close()

    async def publish(self, exchange: str, messages: Sequence[Message]) -> Mapping[str, str]:
        """See `Bus.publish`; confirmed means on disk at a majority of the replicas of every bound queue."""
        self._raise_if_closed()
        unconfirmed: dict[str, str] = {}
        for start in range(0, len(messages), CONFIRMS_IN_FLIGHT):
            unconfirmed.update(await self._publish_window(exchange, messages[start : start + CONFIRMS_IN_FLIGHT]))
        return unconfirmed

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[RabbitInflow]:
        """See `Bus.consume`; a queue that was declared on this bus and has vanished is made again."""
        self._raise_if_closed()
        async with self._in_time(f"opening a consumer of {queue}"):
            channel = await self._consuming.channel(confirms=False)
            inflow = RabbitInflow(queue, channel, await beneath(channel))
            try:
                if queue in self._queues:
                    await declare(channel, self._queues[queue])
                await inflow.open(prefetch)
            except BaseException:
                await inflow.close()
                raise
        try:
            yield inflow
        finally:
            await inflow.close()

    async def depths(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        """See `Bus.depths`; on the consuming connection, as a broker in alarm does not answer one that publishes."""
        self._raise_if_closed()
        found: dict[str, Depth] = {}
        async with self._in_time("counting what waits in queues"):
            for queue in queues:
                # One each: the broker closes the channel that asks for a queue which is not there.
                channel = await self._consuming.channel(confirms=False)
                depth = await depth_of(channel, queue)
                await channel.close()
                if depth is not None:
                    found[queue] = depth
        return found

    async def check(self) -> None:
        """See `Bus.check`: the broker answers on the publishing connection and does not block it."""
        self._raise_if_closed()
        async with self._in_time("checking the broker"):
            channel = await self._publishing.channel(confirms=False)
            await channel.close()

    async def close(self) -> None:
        """See `Bus.close`."""
        self._closed = True
        await asyncio.gather(self._publishing.close(), self._consuming.close())

    async def _publish_window(self, exchange: str, messages: Sequence[Message]) -> dict[str, str]:
        """Publish these at once; a reason per unconfirmed message, `BusUnavailableError` when nothing was answered."""
        async with self._in_time("opening a channel to publish on"):
            raw = await self._open_publisher(exchange)
        publishing = [asyncio.create_task(self._publish_one(raw, exchange, message)) for message in messages]
        try:
            _, late = await asyncio.wait(publishing, timeout=self._timeout_seconds)
        finally:
            for task in publishing:
                task.cancel()
            outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        if late:
            await self._give_up_publisher(len(late))
        reasons: dict[str, str] = {}
        unanswered = 0
        for message, outcome in zip(messages, outcomes, strict=True):
            if isinstance(outcome, asyncio.CancelledError | BusUnavailableError):
                unanswered += 1
                reasons[message.message_id] = str(outcome) or f"not confirmed within {self._timeout_seconds:g} s"
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome:
                reasons[message.message_id] = outcome
        if unanswered == len(messages):
            nothing = f"The broker confirmed none of {unanswered} messages: {reasons[messages[0].message_id]}."
            raise BusUnavailableError(nothing)
        return reasons

    async def _open_publisher(self, exchange: str) -> RawChannel:
        async with self._opening_publisher:
            if self._publisher is None or self._publisher.is_closed:
                self._publisher = await self._publishing.channel(confirms=True)
                self._ensured.clear()
            if exchange not in self._ensured:
                for queue in set(self._queues.values()):
                    await declare(self._publisher, queue)
                if exchange:
                    await self._publisher.declare_exchange(exchange, ExchangeType.TOPIC, durable=True)
                self._ensured.add(exchange)
            await self._publishing.ready()
            return await beneath(self._publisher)

    async def _publish_one(self, raw: RawChannel, exchange: str, message: Message) -> str:
        """Publish and wait for the broker's answer: empty when confirmed, else the reason."""
        properties = Basic.Properties(
            delivery_mode=PERSISTENT,
            message_id=message.message_id,
            content_type=message.content_type,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            user_id=message.user_id,
            headers=dict(message.headers),
        )
        with reporting_loss("publishing"):
            try:
                await raw.basic_publish(
                    message.body,
                    exchange=exchange,
                    routing_key=message.topic,
                    properties=properties,
                    mandatory=message.mandatory,
                    wait=False,
                )
            except ReturnedError:
                self._ensured.clear()  # if the queue was deleted, the next call makes it again
                return f"no queue is bound to topic {message.topic} of exchange {exchange}"
            except DeliveryError:
                return f"a queue bound to topic {message.topic} of exchange {exchange} is full or has no leader"
        return ""

    async def _give_up_publisher(self, late: int) -> None:
        """After a time-out: publish on a new connection next, unless the broker blocks us, which ends by itself."""
        try:
            async with asyncio.timeout(0):
                await self._publishing.ready()
        except TimeoutError:
            log.warning("publishing_blocked", unconfirmed=late, hint="memory or disk alarm at the broker")
        else:
            log.warning("publishing_timed_out", unconfirmed=late)
            self._publisher = None
            self._publishing.drop()

    @asynccontextmanager
    async def _in_time(self, doing: str) -> AsyncIterator[None]:
        with reporting_loss(doing):
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    yield
            except TimeoutError as error:
                message = f"The broker did not answer within {self._timeout_seconds:g} s while {doing}."
                raise BusUnavailableError(message) from error

    def _raise_if_closed(self) -> None:
        if self._closed:
            message = "The bus is closed."
            raise BusUnavailableError(message)
