"""What calls say about an endpoint."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.notifier.domain.calls import Outcome
from services.notifier.domain.health import (
    CALL_PRODUCTS,
    DISABLED_AFTER,
    GONE_REASON,
    LEAST_FAILURES,
    Health,
    after_call,
    call_limit_after,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
FINE, BROKEN, REFUSED = Outcome(None, 204), Outcome("http", 503), Outcome("http", 400)
FAILED_ONCE = Health(failing_since=NOW - DISABLED_AFTER, failures=LEAST_FAILURES - 1, warned=3)


def after(
    health: Health, outcome: Outcome, *, products: int = 1, limit: int | None = None, at: datetime = NOW
) -> Health:
    return after_call(replace(health, rest_seconds=0, notices=()), outcome, products, limit, at)


def test_failures_in_a_row_are_counted_from_the_first_on_and_forgotten_with_a_delivery() -> None:
    first = after(Health(), BROKEN)
    assert (first.failing_since, first.failures) == (NOW, 1)
    second = after(first, Outcome("timeout"), at=NOW + timedelta(hours=1))
    assert (second.failing_since, second.failures) == (NOW, 2)
    assert after(second, FINE) == Health()


def test_the_longer_it_fails_the_longer_it_is_left_alone() -> None:
    health, rests = Health(), []
    for _ in range(6):
        health = after(health, BROKEN)
        rests.append(health.rest_seconds)
    assert rests == [5, 30, 120, 300, 300, 300]
    assert after(health, FINE).rest_seconds == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_refusal_that_is_about_the_call_lets_others_go_at_once_unless_nothing_else_comes(status: int) -> None:
    assert after(Health(), Outcome("http", status)).rest_seconds == 0
    asking = Outcome("http", status, retry_after_seconds=60)
    assert after(Health(), asking).rest_seconds == 60
    failing = Health(failing_since=NOW, failures=LEAST_FAILURES)
    assert after(failing, Outcome("http", status)).rest_seconds == 300


@pytest.mark.parametrize("status", [301, 408, 425, 429, 500])
def test_any_other_answer_gives_all_of_it_a_rest(status: int) -> None:
    assert after(Health(), Outcome("http", status)).rest_seconds == 5
    assert after(Health(), Outcome("http", status, retry_after_seconds=3600)).rest_seconds == 3600


def test_failures_of_our_own_are_not_counted() -> None:
    no_sockets = Outcome("refused", charged=False)
    assert after(Health(), no_sockets) == Health(rest_seconds=5)
    assert after(Health(), Outcome("late", charged=False)) == Health()
    assert after(FAILED_ONCE, no_sockets) == replace(FAILED_ONCE, rest_seconds=5)


def test_operators_are_warned_three_times_and_told_when_it_is_disabled() -> None:
    health, told = after(Health(), BROKEN), []
    for hour in range(1, 24 * 5 + 1):
        health = after(health, BROKEN, at=NOW + timedelta(hours=hour))
        told += [(hour, notice) for notice in health.notices]
        if hour < 24 * 5:
            assert health.reason is None
    assert told == [(60, "failing"), (90, "failing"), (108, "failing"), (120, "disabled")]
    assert health.reason == ("all of its last 121 calls failed, since 2026-11-28 12:00 UTC; the last one: http 503")


def test_a_warning_that_is_overdue_is_given_once() -> None:
    health = after(Health(), BROKEN)
    late = after(health, BROKEN, at=NOW + DISABLED_AFTER * 0.8)
    assert (late.warned, late.notices) == (2, ("failing",))


def test_one_that_was_hardly_called_is_not_disabled() -> None:
    failing = after(Health(), BROKEN)
    again = after(failing, BROKEN, at=NOW + 2 * DISABLED_AFTER)
    assert (again.failures, again.reason) == (2, None)
    assert after(FAILED_ONCE, BROKEN).reason is not None


def test_operators_hear_of_a_recovery_when_they_had_been_warned() -> None:
    assert after(FAILED_ONCE, FINE) == Health(notices=("recovered",))
    assert after(replace(FAILED_ONCE, warned=0), FINE) == Health()


def test_one_that_says_it_is_gone_is_disabled_at_once() -> None:
    gone = after(Health(), Outcome("http", 410))
    assert (gone.reason, gone.notices, gone.failures) == (GONE_REASON, ("disabled",), 1)


def test_a_refused_call_makes_the_next_ones_half_as_big() -> None:
    assert after(Health(), REFUSED, products=100).products_per_call == 50
    assert after(Health(products_per_call=50), Outcome("http", 413), products=7).products_per_call == 3
    assert after(Health(products_per_call=2), REFUSED, products=2).products_per_call == 1
    assert after(Health(), BROKEN, products=100).products_per_call == CALL_PRODUCTS
    assert after(Health(), REFUSED, products=1).products_per_call == CALL_PRODUCTS, "not too much: something is wrong"


def test_full_calls_that_are_delivered_make_them_grow_again() -> None:
    health, calls = Health(products_per_call=1), 0
    while health.products_per_call < CALL_PRODUCTS:
        grown = after(health, FINE, products=health.products_per_call)
        assert health.products_per_call < grown.products_per_call <= CALL_PRODUCTS
        health, calls = grown, calls + 1
    assert calls < 40
    assert after(health, FINE, products=CALL_PRODUCTS).products_per_call == CALL_PRODUCTS
    assert after(Health(products_per_call=20), FINE, products=19).products_per_call == 20, "that proves nothing"


def test_what_was_refused_before_is_no_measure_for_the_others() -> None:
    assert after(Health(), REFUSED, products=50, limit=50).products_per_call == CALL_PRODUCTS
    assert after(Health(products_per_call=1), FINE, products=1, limit=1).products_per_call == 1


def test_what_is_refused_is_alone_after_six_calls_until_it_is_delivered() -> None:
    limits, limit, products = [], None, CALL_PRODUCTS
    for _ in range(8):
        limit = call_limit_after(REFUSED, products, limit)
        assert limit is not None
        limits.append(limit)
        products = limit
    assert limits == [50, 25, 12, 6, 3, 1, 1, 1]
    assert call_limit_after(BROKEN, 12, 12) == 12
    assert call_limit_after(BROKEN, 100, None) is None
    assert call_limit_after(FINE, 1, 1) is None
