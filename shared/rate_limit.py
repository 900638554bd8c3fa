"""How many requests a key or a user may send: a token bucket each, in the memory of each process.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10; 429 and `Retry-After` are RFC 6585's.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.types import Scope

from shared import clock
from shared.errors import ProblemError
from shared.settings import Settings

# A bucket is about 200 bytes. Whose is forgotten, the longest unused first, starts with a full one.
BUCKETS_LIMIT = 10_000
STATE = "rate_limit_headers"


@dataclass(frozen=True, slots=True)
class Limit:
    """`requests` at once, and as many in every `window_seconds` after that."""

    requests: int
    window_seconds: float

    @property
    def policy(self) -> str:
        """As `RateLimit-Policy` says it."""
        return f'"default";q={self.requests};w={math.ceil(self.window_seconds)}'


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may pass, and how the bucket stands afterwards.

    `full_at` is the time at which the bucket is full again, `remaining` the requests that may follow at once.
    """

    allowed: bool
    full_at: float
    remaining: int
    full_in_seconds: float
    retry_in_seconds: float


def decide(limit: Limit, full_at: float, now: float) -> Decision:
    """Whether one more request may pass at `now`; times are seconds on one clock.

    What a bucket lacks is told by the time at which it is full again: each request that passes moves it on by the time
    in which one token is filled in, and none may move it further than a window ahead (the GCRA of ITU-T I.371).
    """
    token_seconds = limit.window_seconds / limit.requests
    after = max(full_at, now) + token_seconds
    excess_seconds = after - now - limit.window_seconds
    # Adding fractions of seconds errs by less than a millionth of a token.
    allowed = excess_seconds <= token_seconds * 1e-6
    stands = after if allowed else full_at
    remaining = math.floor((limit.window_seconds - (stands - now)) / token_seconds + 1e-6)
    return Decision(allowed, stands, remaining, stands - now, 0 if allowed else excess_seconds)


class RateLimiter:
    """The buckets of one process."""

    def __init__(self, buckets_limit: int = BUCKETS_LIMIT) -> None:
        """Know at most `buckets_limit` callers at a time."""
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._buckets_limit = buckets_limit

    def __len__(self) -> int:
        """How many callers it knows."""
        return len(self._full_at)

    def count(self, who: str, limit: Limit, now: float) -> Decision:
        """Count a request of `who` at `now` (monotonic seconds); one that is refused costs nothing."""
        decision = decide(limit, self._full_at.get(who, now), now)
        self._full_at[who] = decision.full_at
        self._full_at.move_to_end(who)
        if len(self._full_at) > self._buckets_limit:
            self._full_at.popitem(last=False)
        return decision


def count_request(request: Request, settings: Settings, who: str) -> None:
    """Count a request of `who` (a key or a user, as records call it); raises a 429 problem where it is one too many."""
    limit = Limit(settings.rate_limit_requests, settings.rate_limit_window_seconds)
    limiter: RateLimiter = request.app.state.rate_limiter
    decision = limiter.count(who, limit, clock.monotonic())
    setattr(request.state, STATE, _headers(limit, decision))
    if not decision.allowed:
        seconds = math.ceil(decision.retry_in_seconds)
        detail = (
            f"You may send {limit.requests} requests per {limit.window_seconds:g} s. Nothing was done; send this one "
            f"again in {seconds} s."
        )
        raise ProblemError(429, "rate_limited", detail, headers={"Retry-After": str(seconds)})


def headers_of(scope: Scope) -> Mapping[str, str]:
    """What the answer to this request says about its caller's limit; nothing where nobody was counted."""
    headers: Mapping[str, str] = scope.get("state", {}).get(STATE, {})
    return headers


def _headers(limit: Limit, decision: Decision) -> dict[str, str]:
    full_in_seconds = math.ceil(decision.full_in_seconds)
    return {"RateLimit-Policy": limit.policy, "RateLimit": f'"default";r={decision.remaining};t={full_in_seconds}'}
