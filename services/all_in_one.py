"""Every service in one process: the only module that knows them all."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog
from pydantic import SecretStr

from services.catalog.service import SERVICE as CATALOG
from services.console.service import ConsoleBefore
from services.inventory.service import SERVICE as INVENTORY
from services.notifier.service import SERVICE as NOTIFIER
from services.orders.service import SERVICE as ORDERS
from shared import clock
from shared.database import Database
from shared.embedded_postgres import EmbeddedPostgres
from shared.faults import is_infrastructure
from shared.migrations import upgrade
from shared.serve import OnReady, serve_services
from shared.service import Service, wait_for
from shared.settings import Settings

log = structlog.get_logger()

# Beside the database whose secrets it encrypts, so that they are moved and backed up together.
ENCRYPTION_KEY_FILE = "webhook-encryption-key"

SERVICES: tuple[Service, ...] = (CATALOG, ORDERS, INVENTORY, NOTIFIER)


def names_all_databases(settings: Settings) -> bool:
    """Whether the settings name a PostgreSQL for every service."""
    return bool(settings.dsn) or all(getattr(settings, f"{service.name}_dsn") for service in SERVICES)


def with_token_secret(settings: Settings) -> Settings:
    """Settings that sign users' tokens: as given, else with a secret made for this start, whose tokens end with it."""
    if settings.token_secret:
        return settings
    return settings.model_copy(update={"token_secret": (SecretStr(secrets.token_urlsafe(32)),)})


def with_encryption_key(settings: Settings) -> Settings:
    """Settings that encrypt webhook secrets: as given, else with a key that is made once and kept in `data_dir`."""
    if settings.webhook_encryption_key:
        return settings
    path = settings.data_dir / ENCRYPTION_KEY_FILE
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        # Written whole under another name first: a key that is cut short would be kept for ever.
        written = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(written, path)
        finally:
            written.unlink()
    return settings.model_copy(update={"webhook_encryption_key": (SecretStr(path.read_text(encoding="ascii")),)})


@asynccontextmanager
async def with_database(settings: Settings) -> AsyncIterator[Settings]:
    """Settings that name a database for every service: as given, else with an embedded PostgreSQL in `data_dir`."""
    if names_all_databases(settings):
        yield settings
        return
    async with EmbeddedPostgres(settings.data_dir) as dsn:
        yield settings.model_copy(update={"dsn": dsn})


@asynccontextmanager
async def database_of(service: str, settings: Settings) -> AsyncIterator[Database]:
    """The database of one service, given or embedded, for a command that needs no more of it.

    Raises `RuntimeError`, in words, when it does not answer, at the start or later, or was not migrated.
    """
    async with with_database(settings) as complete:
        database = Database(service, complete.dsn_of(service), pool_size=1)
        deadline = clock.monotonic() + settings.start_seconds
        try:
            await wait_for(f"{service}: the database", database.check, deadline)
            await wait_for(f"{service}: its schema", database.check_schema, deadline)
            yield database
        except Exception as error:
            if not is_infrastructure(error):
                raise
            message = f"{service}: the database: {getattr(error, 'orig', None) or error}"
            raise RuntimeError(message) from error
        finally:
            await database.close()


@asynccontextmanager
async def left_when(stop: asyncio.Event) -> AsyncIterator[None]:
    """Leave the block quietly once `stop` is set: for what takes long at the start."""
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - a coroutine always runs in a task

    async def cancel_when_set() -> None:
        await stop.wait()
        this.cancel()

    watching = asyncio.create_task(cancel_when_set())
    try:
        yield
    except asyncio.CancelledError:
        if not stop.is_set() or this.uncancel():
            raise
    finally:
        watching.cancel()


async def migrate(settings: Settings, services: tuple[Service, ...] = SERVICES) -> None:
    """Bring the schemas of these services to their newest version."""
    for service in services:
        dsn = settings.dsn_of(service.name)
        database = Database(service.name, dsn, pool_size=1)
        try:
            deadline = clock.monotonic() + settings.start_seconds
            await wait_for(f"{service.name}: the database", database.check, deadline)
        finally:
            await database.close()
        await upgrade(service.name, dsn)
        log.info("migrated", service=service.name)


async def up(settings: Settings, stop: asyncio.Event, *, on_ready: OnReady = lambda _: None) -> None:
    """Run everything until `stop` is set: database, migrations, the four services and the console on one port."""
    async with AsyncExitStack() as stack:
        async with left_when(stop):
            complete = await stack.enter_async_context(with_database(settings))
            await migrate(complete)
        if not stop.is_set():
            ready = with_encryption_key(with_token_secret(complete))
            console = ConsoleBefore()
            await stack.enter_async_context(console.running(ready))

            def answers(url: str) -> None:
                console.api_url = url
                on_ready(url)

            await serve_services(SERVICES, ready, stop, on_ready=answers, front=console)
