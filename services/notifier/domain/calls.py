"""What follows from what: after a call, when may the next one go, and what does the endpoint know now."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

CallError = Literal["dns", "forbidden", "refused", "tls", "late", "timeout", "reset", "http"]

# These happen before the first byte of the request leaves: the endpoint provably heard nothing.
NOT_SENT: frozenset[CallError] = frozenset({"dns", "forbidden", "refused", "tls", "late"})
# architecture.md section 8; the last one repeats.
RETRY_SECONDS = (5, 30, 120, 300)
# An endpoint may ask for peace, not for oblivion: without a bound one wrong header would silence it for years.
RETRY_AFTER_LIMIT_SECONDS = 86_400
GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call.

    `error` is `None` for an answer of 2xx; `detail` says in words what went wrong. `status` is `None` without an
    answer. `retry_after_seconds` is what the endpoint asked for.
    """

    error: CallError | None
    status: int | None = None
    detail: str | None = None
    response_body: str | None = None
    retry_after_seconds: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the endpoint acknowledged what it was sent."""
        return self.error is None

    @property
    def may_have_arrived(self) -> bool:
        """Whether the endpoint may have heard of it, so that the window counts."""
        return self.error not in NOT_SENT


@dataclass(frozen=True, slots=True)
class Turn:
    """When a product's turn comes again, counted from now, and the failures in a row until then."""

    delay_seconds: float
    attempt: int


def next_turn(outcome: Outcome, attempt: int, window_seconds: float) -> Turn:
    """What a call's outcome means for one of its products after `attempt` failures in a row before it.

    Whatever may have reached the endpoint uses up the window (P1); what provably did not comes again sooner.
    `Retry-After` can only lengthen the wait.
    """
    if outcome.delivered:
        return Turn(window_seconds, 0)
    if not outcome.may_have_arrived:
        return Turn(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)], attempt + 1)
    asked_seconds = min(outcome.retry_after_seconds or 0, RETRY_AFTER_LIMIT_SECONDS)
    return Turn(max(window_seconds, asked_seconds), attempt + 1)


def disables(outcome: Outcome) -> bool:
    """Whether the endpoint said that it is gone for good (410; Standard Webhooks)."""
    return outcome.status == GONE


def webhook_id(endpoint_id: int, versions: Iterable[tuple[int, int]]) -> str:
    """The id of a call that tells these `(product id, version)`: the same for every attempt at the same state.

    Opaque and without a dot, as it is signed dot-separated (Standard Webhooks).
    """
    state = ",".join(f"{product_id}={version}" for product_id, version in sorted(versions))
    return f"msg_{hashlib.sha256(f'{endpoint_id}:{state}'.encode()).hexdigest()[:32]}"


def fitting(sizes: Sequence[int], limit: int) -> int:
    """How many of the first items fit into `limit` together; at least one, or it would never go."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > limit:
            return max(count, 1)
    return len(sizes)
