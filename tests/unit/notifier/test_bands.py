"""Bands of stock, and which ways between them an endpoint asked to be told of."""

import pytest

from services.notifier.domain.bands import ENOUGH, LOW, OUT, band, crossings, is_asked_for
from shared.events.inventory import Crossing


@pytest.mark.parametrize(
    ("available", "threshold", "expected"),
    [
        (-3, None, OUT),
        (0, None, OUT),
        (0, 5, OUT),
        (1, 5, LOW),
        (5, 5, LOW),
        (6, 5, ENOUGH),
        (1, None, ENOUGH),
        (1, 0, ENOUGH),
    ],
)
def test_where_a_quantity_lies(available: int, threshold: int | None, expected: int) -> None:
    assert band(available, threshold) == expected


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        (ENOUGH, LOW, {"low"}),
        (ENOUGH, OUT, {"low", "out"}),
        (LOW, OUT, {"out"}),
        (OUT, LOW, {"back_in_stock"}),
        (OUT, ENOUGH, {"back_in_stock", "recovered"}),
        (LOW, ENOUGH, {"recovered"}),
        (OUT, OUT, set()),
        (LOW, LOW, set()),
        (ENOUGH, ENOUGH, set()),
    ],
)
def test_what_is_passed_between_two_bands(before: int, after: int, passed: set[Crossing]) -> None:
    assert crossings(before, after) == passed


def test_whoever_may_know_either_of_two_bands_is_told_of_the_way_from_each() -> None:
    assert is_asked_for(["out"], [ENOUGH], OUT)
    assert not is_asked_for(["out"], [OUT], OUT)
    # It may have heard that it is out, and now it is not.
    assert is_asked_for(["back_in_stock"], [ENOUGH, OUT], ENOUGH)
    assert not is_asked_for(["out"], [ENOUGH, OUT], ENOUGH)
