"""Whose fault an error is: the infrastructure's (wait and try the same again) or the data's (set the message aside)."""

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# SQLSTATE classes (PostgreSQL, appendix A): connection, rollback by the server (serialisation, deadlock),
# insufficient resources, object not in prerequisite state (lock timeout), operator intervention, system error.
INFRASTRUCTURE_CLASSES = ("08", "40", "53", "55", "57", "58")
# Work that runs into the statement time limit is too big, and would be for ever: it is split like wrong data.
QUERY_CANCELED = "57014"


def is_infrastructure(error: BaseException) -> bool:
    """Whether the same work may succeed later, unchanged: the database or the network was away, or a lock was lost."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_infrastructure(inner) for inner in error.exceptions)
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return _is_infrastructure_state(str(state))
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    if isinstance(error, asyncpg.PostgresError):
        return _is_infrastructure_state(error.sqlstate or "")
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError | asyncpg.InterfaceError)


def _is_infrastructure_state(state: str) -> bool:
    return state.startswith(INFRASTRUCTURE_CLASSES) and state != QUERY_CANCELED
