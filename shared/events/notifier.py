"""What notifier tells."""

from datetime import datetime
from typing import ClassVar, Literal

from shared.events import Event
from shared.events.key_use import ApiKeyUse


class ApiKeyUsedAtNotifier(ApiKeyUse):
    """An API key was used at notifier."""

    name: ClassVar[str] = "notifier.api_key_used"


class EndpointHealth(Event):
    """How calls to a webhook endpoint went until `occurred_at` (by notifier's database).

    `host` is all that is told of its URL, which may hold tokens. `failures` calls failed in a row, the first one at
    `failing_since`; `last_error` is the last call's class of error, `last_status` what it answered, if it did.
    """

    endpoint_id: int
    company_id: int
    host: str
    state: Literal["active", "paused", "disabled"]
    failing_since: datetime
    failures: int
    last_error: str | None
    last_status: int | None
    occurred_at: datetime

    def subject(self) -> str:
        """The endpoint's id."""
        return str(self.endpoint_id)

    def sequence(self) -> int:
        """When it was so, in microseconds since 1970."""
        return int(self.occurred_at.timestamp() * 1_000_000)


class EndpointFailing(EndpointHealth):
    """A webhook endpoint has failed for 50 %, 75 % or 90 % of the time after which it is disabled."""

    name: ClassVar[str] = "notifier.endpoint_failing"


class EndpointDisabled(EndpointHealth):
    """A webhook endpoint failed for too long, or said that it is gone: it is not called any more."""

    name: ClassVar[str] = "notifier.endpoint_disabled"


class EndpointRecovered(EndpointHealth):
    """A webhook endpoint that was told of as failing takes calls again."""

    name: ClassVar[str] = "notifier.endpoint_recovered"
