"""The bus every service talks through; `in_process.py` and `rabbitmq.py` implement it under one contract suite.

A queue keeps its messages in order and hands each to one of its consumers until that consumer settles it. A message
goes to every queue that is bound to its topic. A confirm means that losing the message is no longer the publisher's
problem: it is durable at the broker, or, in process, every bound queue's consumer has committed it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

EVENTS_EXCHANGE = "basestock.events"
INTAKE_EXCHANGE = "basestock.intake"


class BusUnavailableError(Exception):
    """The broker cannot be reached now; nothing is known of what was being published. Try again later."""


class BusRefusedError(BusUnavailableError):
    """The broker answers, but not us: wrong user, password or virtual host. Who starts says so instead of waiting."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the exact bytes, and what the transport knows about them.

    `user_id` is the sender as the broker validated it (RabbitMQ refuses a publisher that claims another name); it is
    `None` where nobody validated it. `mandatory` messages are not confirmed while no queue is bound to their topic.
    """

    message_id: str
    topic: str
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    user_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    mandatory: bool = True


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue bound to `topics` of `exchange`; `dead_letter_queue` takes what it gives up on.

    `limit_messages` bounds it: past that, publishers are not confirmed until there is room. `delivery_limit` is how
    often a message may come back (`Inflow.retry`, or a consumer that died) before it is dead-lettered.
    """

    name: str
    topics: tuple[str, ...]
    exchange: str = EVENTS_EXCHANGE
    limit_messages: int = 1_000_000
    delivery_limit: int = 20

    @property
    def dead_letter_queue(self) -> str:
        """The name of the queue that holds what this one gave up on."""
        return f"{self.name}.dead"


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages of a queue wait until somebody takes them in hand, and how many consumers it has."""

    messages: int
    consumers: int


class Delivery(Protocol):
    """One message handed to one consumer, to be settled exactly once through the `Inflow` it came from."""

    @property
    def message(self) -> Message:
        """The message as it was published."""

    @property
    def earlier_deliveries(self) -> int:
        """How often it was handed out before; 0 the first time."""


class Inflow(Protocol):
    """A consumer's open end of one queue."""

    async def batch(self, limit: int, linger_seconds: float) -> Sequence[Delivery]:
        """Wait for at least one delivery, then up to `linger_seconds` for more, `limit` at most.

        Raises `BusUnavailableError` when the consumer is gone (connection lost, or cancelled by the broker): leave the
        context and open a new one. Deliveries not settled by then come again.
        """

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are done with: they never come again while the broker keeps its promise."""

    async def retry(self, deliveries: Sequence[Delivery]) -> None:
        """Hand these out again, soon; past the queue's delivery limit they are dead-lettered."""


class Bus(Protocol):
    """What a service needs of a broker."""

    async def declare(self, queues: Sequence[Queue]) -> None:
        """Make these queues and their dead letter queues exist; again and again is harmless."""

    async def publish(self, exchange: str, messages: Sequence[Message]) -> Mapping[str, str]:
        """Publish, wait for the confirms, and return `{message_id: reason}` of those that were not confirmed.

        An unconfirmed message may or may not have arrived: publish it again. Raises `BusUnavailableError` when the
        broker cannot be reached or does not answer in time, with the same meaning for all of them.
        """

    def consume(self, queue: str, prefetch: int) -> AbstractAsyncContextManager[Inflow]:
        """Open a consumer; at most `prefetch` deliveries are out unsettled. Leaving hands unsettled ones back."""

    async def depths(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        """How deep these queues are now, by their names; a queue that does not exist is left out.

        Raises `BusUnavailableError` when the broker cannot be reached or does not answer in time.
        """

    async def check(self) -> None:
        """Raise `BusUnavailableError` unless the broker can be used now (readiness)."""

    async def close(self) -> None:
        """Close connections; the bus cannot be used afterwards."""
