"""Whose fault an error is: the infrastructure's (wait and try the same again) or the data's (set the message aside)."""

import errno
import socket
import ssl

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# SQLSTATE classes (PostgreSQL, appendix A): connection, rollback by the server (serialisation, deadlock),
# insufficient resources, object not in prerequisite state (lock timeout), operator intervention, system error.
INFRASTRUCTURE_CLASSES = ("08", "40", "53", "55", "57", "58")
# Work that runs into the statement time limit is too big, and would be for ever: it is split like wrong data.
QUERY_CANCELED = "57014"
# Of the operating system's errors only these are about the way to a server, or pass: a handler that misses a file
# would wait for ever. Where Python knows it, connection lost and timed out have types of their own.
INFRASTRUCTURE_TYPES = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
INFRASTRUCTURE_ERRNOS = {
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL),
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
}


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
    if isinstance(error, OSError):
        return isinstance(error, INFRASTRUCTURE_TYPES) or _is_infrastructure_errno(error)
    return isinstance(error, PoolTimeoutError | asyncpg.InterfaceError)


def is_query_cancelled(error: BaseException) -> bool:
    """Whether a statement ran into its time limit (or somebody cancelled it): half of the work may succeed."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) == QUERY_CANCELED


def _is_infrastructure_state(state: str) -> bool:
    return state.startswith(INFRASTRUCTURE_CLASSES) and state != QUERY_CANCELED


def _is_infrastructure_errno(error: OSError) -> bool:
    if error.errno is None:  # asyncio, when it could not connect to any of a host's addresses
        return type(error) is OSError
    if error.errno == errno.ENOENT:  # a server's Unix socket is not there, which names no file; opening a file does
        return error.filename is None
    return error.errno in INFRASTRUCTURE_ERRNOS
