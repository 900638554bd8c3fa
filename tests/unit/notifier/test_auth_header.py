"""Which headers an endpoint may ask for."""

import pytest

from services.notifier.domain.auth_header import wrong_name, wrong_value


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "x_key", "Cookie", "a" * 100])
def test_a_header_of_ones_own_may_be_sent(name: str) -> None:
    assert wrong_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Content-Type",
        "webhook-signature",
        "Webhook-Anything",
        "Transfer-Encoding",
        "connection",
        "User-Agent",
        "accept-encoding",
        "Proxy-Authorization",
        "Expect",
    ],
)
def test_what_is_ours_to_say_is_not(name: str) -> None:
    assert wrong_name(name) == f"{name} is set by us: choose another name, e.g. Authorization or X-Api-Key."


@pytest.mark.parametrize("name", ["", "X Key", "X:Key", "Schlüssel", "X\nKey", "a" * 101])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert "letters, digits" in str(wrong_name(name))


def test_a_value_is_visible_text_without_line_breaks() -> None:
    assert [wrong_value(value) for value in ("s", "Bearer abc=", "v" * 1000)] == [None] * 3
    for value in ("", " a", "a ", "a\r\nX: y", "a\tb", "ä", "\0", "v" * 1001):
        assert wrong_value(value) is not None, value
