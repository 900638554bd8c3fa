"""Whose fault an error is decides whether work waits or is set aside."""

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
