"""A service is stopped, catalog goes on, the service is started again: then its copy says what catalog says."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from services.all_in_one import SERVICES
from shared.messaging.rabbitmq import RabbitBus
from shared.private_rabbitmq import RabbitNode
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY, Client, serving
from tests.conftest import GivenBroker
from tests.end_to_end.copies import COPIES, until_whole
from tests.end_to_end.system import ADMIN_KEY, PRODUCTS, RETAILER, SUPPLIER, delete_queues

READS = {"orders": "/v1/orders", "inventory": "/v1/stock", "notifier": "/v1/webhook-endpoints"}


@asynccontextmanager
async def running(names: set[str], broker_url: str, dsn: str) -> AsyncIterator[str]:
    """These services on a connection to the broker of their own."""
    bus = RabbitBus(broker_url, publish_timeout_seconds=10, heartbeat_seconds=10)
    settings = Settings(dsn=dsn, admin_key=ADMIN_KEY, webhook_encryption_key=ENCRYPTION_KEY, _env_file=None)
    try:
        async with serving([service for service in SERVICES if service.name in names], settings, bus) as url:
            yield url
    finally:
        await bus.close()


async def make(admin: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await admin.post(path, body)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.body
    return made


async def make_companies(admin: Client) -> dict[str, Any]:
    """Supplier A and Retailer A, connected, with the seeds' products; returns what is changed later."""
    for number, ref, role in ((SUPPLIER, "supplier-a", "supplier"), (RETAILER, "retailer-a", "retailer")):
        await make(admin, "/v1/companies", {"id": number, "ref": ref, "name": ref, "role": role})
    connection = await make(admin, "/v1/connections", {"supplier_id": SUPPLIER, "retailer_id": RETAILER})
    reader = RETAILER
    keys = {company: await make(admin, f"/v1/companies/{company}/api-keys", {}) for company in (SUPPLIER, reader)}
    for product in PRODUCTS:
        await make(admin, "/v1/products", product)
    return {"connection": connection, "keys": keys}


async def change_everything(admin: Client, made: dict[str, Any]) -> dict[int, str]:
    """Create, retype, link, unlink, remove; connect, pause, end; make and revoke keys. Returns new keys."""
    third = await make(admin, "/v1/companies", {"ref": "retailer-b", "name": "Retailer B", "role": "retailer"})
    second = await make(admin, "/v1/connections", {"supplier_id": SUPPLIER, "retailer_id": third["id"]})
    connection = f"/v1/connections/{made['connection']['id']}"
    stock = {"owner_id": SUPPLIER, "sku": "NEW", "name": "New", "type": "stock"}
    new = (await make(admin, "/v1/products", stock))["id"]
    gone = (await make(admin, "/v1/products", stock | {"sku": "GONE"}))["id"]
    medium = {"sku": "T01-M", "base_stock_product_id": new}
    answers = [
        await admin.patch("/v1/products/202", {"type": "customisable", "sku": "S7-L", "base_stock_product_id": new}),
        await admin.patch("/v1/products/201", {"base_stock_product_id": None}),
        await admin.patch("/v1/products/201", {"type": "virtual", "base_product_id": 102, "visibility": [third["id"]]}),
        await admin.patch("/v1/products/102", {"variants": [medium], "name": "Only medium", "barcode": "1"}),
        await admin.delete("/v1/products/300"),
        await admin.delete("/v1/products/200"),
        await admin.delete(f"/v1/products/{gone}"),
        await admin.patch(connection, {"state": "paused", "external_ref": "D-1"}),
        await admin.patch(connection, {"state": "active", "default_location": "main"}),
        await admin.delete(f"/v1/connections/{second['id']}"),
        await admin.patch(f"/v1/companies/{SUPPLIER}", {"oversell_policy": "deny", "name": "Supplier A Ltd"}),
    ]
    assert [answer.status // 100 for answer in answers] == [2] * len(answers), [answer.body for answer in answers]
    keys = {company: await make(admin, f"/v1/companies/{company}/api-keys", {}) for company in (SUPPLIER, RETAILER)}
    for company, key in made["keys"].items():
        assert (await admin.delete(f"/v1/companies/{company}/api-keys/{key['id']}")).status == 204
    return {company: key["key"] for company, key in keys.items()}


@pytest.mark.parametrize("stopped", COPIES)
async def test_a_service_that_was_stopped_learns_what_has_changed(
    stopped: str, database_dsn: str, broker: RabbitNode | GivenBroker
) -> None:
    await delete_queues(broker.url)
    others = {service.name for service in SERVICES} - {stopped}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running(others, broker.url, database_dsn))
        admin = await stack.enter_async_context(Client(url, ADMIN_KEY))
        async with running({stopped}, broker.url, database_dsn):
            made = await make_companies(admin)
            await until_whole(database_dsn, *COPIES)

        keys = await change_everything(admin, made)
        await until_whole(database_dsn, *(set(COPIES) - {stopped}))

        async with running({stopped}, broker.url, database_dsn) as back:
            await until_whole(database_dsn, stopped)
            company = SUPPLIER if stopped == "inventory" else RETAILER
            for key, status in ((keys[company], 200), (made["keys"][company]["key"], 401)):
                async with Client(back, key) as caller:
                    assert (await caller.get(READS[stopped])).status == status
