"""The bus inside one process, without a broker: the same promises, kept as long as the process lives.

Its durability is the outbox of whoever publishes: a message is confirmed only when the consumer of every bound queue
has acknowledged it, so a crash leaves the outbox row, and the message is published again. A message that is published
again while it still waits in a queue joins the waiting one; nothing grows while a consumer is slow or away.
"""

import asyncio
import sys
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from shared import clock
from shared.messaging.bus import BusUnavailableError, Delivery, Depth, Message, Queue


@dataclass(slots=True, eq=False)
class _Entry:
    """One message in one queue (or in its dead letter queue) until a consumer acknowledges it."""

    message: Message
    arrival: int
    acknowledged: asyncio.Future[None]
    returns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Handed:
    """One hand-out of an entry; implements `Delivery`."""

    entry: _Entry
    message: Message
    earlier_deliveries: int


class _NamedQueue:
    """Messages in order of arrival, with room for `limit_messages`; what comes back too often moves to `dead`."""

    def __init__(self, name: str, limit_messages: int, delivery_limit: int, dead: "_NamedQueue | None") -> None:
        self.name, self.limit_messages = name, limit_messages
        self.inflows: set[InProcessInflow] = set()
        self._delivery_limit, self._dead = delivery_limit, dead
        self._ready: deque[_Entry] = deque()
        self._waiting: dict[str, _Entry] = {}
        self._room = asyncio.Semaphore(limit_messages)
        self._arrivals = 0

    @property
    def ready_count(self) -> int:
        return len(self._ready)

    async def put(self, message: Message) -> asyncio.Future[None]:
        """Add `message` once there is room, or join the one of the same id; the future is done when it is acked."""
        if message.message_id not in self._waiting:
            await self._room.acquire()
            if message.message_id in self._waiting:  # somebody else put it while we waited for room
                self._room.release()
            else:
                self._arrivals += 1
                entry = _Entry(message, self._arrivals, asyncio.get_running_loop().create_future())
                self._waiting[message.message_id] = entry
                entry.acknowledged.add_done_callback(lambda _: self._waiting.pop(message.message_id))
                self._ready.append(entry)
                self._wake_inflows()
        return self._waiting[message.message_id].acknowledged

    def take(self, limit: int) -> list[_Entry]:
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def finish(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            self._room.release()
            if not entry.acknowledged.done():
                entry.acknowledged.set_result(None)

    def give_back(self, entries: Iterable[_Entry]) -> None:
        """Put entries that were handed out back in their places, or into the dead letter queue past the limit."""
        returned: list[_Entry] = []
        for entry in sorted(entries, key=lambda entry: entry.arrival):
            entry.returns += 1
            if self._dead is None or entry.returns <= self._delivery_limit:
                returned.append(entry)
            else:
                self._room.release()
                self._dead.bury(entry)
        while returned and self._ready and self._ready[0].arrival < returned[-1].arrival:
            returned.append(self._ready.popleft())
            returned.sort(key=lambda entry: entry.arrival)
        self._ready.extendleft(reversed(returned))
        self._wake_inflows()

    def bury(self, entry: _Entry) -> None:
        """Take over an entry that another queue gave up on; there is always room for it."""
        self._arrivals += 1
        entry.arrival, entry.returns = self._arrivals, 0
        self._ready.append(entry)
        self._wake_inflows()

    def _wake_inflows(self) -> None:
        for inflow in self.inflows:
            if len(self._ready) >= inflow.wanted:
                inflow.wake.set()


class InProcessInflow:
    """A consumer's open end of one queue; implements `Inflow`."""

    def __init__(self, queue: _NamedQueue, prefetch: int) -> None:
        """Hand out at most `prefetch` deliveries of `queue` before one of them is settled."""
        self.wake = asyncio.Event()
        self.wanted = 1
        self._queue, self._prefetch = queue, prefetch
        self._out: set[_Handed] = set()
        self._left = False

    async def batch(self, limit: int, linger_seconds: float) -> Sequence[Delivery]:
        """See `Inflow.batch`."""
        while True:
            await clock.sleep(0)  # a consumer that never has to wait must still let its competitors run
            await self._wait_for(1)
            most = min(limit, self._prefetch - len(self._out))
            if linger_seconds > 0 and self._queue.ready_count < most:
                with suppress(TimeoutError):
                    async with asyncio.timeout(linger_seconds):
                        await self._wait_for(most)
            taken = [_Handed(entry, entry.message, entry.returns) for entry in self._queue.take(most)]
            if taken:  # else a competing consumer was faster
                self._out.update(taken)
                return taken

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `Inflow.ack`; `ValueError` when one of them is not out here."""
        self._queue.finish(self._settle(deliveries))

    async def retry(self, deliveries: Sequence[Delivery]) -> None:
        """See `Inflow.retry`; `ValueError` when one of them is not out here."""
        self._queue.give_back(self._settle(deliveries))

    def leave(self) -> None:
        """Hand back what is not settled; nothing can be done here afterwards."""
        self._left = True
        self.wake.set()
        self._queue.inflows.discard(self)
        self._queue.give_back(handed.entry for handed in self._out)
        self._out.clear()

    async def _wait_for(self, count: int) -> None:
        self.wanted = count
        while True:
            self._raise_if_left()
            if min(self._queue.ready_count, self._prefetch - len(self._out)) >= count:
                return
            self.wake.clear()
            await self.wake.wait()

    def _settle(self, deliveries: Sequence[Delivery]) -> list[_Entry]:
        self._raise_if_left()
        ours = [delivery for delivery in deliveries if isinstance(delivery, _Handed) and delivery in self._out]
        if len(set(ours)) != len(deliveries):
            message = f"a delivery of {self._queue.name} was settled twice, or came from another inflow"
            raise ValueError(message)
        self._out.difference_update(ours)
        self.wake.set()
        return [handed.entry for handed in ours]

    def _raise_if_left(self) -> None:
        if self._left:
            message = f"The consumer of {self._queue.name} is gone; open it again."
            raise BusUnavailableError(message)


class InProcessBus:
    """A bus for services that share one process and one event loop; implements `Bus`."""

    def __init__(self, *, publish_timeout_seconds: float) -> None:
        """Return what is not confirmed within `publish_timeout_seconds` as unconfirmed; it stays in its queues."""
        self._publish_timeout_seconds = publish_timeout_seconds
        self._queues: dict[str, _NamedQueue] = {}
        self._bound: dict[tuple[str, str], list[_NamedQueue]] = defaultdict(list)
        self._closed = asyncio.Event()

    async def declare(self, queues: Sequence[Queue]) -> None:
        """See `Bus.declare`; a queue that exists keeps its limits and messages."""
        self._raise_if_closed()
        for queue in queues:
            if queue.name not in self._queues:
                dead = _NamedQueue(queue.dead_letter_queue, sys.maxsize, sys.maxsize, None)
                self._queues[dead.name] = dead
                self._queues[queue.name] = _NamedQueue(queue.name, queue.limit_messages, queue.delivery_limit, dead)
            for topic in queue.topics:
                bound = self._bound[queue.exchange, topic]
                if self._queues[queue.name] not in bound:
                    bound.append(self._queues[queue.name])

    async def publish(self, exchange: str, messages: Sequence[Message]) -> Mapping[str, str]:
        """See `Bus.publish`; confirmed means that the consumer of every bound queue has acknowledged it."""
        self._raise_if_closed()
        feeds: dict[_NamedQueue, list[Message]] = defaultdict(list)
        for message in messages:
            for queue in self._queues_of(exchange, message):
                feeds[queue].append(message)
        placed: dict[tuple[_NamedQueue, str], asyncio.Future[None]] = {}
        handing_over = asyncio.create_task(_hand_over(feeds, placed))
        closed = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait(
                {handing_over, closed},
                timeout=self._publish_timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            handing_over.cancel()
            closed.cancel()
            await asyncio.gather(handing_over, closed, return_exceptions=True)
        self._raise_if_closed()
        reasons = {message.message_id: self._unconfirmed(exchange, message, placed) for message in messages}
        return {message_id: reason for message_id, reason in reasons.items() if reason}

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[InProcessInflow]:
        """See `Bus.consume`."""
        self._raise_if_closed()
        if queue not in self._queues:
            message = f"There is no queue {queue}: declare it first."
            raise BusUnavailableError(message)
        inflow = InProcessInflow(self._queues[queue], prefetch)
        self._queues[queue].inflows.add(inflow)
        try:
            yield inflow
        finally:
            inflow.leave()

    async def depths(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        """See `Bus.depths`."""
        self._raise_if_closed()
        found = {name: self._queues[name] for name in queues if name in self._queues}
        return {name: Depth(queue.ready_count, len(queue.inflows)) for name, queue in found.items()}

    async def check(self) -> None:
        """See `Bus.check`: usable until it is closed."""
        self._raise_if_closed()

    async def close(self) -> None:
        """See `Bus.close`: whoever waits here, publishing or consuming, gets `BusUnavailableError`."""
        self._closed.set()
        for queue in self._queues.values():
            for inflow in list(queue.inflows):
                inflow.leave()

    def _queues_of(self, exchange: str, message: Message) -> list[_NamedQueue]:
        if exchange == "":  # as in AMQP, the default exchange leads to the queue of that name
            return [self._queues[message.topic]] if message.topic in self._queues else []
        return self._bound.get((exchange, message.topic), [])

    def _unconfirmed(
        self, exchange: str, message: Message, placed: Mapping[tuple[_NamedQueue, str], asyncio.Future[None]]
    ) -> str:
        """Why `message` is not confirmed, empty when it is."""
        queues = self._queues_of(exchange, message)
        if not queues and message.mandatory:
            return f"no queue is bound to topic {message.topic} of exchange {exchange}"
        for queue in queues:
            acknowledged = placed.get((queue, message.message_id))
            if acknowledged is None:
                return f"queue {queue.name} is full ({queue.limit_messages} messages)"
            if not acknowledged.done():
                return f"no consumer of queue {queue.name} has acknowledged it yet"
        return ""

    def _raise_if_closed(self) -> None:
        if self._closed.is_set():
            message = "The bus is closed."
            raise BusUnavailableError(message)


async def _hand_over(
    feeds: Mapping[_NamedQueue, Sequence[Message]], placed: dict[tuple[_NamedQueue, str], asyncio.Future[None]]
) -> None:
    """Put each queue's messages in order, noting in `placed` what found room, and wait until all are acknowledged."""

    async def fill(queue: _NamedQueue, messages: Sequence[Message]) -> None:
        for message in messages:
            placed[queue, message.message_id] = await queue.put(message)

    await asyncio.gather(*(fill(queue, messages) for queue, messages in feeds.items()))
    if placed:
        await asyncio.wait(placed.values())
