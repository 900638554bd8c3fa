"""What every service but catalog tells about API keys; each has an event of its own, made of this one."""

from datetime import datetime
from typing import ClassVar

from shared.events import Event


class ApiKeyUse(Event):
    """An API key was used at the producer, last at `used_at` (by its database's clock); told once a minute at most."""

    heard_by: ClassVar[tuple[str, ...]] = ("catalog",)

    key_id: int
    used_at: datetime

    def subject(self) -> str:
        """The key's id."""
        return str(self.key_id)

    def sequence(self) -> int:
        """The time of use, in microseconds since 1970."""
        return int(self.used_at.timestamp() * 1_000_000)
