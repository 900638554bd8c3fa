"""Two markets in one system that know nothing of each other, each full of data that can be told apart.

Market A and market B have a supplier and a retailer each, connected with one another; Supplier A's connection with
Retailer C has ended. Whatever a company owns, every list holds some of it, and its names, SKUs, references, addresses
and ids occur nowhere else (`Company.marks`): whoever reads one of them has read that company's data.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from typing import Any, Literal

import asyncpg

from services.all_in_one import SERVICES, migrate
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from tests.app import Answer, Client, serving
from tests.end_to_end.system import eventually
from tests.receiver import Receiver, receiver

ADMIN_KEY = "bsk_the-admin-of-the-tests"
Role = Literal["supplier", "retailer"]

# Ids that are given in sequence begin here, so that a small number in an answer is never taken for one of them.
SEQUENCES = (
    "alter sequence catalog.key_ids restart with 430000001",
    "alter sequence catalog.connection_ids restart with 440000001",
    "alter sequence catalog.product_ids restart with 450000001",
    "alter table notifier.endpoints alter column endpoint_id restart with 460000001",
    "alter table notifier.attempts alter column attempt_id restart with 470000001",
    "alter table inventory.stock_ledger alter column entry_id restart with 480000001",
)
# What each service answers any valid key, so that it shows whether the key is known there.
SIGHTS = ("/v1/products", "/v1/orders", "/v1/stock", "/v1/webhook-endpoints")


@dataclass
class Company:
    """A company, its key, and what it owns; what is called spare is there to be removed."""

    name: str
    role: Role
    id: int
    client: Client
    key: str
    # A second key, and one that was revoked.
    key_id: int = 0
    revoked_key: str = ""
    product: int = 0
    # A stock product for suppliers; variants and their SKUs are those of `printed`.
    sku: str = ""
    printed: int = 0
    printed_sku: str = ""
    variant_sku: str = ""
    spare_product: int = 0
    connection: int = 0
    spare_connection: int = 0
    # A retailer without any connection.
    newcomer: int = 0
    # For retailers: a variant of what their version is based on.
    suppliers_variant: str = ""
    order: str = ""
    order_ref: str = ""
    return_id: str = ""
    endpoint: int = 0
    spare_endpoint: int = 0
    marks: set[str] = field(default_factory=set)

    def mark(self, what: object) -> str:
        """Remember something as this company's own; returns it as text."""
        self.marks.add(str(what))
        return str(what)

    def said(self, what: str) -> str:
        """A text that only this company has."""
        return self.mark(f"{what}-of-{self.name}")


@dataclass
class Market:
    """The running system and its companies, by name (`supplier-a`, ...)."""

    url: str
    dsn: str
    admin: Client
    receiver: Receiver
    companies: dict[str, Company] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Company:
        return self.companies[name]

    async def query(self, statement: str) -> None:
        """Run SQL as nobody can from outside."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def open_market(dsn: str) -> AsyncIterator[Market]:
    """Run all services in one process on this database, and fill them through the public API."""
    settings = Settings(
        dsn=dsn,
        admin_key=ADMIN_KEY,
        webhook_allow_networks=(ip_network("127.0.0.0/8"),),
        webhook_window_seconds=1,
        rate_limit_requests=1_000_000,
        _env_file=None,
    )
    await migrate(settings)
    bus = InProcessBus(publish_timeout_seconds=10)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        url = await stack.enter_async_context(serving(SERVICES, settings, bus))
        admin = await stack.enter_async_context(Client(url, ADMIN_KEY))
        market = Market(url, dsn, admin, await stack.enter_async_context(receiver()))
        for statement in SEQUENCES:
            await market.query(statement)
        await _fill(market, stack)
        yield market


async def _fill(market: Market, stack: AsyncExitStack) -> None:
    numbers = count(1)
    for letter in "ab":
        supplier = await _company(market, stack, f"supplier-{letter}", "supplier", next(numbers))
        retailer = await _company(market, stack, f"retailer-{letter}", "retailer", next(numbers))
        spare = await _company(market, stack, f"spare-{letter}", "retailer", next(numbers))
        supplier.connection = retailer.connection = await connect(market, supplier, retailer)
        supplier.spare_connection = await connect(market, supplier, spare)
        newcomer = await _company(market, stack, f"newcomer-{letter}", "retailer", next(numbers))
        supplier.newcomer = newcomer.id
    former = await _company(market, stack, "retailer-c", "retailer", next(numbers))
    former.connection = await connect(market, market["supplier-a"], former)
    for company in market.companies.values():
        await _until_known(company)
    for letter, retailers in (("a", ("retailer-a", "retailer-c")), ("b", ("retailer-b",))):
        supplier = market[f"supplier-{letter}"]
        await _products(market, supplier, supplier)
        for name in retailers:
            await _products(market, market[name], supplier)
            await _endpoints(market, market[name])
        await _movements(supplier)
        await _sell(supplier, supplier.printed, supplier.variant_sku)
        for name in retailers:
            await _sell(market[name], market[name].product, supplier.variant_sku)
            await _until_told(market[name])
    assert (await former.client.delete(f"/v1/connections/{former.connection}")).status == 204


async def _company(market: Market, stack: AsyncExitStack, name: str, role: Role, number: int) -> Company:
    body = {"id": 410_000_000 + number, "ref": f"ref-of-{name}", "name": f"name-of-{name}", "role": role}
    made(await market.admin.post("/v1/companies", body))
    keys = f"/v1/companies/{body['id']}/api-keys"
    key = made(await market.admin.post(keys, {}))
    spare, revoked = made(await market.admin.post(keys, {})), made(await market.admin.post(keys, {}))
    assert (await market.admin.delete(f"{keys}/{revoked['id']}")).status == 204
    client = await stack.enter_async_context(Client(market.url, key["key"]))
    company = Company(
        name, role, 410_000_000 + number, client, key["key"], key_id=spare["id"], revoked_key=revoked["key"]
    )
    for mark in (body["id"], body["ref"], body["name"], key["id"], key["key"], spare["id"], revoked["id"]):
        company.mark(mark)
    market.companies[name] = company
    return company


async def connect(market: Market, supplier: Company, retailer: Company) -> int:
    """Connect two companies; returns the connection's id."""
    body = {"supplier_id": supplier.id, "retailer_id": retailer.id, "external_ref": f"{supplier.name}+{retailer.name}"}
    connection: int = made(await market.admin.post("/v1/connections", body))["id"]
    for company in (supplier, retailer):
        company.mark(connection)
        company.mark(body["external_ref"])
    return connection


async def _until_known(company: Company) -> None:
    async def everywhere() -> bool:
        return 401 not in [(await company.client.get(path)).status for path in SIGHTS]

    await eventually(f"all services know the key of {company.name}", everywhere)


async def until_refused(client: Client) -> None:
    """Wait until every service has heard that this client's key was revoked."""

    async def everywhere() -> bool:
        return {(await client.get(path)).status for path in SIGHTS} == {401}

    await eventually("no service answers a key that was revoked", everywhere)


async def _products(market: Market, company: Company, supplier: Company) -> None:
    """A supplier's stock, kit and printed products, shown to its retailers; or a retailer's own version of these."""
    base = 420_000_000 + (company.id - 410_000_000) * 100

    async def add(offset: int, what: str, **body: Any) -> tuple[int, str]:  # noqa: ANN401 - any field
        product = {"id": base + offset, "owner_id": company.id, "sku": f"{what}-of-{company.name}"} | body
        product |= {"name": company.said(f"{what}-name"), "barcode": company.said(f"{what}-barcode")}
        made(await market.admin.post("/v1/products", product))
        company.mark(base + offset)
        return base + offset, company.said(what)

    if company.role == "retailer":
        company.product, company.sku = await add(1, "virtual", type="virtual", base_product_id=supplier.printed)
        company.suppliers_variant = supplier.variant_sku
        company.spare_product, _ = await add(2, "spare", type="virtual", base_product_id=supplier.printed)
        return
    company.product, company.sku = await add(1, "stock", type="stock")
    company.variant_sku = company.said("variant")
    variant = {
        "sku": company.variant_sku,
        "attributes": [{"name": company.said("attribute"), "value": company.said("value")}],
        "base_stock_product_id": company.product,
    }
    shown = {"type": "customisable", "visibility": "connected"}
    company.printed, company.printed_sku = await add(2, "printed", variants=[variant], **shown)
    await add(3, "kit", components=[{"product_id": company.product, "quantity": 2}], **shown)
    company.spare_product, _ = await add(4, "spare", type="stock")

    async def stocked() -> bool:
        return len((await company.client.get("/v1/stock")).body["items"]) == 2

    await eventually(f"inventory keeps the stock of {company.name}", stocked)


async def _endpoints(market: Market, retailer: Company) -> None:
    urls = [f"{market.receiver.url}/{retailer.said(what)}" for what in ("webhooks", "spare-webhooks")]
    first, spare = [made(await retailer.client.post("/v1/webhook-endpoints", {"url": url})) for url in urls]
    retailer.endpoint, retailer.spare_endpoint = first["id"], spare["id"]
    market.receiver.secrets += [first["secret"], spare["secret"]]
    for mark in (first["id"], spare["id"], first["secret"], spare["secret"]):
        retailer.mark(mark)


async def _movements(supplier: Company) -> None:
    body = {"on_hand": 1000, "reason": supplier.said("reason")}
    made(await supplier.client.post(f"/v1/stock/{supplier.product}/adjustments", body))


async def _sell(company: Company, product_id: int, variant_sku: str) -> None:
    """An order that takes stock, and a return of part of it."""
    company.order_ref = company.said("order")
    lines: list[Mapping[str, object]] = [{"product_id": product_id, "variant_sku": variant_sku, "quantity": 2}]

    async def allocated() -> bool:
        body = {"external_ref": company.order_ref, "lines": lines}
        answer = await company.client.post("/v1/orders", body, params={"wait": "5"})
        if answer.status == 422:  # orders does not know the connection yet
            return False
        company.order = company.mark(answer.body["order_id"])
        return bool(made(answer)["status"] == "allocated")

    await eventually(f"{company.name} has sold something", allocated)
    back = {
        "external_ref": company.said("return"),
        "order_id": company.order,
        "lines": [{**lines[0], "quantity": 1, "restock": True}],
    }
    company.return_id = company.mark(made(await company.client.post("/v1/returns", back))["return_id"])


async def _until_told(retailer: Company) -> None:
    async def told() -> bool:
        attempts = await retailer.client.get(f"/v1/webhook-endpoints/{retailer.endpoint}/attempts")
        return bool(attempts.body["items"])

    await eventually(f"{retailer.name} was called", told)


def made(answer: Answer) -> Any:  # noqa: ANN401 - whatever the route answers
    """The body of an answer of success."""
    assert 200 <= answer.status < 300, answer.body
    return answer.body
