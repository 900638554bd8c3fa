"""What a run of the demo may be told; imports little, as the command line asks for it."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"


class Form(StrEnum):
    """What a message to the intake exchange is."""

    JSON = "json"
    CLOUDEVENTS = "cloudevents"
    BATCHES = "batches"


@dataclass(frozen=True, slots=True)
class OrdersBroker:
    """Where orders are published, `amqp://user:password@host/`, and in which form."""

    url: str
    form: Form

    @property
    def user(self) -> str:
        """Who publishes: Basestock takes the orders for those of the company with this ref."""
        return unquote(urlsplit(self.url).username or "guest")

    @property
    def host(self) -> str:
        """The broker's host, without the password."""
        return urlsplit(self.url).hostname or "localhost"
