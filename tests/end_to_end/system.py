"""The whole system over a real port, with the seeds' fixture loaded through the public API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import aio_pika
from sqlalchemy import text

from services.all_in_one import SERVICES
from shared.database import Database
from shared.messaging.bus import Bus
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY, Client, serving
from tests.receiver import Receiver, receiver

ADMIN_KEY = "bsk_the-admin-of-the-tests"
TOKEN_SECRET = "the secret of these tests' tokens"
SUPPLIER, RETAILER = 1, 2
# Every queue of the system, to be emptied before a test that shares its broker with others.
QUEUES = [
    "catalog.inventory",
    "catalog.notifier",
    "catalog.orders",
    "inventory.catalog",
    "inventory.catalog.urgent",
    "inventory.orders",
    "notifier.catalog",
    "notifier.catalog.urgent",
    "notifier.inventory",
    "notifier.orders",
    "orders.catalog",
    "orders.catalog.urgent",
    "orders.inventory",
    "orders.submitted",
]

SIZES = {"Small": ("T01-S", 100), "Large": ("T01-L", 101)}
PRODUCTS: list[dict[str, Any]] = [
    {"id": 100, "owner_id": SUPPLIER, "sku": "T01-S", "name": "T-shirt, S", "type": "stock"},
    {"id": 101, "owner_id": SUPPLIER, "sku": "T01-L", "name": "T-shirt, L", "type": "stock"},
    {
        "id": 102,
        "owner_id": SUPPLIER,
        "sku": "T01",
        "name": "T-shirt with a print",
        "type": "customisable",
        "variants": [
            {"sku": sku, "attributes": [{"name": "Size", "value": size}], "base_stock_product_id": base}
            for size, (sku, base) in SIZES.items()
        ],
    },
    {"id": 200, "owner_id": SUPPLIER, "sku": "S7", "name": "S7 case", "type": "stock"},
    {
        "id": 201,
        "owner_id": SUPPLIER,
        "sku": "S7",
        "name": "S7 case, printed",
        "type": "customisable",
        "base_stock_product_id": 200,
    },
    {"id": 202, "owner_id": SUPPLIER, "sku": "S7", "name": "S7 case, the shortcut", "type": "stock_customisable"},
    {"id": 300, "owner_id": RETAILER, "sku": "T01", "name": "Our T-shirt", "type": "virtual", "base_product_id": 102},
]


@dataclass(frozen=True, slots=True)
class System:
    """A running Basestock with Supplier A, Retailer A and the seeds' products; `webhooks` is Retailer A's receiver."""

    url: str
    dsn: str
    admin: Client
    supplier: Client
    retailer: Client
    webhooks: Receiver

    async def available(self, product_id: int) -> int:
        """What can be sold of a base stock product, as its supplier reads it."""
        answer = await self.supplier.get(f"/v1/stock/{product_id}")
        assert answer.status == 200, answer.body
        available: int = answer.body["available"]
        return available

    async def set_on_hand(self, product_id: int, on_hand: int) -> None:
        """Count a base stock product."""
        body = {"on_hand": on_hand, "reason": "counted"}
        answer = await self.supplier.post(f"/v1/stock/{product_id}/adjustments", body)
        assert answer.status == 200, answer.body

    async def rows(self, service: str, query: str) -> list[Any]:
        """What a query finds in a service's schema."""
        return await rows_of(self.dsn, service, query)


async def rows_of(dsn: str, service: str, query: str) -> list[Any]:
    """What a query finds in a service's schema."""
    database = Database(service, dsn, pool_size=2)
    try:
        async with database.transaction() as session:
            result = await session.execute(text(query))
            return list(result.all()) if result.returns_rows else []  # type: ignore[attr-defined] # a cursor's has it
    finally:
        await database.close()


async def eventually(what: str, holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until `holds` does; fails with `what` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        message = f"not within {seconds} s: {what}"
        raise AssertionError(message) from None


async def delete_queues(broker_url: str) -> None:
    """Leave nothing of earlier tests on the broker."""
    async with await aio_pika.connect(broker_url) as connection, connection.channel() as channel:
        for queue in QUEUES:
            await channel.queue_delete(queue)
            await channel.queue_delete(f"{queue}.dead")


@asynccontextmanager
async def running_system(dsn: str, bus: Bus, retailer_ref: str) -> AsyncIterator[System]:
    """Run everything on `bus`, with the fixture; `retailer_ref` is also Retailer A's user name at the broker."""
    settings = Settings(
        dsn=dsn,
        admin_key=ADMIN_KEY,
        token_secret=TOKEN_SECRET,
        webhook_encryption_key=ENCRYPTION_KEY,
        webhook_allow_networks=(ip_network("127.0.0.0/8"),),
        _env_file=None,
    )
    async with (
        serving(SERVICES, settings, bus) as url,
        with_seeds(url, dsn, lambda key: Client(url, key), ADMIN_KEY, retailer_ref) as system,
    ):
        yield system


@asynccontextmanager
async def with_seeds(
    url: str, dsn: str, client: Callable[[str], Client], admin_key: str, retailer_ref: str
) -> AsyncIterator[System]:
    """Load the fixture into a running Basestock; `client` makes one for a key."""
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(client(admin_key))
        keys = await _companies(admin, retailer_ref)
        supplier = await stack.enter_async_context(client(keys[SUPPLIER]))
        retailer = await stack.enter_async_context(client(keys[RETAILER]))
        for product in PRODUCTS:
            answer = await admin.post("/v1/products", product)
            assert answer.status == 201, answer.body
        await _until_known(supplier, retailer)
        webhooks = await stack.enter_async_context(receiver())
        yield System(url, dsn, admin, supplier, retailer, webhooks)


async def _companies(admin: Client, retailer_ref: str) -> dict[int, str]:
    keys = {}
    for number, ref, name, role in (
        (SUPPLIER, "supplier-a", "Supplier A", "supplier"),
        (RETAILER, retailer_ref, "Retailer A", "retailer"),
    ):
        answer = await admin.post("/v1/companies", {"id": number, "ref": ref, "name": name, "role": role})
        assert answer.status == 201, answer.body
        answer = await admin.post(f"/v1/companies/{number}/api-keys", {})
        assert answer.status == 201, answer.body
        keys[number] = answer.body["key"]
    answer = await admin.post("/v1/connections", {"supplier_id": SUPPLIER, "retailer_id": RETAILER})
    assert answer.status == 201, answer.body
    return keys


async def _until_known(supplier: Client, retailer: Client) -> None:
    """The other services hear of companies, keys and products within moments."""

    async def stock_is_listed() -> bool:
        answer = await supplier.get("/v1/stock")
        return answer.status == 200 and len(answer.body["items"]) == 4

    async def retailer_may_order() -> bool:
        return (await retailer.get("/v1/orders")).status == 200

    async def retailer_may_register() -> bool:
        return (await retailer.get("/v1/webhook-endpoints")).status == 200

    await eventually("inventory lists 100, 101, 200 and 202", stock_is_listed)
    await eventually("orders knows the retailer's key", retailer_may_order)
    await eventually("notifier knows the retailer's key", retailer_may_register)
