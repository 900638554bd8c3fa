"""What calls say about an endpoint: whether it fails, since when, how long to leave it alone, how much it takes.

Refusals (400, 413) say that something in the call is wrong, or that it is too much. The products of such a call may
have been heard of, so each of them waits for its window (P1). Which of the two it is shows in the next calls:

* The products of a refused call go on in calls of half as many (`call_limit`, kept with each product), apart from all
  others. So after six windows one that no call may hold (100, 50, 25, 12, 6, 3, 1) is alone and stays so until it is
  delivered, and its neighbours have been. If only the endpoint knew a size, a delivery of other products would raise
  it while the refused ones wait for their window: these would go together again, and be refused together for ever.
* Calls of products that were not refused shrink too (`products_per_call`), as an endpoint that takes no more than
  twelve should not be offered a hundred each time. Only their own refusals shrink them: a product that is refused
  again and again, alone or not, costs the others nothing. A delivery of a full call lets them grow by an eighth, so
  that from one to a hundred it takes some thirty calls. If they doubled, an endpoint with a limit would be offered too
  much in every other call, and what it refuses waits for a window.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from services.notifier.domain.calls import (
    CLIENT_ERRORS,
    SERVER_ERRORS,
    TOO_MANY_REQUESTS,
    Outcome,
    back_off_seconds,
    disables,
)

# A call's products at most (architecture.md section 8).
CALL_PRODUCTS = 100
GROWTH = 8
DISABLED_AFTER = timedelta(days=5)
# Fewer in a row do not disable an endpoint however long ago the first one was: it was hardly called meanwhile (paused,
# not connected, or we were away).
LEAST_FAILURES = 10
# At these parts of the time until then operators are warned.
WARNED_AT = (0.5, 0.75, 0.9)
# Explicit 4xx that are about the moment and not about the call.
TIMED_OUT, TOO_EARLY = 408, 425
GONE_REASON = "it answered 410 Gone"

Notice = Literal["failing", "disabled", "recovered"]


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint's calls went lately.

    `failing_since` is when the first of its `failures` in a row came, `warned` how many of the warnings were given.
    `rest_seconds` is how long to leave it alone from now. `reason` disables it. `notices` are what operators are told.
    """

    failing_since: datetime | None = None
    failures: int = 0
    warned: int = 0
    products_per_call: int = CALL_PRODUCTS
    rest_seconds: float = 0
    reason: str | None = None
    notices: tuple[Notice, ...] = ()


def after_call(health: Health, outcome: Outcome, products: int, call_limit: int | None, now: datetime) -> Health:
    """What a call that ended `now` with this outcome makes of the endpoint's health.

    It carried so many `products`, whose own limit was `call_limit` (`None`: they had not been refused before).
    """
    if call_limit is None:
        health = replace(health, products_per_call=_size_after(outcome, products, health.products_per_call))
    if outcome.delivered:
        recovered: tuple[Notice, ...] = ("recovered",) if health.warned else ()
        return replace(health, failing_since=None, failures=0, warned=0, notices=health.notices + recovered)
    rest_seconds = max(health.rest_seconds, _rest_seconds(outcome, health.failures))
    if not outcome.charged:
        return replace(health, rest_seconds=rest_seconds)
    failed = replace(
        health,
        failing_since=health.failing_since or now,
        failures=health.failures + 1,
        rest_seconds=rest_seconds,
    )
    return _judged(failed, outcome, now)


def call_limit_after(outcome: Outcome, products: int, call_limit: int | None) -> int | None:
    """The most products that may go together with one of this call's next time; `None` for as many as any."""
    if outcome.delivered:
        return None
    return max(1, products // 2) if outcome.is_refused_as_it_is else call_limit


def _judged(health: Health, outcome: Outcome, now: datetime) -> Health:
    since = health.failing_since or now
    if health.reason is not None:
        return health
    if disables(outcome):
        return replace(health, reason=GONE_REASON, notices=(*health.notices, "disabled"))
    if now - since >= DISABLED_AFTER and health.failures >= LEAST_FAILURES:
        reason = (
            f"all of its last {health.failures} calls failed, since {since:%Y-%m-%d %H:%M} UTC; the last one: "
            f"{error_in_words(outcome)}"
        )
        return replace(health, reason=reason, notices=(*health.notices, "disabled"))
    warned = sum(now - since >= DISABLED_AFTER * part for part in WARNED_AT)
    if warned <= health.warned:
        return health
    return replace(health, warned=warned, notices=(*health.notices, "failing"))


def error_in_words(outcome: Outcome) -> str:
    """What went wrong, without anything that the endpoint's address may hold."""
    return f"{outcome.error} {outcome.status}" if outcome.status is not None else str(outcome.error)


def _rest_seconds(outcome: Outcome, failures: int) -> float:
    """How long all of the endpoint's products wait, so that thousands of them do not hammer what is broken.

    An explicit 4xx is about the call and not about the endpoint, unless it is all that comes; being late is about us.
    """
    is_about_the_call = (
        outcome.status is not None
        and failures < LEAST_FAILURES
        and CLIENT_ERRORS <= outcome.status < SERVER_ERRORS
        and outcome.status not in {TIMED_OUT, TOO_EARLY, TOO_MANY_REQUESTS}
    )
    if is_about_the_call or outcome.error == "late":
        return outcome.asked_for_peace_seconds
    return max(back_off_seconds(failures if outcome.charged else 0), outcome.asked_for_peace_seconds)


def _size_after(outcome: Outcome, products: int, products_per_call: int) -> int:
    if outcome.delivered and products >= products_per_call:
        return min(CALL_PRODUCTS, products_per_call + max(1, products_per_call // GROWTH))
    if outcome.is_refused_as_it_is and products > 1:
        return min(products_per_call, max(1, products // 2))
    return products_per_call
