"""How often a key or a user may ask: a burst at once, the rate after that, never more, and never less."""

from hypothesis import given
from hypothesis import strategies as st

from shared.rate_limit import Limit, RateLimiter, decide

KEY, OTHER_KEY = "key 7", "key 8"
THREE_A_MINUTE = Limit(requests=3, window_seconds=60)

# Buckets that these few requests can empty, and some that they cannot.
limits = st.builds(Limit, st.integers(1, 6) | st.integers(1, 10_000), st.floats(0.01, 86_400))
# In windows: mostly so short that the bucket is emptied, at times long enough to fill it again.
pauses = st.lists(st.sampled_from([0, 0, 0, 0.001, 0.1, 0.5, 3]) | st.floats(0, 1), min_size=1, max_size=40)
starts = st.floats(0, 10_000_000)


@given(limits, starts, pauses)
def test_never_more_than_the_burst_and_the_rate_times_the_time(limit: Limit, start: float, pauses: list[float]) -> None:
    limiter, now = RateLimiter(), start
    passed_at: list[float] = []
    for pause in pauses:
        now += pause * limit.window_seconds
        if limiter.count(KEY, limit, now).allowed:
            passed_at.append(now)
    for first, began in enumerate(passed_at):
        for count, ended in enumerate(passed_at[first:], 1):
            filled_in = (ended - began) * limit.requests / limit.window_seconds
            assert count <= limit.requests + filled_in + 0.001


@given(limits, starts, pauses)
def test_what_is_said_to_remain_passes_and_what_is_refused_passes_when_it_was_said(
    limit: Limit, start: float, pauses: list[float]
) -> None:
    full_at, now = start, start
    for pause in pauses:
        now += pause * limit.window_seconds
        decision = decide(limit, full_at, now)
        assert 0 <= decision.remaining < limit.requests
        assert 0 <= decision.full_in_seconds <= limit.window_seconds * 1.001
        if decision.remaining:
            assert decide(limit, decision.full_at, now).allowed
        if not decision.allowed:
            assert decision.full_at == full_at, "a refused request costs nothing"
            # A clock of seconds since long ago is exact to some ten nanoseconds.
            assert decide(limit, full_at, now + decision.retry_in_seconds + 1e-7).allowed
        full_at = decision.full_at


def test_a_burst_then_one_for_every_twenty_seconds() -> None:
    limiter = RateLimiter()
    burst = [limiter.count(KEY, THREE_A_MINUTE, 1000) for _ in range(4)]
    assert [(one.allowed, one.remaining) for one in burst] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert burst[3].retry_in_seconds == 20
    assert not limiter.count(KEY, THREE_A_MINUTE, 1019).allowed
    assert limiter.count(KEY, THREE_A_MINUTE, 1020).allowed
    assert not limiter.count(KEY, THREE_A_MINUTE, 1020).allowed
    assert limiter.count(KEY, THREE_A_MINUTE, 2000).remaining == 2


def test_callers_are_counted_by_themselves() -> None:
    limiter = RateLimiter()
    for _ in range(4):
        last = limiter.count(KEY, THREE_A_MINUTE, 1000)
    assert not last.allowed
    assert limiter.count(OTHER_KEY, THREE_A_MINUTE, 1000).allowed
    assert limiter.count("user 7", THREE_A_MINUTE, 1000).allowed


def test_it_remembers_the_callers_that_asked_last() -> None:
    limiter = RateLimiter(buckets_limit=2)
    for who in ("key 1", "key 2", "key 1", "user 3"):
        limiter.count(who, THREE_A_MINUTE, 1000)
    assert len(limiter) == 2
    assert limiter.count("key 1", THREE_A_MINUTE, 1000).remaining == 0, "asked twice before"
    assert limiter.count("key 2", THREE_A_MINUTE, 1000).remaining == 2, "forgotten"
