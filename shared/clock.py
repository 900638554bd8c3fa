"""The only place that reads a clock or sleeps, so that a search for time finds all of it.

Decisions that must hold across processes (windows, leases, expiry) use the database's clock in SQL, never these.
"""

import asyncio
import random
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


def block(seconds: float) -> None:
    """Sleep with the whole thread: never where an event loop runs."""
    time.sleep(seconds)


async def wait_until_set(event: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait for `event`, at most `timeout_seconds`, and clear it; says whether it was set."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


# Ids must be unique, not secret: seeded once by the operating system, and then ten times cheaper than asking it.
_chance = random.Random(secrets.randbits(256))  # noqa: S311 - see above


def uuid7_text() -> str:
    """A new UUID, version 7 (RFC 9562), as text: milliseconds first, so that keys of one time lie together."""
    time_part, chance = f"{time.time_ns() // 1_000_000:012x}", random_hex(18)
    variant = "89ab"[_chance.getrandbits(2)]
    return f"{time_part[:8]}-{time_part[8:]}-7{chance[:3]}-{variant}{chance[3:6]}-{chance[6:18]}"


def uuid7() -> UUID:
    """A new UUID, version 7."""
    return UUID(uuid7_text())


def lowest_uuid7(moment: datetime) -> UUID:
    """No UUID of version 7 that is made at `moment` or later is lower than this."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def random_hex(digits: int) -> str:
    """That many random hexadecimal digits, for ids that need not be secret."""
    return f"{_chance.getrandbits(4 * digits):0{digits}x}"
