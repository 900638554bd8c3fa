"""A bus that hands out messages twice and in random order, as brokers may; nothing is lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.messaging.bus import Bus, Delivery, Depth, Inflow, Message, Queue


@dataclass(eq=False, slots=True)
class _Original:
    """A real delivery and how many of its copies are not settled yet."""

    delivery: Delivery
    open_copies: int
    retry: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class _Copy:
    original: _Original

    @property
    def message(self) -> Message:
        return self.original.delivery.message

    @property
    def earlier_deliveries(self) -> int:
        return self.original.delivery.earlier_deliveries


class FaultyInflow:
    """Hands out each delivery of `inflow` once or twice, shuffled; the real one is settled with its last copy."""

    def __init__(self, inflow: Inflow, chance: random.Random, duplicate: float, shuffle: float) -> None:
        self._inflow, self._chance, self._duplicate, self._shuffle = inflow, chance, duplicate, shuffle
        self._held: list[_Copy] = []
        self._reading: asyncio.Task[Sequence[Delivery]] | None = None

    async def batch(self, limit: int, linger_seconds: float) -> Sequence[Delivery]:
        """Some of what is held and available; a part is kept for later batches, though not when nothing else comes."""
        await self._read(limit, linger_seconds)
        if self._chance.random() < self._shuffle:
            self._chance.shuffle(self._held)
            count = self._chance.randint(1, min(limit, len(self._held)))
        else:
            count = min(limit, len(self._held))
        handed, self._held = self._held[:count], self._held[count:]
        return handed

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle(deliveries, retry=False)

    async def retry(self, deliveries: Sequence[Delivery]) -> None:
        """The real delivery is retried once its last copy is settled, even if another copy was acknowledged."""
        await self._settle(deliveries, retry=True)

    async def leave(self) -> None:
        """Stop reading ahead."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, limit: int, linger_seconds: float) -> None:
        """Read what the real inflow has; wait for it only while nothing is held."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._inflow.batch(limit, linger_seconds))
        await asyncio.wait({self._reading}, timeout=linger_seconds if self._held else None)
        if self._reading.done():
            deliveries = self._reading.result()
            self._reading = None
            for delivery in deliveries:
                copies = 2 if self._chance.random() < self._duplicate else 1
                original = _Original(delivery, copies)
                self._held += [_Copy(original) for _ in range(copies)]

    async def _settle(self, deliveries: Sequence[Delivery], *, retry: bool) -> None:
        last: list[_Original] = []
        for delivery in deliveries:
            assert isinstance(delivery, _Copy)
            original = delivery.original
            original.open_copies -= 1
            original.retry = original.retry or retry
            if original.open_copies == 0:
                last.append(original)
        await self._inflow.ack([original.delivery for original in last if not original.retry])
        await self._inflow.retry([original.delivery for original in last if original.retry])


class FaultyBus:
    """Wraps any bus: consumers get a message twice with probability `duplicate`, a batch shuffled with `shuffle`."""

    def __init__(self, bus: Bus, seed: int, *, duplicate: float = 1.0, shuffle: float = 1.0) -> None:
        self._bus, self._seed, self._duplicate, self._shuffle = bus, seed, duplicate, shuffle

    async def declare(self, queues: Sequence[Queue]) -> None:
        await self._bus.declare(queues)

    async def publish(self, exchange: str, messages: Sequence[Message]) -> Mapping[str, str]:
        return await self._bus.publish(exchange, messages)

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[FaultyInflow]:
        async with self._bus.consume(queue, prefetch) as inflow:
            chance = random.Random(f"{self._seed} {queue}")
            faulty = FaultyInflow(inflow, chance, self._duplicate, self._shuffle)
            try:
                yield faulty
            finally:
                await faulty.leave()

    async def depths(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        return await self._bus.depths(queues)

    async def check(self) -> None:
        await self._bus.check()

    async def close(self) -> None:
        await self._bus.close()
