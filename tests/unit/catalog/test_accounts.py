"""What is decided about users: addresses, passwords, the last owner, the end of a session."""

from datetime import UTC, datetime, timedelta

import pytest

from services.catalog.accounts import email_key, is_last_owner, may_be_renewed, normal_email, prepared_password

NINE = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ann@Shop.Example ", "Ann@shop.example"),
        ("ann+stock@shop.example", "ann+stock@shop.example"),
        ("ann@xn--mller-kva.example", "ann@müller.example"),
        ("jose\u0301@shop.example", "jos\u00e9@shop.example"),
    ],
)
def test_an_address_has_one_spelling(typed: str, kept: str) -> None:
    assert normal_email(typed) == kept


@pytest.mark.parametrize("typed", ["", "ann", "ann@", "@shop.example", "ann@shop", "a b@shop.example", "a@b@c.example"])
def test_what_is_no_address_is_refused_in_words(typed: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        normal_email(typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann@Shop.example", " ann@shop.EXAMPLE"),
        ("ann@müller.example", "ANN@xn--mller-kva.example"),
        ("JOSE\u0301@shop.example", "jos\u00e9@shop.example"),
        ("STRASSE@shop.example", "straße@shop.example"),
        ("not an address @", "NOT an address @ "),
    ],
)
def test_addresses_are_compared_as_people_do(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)
    assert email_key(one) != email_key("x" + other)


def test_a_password_is_the_same_from_every_keyboard_and_its_case_counts() -> None:
    assert prepared_password("jose\u0301 and twelve") == prepared_password("jos\u00e9 and twelve")
    assert prepared_password("Correct horse") != prepared_password("correct horse")
    assert prepared_password(" correct horse") != prepared_password("correct horse")


def test_the_last_owner_is_the_one_without_whom_there_is_none() -> None:
    assert is_last_owner(1, [1])
    assert not is_last_owner(1, [1, 2])
    assert not is_last_owner(1, [2])


def test_a_session_lasts_a_working_day() -> None:
    assert may_be_renewed(NINE, NINE + timedelta(hours=11, minutes=59))
    assert not may_be_renewed(NINE, NINE + timedelta(hours=12))
