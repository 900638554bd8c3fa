"""What follows from what: after a call, when may the next one go, and what does the endpoint know now."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

CallError = Literal["dns", "forbidden", "refused", "tls", "late", "timeout", "reset", "http"]

# These happen before the first byte of the request leaves: the endpoint provably heard nothing.
NOT_SENT: frozenset[CallError] = frozenset({"dns", "forbidden", "refused", "tls", "late"})
# architecture.md section 8; the last one repeats.
RETRY_SECONDS = (5, 30, 120, 300)
# For endpoints that asked for it (`early_retry`), likewise.
EARLY_RETRY_SECONDS = (30, 120, 300)
# An endpoint may ask for peace, not for oblivion: without a bound one wrong header would silence it for years.
RETRY_AFTER_LIMIT_SECONDS = 86_400
CLIENT_ERRORS, BAD_REQUEST, GONE, TOO_LARGE, TOO_MANY_REQUESTS, SERVER_ERRORS = 400, 400, 410, 413, 429, 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call.

    `error` is `None` for an answer of 2xx; `detail` says in words what went wrong. `status` is `None` without an
    answer. `retry_after_seconds` is what the endpoint asked for. A failure of our own is not `charged` to the endpoint.
    """

    error: CallError | None
    status: int | None = None
    detail: str | None = None
    response_body: str | None = None
    retry_after_seconds: float | None = None
    charged: bool = True

    @property
    def delivered(self) -> bool:
        """Whether the endpoint acknowledged what it was sent."""
        return self.error is None

    @property
    def may_have_arrived(self) -> bool:
        """Whether the endpoint may have heard of it, so that the window counts."""
        return self.error not in NOT_SENT

    @property
    def asked_for_peace_seconds(self) -> float:
        """How long the endpoint does not want to be called (`Retry-After`), within bounds."""
        return min(self.retry_after_seconds or 0, RETRY_AFTER_LIMIT_SECONDS)

    @property
    def is_refused_for_now(self) -> bool:
        """Whether the endpoint said that it cannot take anything now: 429 or 5xx, and no mere silence."""
        return self.status is not None and (self.status == TOO_MANY_REQUESTS or self.status >= SERVER_ERRORS)

    @property
    def is_refused_as_it_is(self) -> bool:
        """Whether the endpoint said that it does not take this call: something in it is wrong (400), or too much."""
        return self.status in {BAD_REQUEST, TOO_LARGE}


@dataclass(frozen=True, slots=True)
class Turn:
    """When a product's turn comes again, counted from now, and the failures in a row until then."""

    delay_seconds: float
    attempt: int


def next_turn(outcome: Outcome, attempt: int, window_seconds: float, *, early_retry: bool = False) -> Turn:
    """What a call's outcome means for one of its products after `attempt` failures in a row before it.

    Whatever may have reached the endpoint uses up the window (P1), and a window shorter than the back-off does not
    shorten that; what provably did not comes again sooner. An endpoint may give up P1 for what it refused in so many
    words (`early_retry`). `Retry-After` can only lengthen the wait.
    """
    if outcome.delivered:
        return Turn(window_seconds, 0)
    wait_seconds = back_off_seconds(attempt)
    if outcome.may_have_arrived:
        wait_seconds = max(wait_seconds, window_seconds)
        if early_retry and outcome.is_refused_for_now:
            wait_seconds = min(wait_seconds, EARLY_RETRY_SECONDS[min(attempt, len(EARLY_RETRY_SECONDS) - 1)])
    return Turn(max(wait_seconds, outcome.asked_for_peace_seconds), attempt + 1)


def back_off_seconds(failures: int) -> float:
    """How long to wait after one more failure, when there were `failures` in a row before it."""
    return RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]


def disables(outcome: Outcome) -> bool:
    """Whether the endpoint said that it is gone for good (410; Standard Webhooks)."""
    return outcome.status == GONE


def webhook_id(endpoint_id: int, states: Iterable[tuple[int, str]]) -> str:
    """The id of a call that tells these `(product id, state)`: the same for every attempt at the same states.

    Opaque and without a dot, as it is signed dot-separated (Standard Webhooks).
    """
    told = ",".join(f"{product_id}={state}" for product_id, state in sorted(states))
    return f"msg_{hashlib.sha256(f'{endpoint_id}:{told}'.encode()).hexdigest()[:32]}"
