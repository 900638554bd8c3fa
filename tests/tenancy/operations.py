"""What each route is asked in the walk through all of them. **A new route needs an entry here**, or the walk fails.

An entry is a function of a company: the requests with which that company succeeds (with its usual key, or as `by`
says), and which name its things by their ids and names wherever the route takes one: in the path, the query and the
body. The walk sends the very same requests as companies that are not connected with it, and as people and programs of
the company itself that lack the scope: the one that method and path ask for, or `admin` where only `owner` succeeds.

A stranger must be answered with one of `refused`, or, where `lists` is set, may also get a list (200) without anything
of that company. `oneself` is for what is asked about the caller itself, whatever its scopes: all are answered about
themselves. `role` names the role that alone may ask: a connected company of the other role must get 403. A route that
is only for companies of one role stands in `only(...)`. What the route needs and is not there yet is added to `Company`
and filled in `market.py`; what it removes must be a thing of its own (`spare_...`), and new references and SKUs are
`fresh()` ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from tests.tenancy.market import Company, Role

_numbers = count(1)


@dataclass(frozen=True)
class Ask:
    """One request; see above. `names_own` says that the answer of success holds something of the company's."""

    path: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)
    body: Any = None
    file: str | None = None
    by: Literal["company", "owner", "viewer", "admin"] = "company"
    role: Role | None = None
    lists: bool = False
    oneself: bool = False
    refused: tuple[int, ...] = (403, 404)
    names_own: bool = True


Entry = Callable[[Company], Sequence[Ask]]

SUPPLIER: Role = "supplier"
RETAILER: Role = "retailer"


def fresh(what: str) -> str:
    """A name that nobody has."""
    return f"fresh-{what}-{next(_numbers)}"


LAST_UUID = "ffffffff-ffff-7fff-bfff-ffffffffffff"

# Nobody listens there.
NOWHERE = "http://127.0.0.1:9/"

# What needs no key: nothing of anybody is there, but for whoever gives a user's password.
OPEN = {"GET /livez", "GET /readyz", "GET /metrics", "POST /v1/sessions"}


def only(role: Role, entry: Entry) -> Entry:
    """An entry for companies of this role alone."""
    return lambda company: entry(company) if company.role == role else []


def _new_products(company: Company) -> list[Ask]:
    """Each way to name another product or company, one at a time: a stranger's is refused like one that nobody has."""

    def new(type_: str, **links: object) -> dict[str, object]:
        return {"sku": fresh("sku"), "name": "new", "type": type_, **links}

    own = {"owner_id": company.id}
    if company.role == RETAILER:
        asks = [Ask(body=new("virtual", base_product_id=company.product, **own))]
        return [*asks, Ask(body=new("virtual", base_product_id=company.product), refused=(422,))]
    variant = {"sku": fresh("variant"), "base_stock_product_id": company.product}
    links: list[dict[str, object]] = [
        {"base_stock_product_id": company.product},
        {"components": [{"product_id": company.product, "quantity": 2}]},
        {"variants": [variant]},
    ]
    return [
        Ask(body=new("stock", **own)),
        *(Ask(body=new("customisable", **link), refused=(422,)) for link in links),
        Ask(body=new("virtual", base_product_id=company.printed), refused=(422,)),
    ]


def _changed_products(company: Company) -> list[Ask]:
    return [Ask({"product_id": company.product}, body={"name": company.said("changed")})]


def _file(company: Company) -> list[Ask]:
    """A file for a company, as the company alone may send it."""
    type_ = "stock" if company.role == SUPPLIER else "virtual"
    return [Ask(query={"format": "csv", "owner_id": company.id}, file=f"type,sku\n{type_},{company.sku}\n")]


def _new_users(company: Company) -> list[Ask]:
    user = {"email": f"{fresh('user')}@shop.example", "password": "twelve or more", "role": "viewer"}
    return [Ask(body=user | {"company_id": company.id}, by="owner")]


def _orders(company: Company) -> list[Ask]:
    """Of one's own, as oneself; and a stranger's order that names this company's product by its id and nothing else."""
    line: dict[str, object] = {"product_id": company.product, "quantity": 1}
    if company.role == RETAILER:
        line["variant_sku"] = company.suppliers_variant
    return [
        Ask(body={"external_ref": fresh("order"), "seller_id": company.id, "lines": [line]}),
        Ask(body={"external_ref": fresh("order"), "lines": [line]}, refused=(422,)),
    ]


def _order_file(company: Company) -> list[Ask]:
    """A file for a company, as the company alone may send it."""
    row = f"{fresh('order')},{company.product},{company.suppliers_variant},1"
    query = {"seller_id": company.id, "dry_run": "true"}
    return [Ask(query=query, file=f"external_ref,product_id,variant_sku,quantity\n{row}\n")]


def _returns(company: Company) -> list[Ask]:
    line: dict[str, object] = {"product_id": company.product, "quantity": 1, "restock": True}
    if company.role == RETAILER:
        line["variant_sku"] = company.suppliers_variant
    unknown = {"product_id": 1, "quantity": 1, "restock": True}
    return [
        Ask(body={"external_ref": fresh("return"), "seller_id": company.id, "lines": [line]}),
        Ask(body={"external_ref": fresh("return"), "lines": [line]}, refused=(422,)),
        Ask(
            body={"external_ref": fresh("return"), "order_id": company.parked_order, "lines": [unknown]}, refused=(422,)
        ),
    ]


def _bulk(company: Company) -> list[Ask]:
    query = {"supplier_id": company.id}
    rows = [{"id": company.product, "adjustment": 1}, {"sku": company.sku, "adjustment": 1}]
    return [
        Ask(query=query, body=rows, role=SUPPLIER),
        *(Ask(body=[row], role=SUPPLIER, refused=(403, 422)) for row in rows),
    ]


def _reservations(company: Company) -> list[Ask]:
    line: dict[str, object] = {"product_id": company.product, "quantity": 1}
    if company.role == RETAILER:
        line["variant_sku"] = company.suppliers_variant
    return [
        Ask(query={"seller_id": company.id}, body={"lines": [line]}),
        Ask(body={"lines": [line]}, refused=(422,)),
    ]


def _availability(company: Company) -> list[Ask]:
    """Rows name items by codes that others may have as well: a stranger's are looked for among its own."""
    rows = [{field: name, "data": {"lead_time_days": 2}} for field, name in company.codes]
    return [
        Ask(query={"supplier_id": company.id}, body=rows, role=SUPPLIER),
        *(Ask(body=[row], role=SUPPLIER, refused=(403, 422)) for row in rows),
    ]


def _values(company: Company) -> list[Ask]:
    """A stranger may send values for what it does not have: they wait for products of its own."""
    return [
        Ask(query={"supplier_id": company.id}, body={"main": {company.sku: 1000}}, role=SUPPLIER, names_own=False),
        Ask(body={company.location: {company.sku: 1}}, role=SUPPLIER, refused=(403, 422), names_own=False),
        Ask(body={"main": {str(company.product): 1000}}, role=SUPPLIER, lists=True, names_own=False),
    ]


def _dead_letters_of(service: str) -> dict[str, Entry]:
    """The routes of a service's dead letters, for the platform admin alone."""
    path = f"/v1/dead-letters/{service}"

    def asking(which: int) -> Entry:
        return lambda company: [Ask({"dead_letter_id": company.services_dead_letters[service][which]}, by="admin")]

    return {
        f"GET {path}": lambda _: [Ask(query={"limit": 200}, by="admin")],
        f"GET {path}/{{dead_letter_id}}": asking(0),
        f"POST {path}/{{dead_letter_id}}/redrive": asking(0),
        f"DELETE {path}/{{dead_letter_id}}": asking(1),
    }


def _operations_of(service: str) -> dict[str, Entry]:
    """How a service gets on, for the platform admin alone."""
    return {f"GET /v1/operations/{service}": lambda _: [Ask(by="admin", names_own=False)]}


def _fulfillment(company: Company) -> list[Ask]:
    """Each action by itself; a stranger's is refused like one on what nobody has."""
    order, request = {"order_id": company.supplied_order}, {"request_id": company.fulfillment_request}
    items = [{"line_id": 1, "quantity": 1}]
    actions = [{"action": "assign", **order}, *({"action": one, **request} for one in ("complete", "fail"))]
    bodies = [{"actions": [one | {"items": items}]} for one in actions]
    return [Ask(body=body, role=SUPPLIER, refused=(403, 422), names_own=False) for body in bodies]


PAGE = {"limit": 1}
ONE_UNIT = {"items": [{"line_id": 1, "quantity": 1}]}

ENTRIES: Mapping[str, Entry] = {
    # Catalog
    "GET /v1/audit": lambda company: [Ask(query={"company_id": company.id}, by="owner")],
    "POST /v1/companies": lambda company: [
        Ask(body={"ref": fresh("ref"), "name": "new", "role": company.role}, by="admin", names_own=False)
    ],
    "GET /v1/companies": lambda company: [Ask(by="admin"), Ask(query={"q": company.name}, by="admin")],
    "GET /v1/companies/{company_id}": lambda company: [Ask({"company_id": company.id})],
    "PATCH /v1/companies/{company_id}": lambda company: [
        Ask({"company_id": company.id}, body={"name": company.said("changed")}, by="owner")
    ],
    "POST /v1/companies/{company_id}/api-keys": lambda company: [Ask({"company_id": company.id}, body={}, by="owner")],
    "GET /v1/companies/{company_id}/api-keys": lambda company: [Ask({"company_id": company.id}, by="owner")],
    "DELETE /v1/companies/{company_id}/api-keys/{key_id}": lambda company: [
        Ask({"company_id": company.id, "key_id": company.spare_key}, by="owner")
    ],
    "POST /v1/users": _new_users,
    "GET /v1/users": lambda company: [
        Ask(by="owner", lists=True),
        Ask(query={"company_id": company.id}, by="owner"),
    ],
    "GET /v1/users/{user_id}": lambda company: [Ask({"user_id": company.user}, by="owner")],
    "PATCH /v1/users/{user_id}": lambda company: [
        Ask({"user_id": company.user}, body={"role": "viewer"}, by="owner"),
        Ask({"user_id": company.user}, body={"password": "twelve or more"}, by="owner"),
    ],
    "DELETE /v1/users/{user_id}": lambda company: [Ask({"user_id": company.spare_user}, by="owner")],
    "GET /v1/me": lambda _: [Ask(by="company", oneself=True), Ask(by="viewer", oneself=True)],
    "POST /v1/sessions/refresh": lambda _: [Ask(by="owner", oneself=True)],
    "POST /v1/me/password": lambda company: [
        Ask(
            body={"old_password": company.viewers_password, "new_password": "twelve or more"},
            by="viewer",
            oneself=True,
        )
    ],
    "POST /v1/connections": only(
        SUPPLIER, lambda company: [Ask(body={"supplier_id": company.id, "retailer_id": company.newcomer}, by="admin")]
    ),
    "GET /v1/connections": lambda company: [
        Ask(lists=True),
        Ask(query=PAGE, lists=True),
        Ask(query={"company_id": company.id}),
    ],
    "GET /v1/connections/{connection_id}": lambda company: [Ask({"connection_id": company.connection})],
    "PATCH /v1/connections/{connection_id}": only(
        SUPPLIER,
        lambda company: [
            Ask({"connection_id": company.connection}, body={"external_ref": company.said("changed")}, role=SUPPLIER)
        ],
    ),
    "DELETE /v1/connections/{connection_id}": only(
        SUPPLIER, lambda company: [Ask({"connection_id": company.spare_connection})]
    ),
    "POST /v1/products": _new_products,
    "GET /v1/products": lambda company: [
        Ask(lists=True),
        Ask(query={"owner_id": company.id}, lists=True),
        Ask(query={"sku": company.sku}, lists=True),
        Ask(query={"type": "stock" if company.role == SUPPLIER else "virtual"}, lists=True),
    ],
    "GET /v1/products/{product_id}": lambda company: [Ask({"product_id": company.product})],
    "GET /v1/products/{product_id}/stock-links": lambda company: [Ask({"product_id": company.product})],
    "POST /v1/products/{product_id}/duplicate": lambda company: [
        Ask({"product_id": company.product}, body={"sku": fresh("sku")})
    ],
    "PATCH /v1/products/{product_id}": _changed_products,
    "DELETE /v1/products/{product_id}": lambda company: [Ask({"product_id": company.spare_product})],
    "POST /v1/products/import": _file,
    "GET /v1/products/imports/{import_id}": lambda company: [Ask({"import_id": company.import_id})],
    "GET /v1/products/imports/{import_id}/rows": lambda company: [
        Ask({"import_id": company.import_id}),
        Ask({"import_id": company.import_id}, query={"status": "unchanged"}),
    ],
    "GET /v1/products/export": lambda company: [
        Ask(lists=True),
        Ask(query={"owner_id": company.id}),
        Ask(query={"owner_id": company.id, "format": "ndjson"}),
    ],
    # Orders
    "POST /v1/orders": _orders,
    "POST /v1/orders/bulk": lambda company: [
        Ask(body=[ask.body], refused=(422,), names_own=False) for ask in _orders(company)
    ],
    "GET /v1/orders": lambda company: [
        Ask(lists=True),
        Ask(query={"seller_id": company.id}),
        Ask(query={"external_ref": company.order_ref}, lists=True),
        Ask(query={"product_id": company.product}, lists=True),
        Ask(query={"q": company.order_ref}, lists=True),
        Ask(query={"q": company.order[:-1]}, lists=True),
        Ask(query={"waiting": "true"}, lists=True),
        # Of oneself as the supplier; a stranger asks what it sold of this one's products.
        Ask(query={"supplier_id": company.id}, lists=True, names_own=company.role == SUPPLIER),
        Ask(query={"cursor": LAST_UUID}, lists=True),
    ],
    "POST /v1/orders/imports": _order_file,
    "GET /v1/orders/imports": lambda company: [
        Ask(lists=True),
        Ask(query={"seller_id": company.id}),
        Ask(query=PAGE, lists=True),
    ],
    "GET /v1/orders/imports/{order_import_id}": lambda company: [Ask({"order_import_id": company.order_import})],
    "GET /v1/orders/imports/{order_import_id}/rows": lambda company: [
        Ask({"order_import_id": company.order_import}),
        Ask({"order_import_id": company.order_import}, query={"status": "created"}),
    ],
    "GET /v1/orders/{order_id}": lambda company: [Ask({"order_id": company.order})],
    "GET /v1/orders/{order_id}/history": lambda company: [Ask({"order_id": company.order})],
    "PATCH /v1/orders/{order_id}": lambda company: [
        Ask({"order_id": company.order}, body={"lines": [{"line_id": 1, "quantity": 2}]})
    ],
    "POST /v1/orders/{order_id}/cancel": lambda company: [Ask({"order_id": company.spare_order})],
    "POST /v1/returns": _returns,
    "GET /v1/returns": lambda company: [
        Ask(query={"order_id": company.order}, lists=True),
        Ask(query={"order_id": company.order, "cursor": LAST_UUID}, lists=True),
    ],
    "POST /v1/publishers": lambda company: [
        Ask(body={"amqp_user": fresh("publisher"), "company_id": company.id}, by="admin")
    ],
    "GET /v1/publishers": lambda company: [Ask(lists=True), Ask(query={"company_id": company.id})],
    "DELETE /v1/publishers/{amqp_user}": lambda company: [Ask({"amqp_user": company.publisher}, by="admin")],
    "GET /v1/dead-letters": lambda company: [
        Ask(lists=True),
        Ask(query={"user_id": company.publisher}, lists=True),
        Ask(query={"cursor": LAST_UUID}, lists=True),
    ],
    "GET /v1/dead-letters/{dead_letter_id}": lambda company: [Ask({"dead_letter_id": company.dead_letter})],
    "POST /v1/dead-letters/{dead_letter_id}/redrive": lambda company: [Ask({"dead_letter_id": company.dead_letter})],
    "DELETE /v1/dead-letters/{dead_letter_id}": lambda company: [Ask({"dead_letter_id": company.spare_dead_letter})],
    **{
        name: entry
        for one in ("catalog", "orders", "inventory", "notifier")
        for name, entry in (_dead_letters_of(one) | _operations_of(one)).items()
    },
    "POST /v1/fulfillment-requests": only(
        SUPPLIER,
        lambda company: [Ask(body={"order_id": company.supplied_order, **ONE_UNIT}, role=SUPPLIER)],
    ),
    "POST /v1/fulfillment-requests/bulk": only(SUPPLIER, _fulfillment),
    "GET /v1/fulfillment-requests": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER),
            Ask(query={"order_id": company.supplied_order}, lists=True, role=SUPPLIER),
            Ask(query={"cursor": LAST_UUID}, lists=True, role=SUPPLIER),
        ],
    ),
    "GET /v1/fulfillment-requests/{request_id}": only(
        SUPPLIER, lambda company: [Ask({"request_id": company.fulfillment_request}, role=SUPPLIER)]
    ),
    "POST /v1/fulfillment-requests/{request_id}/complete": only(
        SUPPLIER, lambda company: [Ask({"request_id": company.fulfillment_request}, body=ONE_UNIT, role=SUPPLIER)]
    ),
    "POST /v1/fulfillment-requests/{request_id}/fail": only(
        SUPPLIER, lambda company: [Ask({"request_id": company.fulfillment_request}, body=ONE_UNIT, role=SUPPLIER)]
    ),
    "GET /v1/fulfillment-events": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER),
            Ask(query=PAGE, lists=True, role=SUPPLIER),
        ],
    ),
    # Inventory
    "GET /v1/stock": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER),
            Ask(query={"sku": company.sku}, lists=True, role=SUPPLIER),
            Ask(query={"q": company.sku, "sort": "-available"}, lists=True, role=SUPPLIER),
            Ask(query={"q": f"stock-barcode-of-{company.name}"}, lists=True, role=SUPPLIER),
            Ask(query={"location": "main", "sort": "title"}, lists=True, role=SUPPLIER),
            *(
                Ask(query={"state": state}, lists=True, role=SUPPLIER, names_own=state == "unlinked")
                for state in ("low", "out", "backordered", "unlinked", "removed")
            ),
        ],
    ),
    "GET /v1/stock/summary": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER, names_own=False),
            Ask(query={"q": company.sku, "location": "main"}, lists=True, role=SUPPLIER, names_own=False),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER, names_own=False),
        ],
    ),
    "GET /v1/stock/{product_id}/takings": only(
        SUPPLIER,
        lambda company: [
            Ask({"product_id": company.product}, role=SUPPLIER),
            # The newest may be of an order that the walk itself has sent.
            Ask({"product_id": company.product}, query={"limit": 1}, role=SUPPLIER, names_own=False),
        ],
    ),
    "GET /v1/stock/{product_id}": only(SUPPLIER, lambda company: [Ask({"product_id": company.product}, role=SUPPLIER)]),
    "GET /v1/stock/{product_id}/ledger": only(
        SUPPLIER, lambda company: [Ask({"product_id": company.product}, role=SUPPLIER)]
    ),
    "POST /v1/stock/{product_id}/adjustments": only(
        SUPPLIER,
        lambda company: [
            Ask({"product_id": company.product}, body={"adjustment": 1, "reason": "counted"}, role=SUPPLIER)
        ],
    ),
    "PATCH /v1/stock/{product_id}": only(
        SUPPLIER, lambda company: [Ask({"product_id": company.product}, body={"lead_time_days": 2}, role=SUPPLIER)]
    ),
    "DELETE /v1/stock/{product_id}": only(
        SUPPLIER, lambda company: [Ask({"product_id": company.spare_stock}, role=SUPPLIER)]
    ),
    "GET /v1/stock/ledger": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER),
            Ask(query={"reference": company.order}, lists=True, role=SUPPLIER),
            Ask(query=PAGE, lists=True, role=SUPPLIER),
        ],
    ),
    "GET /v1/stock/{product_id}/series": only(
        SUPPLIER, lambda company: [Ask({"product_id": company.product}, role=SUPPLIER)]
    ),
    "GET /v1/stock/check": only(
        SUPPLIER, lambda company: [Ask(query={"supplier_id": company.id}, role=SUPPLIER, names_own=False)]
    ),
    "POST /v1/stock/check": only(
        SUPPLIER,
        lambda company: [Ask(query={"supplier_id": company.id}, body={"repair": True}, role=SUPPLIER, names_own=False)],
    ),
    "POST /v1/stock/bulk": only(SUPPLIER, _bulk),
    "GET /v1/locations": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER),
            Ask(query=PAGE, lists=True, role=SUPPLIER),
        ],
    ),
    "POST /v1/locations": only(
        SUPPLIER,
        lambda company: [Ask(query={"supplier_id": company.id}, body={"code": fresh("location")}, role=SUPPLIER)],
    ),
    "PATCH /v1/locations/{code}": only(
        SUPPLIER, lambda company: [Ask({"code": company.location}, body={"priority": 1}, role=SUPPLIER)]
    ),
    "POST /v1/reservations": _reservations,
    "GET /v1/reservations": lambda company: [
        Ask(lists=True),
        Ask(query={"seller_id": company.id}),
        Ask(query={"state": "open"}, lists=True),
        Ask(query={"product_id": company.product}, lists=True, names_own=company.role == SUPPLIER),
        Ask(query={"cursor": LAST_UUID}, lists=True),
    ],
    "GET /v1/reservations/{reservation_id}": lambda company: [Ask({"reservation_id": company.reservation})],
    "POST /v1/reservations/{reservation_id}/confirm": lambda company: [
        Ask({"reservation_id": company.spare_reservation}, body={"external_ref": company.said("confirmed")})
    ],
    "DELETE /v1/reservations/{reservation_id}": lambda company: [Ask({"reservation_id": company.spare_reservation})],
    "PUT /stock/availability": only(SUPPLIER, _availability),
    "GET /stock": only(
        RETAILER,
        lambda company: [
            Ask(lists=True, role=RETAILER),
            Ask(query=PAGE, lists=True, role=RETAILER),
            Ask(query={"retailer_id": company.id}, role=RETAILER),
            Ask(query={"dropship_ref": company.connection}, role=RETAILER),
            Ask(query={"q": "a"}, lists=True, role=RETAILER),
            Ask(query={"changed_since": "2020-01-01 00:00:00"}, lists=True, role=RETAILER),
        ],
    ),
    "POST /import": only(
        SUPPLIER,
        lambda company: [
            Ask(
                query={"supplier_id": company.id},
                body={
                    "entity": "stock",
                    "partial": True,
                    "items": [{"location": "main", "product": company.sku, "on_hand": 1}],
                },
                role=SUPPLIER,
                names_own=False,
            )
        ],
    ),
    "POST /import/{sync_import_id}/start": only(
        SUPPLIER, lambda company: [Ask({"sync_import_id": company.sync_import}, role=SUPPLIER)]
    ),
    "GET /import/{sync_import_id}": only(
        SUPPLIER, lambda company: [Ask({"sync_import_id": company.sync_import}, role=SUPPLIER)]
    ),
    "GET /v1/stock/export": only(
        SUPPLIER,
        lambda company: [
            # Its lines begin with SKUs, which a line's end before them hides from the walk.
            Ask(lists=True, role=SUPPLIER, names_own=False),
            Ask(query={"supplier_id": company.id, "columns": "id,location"}, role=SUPPLIER),
            Ask(query={"q": company.sku, "location": "main"}, lists=True, role=SUPPLIER, names_own=False),
            Ask(query={"state": "unlinked", "columns": "id,location"}, lists=True, role=SUPPLIER),
        ],
    ),
    "POST /v1/stock/imports": only(
        SUPPLIER,
        lambda company: [
            Ask(
                query={"supplier_id": company.id, "dry_run": "true"},
                file=f"sku,on_hand\n{company.sku},1000\n",
                role=SUPPLIER,
            )
        ],
    ),
    "GET /v1/stock/imports": only(
        SUPPLIER,
        lambda company: [
            Ask(lists=True, role=SUPPLIER),
            Ask(query={"supplier_id": company.id}, role=SUPPLIER),
            Ask(query=PAGE, lists=True, role=SUPPLIER),
        ],
    ),
    "GET /v1/stock/imports/{stock_import_id}": only(
        SUPPLIER, lambda company: [Ask({"stock_import_id": company.stock_import}, role=SUPPLIER)]
    ),
    "GET /v1/stock/imports/{stock_import_id}/rows": only(
        SUPPLIER,
        lambda company: [
            Ask({"stock_import_id": company.stock_import}, role=SUPPLIER),
            Ask({"stock_import_id": company.stock_import}, query={"status": "changed"}, role=SUPPLIER),
        ],
    ),
    "POST /imports/stock": only(SUPPLIER, _values),
    "DELETE /imports/stock": only(
        SUPPLIER,
        lambda company: [
            Ask(
                query={"supplier_id": company.id},
                body={"main": {str(company.spare_stock): 0}},
                role=SUPPLIER,
                names_own=False,
            )
        ],
    ),
    # Notifier
    "POST /v1/webhook-endpoints": lambda company: [
        Ask(
            body={
                "url": NOWHERE + company.said("new-webhooks"),
                "company_id": company.id,
                "format": company.webhook_format,
            },
            role=company.role,
        )
    ],
    "GET /v1/webhook-endpoints": lambda company: [
        Ask(lists=True),
        Ask(query={"state": "active", "format": company.webhook_format}, lists=True),
        Ask(query={"company_id": company.id}),
    ],
    "GET /v1/webhook-endpoints/{endpoint_id}": lambda company: [Ask({"endpoint_id": company.endpoint})],
    "PATCH /v1/webhook-endpoints/{endpoint_id}": lambda company: [
        Ask({"endpoint_id": company.endpoint}, body={"calls_per_second": 100})
    ],
    "POST /v1/webhook-endpoints/{endpoint_id}/pause": lambda company: [Ask({"endpoint_id": company.spare_endpoint})],
    "POST /v1/webhook-endpoints/{endpoint_id}/resume": lambda company: [Ask({"endpoint_id": company.spare_endpoint})],
    "POST /v1/webhook-endpoints/{endpoint_id}/enable": lambda company: [Ask({"endpoint_id": company.endpoint})],
    "POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret": lambda company: [
        Ask({"endpoint_id": company.endpoint}, body={"overlap_hours": 24})
    ],
    "POST /v1/webhook-endpoints/{endpoint_id}/test": lambda company: [
        Ask({"endpoint_id": company.endpoint}, names_own=False)
    ],
    "POST /v1/webhook-endpoints/{endpoint_id}/replay": lambda company: [
        Ask(
            {"endpoint_id": company.endpoint},
            body={"after": 0} if company.role == SUPPLIER else {"product_ids": [1]},
            names_own=False,
        )
    ],
    "GET /v1/webhook-endpoints/{endpoint_id}/attempts": lambda company: [Ask({"endpoint_id": company.endpoint})],
    "GET /v1/webhook-endpoints/{endpoint_id}/attempts/{attempt_id}": lambda company: [
        Ask({"endpoint_id": company.endpoint, "attempt_id": company.attempt}),
    ],
    "POST /v1/webhook-endpoints/{endpoint_id}/attempts/{attempt_id}/resend": only(
        RETAILER,
        lambda company: [Ask({"endpoint_id": company.endpoint, "attempt_id": company.attempt}, names_own=False)],
    ),
    # What a supplier reads is its retailers', and nothing of its own.
    "GET /v1/tellings": lambda company: [
        Ask(query={"product_id": company.base_stock}, lists=True, names_own=company.role == RETAILER),
        Ask(query={"product_id": company.base_stock, **PAGE}, lists=True, names_own=company.role == RETAILER),
    ],
    "DELETE /v1/webhook-endpoints/{endpoint_id}": lambda company: [Ask({"endpoint_id": company.spare_endpoint})],
}
