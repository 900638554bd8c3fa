"""A service's own PostgreSQL schema: its tables' registry, its engine, its transactions.

`Database.transaction()` is the only place that commits. Raw SQL needs no schema names: the search path is the service's
schema and nothing else, so a statement that reaches into another service's tables fails.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry

from shared.messaging import outbox

Session = AsyncSession

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# A statement that waits longer is stuck behind something that needs attention; its transaction is tried again.
LOCK_TIMEOUT_MILLISECONDS = 10_000
STATEMENT_TIMEOUT_MILLISECONDS = 60_000
# A session left open by a lost process must not hold its locks for longer than this.
IDLE_TIMEOUT_MILLISECONDS = 60_000


PLAN_ANEW = text("set local plan_cache_mode = force_custom_plan")


async def plan_anew(session: Session) -> None:
    """Plan each statement of this transaction for its own values and for the tables as they are, never as once before.

    For statements whose best plan depends on how much matches, or that also run while tables are being filled.
    """
    await session.execute(PLAN_ANEW)


def registry_in(schema: str) -> registry:
    """A registry of its own for the tables of one service, so that services may use the same names.

    The base class `class Table(SQLModel, registry=registry_in("orders")): __abstract__ = True` stands in the service's
    `tables.py`: type checkers do not follow a base class that a function returns.
    """
    return registry(metadata=MetaData(schema=schema, naming_convention=NAMING))


MOMENT = DateTime(timezone=True)
ZERO: dict[str, Any] = {"server_default": text("0")}


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """A column that only ever has one of these values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=f"{column}_known")


def async_url(dsn: str) -> str:
    """A `postgresql://` DSN as SQLAlchemy's asyncpg driver wants it (libpq's `sslmode` is its `ssl`)."""
    url = make_url(dsn).set(drivername="postgresql+asyncpg")
    mode = url.query.get("sslmode")
    if mode:
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url.render_as_string(hide_password=False)


class SchemaMissingError(Exception):
    """The database has not been migrated."""


class Database:
    """Engine and transactions of one service.

    Each of `outbox_written` is set after a commit that wrote outbox rows of its lane: the relays wait on them.
    """

    def __init__(self, service: str, dsn: str, *, pool_size: int) -> None:
        """Connect lazily to `dsn`, at most `pool_size` connections, in the schema named like the service."""
        self.service = service
        self._dsn = dsn
        self._aside: Database | None = None
        self.outbox_written = {lane: asyncio.Event() for lane in outbox.RELAYS}
        settings = {
            "search_path": service,
            "application_name": f"basestock-{service}-{os.getpid()}",
            "lock_timeout": str(LOCK_TIMEOUT_MILLISECONDS),
            "statement_timeout": str(STATEMENT_TIMEOUT_MILLISECONDS),
            "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MILLISECONDS),
            "timezone": "UTC",
            # Compiling takes longer than any statement here runs, and big batches cross its threshold.
            "jit": "off",
        }
        self._engine = create_async_engine(
            async_url(dsn),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            connect_args={"server_settings": settings, "timeout": 10},
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False, autoflush=False)
        self._open_session: Callable[[], Session | None] = lambda: None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """One transaction: commits when the block ends well, with the outbox rows of what it published."""
        outer = self._open_session()
        if outer is not None:
            async with _part_of(outer):
                yield outer
            return
        async with self._sessions() as session:
            async with session.begin():
                yield session
                wrote = await outbox.write(session)
            for lane in wrote:
                self.outbox_written[lane].set()

    @property
    def aside(self) -> "Database":
        """The same database over one connection more, for what is committed in the midst of a transaction.

        Whoever holds locks must not wait here for a connection: those who wait for the locks may have them all.
        """
        if self._aside is None:
            self._aside = Database(self.service, self._dsn, pool_size=1)
        return self._aside

    def within(self, open_session: Callable[[], Session | None]) -> "Database":
        """The same database, whose transactions are parts of the open one of this session, while there is one.

        A part that fails takes back what it did alone; what parts did is committed, and published, with the whole.
        """
        joining = copy(self)
        joining._open_session = open_session  # noqa: SLF001 - its own
        return joining

    async def check(self) -> None:
        """Raise whatever the driver raises unless the database answers (readiness)."""
        async with self._engine.connect() as connection:
            await connection.execute(text("select 1"))

    async def check_schema(self) -> None:
        """Raise `SchemaMissingError` unless the service's schema has been made."""
        async with self._engine.connect() as connection:
            found = await connection.execute(text("select to_regclass('alembic_version') is not null"))
            if not found.scalar_one():
                message = "it does not exist in this database; make it with `basestock migrate`"
                raise SchemaMissingError(message)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
        if self._aside is not None:
            await self._aside.close()


@asynccontextmanager
async def _part_of(session: Session) -> AsyncIterator[None]:
    published = outbox.count_pending(session)
    try:
        async with session.begin_nested():
            yield
    except BaseException:
        outbox.forget_pending(session, published)
        raise


def columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Rows as the arrays that `unnest` takes: `{name: [value of each row]}`."""
    return {name: [row[name] for row in rows] for name in names}


async def copy_in(session: Session, table: str, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows by PostgreSQL's binary COPY, in the session's transaction: a third of the cost of `unnest` arrays."""
    connection = await (await session.connection()).get_raw_connection()
    assert connection.driver_connection is not None  # noqa: S101 - only while it is being closed
    await connection.driver_connection.copy_records_to_table(table, records=rows, columns=names)
