"""The only place that reads a clock or sleeps, so that a search for time finds all of it.

Decisions that must hold across processes (windows, leases, expiry) use the database's clock in SQL, never these.
"""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID


def utc_now() -> datetime:
    """The wall clock, aware, in UTC: for people and for event times, not for ordering."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back: for deadlines and durations inside one process."""
    return time.monotonic()


async def sleep(seconds: float) -> None:
    """Let other tasks run for `seconds`."""
    await asyncio.sleep(seconds)


async def wait_until_set(event: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait for `event`, at most `timeout_seconds`, and clear it; says whether it was set."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


def uuid7() -> UUID:
    """A new UUID, version 7 (RFC 9562): its first 48 bits are milliseconds, so that keys of one time lie together."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
