"""Many calls at once, but not too many."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def concurrently(items: Iterable[T], work: Callable[[T], Awaitable[None]], in_flight: int) -> None:
    """Do `work` on every item, at most `in_flight` at a time, begun in their order; the first failure ends all."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(worker())
    except* RuntimeError as failures:
        first = failures.exceptions[0]
    else:
        return
    raise first
