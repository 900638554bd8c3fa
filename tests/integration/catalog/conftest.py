"""Catalog over HTTP with its own PostgreSQL; nobody hears it, so its events stay in the outbox to be read."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import pytest
from pydantic import SecretStr

from services.catalog.service import SERVICE
from shared.events import Event, catalogue, decode, types_by_wire_name
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from tests.app import Client, serving

E = TypeVar("E", bound=Event)

ADMIN_KEY = "bsk_the-admin-of-these-tests"
TOKEN_SECRET = "the secret of these tests' tokens"
SUPPLIER_A, SUPPLIER_B, RETAILER_A, RETAILER_B = 1, 2, 11, 12

T01_VARIANTS = [
    {"sku": "T01-S", "attributes": [{"name": "Size", "value": "Small"}], "base_stock_product_id": 100},
    {"sku": "T01-L", "attributes": [{"name": "Size", "value": "Large"}], "base_stock_product_id": 101},
]
# The catalogue of the KornitX articles, ids as printed there.
SEEDS = [
    {"id": 100, "owner_id": SUPPLIER_A, "sku": "T01-S", "name": "T-shirt, small", "type": "stock"},
    {"id": 101, "owner_id": SUPPLIER_A, "sku": "T01-L", "name": "T-shirt, large", "type": "stock"},
    {
        "id": 102,
        "owner_id": SUPPLIER_A,
        "sku": "T01",
        "name": "T-shirt",
        "type": "customisable",
        "variants": T01_VARIANTS,
    },
    {"id": 200, "owner_id": SUPPLIER_A, "sku": "S7", "name": "S7 case", "type": "stock"},
    {
        "id": 201,
        "owner_id": SUPPLIER_A,
        "sku": "S7",
        "name": "S7 case, yours",
        "type": "customisable",
        "base_stock_product_id": 200,
    },
    {"id": 202, "owner_id": SUPPLIER_A, "sku": "S7", "name": "S7 case, both", "type": "stock_customisable"},
    {
        "id": 300,
        "owner_id": RETAILER_A,
        "sku": "T01",
        "name": "Our T-shirt",
        "type": "virtual",
        "base_product_id": 102,
    },
]


@dataclass(frozen=True, slots=True)
class Catalog:
    """A running catalog: the admin's client, clients of companies, and what catalog has published."""

    url: str
    dsn: str
    admin: Client
    client_of: Callable[..., Awaitable[Client]]

    async def published(self, *events: type[E]) -> list[E]:
        """What was published so far of these types, in order of subject and version."""
        known = types_by_wire_name(catalogue())
        rows = await self.query("select content_type, body from catalog.outbox")
        found = [event for row in rows for event in decode(row["content_type"], row["body"], known)]
        wanted = [event for event in found if isinstance(event, events)]
        return sorted(wanted, key=lambda event: (event.name, int(event.subject()), event.sequence()))

    async def query(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Ask the database itself."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def key_of(self, company_id: int, *scopes: str) -> str:
        """A new API key of this company, with these scopes or, where none are named, those that keys have."""
        made = await self.admin.post(f"/v1/companies/{company_id}/api-keys", {"scopes": scopes} if scopes else None)
        key: str = made.body["key"]
        return key


@pytest.fixture
async def catalog(database_dsn: str) -> AsyncIterator[Catalog]:
    settings = Settings(dsn=database_dsn, admin_key=SecretStr(ADMIN_KEY), token_secret=TOKEN_SECRET)
    bus = InProcessBus(publish_timeout_seconds=0.1)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        url = await stack.enter_async_context(serving([SERVICE], settings, bus))
        admin = await stack.enter_async_context(Client(url, ADMIN_KEY))

        async def client_of(company_id: int, *scopes: str) -> Client:
            return await stack.enter_async_context(Client(url, await running.key_of(company_id, *scopes)))

        running = Catalog(url, database_dsn, admin, client_of)
        yield running


@pytest.fixture
async def companies(catalog: Catalog) -> Catalog:
    """Two suppliers and two retailers; Retailer A is connected with Supplier A."""
    for company_id, name, role in (
        (SUPPLIER_A, "Supplier A", "supplier"),
        (SUPPLIER_B, "Supplier B", "supplier"),
        (RETAILER_A, "Retailer A", "retailer"),
        (RETAILER_B, "Retailer B", "retailer"),
    ):
        body = {"id": company_id, "ref": name.lower().replace(" ", "-"), "name": name, "role": role}
        assert (await catalog.admin.post("/v1/companies", body)).status == 201
    connected = await catalog.admin.post("/v1/connections", {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_A})
    assert connected.status == 201
    return catalog


@pytest.fixture
async def seeds(companies: Catalog) -> Catalog:
    """The seeds' products on top."""
    for body in SEEDS:
        answer = await companies.admin.post("/v1/products", body)
        assert answer.status == 201, answer.body
    return companies
