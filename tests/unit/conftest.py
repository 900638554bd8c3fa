"""Unit tests do no I/O: whoever opens a connection or looks up a name fails at once."""

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> NoReturn:
        # Not an Exception, so that no retry or `except OSError` of the code under test hides it.
        pytest.fail(f"a unit test opened a connection ({arguments[-1]!r}); it belongs in tests/integration")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
