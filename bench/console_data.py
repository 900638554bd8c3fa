"""A system with 100,000 base stock products of one supplier, for the pages of the console.

All products are put into the tables of the four services, as catalog would have told of them; what is little, keys,
orders, and an endpoint, comes through the API.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from sqlalchemy import text

from bench.catalog_import import ADMIN_KEY
from bench.servers import filled
from bench.stock_lists import FILL
from services.all_in_one import SERVICES
from shared import clock
from shared.database import Database
from shared.migrations import upgrade

SUPPLIER, RETAILER, SUPPLIERS = 1, 1001, 20
ALL_OF_ONE = FILL.replace("2 * cast(:count as bigint)", "cast(:count as bigint)")
ORDERS = 120
# `FILL` gives each stock product a customisable one, whose variants draw on it.
PRINTED = 1_000_000_000
WAIT_SECONDS = 60

COMPANIES = f"""
    insert into {{service}}.companies (company_id, ref, display_name, role, oversell_policy, version)
        select n, 'c' || n, 'Company ' || n, case when n = {RETAILER} then 'retailer' else 'supplier' end,
            'backorder', 1
        from (select generate_series(1, {SUPPLIERS}) union all select {RETAILER}) c (n);
    insert into {{service}}.connections (connection_id, supplier_id, retailer_id, state, version)
        values (1, {SUPPLIER}, {RETAILER}, 'active', 1);
"""
COPY = """
    insert into {service}.products select * from inventory.products;
    insert into {service}.product_parts select * from inventory.product_parts;
"""
REST = f"""
    select setval('catalog.company_ids', 2000), setval('catalog.connection_ids', 10),
        setval('catalog.product_ids', 2000000000);
    insert into catalog.products (product_id, owner_id, type, is_tracked, is_unlinked, sku, title, barcode, visibility,
            visible_to, version)
        select product_id, owner_id, type, type = 'stock', type = 'customisable' and product_id % 20 = 0, sku, title,
            barcode, visibility, visible_to, version
        from inventory.products;
    insert into catalog.variants (product_id, sku, attributes, position)
        select product_id, variant_sku, attributes, cast(substr(variant_sku, 2) as integer)
        from inventory.product_parts where variant_sku <> '';
    insert into catalog.components (product_id, variant_id, owner_id, base_stock_product_id, quantity)
        select v.product_id, v.variant_id, p.owner_id, v.product_id - {PRINTED}, 1
        from catalog.variants v join catalog.products p using (product_id);
    insert into notifier.stock_products (product_id, supplier_id, sku, available, previous_available, occurred_at,
            version, changes, fanned_out_version, fanned_out_changes)
        select product_id, supplier_id, p.sku, on_hand - allocated - reserved - safety_stock, 0, now(), 1, 1, 1, 1
        from inventory.stock_items join inventory.products p using (product_id);
    insert into inventory.stock_ledger (product_id, location_id, item_version, kind, on_hand_delta, allocated_delta,
            reserved_delta, on_hand, allocated, reserved, actor, source, reference)
        select product_id, location_id, 1, 'manual', on_hand, allocated, reserved, on_hand, allocated, reserved,
            'platform admin', 'api', 'bench'
        from inventory.stock_levels where (on_hand, allocated, reserved) <> (0, 0, 0);
    vacuumed
"""
TOLD = """
    insert into notifier.slots (endpoint_id, product_id, dirty, not_before, sent_changes, told_changes, sent_version,
            acked_version, sent_available, told_available, acked_at)
        select :endpoint_id, product_id, false, now(), 1, 1, 1, 1, available, available, now()
        from notifier.stock_products where supplier_id = :supplier_id and product_id % 20 > 0
        on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """What there is to be opened: keys by company id (0: the platform's), and ids."""

    keys: dict[int, str]
    item_id: int
    order_id: str
    endpoint_id: int
    attempt_id: int


async def fill_tables(dsn: str, items: int) -> None:
    """Fill the tables of an empty database's four services, with `items` of one supplier."""
    for service in SERVICES:
        await upgrade(service.name, dsn)
    copies = (COPY.format(service=name) for name in ("orders", "notifier"))
    companies = (COMPANIES.format(service=service.name) for service in SERVICES)
    statements = ";".join((ALL_OF_ONE, *companies, *copies, REST.replace("vacuumed", "analyze")))
    async with filled("inventory", statements.replace(";;", ";").replace(";\n;", ";\n"), dsn, items):
        pass


@asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    """A shop that takes each call; yields its URL."""
    app = web.Application()

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class Caller:
    """Calls the API of the system at `url` with a company's key (0: the platform's)."""

    def __init__(self, session: aiohttp.ClientSession, keys: dict[int, str]) -> None:
        """With these keys."""
        self._session, self.keys = session, keys

    async def ask(self, company_id: int, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """The answer, which is a success; or nothing where the key is not known yet."""
        headers = {"Authorization": f"Bearer {self.keys[company_id]}"}
        async with self._session.request(method, path, json=body, headers=headers) as response:
            if response.status == 401:
                return None
            assert response.ok, await response.text()
            return await response.json()

    async def until(self, company_id: int, path: str) -> Any:  # noqa: ANN401 - JSON
        """The list that is there sooner or later."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not ((answer := await self.ask(company_id, "GET", path)) and answer["items"]):
                await clock.sleep(0.1)
        return answer["items"]


async def fill_by_calls(url: str, shop: str, dsn: str) -> Filled:
    """Keys, orders and an endpoint that was called, of the system at `url` with `fill_tables`' data."""
    async with aiohttp.ClientSession(url) as session:
        caller = Caller(session, {0: ADMIN_KEY})
        for company_id in (SUPPLIER, RETAILER):
            made = await caller.ask(0, "POST", f"/v1/companies/{company_id}/api-keys", {})
            caller.keys[company_id] = made["key"]
        await caller.until(SUPPLIER, "/v1/stock")
        for path in ("/v1/orders", "/v1/webhook-endpoints", "/v1/connections"):
            async with asyncio.timeout(WAIT_SECONDS):
                while await caller.ask(RETAILER, "GET", path) is None:
                    await clock.sleep(0.1)
        endpoint = await caller.ask(RETAILER, "POST", "/v1/webhook-endpoints", {"url": shop})
        await _tell_all(dsn, endpoint["id"])
        for number in range(ORDERS):
            wanted = {PRINTED + 1 + number: "V1", PRINTED + 1 + 7 * number % ORDERS: "V2"}
            # Every twentieth has no variants.
            lines = [
                {"product_id": product_id, "variant_sku": variant_sku, "quantity": 2}
                for product_id, variant_sku in wanted.items()
                if product_id % 20
            ]
            await caller.ask(RETAILER, "POST", "/v1/orders", {"external_ref": f"R-{number}", "lines": lines})
        attempts = await caller.until(RETAILER, f"/v1/webhook-endpoints/{endpoint['id']}/attempts")
        [order] = await caller.until(SUPPLIER, f"/v1/orders?supplier_id={SUPPLIER}&limit=1")
        return Filled(caller.keys, 3, order["order_id"], endpoint["id"], attempts[0]["id"])


async def _tell_all(dsn: str, endpoint_id: int) -> None:
    database = Database("notifier", dsn, pool_size=1)
    try:
        async with database.transaction() as session:
            await session.execute(text(TOLD), {"endpoint_id": endpoint_id, "supplier_id": SUPPLIER})
    finally:
        await database.close()
