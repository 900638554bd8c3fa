"""Two markets in one system that know nothing of each other, each full of data that can be told apart.

Market A and market B have a supplier and a retailer each, connected with one another; Supplier A's connection with
Retailer C has ended. Whatever a company owns, every list holds some of it, and its names, SKUs, references, addresses
and ids occur nowhere else (`Company.marks`): whoever reads one of them has read that company's data.
"""

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from typing import Any, Literal
from uuid import uuid4

import asyncpg

from services.all_in_one import SERVICES
from shared.access import sha256_of
from shared.events import BATCH
from shared.messaging.in_process import InProcessBus
from shared.scopes import AREA_SCOPES
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY, Answer, Client, serving
from tests.end_to_end.system import eventually
from tests.receiver import Receiver, receiver

ADMIN_KEY = "bsk_the-admin-of-the-tests"
TOKEN_SECRET = "the secret of the tokens in the walk"
Role = Literal["supplier", "retailer"]

# Ids that are given in sequence begin here, so that a small number in an answer is never taken for one of them.
SEQUENCES = (
    "alter sequence catalog.key_ids restart with 430000001",
    "alter sequence catalog.connection_ids restart with 440000001",
    "alter sequence catalog.product_ids restart with 450000001",
    "alter table catalog.users alter column user_id restart with 490000001",
    "alter table catalog.imports alter column import_id restart with 495000001",
    "alter table notifier.endpoints alter column endpoint_id restart with 460000001",
    "alter table notifier.attempts alter column attempt_id restart with 470000001",
    "alter table inventory.stock_ledger alter column entry_id restart with 480000001",
    "alter table inventory.stock_imports alter column import_id restart with 496000001",
    "alter table orders.order_imports alter column import_id restart with 497000001",
)
# A queue that each service consumes.
QUEUES = {
    "catalog": "catalog.orders",
    "orders": "orders.catalog",
    "inventory": "inventory.catalog",
    "notifier": "notifier.catalog",
}
# What each service answers any valid key, so that it shows whether the key is known there.
SIGHTS = ("/v1/products", "/v1/orders", "/v1/stock", "/v1/webhook-endpoints")


@dataclass
class Company:
    """A company, who calls for it, and what it owns; what is called spare is there to be removed."""

    name: str
    role: Role
    id: int
    # With a key that has every scope but `admin`, and as users who have signed in.
    client: Client
    key: str
    owner: Client
    viewer: Client
    viewers_password: str
    admin_key: str
    expiring_key: str
    revoked_key: str
    spare_key: int
    user: int
    spare_user: int
    import_id: int = 0
    product: int = 0
    # A stock product for suppliers; variants and their SKUs are those of `printed`.
    sku: str = ""
    # The base stock product that it has a hand in: a supplier's own, or what a retailer's version draws on.
    base_stock: int = 0
    printed: int = 0
    printed_sku: str = ""
    variant_sku: str = ""
    spare_product: int = 0
    # For suppliers: stock that is there to be removed from the lists, and a location besides `main`.
    spare_stock: int = 0
    location: str = ""
    sync_import: str = ""
    # A dry run of a file, whose one row would change something.
    stock_import: int = 0
    connection: int = 0
    spare_connection: int = 0
    # A retailer without any connection.
    newcomer: int = 0
    # For retailers: a variant of what their version is based on.
    suppliers_variant: str = ""
    order: str = ""
    spare_order: str = ""
    # Of a product that nobody knows yet.
    parked_order: str = ""
    # A dry run of a file with one order.
    order_import: int = 0
    order_ref: str = ""
    return_id: str = ""
    # For suppliers: an order with plenty of their stock, and a request for some of it.
    supplied_order: str = ""
    fulfillment_request: str = ""
    reservation: str = ""
    spare_reservation: str = ""
    endpoint: int = 0
    spare_endpoint: int = 0
    # Of a call to the endpoint.
    attempt: int = 0
    # Of messages with an order that its own user of the broker sent.
    dead_letter: str = ""
    spare_dead_letter: str = ""
    # A user of the broker that sends orders for it.
    publisher: str = ""
    # By service: dead letters for the platform admin alone, one to be redriven well and one to be given up.
    services_dead_letters: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)

    @property
    def codes(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """A supplier's stock product by its SKU, and by its barcode."""
        return ("sku", self.sku), ("barcode", f"stock-barcode-of-{self.name}")

    @property
    def webhook_format(self) -> str:
        """What its endpoints are sent."""
        return "fulfillment" if self.role == "supplier" else "stock_level"

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
        token_secret=TOKEN_SECRET,
        webhook_encryption_key=ENCRYPTION_KEY,
        webhook_allow_networks=(ip_network("127.0.0.0/8"),),
        webhook_window_seconds=1,
        rate_limit_requests=1_000_000,
        _env_file=None,
    )
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
        await until_known(company.client)
    for letter, retailers in (("a", ("retailer-a", "retailer-c")), ("b", ("retailer-b",))):
        supplier = market[f"supplier-{letter}"]
        await _products(market, supplier, supplier)
        await _endpoints(market, supplier)
        await _until_told(supplier, "ping")
        for name in retailers:
            await _products(market, market[name], supplier)
            await _endpoints(market, market[name])
        await _movements(supplier)
        await _sell(supplier, supplier.printed, supplier.variant_sku)
        await _supply(supplier)
        for name in retailers:
            await _sell(market[name], market[name].product, supplier.variant_sku)
            await _until_told(market[name], "stock_level")
    await _dead_letters(market)
    assert (await former.client.delete(f"/v1/connections/{former.connection}")).status == 204


async def _company(market: Market, stack: AsyncExitStack, name: str, role: Role, number: int) -> Company:
    id_ = 410_000_000 + number
    body = {"id": id_, "ref": f"ref-of-{name}", "name": f"name-of-{name}", "role": role}
    made(await market.admin.post("/v1/companies", body))
    usual, admin, expiring, revoked, spare = [
        await add_key(market, id_, f"label-of-{name}", scopes)
        for scopes in (AREA_SCOPES, ("admin",), AREA_SCOPES, AREA_SCOPES, AREA_SCOPES)
    ]
    made(await market.admin.delete(f"/v1/companies/{id_}/api-keys/{revoked['id']}"))
    password = f"password-of-{name}"
    owner, viewer, user, spare_user = [
        made(await market.admin.post("/v1/users", user | {"password": password, "company_id": id_}))
        for user in (
            {"email": f"{first_name}@{name}.example", "role": role}
            for first_name, role in (("ann", "owner"), ("bob", "viewer"), ("eve", "operator"), ("joe", "operator"))
        )
    ]
    company = Company(
        name,
        role,
        id_,
        client=await stack.enter_async_context(Client(market.url, usual["key"])),
        key=usual["key"],
        owner=await stack.enter_async_context(await signed_in(market, owner["email"], password)),
        viewer=await stack.enter_async_context(await signed_in(market, viewer["email"], password)),
        viewers_password=password,
        admin_key=admin["key"],
        expiring_key=expiring["key"],
        revoked_key=revoked["key"],
        spare_key=spare["id"],
        user=user["id"],
        spare_user=spare_user["id"],
    )
    company.marks |= {str(body[field]) for field in ("id", "ref", "name")} | {password, f"label-of-{name}"}
    company.marks |= {str(key[field]) for key in (usual, admin, expiring, revoked, spare) for field in ("id", "key")}
    company.marks |= {str(one[field]) for one in (owner, viewer, user, spare_user) for field in ("id", "email")}
    market.companies[name] = company
    return company


async def add_key(market: Market, company_id: int, label: str, scopes: Collection[str]) -> Any:  # noqa: ANN401 - JSON
    """A new key of a company, as it is answered."""
    body = {"label": label, "scopes": list(scopes)}
    return made(await market.admin.post(f"/v1/companies/{company_id}/api-keys", body))


async def signed_in(market: Market, email: str, password: str) -> Client:
    """A client that calls with the token of a user who signs in."""
    async with Client(market.url) as nobody:
        session = made(await nobody.post("/v1/sessions", {"email": email, "password": password}))
    return Client(market.url, session["token"])


async def connect(market: Market, supplier: Company, retailer: Company) -> int:
    """Connect two companies; returns the connection's id."""
    body = {"supplier_id": supplier.id, "retailer_id": retailer.id, "external_ref": f"{supplier.name}+{retailer.name}"}
    connection: int = made(await market.admin.post("/v1/connections", body))["id"]
    for company in (supplier, retailer):
        company.mark(connection)
        company.mark(body["external_ref"])
    return connection


async def until_known(client: Client) -> None:
    """Wait until every service has heard of this client's key."""

    async def everywhere() -> bool:
        return 401 not in [(await client.get(path)).status for path in SIGHTS]

    await eventually("all services know a new key", everywhere)


async def expire(market: Market, key: str) -> None:
    """Let a key expire that all services know."""
    for service in SERVICES:
        expire = f"update {service.name}.api_keys set expires_at = clock_timestamp()"
        await market.query(f"{expire} where key_sha256 = '{sha256_of(key)}'")


async def until_refused(client: Client) -> None:
    """Wait until every service has heard that this client's key was revoked, or finds it expired."""

    async def everywhere() -> bool:
        return {(await client.get(path)).status for path in SIGHTS} == {401}

    await eventually("no service answers a key that is over", everywhere)


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
        company.base_stock, company.suppliers_variant = supplier.product, supplier.variant_sku
        company.spare_product, _ = await add(2, "spare", type="virtual", base_product_id=supplier.printed)
        await _import(company, f"virtual,{company.sku}")
        return
    company.product, company.sku = await add(1, "stock", type="stock")
    company.base_stock, company.variant_sku = company.product, company.said("variant")
    variant = {
        "sku": company.variant_sku,
        "attributes": [{"name": company.said("attribute"), "value": company.said("value")}],
        "base_stock_product_id": company.product,
    }
    shown = {"type": "customisable", "visibility": "connected"}
    company.printed, company.printed_sku = await add(2, "printed", variants=[variant], **shown)
    await add(3, "kit", components=[{"product_id": company.product, "quantity": 2}], **shown)
    company.spare_product, _ = await add(4, "spare", type="stock")
    company.spare_stock, _ = await add(5, "spare-stock", type="stock")
    await _import(company, f"stock,{company.sku}")

    async def stocked() -> bool:
        return len((await company.client.get("/v1/stock")).body["items"]) == 3

    await eventually(f"inventory keeps the stock of {company.name}", stocked)


async def _import(company: Company, row: str) -> None:
    """A file that names one of its products and changes nothing."""
    file = await company.client.post("/v1/products/import", params={"format": "csv"}, data=f"type,sku\n{row}\n")
    company.import_id = int(company.mark(made(file)["id"]))

    async def done() -> bool:
        return bool((await company.client.get(f"/v1/products/imports/{company.import_id}")).body["state"] == "done")

    await eventually(f"the file of {company.name} is imported", done)


async def _endpoints(market: Market, company: Company) -> None:
    urls = [f"{market.receiver.url}/{company.said(what)}" for what in ("webhooks", "spare-webhooks")]
    first, spare = [
        made(await company.client.post("/v1/webhook-endpoints", {"url": url, "format": company.webhook_format}))
        for url in urls
    ]
    company.endpoint, company.spare_endpoint = first["id"], spare["id"]
    market.receiver.secrets += [first["secret"], spare["secret"]]
    for mark in (first["id"], spare["id"], first["secret"], spare["secret"]):
        company.mark(mark)


async def _movements(supplier: Company) -> None:
    body = {"on_hand": 1000, "reason": supplier.said("reason")}
    made(await supplier.client.post(f"/v1/stock/{supplier.product}/adjustments", body))
    supplier.location = supplier.said("location")
    location = {"code": supplier.location, "name": supplier.said("location-name")}
    made(await supplier.client.post("/v1/locations", location))
    item = {"location": "main", "product": supplier.sku, "on_hand": 1000}
    import_ = {"entity": "stock", "partial": True, "items": [item]}
    supplier.sync_import = supplier.mark(made(await supplier.client.post("/import", import_))["import_id"])
    file = f"sku,adjustment\n{supplier.sku},1\n"
    answer = await supplier.client.post("/v1/stock/imports", params={"dry_run": "true"}, data=file)
    supplier.stock_import = int(supplier.mark(made(answer)["id"]))

    async def looked_at() -> bool:
        return bool((await supplier.client.get(f"/v1/stock/imports/{supplier.stock_import}")).body["state"] == "done")

    await eventually(f"the stock file of {supplier.name} is looked at", looked_at)


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
    spare = {"external_ref": company.said("spare-order"), "lines": lines}
    company.spare_order = company.mark(made(await company.client.post("/v1/orders", spare))["order_id"])
    parked = {"external_ref": company.said("parked-order"), "lines": [{"product_id": 1, "quantity": 1000}]}
    company.parked_order = company.mark(made(await company.client.post("/v1/orders", parked))["order_id"])
    row = f"{company.said('imported-order')},{product_id},{variant_sku},1"
    file = f"external_ref,product_id,variant_sku,quantity\n{row}\n"
    answer = await company.client.post("/v1/orders/imports", params={"dry_run": "true"}, data=file)
    company.order_import = int(company.mark(made(answer)["id"]))

    async def looked_at() -> bool:
        return bool((await company.client.get(f"/v1/orders/imports/{company.order_import}")).body["state"] == "done")

    await eventually(f"the file of orders of {company.name} is looked at", looked_at)
    back = {
        "external_ref": company.said("return"),
        "order_id": company.order,
        "lines": [{**lines[0], "quantity": 1, "restock": True}],
    }
    company.return_id = company.mark(made(await company.client.post("/v1/returns", back))["return_id"])
    company.reservation, company.spare_reservation = [
        company.mark(made(await company.client.post("/v1/reservations", {"lines": lines}))["reservation_id"])
        for _ in range(2)
    ]


async def _dead_letters(market: Market) -> None:
    """For each company one of a message with an order that its publisher sent, and in each service some of nobody's."""
    statements = []
    for company in market.companies.values():
        company.publisher = company.said("publisher")
        made(await market.admin.post("/v1/publishers", {"amqp_user": company.publisher, "company_id": company.id}))
        line = {"product_id": company.product or 1, "variant_sku": company.suppliers_variant or None, "quantity": 1}
        order = json.dumps({"external_ref": company.said("dead-order"), "lines": [line]})
        company.dead_letter, company.spare_dead_letter = company.mark(uuid4()), company.mark(uuid4())
        statements += [
            _buried("orders", id_, "orders.submitted", "application/json", order, company.publisher)
            for id_ in (company.dead_letter, company.spare_dead_letter)
        ]
        company.services_dead_letters = {one: (company.mark(uuid4()), company.mark(uuid4())) for one in QUEUES}
        for service, ids in company.services_dead_letters.items():
            statements += [_buried(service, id_, QUEUES[service], BATCH, "[]", "nobody") for id_ in ids]
    await market.query(";".join(statements))


def _buried(service: str, id_: str, queue: str, content_type: str, body: str, user: str) -> str:
    columns = "dead_letter_id, queue, message_sha256, message_id, topic, content_type, body, user_id, reason"
    values = f"'{id_}', '{queue}', sha256('{id_}'), '{id_}', 'topic', '{content_type}', '{body}', '{user}', 'reason'"
    return f"insert into {service}.dead_letters ({columns}) values ({values})"


async def _supply(supplier: Company) -> None:
    """A big order of the supplier's own, and a fulfillment request for some of it."""
    body = {"external_ref": supplier.said("big-order"), "lines": [{"product_id": supplier.product, "quantity": 100}]}
    order = made(await supplier.client.post("/v1/orders?wait=10", body))
    supplier.supplied_order = supplier.mark(order["order_id"])
    items = [{"line_id": 1, "quantity": 50}]
    wanted = {"order_id": supplier.supplied_order, "items": items, "external_ref": supplier.said("request")}
    request = made(await supplier.client.post("/v1/fulfillment-requests", wanted))
    supplier.fulfillment_request = supplier.mark(request["request_id"])


async def _until_told(company: Company, kind: str) -> None:
    async def told() -> bool:
        path = f"/v1/webhook-endpoints/{company.endpoint}/attempts"
        attempts = (await company.client.get(path, params={"kind": kind})).body["items"]
        company.attempt = attempts[0]["id"] if attempts else 0
        return bool(attempts)

    await eventually(f"{company.name} was called", told)
    company.mark(company.attempt)


def made(answer: Answer) -> Any:  # noqa: ANN401 - whatever the route answers
    """The body of an answer of success."""
    assert 200 <= answer.status < 300, answer.body
    return answer.body
