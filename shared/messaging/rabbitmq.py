"""The bus on RabbitMQ 3.10 and later: quorum queues, publisher confirms, one connection each way.

Connections are opened by whoever needs one and found lost, in plain sight, instead of by a robust connection in the
background: a lost consumer raises `BusUnavailableError`, and opening it again declares its queue again. The hot paths
(publish, deliver, acknowledge) use the aiormq channel beneath aio-pika's: consuming through `IncomingMessage` is a
third slower.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, ExchangeType
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelPreconditionFailed, DeliveryError
from aio_pika.exceptions import PublishError as ReturnedError
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel as RawChannel
from pamqp.commands import Basic

from shared.messaging.bus import BusUnavailableError, Delivery, Message, Queue

log = structlog.get_logger()

PERSISTENT = 2
# Enough to keep the broker busy between two round trips; more only lengthens the wait for the first confirm.
CONFIRMS_IN_FLIGHT = 500
CLOSE_SECONDS = 5.0
# RabbitMQ 4 drops a message that came back 20 times unless told otherwise; dead letters must stay.
NO_DELIVERY_LIMIT = 2**31 - 1
# How aiormq and the operating system say that the connection or the channel is gone.
LOST = (AMQPError, ChannelInvalidStateError, OSError, RuntimeError)


class QueueDiffersError(Exception):
    """A queue exists at the broker with other settings, which RabbitMQ cannot change; a person has to decide."""


class _Link:
    """One connection to the broker, opened when it is needed and opened again after it was lost."""

    def __init__(self, url: str, purpose: str, heartbeat_seconds: int) -> None:
        self._url, self._purpose, self._heartbeat_seconds = url, purpose, heartbeat_seconds
        self._connection: AbstractConnection | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def channel(self, *, confirms: bool) -> AbstractChannel:
        """A new channel, on a new connection when there is none or the last one was lost."""
        async with self._opening:
            if self._connection is None or _is_lost(self._connection):
                self.drop()
                self._connection = await aio_pika.connect(
                    self._url,
                    heartbeat=self._heartbeat_seconds,
                    client_properties={"connection_name": f"basestock {self._purpose}"},
                )
                self._connection.close_callbacks.add(self._report_loss)
                log.info("broker_connected", purpose=self._purpose)
            connection = self._connection
        channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
        await channel.initialize()
        return channel

    async def ready(self) -> None:
        """Wait while the broker blocks this connection (memory or disk alarm)."""
        if self._connection is not None and self._connection.transport is not None:
            await self._connection.transport.ready()

    def drop(self) -> None:
        """Close the connection in the background: a broker that does not answer must not hold anybody up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            task = asyncio.create_task(_close(connection))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the connection and wait for it."""
        self.drop()
        await asyncio.gather(*self._closing)

    def _report_loss(self, connection: AbstractConnection | None, error: BaseException | None) -> None:
        if connection is self._connection:
            log.warning("broker_connection_lost", purpose=self._purpose, error=str(error))


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
        with _reporting_loss(f"acknowledging messages of {self._queue}"):
            if prefix:
                await self._raw.basic_ack(prefix, multiple=True, wait=False)
            for tag in sorted(tag for tag in tags if tag > prefix):
                await self._raw.basic_ack(tag, wait=False)
        self._forget(tags)

    async def retry(self, deliveries: Sequence[Delivery]) -> None:
        """See `Inflow.retry`; errors as for `ack`. A reject counts on all versions, a nack not from 4.3 on."""
        tags = self._tags(deliveries)
        with _reporting_loss(f"handing back messages of {self._queue}"):
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


class RabbitBus:
    """A bus on a RabbitMQ broker or cluster; implements `Bus`."""

    def __init__(self, url: str, *, publish_timeout_seconds: float, heartbeat_seconds: int) -> None:
        """Connect to `url` (amqp:// or amqps://) when needed; no call but `batch` waits longer than the time-out."""
        # aiormq prints a stack trace for every lost connection; each loss is logged here, in a line.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        self._timeout_seconds = publish_timeout_seconds
        # Apart, so that a publisher that the broker blocks does not hold up acknowledgements.
        self._publishing = _Link(url, "publish", heartbeat_seconds)
        self._consuming = _Link(url, "consume", heartbeat_seconds)
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
                await _declare(channel, queue)
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
            inflow = RabbitInflow(queue, channel, await _beneath(channel))
            try:
                if queue in self._queues:
                    await _declare(channel, self._queues[queue])
                await inflow.open(prefetch)
            except BaseException:
                await inflow.close()
                raise
        try:
            yield inflow
        finally:
            await inflow.close()

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
                    await _declare(self._publisher, queue)
                if exchange:
                    await self._publisher.declare_exchange(exchange, ExchangeType.TOPIC, durable=True)
                self._ensured.add(exchange)
            await self._publishing.ready()
            return await _beneath(self._publisher)

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
        with _reporting_loss("publishing"):
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
        with _reporting_loss(doing):
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


@contextmanager
def _reporting_loss(doing: str) -> Iterator[None]:
    """Make `BusUnavailableError` of all the ways in which a lost connection or channel shows."""
    try:
        yield
    except LOST as error:
        message = f"The broker connection was lost while {doing}: {error}"
        raise BusUnavailableError(message) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # aiormq cancels what waits on a connection that it closes; nobody cancelled this task.
        message = f"The broker connection was closed while {doing}."
        raise BusUnavailableError(message) from error


def _is_lost(connection: AbstractConnection) -> bool:
    # aio-pika's own is_closed stays false when the connection breaks.
    return connection.transport is None or connection.transport.connection.is_closed


async def _close(connection: AbstractConnection) -> None:
    with suppress(*LOST, asyncio.CancelledError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()


async def _beneath(channel: AbstractChannel) -> RawChannel:
    """The aiormq channel of an aio-pika channel."""
    return cast("RawChannel", await channel.get_underlay_channel())


async def _declare(channel: AbstractChannel, queue: Queue) -> None:
    """Make `queue`, its dead letter queue, its exchange and its bindings exist."""
    try:
        await channel.declare_queue(
            queue.dead_letter_queue,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
        )
        declared = await channel.declare_queue(
            queue.name,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": queue.delivery_limit,
                "x-max-length": queue.limit_messages,
                "x-overflow": "reject-publish",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": queue.dead_letter_queue,
                "x-dead-letter-strategy": "at-least-once",
            },
        )
    except ChannelPreconditionFailed as error:
        message = (
            f"Queue {queue.name} exists at the broker with other settings, which cannot be changed there: {error}. "
            "Let it run empty and delete it (rabbitmqctl delete_queue), or put the old setting back."
        )
        raise QueueDiffersError(message) from error
    await channel.declare_exchange(queue.exchange, ExchangeType.TOPIC, durable=True)
    for topic in queue.topics:
        await declared.bind(queue.exchange, topic)


def _delivery(received: DeliveredMessage) -> _RabbitDelivery:
    """Our view of a delivery; a dead letter shows the topic that it was published with."""
    properties = received.header.properties
    headers: dict[str, Any] = properties.headers or {}
    topic = received.routing_key or ""
    if headers.get("x-death"):
        topic = headers["x-death"][-1]["routing-keys"][0]
    return _RabbitDelivery(
        message=Message(
            message_id=properties.message_id or "",
            topic=topic,
            content_type=properties.content_type or "",
            body=received.body,
            headers={name: value for name, value in headers.items() if isinstance(value, str)},
            user_id=properties.user_id,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
        ),
        earlier_deliveries=int(headers.get("x-delivery-count", 0)),
        tag=received.delivery_tag or 0,
    )
