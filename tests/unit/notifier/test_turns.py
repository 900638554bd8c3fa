"""When a product's turn comes again."""

import pytest

from services.notifier.domain.calls import (
    NOT_SENT,
    RETRY_AFTER_LIMIT_SECONDS,
    CallError,
    Outcome,
    Turn,
    disables,
    next_turn,
    webhook_id,
)

WINDOW_SECONDS = 900


def test_a_delivered_call_starts_a_window_and_forgets_failures() -> None:
    assert next_turn(Outcome(None, 204), 3, WINDOW_SECONDS) == Turn(WINDOW_SECONDS, 0)


@pytest.mark.parametrize("error", ["timeout", "reset", "http"])
def test_without_a_window_failures_are_followed_by_ever_longer_waits(error: CallError) -> None:
    assert [next_turn(Outcome(error), attempt, 0).delay_seconds for attempt in range(5)] == [5, 30, 120, 300, 300]
    assert next_turn(Outcome(error), 2, 60).delay_seconds == 120
    assert next_turn(Outcome(None, 204), 2, 0) == Turn(0, 0)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_that_asked_for_it_is_called_again_soon_after_it_refused(status: int) -> None:
    refused = Outcome("http", status)
    delays = [next_turn(refused, attempt, WINDOW_SECONDS, early_retry=True).delay_seconds for attempt in range(4)]
    assert delays == [30, 120, 300, 300]
    assert next_turn(refused, 0, WINDOW_SECONDS).delay_seconds == WINDOW_SECONDS
    asking = Outcome("http", status, retry_after_seconds=1200)
    assert next_turn(asking, 0, WINDOW_SECONDS, early_retry=True).delay_seconds == 1200
    assert next_turn(refused, 0, 20, early_retry=True).delay_seconds == 20, "never later than it would have been"


@pytest.mark.parametrize(
    "outcome", [Outcome("timeout"), Outcome("reset"), Outcome("http", 302), Outcome("http", 400), Outcome("http")]
)
def test_nobody_gives_up_the_window_for_what_was_not_refused_in_so_many_words(outcome: Outcome) -> None:
    assert next_turn(outcome, 0, WINDOW_SECONDS, early_retry=True).delay_seconds == WINDOW_SECONDS


@pytest.mark.parametrize("error", ["timeout", "reset", "http"])
def test_what_may_have_arrived_uses_up_the_window(error: CallError) -> None:
    assert next_turn(Outcome(error), 0, WINDOW_SECONDS) == Turn(WINDOW_SECONDS, 1)


@pytest.mark.parametrize("error", sorted(NOT_SENT))
def test_what_was_provably_not_sent_comes_again_sooner_and_then_ever_later(error: CallError) -> None:
    delays = [next_turn(Outcome(error), attempt, WINDOW_SECONDS).delay_seconds for attempt in range(6)]
    assert delays == [5, 30, 120, 300, 300, 300]


def test_retry_after_lengthens_the_wait_and_never_shortens_it() -> None:
    busy = Outcome("http", 429, retry_after_seconds=3600)
    hasty = Outcome("http", 503, retry_after_seconds=1)
    assert next_turn(busy, 0, WINDOW_SECONDS).delay_seconds == 3600
    assert next_turn(hasty, 0, WINDOW_SECONDS).delay_seconds == WINDOW_SECONDS


def test_retry_after_cannot_silence_an_endpoint_for_years() -> None:
    forever = Outcome("http", 503, retry_after_seconds=1e12)
    assert next_turn(forever, 0, WINDOW_SECONDS).delay_seconds == RETRY_AFTER_LIMIT_SECONDS


def test_only_410_disables() -> None:
    assert disables(Outcome("http", 410))
    assert not any(disables(Outcome("http", status)) for status in (400, 404, 429, 500))


def test_the_id_of_a_call_is_that_of_the_state_it_tells() -> None:
    first = webhook_id(7, [(100, "3"), (101, "5")])
    assert first == webhook_id(7, [(101, "5"), (100, "3")])
    assert len({first, webhook_id(8, [(100, "3"), (101, "5")]), webhook_id(7, [(100, "4"), (101, "5")])}) == 3
    assert "." not in first
