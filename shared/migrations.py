"""Migrations with Alembic: each service owns its schema, its `alembic_version` and its history.

`run` is the whole body of every service's `migrations/env.py`; `upgrade` is what `basestock migrate` and tests call.
"""

import asyncio
from pathlib import Path
from threading import Lock

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.database import async_url
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
# A migration that waits longer for a lock blocks everybody who queues behind it: better to fail and try again.
LOCK_TIMEOUT_MILLISECONDS = 5_000
# Alembic keeps what it is doing in globals of its module.
_ONE_AT_A_TIME = Lock()


def config_for(service: str, dsn: str) -> Config:
    """Alembic's configuration of one service, for its database."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services" / service / "migrations"))
    config.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d_%%(slug)s")
    config.attributes["dsn"] = dsn
    return config


async def upgrade(service: str, dsn: str) -> None:
    """Bring the service's schema to the newest version, creating it where it does not exist."""
    await asyncio.to_thread(_upgrade, config_for(service, dsn))


def _upgrade(config: Config) -> None:
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")


def run(metadata: MetaData) -> None:
    """Run Alembic's current command for the service that owns `metadata`."""
    dsn = context.config.attributes.get("dsn") or Settings().dsn_of(str(metadata.schema))
    asyncio.run(_run(metadata, dsn))


async def _run(metadata: MetaData, dsn: str) -> None:
    engine = create_async_engine(async_url(dsn), poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate, metadata)
    finally:
        await engine.dispose()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    schema = metadata.schema
    connection.execute(text(f"set lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}"))
    # Two processes that start at once migrate one after the other.
    connection.execute(text("select pg_advisory_lock(hashtext(:name))"), {"name": f"basestock.{schema}"})
    connection.execute(text(f'create schema if not exists "{schema}"'))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == schema,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
