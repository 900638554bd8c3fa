"""A call as it is claimed and made."""

from dataclasses import dataclass
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from services.notifier.deliver import Deliverer
from services.notifier.domain.calls import Outcome
from services.notifier.encryption import UnreadableSecretError, Vault
from services.notifier.endpoint_secrets import read_secrets
from services.notifier.signing import signed_headers
from services.notifier.store.due import DueEndpoint
from services.notifier.store.slots import DueSlot
from services.notifier.tables import CallKind
from shared import clock

log = structlog.get_logger()

# What the log of attempts shows of a header whose value is a secret.
MASK = "***"

CALLS = Counter("basestock_webhook_calls_total", "Webhook calls made", ["outcome"])
CALL_SECONDS = Histogram("basestock_webhook_call_seconds", "Time a webhook call took")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make the calls of one claim, from `claimed_at` until `deadline` on the monotonic clock."""

    lease_id: UUID
    claimed_at: float
    deadline: float

    def age_seconds(self) -> float:
        """How long ago it was claimed."""
        return clock.monotonic() - self.claimed_at


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is claimed: made under its lease, or not at all.

    `slots` are what it tells of stock; `logical_timestamp` is that of the fulfillment event that it tells, `attempt`
    counts the failures in a row to do so.
    """

    endpoint: DueEndpoint
    kind: CallKind
    lease: Lease
    webhook_id: str
    body: bytes
    slots: tuple[DueSlot, ...] = ()
    logical_timestamp: int | None = None
    attempt: int = 0

    @property
    def is_sample(self) -> bool:
        """Whether it only tries the endpoint out: what comes of it is logged, and changes nothing."""
        return self.kind in {"ping", "test"}

    @property
    def versions(self) -> list[tuple[int, int]]:
        """`(product id, version)` of what it tells."""
        return [(slot.stock.product_id, slot.version) for slot in self.slots]


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that was made, and what came of it; `headers` as they were sent, the endpoint's own one masked."""

    call: Call
    headers: dict[str, str]
    outcome: Outcome
    seconds: float


async def send(deliverer: Deliverer, vault: Vault, call: Call) -> Answered:
    """Sign and make the call; raises nothing, as one retailer's call must not end everybody's."""
    timestamp = int(clock.utc_now().timestamp())
    headers: dict[str, str] = {}
    started = clock.monotonic()
    try:
        secrets, own_header = read_secrets(vault, call.endpoint)
        headers = signed_headers(secrets, call.webhook_id, timestamp, call.body)
        sent = headers | own_header
        headers |= dict.fromkeys(own_header, MASK)
        outcome = await deliverer.post(call.endpoint.url, sent, call.body, call.lease.deadline)
    except UnreadableSecretError:
        outcome = Outcome("late", detail="nothing was sent: we cannot read a secret of this endpoint", charged=False)
    except Exception as error:
        # Ours to mend, and nobody knows how far the call got: it counts as one that may have arrived.
        log.exception("webhook_call_broke", endpoint_id=call.endpoint.endpoint_id, webhook_id=call.webhook_id)
        outcome = Outcome("reset", detail=f"the sender failed: {type(error).__name__}", charged=False)
    seconds = clock.monotonic() - started
    CALLS.labels(outcome.error or "delivered").inc()
    CALL_SECONDS.observe(seconds)
    if not outcome.delivered:
        log.info("webhook_failed", endpoint_id=call.endpoint.endpoint_id, error=outcome.error, detail=outcome.detail)
    return Answered(call, headers, outcome, seconds)
