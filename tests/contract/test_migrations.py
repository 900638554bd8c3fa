"""Migrations: from nothing to the tables of today, without drift, and back."""

import asyncio
import re
from uuid import UUID

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from services.all_in_one import SERVICES
from shared.messaging.bus import Message
from shared.messaging.dead_letters import identity
from shared.migrations import config_for, upgrade
from shared.scopes import AREA_SCOPES

NAMES = [service.name for service in SERVICES]


@pytest.mark.parametrize("service", NAMES)
async def test_an_empty_database_gets_the_tables_of_today(service: str, empty_database_dsn: str) -> None:
    await upgrade(service, empty_database_dsn)
    # Raises when a table, column, index or constraint differs from what `tables.py` says.
    await asyncio.to_thread(command.check, config_for(service, empty_database_dsn))


@pytest.mark.parametrize("service", NAMES)
async def test_a_migration_can_be_taken_back(service: str, empty_database_dsn: str) -> None:
    config = config_for(service, empty_database_dsn)
    await upgrade(service, empty_database_dsn)
    await asyncio.to_thread(command.downgrade, config, "base")
    connection = await asyncpg.connect(empty_database_dsn)
    try:
        left = "select tablename from pg_tables where schemaname = $1 and tablename <> 'alembic_version'"
        assert await connection.fetch(left, service) == []
    finally:
        await connection.close()
    await upgrade(service, empty_database_dsn)


async def test_all_services_live_in_one_database_without_meeting(empty_database_dsn: str) -> None:
    await asyncio.gather(*(upgrade(service, empty_database_dsn) for service in NAMES))
    await asyncio.gather(*(upgrade(service, empty_database_dsn) for service in NAMES))
    for service in NAMES:
        await asyncio.to_thread(command.check, config_for(service, empty_database_dsn))


@pytest.mark.parametrize("service", NAMES)
def test_migrations_stand_in_one_line_and_are_named_by_day_and_content(service: str) -> None:
    scripts = ScriptDirectory.from_config(config_for(service, "postgresql://nowhere"))
    assert len(scripts.get_heads()) == 1
    for revision in scripts.walk_revisions():
        assert re.fullmatch(r".*/\d{4}-\d{2}-\d{2}_[a-z0-9_]+\.py", revision.path), revision.path


@pytest.mark.parametrize("service", NAMES)
async def test_keys_of_before_there_were_areas_go_on_doing_everything(service: str, empty_database_dsn: str) -> None:
    config = config_for(service, empty_database_dsn)
    (first,) = ScriptDirectory.from_config(config).get_bases()
    await asyncio.to_thread(command.upgrade, config, first)
    connection = await asyncpg.connect(empty_database_dsn)
    try:
        add = f"""insert into {service}.api_keys (key_id, key_sha256, role, scopes, version)
            values (1, 'a', 'admin', '{{read,write}}', 1), (2, 'b', 'admin', '{{admin}}', 1)"""
        await connection.execute(add)
        await upgrade(service, empty_database_dsn)
        scopes = await connection.fetch(f"select scopes, version from {service}.api_keys order by key_id")
    finally:
        await connection.close()
    assert [tuple(row) for row in scopes] == [(list(AREA_SCOPES), 1), (["admin"], 1)]


@pytest.mark.parametrize("service", NAMES)
async def test_dead_letters_of_before_they_had_ids_stay(service: str, empty_database_dsn: str) -> None:
    config = config_for(service, empty_database_dsn)
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    (before,) = [one.down_revision for one in scripts if one.path.endswith("replies_and_dead_letters.py")]
    await asyncio.to_thread(command.upgrade, config, str(before))
    letters = [
        Message("m-1", "topic", "text/plain", b"{oops", user_id='sh"op'),
        Message("m-1", "topic", "text/plain", b"{oops again", user_id=None),
        Message("", "topic", "text/plain", b"\xff", user_id="\u00e4"),
    ]
    connection = await asyncpg.connect(empty_database_dsn)
    try:
        add = f"""insert into {service}.dead_letters (queue, message_id, body_sha256, topic, content_type, body,
            user_id, reason, dead_at) values ('q', $1, sha256($2), $3, $4, $2, $5, 'why',
            cast('2026-11-01' as timestamptz) + make_interval(secs => $6))"""
        for number, one in enumerate(letters):
            await connection.execute(add, one.message_id, one.body, one.topic, one.content_type, one.user_id, number)
        await upgrade(service, empty_database_dsn)
        found = await connection.fetch(
            f"select dead_letter_id, message_sha256 from {service}.dead_letters order by dead_letter_id"
        )
    finally:
        await connection.close()
    # In their order, and known again if they should be delivered once more.
    assert [row["message_sha256"] for row in found] == [identity(one) for one in letters]
    assert {UUID(str(row["dead_letter_id"])).version for row in found} == {7}


async def test_encrypted_secrets_stay_when_endpoints_ask_for_less_again(empty_database_dsn: str) -> None:
    config = config_for("notifier", empty_database_dsn)
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    (before,) = [one.down_revision for one in scripts if one.path.endswith("endpoints_that_ask_for_more.py")]
    await upgrade("notifier", empty_database_dsn)
    connection = await asyncpg.connect(empty_database_dsn)
    try:
        await connection.execute(
            """insert into notifier.endpoints (company_id, url, secret, window_seconds, state, version, created_at)
                values (2, 'https://shop.example/', 'gAAAAA', 0, 'active', 1, now())"""
        )
        await asyncio.to_thread(command.downgrade, config, str(before))
        await upgrade("notifier", empty_database_dsn)
        assert await connection.fetchval("select secret from notifier.endpoints") == "gAAAAA"
    finally:
        await connection.close()
