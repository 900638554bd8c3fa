"""Whose fault an error is decides whether work waits or is set aside."""

import errno
import socket
import ssl

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from shared.faults import is_infrastructure


class DriverError(Exception):
    """What the driver raised, with PostgreSQL's SQLSTATE."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "why"),
    [
        ("08006", "connection lost"),
        ("40P01", "deadlock"),
        ("40001", "serialisation"),
        ("53300", "too many connections"),
        ("55P03", "lock timeout"),
        ("57P01", "the server is shutting down"),
        ("57P03", "the server is starting up"),
    ],
)
def test_the_infrastructures(sqlstate: str, why: str) -> None:
    assert is_infrastructure(DBAPIError("select 1", None, DriverError(sqlstate))), why


@pytest.mark.parametrize(
    ("sqlstate", "why"),
    [("23505", "unique violation"), ("22003", "number out of range"), ("57014", "statement timeout: too much work")],
)
def test_the_datas(sqlstate: str, why: str) -> None:
    assert not is_infrastructure(IntegrityError("select 1", None, DriverError(sqlstate))), why


def test_others() -> None:
    assert is_infrastructure(ConnectionRefusedError())
    assert is_infrastructure(TimeoutError())
    assert is_infrastructure(asyncpg.CannotConnectNowError())
    assert not is_infrastructure(ValueError("quantity"))
    assert not is_infrastructure(KeyError("line"))
    assert is_infrastructure(ExceptionGroup("both", [OSError(), TimeoutError()]))
    assert not is_infrastructure(ExceptionGroup("one of them", [OSError(), ValueError()]))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol"),
        OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 5432)"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),  # a Unix socket whose server is away
    ],
)
def test_a_server_that_cannot_be_reached_is_waited_for(error: OSError) -> None:
    assert is_infrastructure(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "rates.csv"),
        FileNotFoundError("rates.csv"),
        PermissionError(errno.EACCES, "Permission denied", "rates.csv"),
        IsADirectoryError(errno.EISDIR, "Is a directory", "rates"),
        OSError(errno.EINVAL, "Invalid argument"),
    ],
)
def test_a_handler_that_misses_a_file_does_not_wait_for_ever(error: OSError) -> None:
    assert not is_infrastructure(error)
