"""docs/visibility.md, row by row: who is answered which fields, read from the page itself and held against the system.

`THINGS` says how each thing of the page is asked for, and which schema of the OpenAPI document it is. A thing of the
page that is not there fails, and so does a schema that the API answers with and no thing stands for: add a row to the
page and an entry here.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.all_in_one import SERVICES
from shared.http import create_app
from tests.app import Answer, Client
from tests.tenancy.market import Company, Market, Role, open_market
from tests.tenancy.operations import NOWHERE, ONE_UNIT, fresh

pytestmark = pytest.mark.usefixtures("cheap_passwords")

PAGE = Path(__file__).parent.parent.parent / "docs" / "visibility.md"
ALL_FIELDS = "all fields"

Fields = frozenset[str]
Ask = Callable[[Client, Company], Awaitable[Answer]]


@dataclass(frozen=True)
class Row:
    """A row of the page: a thing's fields (`None` for all of them), and whether owner, other side, former get them."""

    thing: str
    fields: Fields | None
    seen: tuple[bool, bool, bool]


@dataclass(frozen=True)
class Thing:
    """A thing that `owner` companies have, how to ask for it, and where in the answer it stands.

    `managed` things are for callers with the scope `admin`; `company_of` says whose an answer is, where everybody gets
    one about itself.
    """

    owner: Role
    schema: str | None
    ask: Ask
    within: Callable[[Any], Any] = lambda body: body
    managed: bool = False
    company_of: Callable[[Any], int] | None = None

    async def seen(self, viewer: Company, company: Company) -> Fields:
        """The fields of this company's thing that a viewer is answered, none when it is refused or finds nothing."""
        answer = await self.ask(viewer.owner if self.managed else viewer.client, company)
        none_accepted = {(422, "no_order_accepted"), (422, "no_action_accepted")}
        if answer.status in {403, 404} or (answer.status, answer.body.get("code")) in none_accepted:
            return frozenset()
        assert 200 <= answer.status < 300, answer.body
        if self.company_of is not None and self.company_of(answer.body) != company.id:
            return frozenset()
        return frozenset(self.within(answer.body))


def get(path: str) -> Ask:
    """Ask for what stands under this path, formatted with the company."""
    return lambda client, company: client.get(path.format(company=company))


def post(path: str, body: Callable[[Company], object]) -> Ask:
    """Send a body made for the company."""
    return lambda client, company: client.post(path.format(company=company), body(company))


async def rotate(client: Client, company: Company) -> Answer:
    """Rotate the secret of an endpoint that is not called meanwhile, as its receiver is not told the new one."""
    path = f"/v1/webhook-endpoints/{company.spare_endpoint}"
    await company.client.post(f"{path}/pause")
    return await client.post(f"{path}/rotate-secret", {"overlap_hours": 0})


def put(path: str, body: Callable[[Company], object]) -> Ask:
    """Put a body made for the company."""
    return lambda client, company: client.call("PUT", path.format(company=company), body(company))


def first(*names: str) -> Callable[[Any], Any]:
    """The first of a list under these names, one within the other."""

    def within(body: Any) -> Any:  # noqa: ANN401 - JSON
        for name in names:
            body = body[name][0]
        return body

    return within


def payload(body: Any) -> Any:  # noqa: ANN401 - JSON
    """The stock item that the newest call told."""
    return json.loads(first("items")(body)["request_body"])["stock"][0]


def a_return(company: Company) -> object:
    """A new return, as the company alone may state it."""
    line = {"product_id": company.product, "variant_sku": company.suppliers_variant, "quantity": 1, "restock": False}
    return {"external_ref": fresh("return"), "seller_id": company.id, "lines": [line]}


def an_order(company: Company) -> object:
    """A new order, as the company alone may send it, of a product that nobody knows yet."""
    return {"external_ref": fresh("order"), "seller_id": company.id, "lines": [{"product_id": 1, "quantity": 1}]}


ORDERS = post("/v1/orders/bulk", lambda one: [an_order(one)])
KEYS, STOCK = "/v1/companies/{company.id}/api-keys", "/v1/stock/{company.product}"
IMPORT = "/v1/products/imports/{company.import_id}"
ORDER_IMPORT = "/v1/orders/imports/{company.order_import}"
STOCK_IMPORT = "/v1/stock/imports/{company.stock_import}"
REFRESHED = post("/v1/sessions/refresh", lambda _: {})
DUPLICATED = post("/v1/products/{company.printed}/duplicate", lambda _: {"sku": fresh("sku")})
ENDPOINT = "/v1/webhook-endpoints/{company.endpoint}"
NEW_ENDPOINT = post("/v1/webhook-endpoints", lambda one: {"url": NOWHERE + fresh("url"), "company_id": one.id})
BULK = post("/v1/stock/bulk?supplier_id={company.id}", lambda one: [{"id": one.product, "adjustment": 1}])
FULFILLMENT = "/v1/fulfillment-requests/{company.fulfillment_request}"
ACTIONS = post(
    "/v1/fulfillment-requests/bulk",
    lambda one: {"actions": [{"action": "complete", "request_id": one.fulfillment_request, **ONE_UNIT}]},
)
SYNC = "/import/{company.sync_import}"
AVAILABILITY = put(
    "/stock/availability?supplier_id={company.id}", lambda one: [{"sku": one.sku, "data": {"lead_time_days": 2}}]
)
VALUES = post("/imports/stock?supplier_id={company.id}", lambda one: {"main": {one.sku: 1000}})
ADJUSTED = post(STOCK + "/adjustments", lambda _: {"adjustment": 1, "reason": "counted"})

THINGS: Mapping[str, Thing] = {
    "company": Thing("supplier", "Company", get("/v1/companies/{company.id}")),
    "API key": Thing("supplier", "ApiKey", get(KEYS), first("items"), managed=True),
    "API key that is made": Thing("supplier", "NewApiKey", post(KEYS, lambda _: {}), managed=True),
    "user": Thing("supplier", "User", get("/v1/users/{company.user}"), managed=True),
    "session": Thing(
        "supplier", "Session", REFRESHED, managed=True, company_of=lambda session: session["user"]["company_id"]
    ),
    "who one is": Thing("supplier", "Me", get("/v1/me"), company_of=lambda me: me["company"]["id"]),
    "audit entry": Thing(
        "supplier", "AuditEntry", get("/v1/audit?company_id={company.id}"), first("items"), managed=True
    ),
    "connection": Thing("retailer", "Connection", get("/v1/connections/{company.connection}")),
    "supplier's product that is shown": Thing("supplier", "Product", get("/v1/products/{company.printed}")),
    "supplier's product that is not shown": Thing("supplier", "Product", get("/v1/products/{company.product}")),
    "stock links of a supplier's product that is shown": Thing(
        "supplier", "StockLinks", get("/v1/products/{company.printed}/stock-links")
    ),
    "retailer's product": Thing("retailer", "Product", get("/v1/products/{company.product}")),
    "stock links of a retailer's product": Thing(
        "retailer", "StockLinks", get("/v1/products/{company.product}/stock-links")
    ),
    "duplicate that is made": Thing("supplier", "Duplicate", DUPLICATED),
    "import": Thing("supplier", "Import", get(IMPORT)),
    "row of an import": Thing("supplier", "ImportRow", get(IMPORT + "/rows"), first("items")),
    "order": Thing("retailer", "Order", get("/v1/orders/{company.order}")),
    "order line": Thing("retailer", None, get("/v1/orders/{company.order}"), first("lines")),
    "part of an order at a supplier": Thing("retailer", None, get("/v1/orders/{company.order}"), first("suppliers")),
    "change of an order": Thing("retailer", "OrderChange", get("/v1/orders/{company.order}/history"), first("items")),
    "orders that are sent together": Thing("retailer", "BulkOrdersAnswer", ORDERS),
    "import of orders": Thing("retailer", "OrderImport", get(ORDER_IMPORT)),
    "row of an import of orders": Thing("retailer", "OrderImportRow", get(ORDER_IMPORT + "/rows"), first("items")),
    "return": Thing("retailer", "Return", post("/v1/returns", a_return)),
    "return line": Thing("retailer", None, post("/v1/returns", a_return), first("lines")),
    "publisher": Thing("retailer", "Publisher", get("/v1/publishers?company_id={company.id}"), first("items")),
    "dead letter": Thing(
        "retailer",
        "DeadLetter",
        get("/v1/dead-letters?user_id={company.publisher}"),
        lambda body: next(iter(body["items"]), ()),
    ),
    "dead letter with its body": Thing("retailer", "WholeDeadLetter", get("/v1/dead-letters/{company.dead_letter}")),
    "how a service gets on": Thing("supplier", "ServiceOperations", get("/v1/operations/orders")),
    "how notifier gets on": Thing("supplier", "NotifierOperations", get("/v1/operations/notifier")),
    "fulfillment request": Thing("supplier", "FulfillmentRequest", get(FULFILLMENT)),
    "item of a fulfillment request": Thing("supplier", "FulfillmentRequestItem", get(FULFILLMENT), first("items")),
    "fulfillment actions that are sent together": Thing("supplier", "BulkActionsAnswer", ACTIONS),
    "fulfillment event": Thing(
        "supplier", "FulfillmentEvent", get("/v1/fulfillment-events?supplier_id={company.id}"), first("items")
    ),
    "stock item": Thing("supplier", "StockItem", get(STOCK)),
    "stock item that is written": Thing("supplier", "WrittenStock", ADJUSTED),
    "stock in numbers": Thing("supplier", "StockSummary", get("/v1/stock/summary?supplier_id={company.id}")),
    "taking": Thing("supplier", "Taking", get(STOCK + "/takings"), first("items")),
    "level": Thing("supplier", None, get(STOCK), first("levels")),
    "location": Thing("supplier", "Location", get("/v1/locations?supplier_id={company.id}"), first("items")),
    "ledger entry": Thing("supplier", "LedgerEntry", get(STOCK + "/ledger"), first("items")),
    "result of a bulk write": Thing("supplier", "BulkAnswer", BULK),
    "series of an item": Thing("supplier", "Series", get(STOCK + "/series")),
    "day of a series": Thing("supplier", None, get(STOCK + "/series"), first("days")),
    "check of stock": Thing("supplier", "StockCheck", get("/v1/stock/check?supplier_id={company.id}")),
    "reservation": Thing("retailer", "Reservation", get("/v1/reservations/{company.reservation}")),
    "reservation line": Thing("retailer", None, get("/v1/reservations/{company.reservation}"), first("lines")),
    "results of availability": Thing("supplier", "AvailabilityResults", AVAILABILITY),
    "import of on hand that is made or started": Thing(
        "supplier", "ImportState", post(SYNC + "/start", lambda _: None)
    ),
    "import of on hand": Thing("supplier", "SyncImport", get(SYNC)),
    "row of an import of on hand": Thing("supplier", None, get(SYNC), first("results")),
    "polled stock": Thing("retailer", "PolledStock", get("/stock?retailer_id={company.id}")),
    "import of stock": Thing("supplier", "StockImport", get(STOCK_IMPORT)),
    "row of an import of stock": Thing("supplier", "StockImportRow", get(STOCK_IMPORT + "/rows"), first("items")),
    "values that are imported": Thing("supplier", "ImportStarted", VALUES),
    "endpoint": Thing("retailer", "EndpointAnswer", get(ENDPOINT)),
    "endpoint that is registered": Thing("retailer", "RegisteredEndpoint", NEW_ENDPOINT),
    "secret that is rotated": Thing("retailer", "RotatedSecret", rotate),
    "sample that is sent": Thing("retailer", "SampleAnswer", post(ENDPOINT + "/test?wait=10", lambda _: None)),
    "replay": Thing("retailer", "ReplayAnswer", post(ENDPOINT + "/replay", lambda _: {"product_ids": [1]})),
    "attempt": Thing("retailer", "AttemptAnswer", get(ENDPOINT + "/attempts"), first("items")),
    "telling": Thing(
        "retailer",
        "TellingAnswer",
        get("/v1/tellings?product_id={company.base_stock}"),
        lambda body: next(iter(body["items"]), ()),
        # A supplier reads of all its retailers under one product.
        company_of=lambda body: next((item["retailer_id"] for item in body["items"]), 0),
    ),
    "stock item of a payload": Thing("retailer", None, get(ENDPOINT + "/attempts?kind=stock_level"), payload),
}


@pytest.fixture
async def market(database_dsn: str) -> AsyncIterator[Market]:
    async with open_market(database_dsn) as opened:
        yield opened


def rows() -> list[Row]:
    """The rows of all tables of the page; fails on one that is not of the form that the page explains."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|") or line.startswith(("| thing and fields", "|---")):
            continue
        what, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
        thing, _, fields = what.partition(": ")
        seen = [re.match(r"(yes|no)\b", cell) for cell in cells]
        assert [bool(one) for one in seen] == [True] * 3, f"each of the three cells begins with yes or no: {line}"
        names = None if fields.strip() == ALL_FIELDS else frozenset(re.findall(r"`(\w+)`", fields))
        assert names is None or names, f"it names no fields: {line}"
        found.append(Row(thing, names, tuple(match[0] == "yes" for match in seen if match)))  # type: ignore[arg-type]
    return found


def answered_schemas() -> set[str]:
    """The schemas that answers of success are made of; of a page those of its items."""
    document = create_app(SERVICES, {}).openapi()
    schemas = document["components"]["schemas"]
    found = set()
    for operation in (one for path in document["paths"].values() for one in path.values()):
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            if status.startswith("2") and "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                items = schemas[name]["properties"].get("items", {})
                found.add(items["items"]["$ref"].rpartition("/")[2] if "items" in items else name)
    return found


def test_the_page_names_every_thing_that_can_be_asked_for() -> None:
    assert {row.thing for row in rows()} == set(THINGS)
    assert answered_schemas() == {thing.schema for thing in THINGS.values() if thing.schema}


async def test_each_field_is_seen_by_whom_the_page_says(market: Market) -> None:
    wrong = []
    for name, thing in THINGS.items():
        described = [row for row in rows() if row.thing == name]
        for viewer, owner, column in _viewers(market, thing.owner):
            everything = await thing.seen(owner, owner)
            fields = [(row, everything if row.fields is None else row.fields) for row in described]
            if everything != {field for _, some in fields for field in some}:
                wrong.append(f"{name}: the API answers {sorted(everything)}, the page says otherwise")
            promised = {field for row, some in fields for field in some if column is not None and row.seen[column]}
            seen = await thing.seen(viewer, owner)
            if seen != promised:
                told, kept = sorted(seen - promised), sorted(promised - seen)
                wrong.append(f"{name} of {owner.name}: {viewer.name} reads {told}, does not read {kept}")
    assert not wrong, "\n".join(wrong)


def _viewers(market: Market, owner: Role) -> list[tuple[Company, Company, int | None]]:
    """`(who looks, whose thing it is, the column of the page)` for such owners; strangers have no column."""
    supplier, retailer, former = market["supplier-a"], market["retailer-a"], market["retailer-c"]
    mine, other = (supplier, retailer) if owner == "supplier" else (retailer, supplier)
    strangers = [market["supplier-b"], market["retailer-b"], market["newcomer-a"]]
    return [
        (mine, mine, 0),
        (other, mine, 1),
        (former, supplier, 2) if owner == "supplier" else (supplier, former, 2),
        *((stranger, mine, None) for stranger in strangers),
    ]
