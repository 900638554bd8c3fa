"""What a server's address is in a URL, and where clients on its machine reach it."""

import pytest

from shared.serve import address_in_url, reached_at


@pytest.mark.parametrize(
    ("host", "listened", "called"),
    [
        ("127.0.0.1", "127.0.0.1:8000", "127.0.0.1:8000"),
        ("localhost", "localhost:8000", "localhost:8000"),
        ("0.0.0.0", "0.0.0.0:8000", "127.0.0.1:8000"),
        ("::1", "[::1]:8000", "[::1]:8000"),
        ("::", "[::]:8000", "[::1]:8000"),
        ("2001:db8::7", "[2001:db8::7]:8000", "[2001:db8::7]:8000"),
    ],
)
def test_an_address_in_a_url(host: str, listened: str, called: str) -> None:
    assert address_in_url(host, 8000) == listened
    assert reached_at(host, 8000) == called
