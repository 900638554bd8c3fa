"""Notifier as it runs in production, with callers' keys, for tests of its API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from services.notifier import handlers
from services.notifier.service import SERVICE
from shared import clock
from shared.access import new_key, sha256_of
from shared.catalog_view import keep_api_keys, keep_companies
from shared.database import Database
from shared.events import SINGLE, encode
from shared.events.catalog import ApiKeyChanged, CompanyChanged, KeyRole
from shared.events.inventory import StockChanged
from shared.messaging.bus import EVENTS_EXCHANGE, Message
from shared.messaging.in_process import InProcessBus
from shared.scopes import AREA_SCOPES
from tests.app import Client, serving
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SEEDS,
    SUPPLIER_A,
    connection,
    notifier_settings,
)

ADMIN_KEY = "bsk_the-platform-admin"
DEADLINE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Running:
    """A running notifier, its bus and its callers' keys."""

    url: str
    bus: InProcessBus
    database: Database
    keys: dict[int, str]

    def client(self, company_id: int) -> Client:
        """A client with the company's key."""
        return Client(self.url, self.keys[company_id])

    async def wait_for_rows(self, count: int, query: str) -> None:
        """Return once the query finds `count` rows; fails after a while."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            found = -1
            while found != count:
                async with self.database.transaction() as session:
                    found = len((await session.execute(text(query))).all())

    async def publish(self, *events: StockChanged) -> None:
        """Publish stock events as inventory does."""
        messages = [
            Message(
                message_id=str(clock.uuid7()),
                topic=event.name,
                content_type=SINGLE,
                body=encode(event, str(clock.uuid7()), clock.utc_now(), None),
            )
            for event in events
        ]
        assert not await self.bus.publish(EVENTS_EXCHANGE, messages)


@asynccontextmanager
async def running_notifier(dsn: str, **changed: Any) -> AsyncIterator[Running]:  # noqa: ANN401 - any setting
    """Notifier with the companies and products of the seeds."""
    settings = notifier_settings(dsn, admin_key=ADMIN_KEY, **changed)
    bus = InProcessBus(publish_timeout_seconds=settings.publish_timeout_seconds)
    async with serving([SERVICE], settings, bus) as url:
        keys = {company_id: new_key() for company_id in (SUPPLIER_A, RETAILER_A, RETAILER_B)}
        database = Database("notifier", dsn, pool_size=2)
        async with database.transaction() as session:
            await keep_companies(session, [_company(SUPPLIER_A, "supplier"), _company(RETAILER_A, "retailer")])
            await keep_companies(session, [_company(RETAILER_B, "retailer")])
            await keep_api_keys(session, [_key(company_id, key) for company_id, key in keys.items()])
            await handlers.copy_connections(session, [connection("active", 1)])
            await handlers.copy_products(session, SEEDS)
        yield Running(url, bus, database, keys)
        await database.close()
    await bus.close()


def _role(company_id: int) -> KeyRole:
    return "supplier" if company_id == SUPPLIER_A else "retailer"


def _company(company_id: int, role: KeyRole) -> CompanyChanged:
    return CompanyChanged(company_id=company_id, ref=f"c{company_id}", display_name="", role=role, version=1)


def _key(company_id: int, key: str) -> ApiKeyChanged:
    return ApiKeyChanged(
        key_id=company_id,
        key_sha256=sha256_of(key),
        company_id=company_id,
        role=_role(company_id),
        scopes=AREA_SCOPES,
        version=1,
    )
