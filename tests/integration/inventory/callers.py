"""Who calls inventory's API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from services.inventory.service import SERVICE
from shared.access import sha256_of
from shared.catalog_view import keep_api_keys
from shared.events.catalog import ApiKeyChanged, KeyRole
from shared.messaging.bus import Message
from shared.messaging.in_process import InProcessBus
from shared.scopes import AREA_SCOPES
from shared.settings import Settings
from tests.app import Client, serving
from tests.integration.inventory.world import RETAILER, SUPPLIER, World, stock_product

ADMIN_KEY = "bsk_the_platform_admin"
OTHER_SUPPLIER = 4
FOREIGN = stock_product(900, "T01-S", owner_id=OTHER_SUPPLIER, barcode="5000")


@dataclass(frozen=True, slots=True)
class Callers:
    """One client for each who may call."""

    supplier: Client
    other_supplier: Client
    retailer: Client
    admin: Client


def key(key_id: int, company_id: int, role: KeyRole) -> ApiKeyChanged:
    return ApiKeyChanged(
        key_id=key_id,
        key_sha256=sha256_of(f"bsk_{key_id}"),
        company_id=company_id,
        role=role,
        scopes=AREA_SCOPES,
        version=1,
    )


class SilentBus(InProcessBus):
    """Takes nothing: what is published stays in the outbox, where a world reads it (`World.told`)."""

    async def publish(self, exchange: str, messages: Sequence[Message]) -> dict[str, str]:
        return {message.message_id: f"nobody listens to {exchange} here" for message in messages}


@asynccontextmanager
async def served(world: World, dsn: str, **changed: Any) -> AsyncIterator[Callers]:  # noqa: ANN401 - any setting
    """Serve the inventory of this world under these settings, with another supplier's product 900 added."""
    keys = [key(7, SUPPLIER, "supplier"), key(8, OTHER_SUPPLIER, "supplier"), key(9, RETAILER, "retailer")]
    async with world.database.transaction() as session:
        await keep_api_keys(session, keys)
    await world.hear(FOREIGN)
    settings = Settings(dsn=dsn, admin_key=SecretStr(ADMIN_KEY), **changed)
    bus = SilentBus(publish_timeout_seconds=10)
    async with (
        serving([SERVICE], settings, bus) as url,
        Client(url, "bsk_7") as supplier,
        Client(url, "bsk_8") as other_supplier,
        Client(url, "bsk_9") as retailer,
        Client(url, ADMIN_KEY) as admin,
    ):
        yield Callers(supplier, other_supplier, retailer, admin)
    await bus.close()
