"""Queues, exchanges and bindings as RabbitMQ knows them."""

from aio_pika.abc import AbstractChannel, ExchangeType
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from shared.messaging.bus import Depth, Queue

# RabbitMQ 4 drops a message that came back 20 times unless told otherwise; dead letters must stay.
NO_DELIVERY_LIMIT = 2**31 - 1


class QueueDiffersError(Exception):
    """A queue exists at the broker with other settings, which RabbitMQ cannot change; a person has to decide."""


async def declare(channel: AbstractChannel, queue: Queue) -> None:
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


async def depth_of(channel: AbstractChannel, queue: str) -> Depth | None:
    """How deep the queue of this name is; `None` where there is none, and then the channel is closed."""
    try:
        declared = await channel.declare_queue(queue, passive=True)
    except ChannelNotFoundEntity:
        return None
    found = declared.declaration_result
    return Depth(found.message_count or 0, found.consumer_count or 0)
