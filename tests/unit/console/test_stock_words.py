"""How a change of stock is typed, and told."""

import pytest

from services.console.pages.inventory.words import as_typed, change_in_words, typed_write


@pytest.mark.parametrize(
    ("text", "write"),
    [
        ("42", {"on_hand": 42}),
        (" 1,200 ", {"on_hand": 1200}),
        ("+5", {"adjustment": 5}),
        ("-3", {"adjustment": -3}),
        ("\N{MINUS SIGN}3", {"adjustment": -3}),
        ("=-3", {"on_hand": -3}),
        ("=7", {"on_hand": 7}),
    ],
)
def test_a_number_sets_and_a_signed_one_adjusts(text: str, write: dict[str, int]) -> None:
    assert typed_write(text, "on_hand") == write


@pytest.mark.parametrize("text", ["", "abc", "1.5", "1,5", "12,34", "--3", "+-3", "1e3", "4 2"])
def test_what_is_no_whole_number_is_refused_and_never_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        typed_write(text, "on_hand")


@pytest.mark.parametrize("units", [0, 42, -3])
def test_what_is_shown_to_begin_with_changes_nothing(units: int) -> None:
    assert typed_write(as_typed(units), "available") == {"available": units}


def test_what_would_change_is_told_for_both_numbers() -> None:
    level = {"on_hand": 40, "available": 37}
    assert change_in_words(level, {"available": 42}) == "On hand 40 → 45, available 37 → 42"
    assert change_in_words(level, {"on_hand": 40}) == "Nothing changes"
