"""For retailers: the stock that suppliers share with them."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from nicegui import ui

from services.console.frame import empty, page
from services.console.pages.company.connections import connection_list
from services.console.product_names import ProductNames
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, list_heading, live, number

HERE = "/suppliers"
COLUMNS = (
    Column("supplier", "Supplier"),
    Column("sku", "Stock product", "link"),
    Column("name", "Name"),
    Column("sold_as", "Sold as"),
    Column("available", "Available", "number"),
    Column("lead_time", "Lead time", "number"),
    Column("capacity", "Daily capacity", "number"),
)
NAMES_SHOWN = 4
REFRESH_SECONDS = 5


@page(HERE, "Shared stock", ("retailer",))
async def shared_stock(visit: Visit) -> None:
    """What connected suppliers have in stock, by supplier, and the connections themselves."""
    if not (visit.may("stock:read") and visit.may("catalog:read")):
        empty("lock", "You may not see stock", "That needs the scopes stock:read and catalog:read.")
        return
    connections = await visit.api.pages("/v1/connections", 1000)
    await _stock(visit, [one for one in connections if one["state"] == "active"])
    list_heading("Connections")
    await connection_list(visit, _none_connected, company=visit.me["company"])


async def _stock(visit: Visit, connections: Sequence[Mapping[str, Any]]) -> None:
    chosen = {"q": visit.query.get("q", ""), "supplier": visit.query.get("supplier", "")}
    suppliers = {"": "All suppliers", **{str(one["supplier_id"]): one["supplier_name"] for one in connections}}

    names = ProductNames(visit)

    async def fetch(asked: Asked) -> Listed:
        wanted = [one for one in connections if chosen["supplier"] in {"", str(one["supplier_id"])}]
        listed = await _page(visit, wanted, chosen["q"], asked)
        await names.learn([row["id"] for row in listed.rows])
        rows = [row | {"name": names.name(row["id"])} | _address(row["id"], names) for row in listed.rows]
        return Listed(rows, listed.next_cursor)

    async def choose(name: str, value: str | None) -> None:
        chosen[name] = (value or "").strip()
        ui.navigate.history.replace(address(HERE, **chosen))
        await stock.load()

    def none_found() -> None:
        if chosen["q"]:
            empty(
                "search_off",
                f"Nothing is called {chosen['q']}",
                "The SKUs of the suppliers' stock products are searched.",
            )
        elif connections:
            empty("inventory_2", "No stock yet", "Your suppliers have no stock products yet.")
        else:
            _none_connected()

    with ui.row().classes("row filters"):
        field = ui.input(placeholder="Search by SKU", value=chosen["q"]).classes("page-search")
        field.props('outlined dense clearable debounce=300 type=search aria-label="Search by SKU"')
        field.on_value_change(lambda event: choose("q", event.value))
        value = chosen["supplier"] if chosen["supplier"] in suppliers else ""
        supplier = ui.select(suppliers, value=value).props('outlined dense options-dense aria-label="Supplier"')
        supplier.classes("filter").on_value_change(lambda event: choose("supplier", event.value))
    columns = [column for column in COLUMNS if column.name != "supplier" or len(connections) > 1]
    stock = PagedList(columns, fetch, key="id", when_empty=none_found)
    await stock.load()
    live(stock.refresh, REFRESH_SECONDS)


async def _page(visit: Visit, connections: Sequence[Mapping[str, Any]], q: str, asked: Asked) -> Listed:
    """Supplier by supplier, so that each row has its supplier's name; a cursor is `connection's place:API's cursor`."""
    place, _, cursor = str(asked.cursor or "0:").partition(":")
    rows: list[dict[str, Any]] = []
    for at in range(int(place), len(connections)):
        connection = connections[at]
        answer = await visit.api.call(
            "GET",
            "/stock",
            query={
                "dropship_ref": connection["external_ref"] or connection["id"],
                "q": q,
                "limit": asked.limit - len(rows),
                "cursor": cursor,
            },
        )
        rows += [_row(item, connection["supplier_name"]) for item in answer.body["stock"]]
        cursor = parse_qs(urlsplit(answer.next_address or "").query).get("cursor", [""])[0]
        if cursor:
            return Listed(rows, f"{at}:{cursor}")
        if len(rows) == asked.limit:
            return Listed(rows, f"{at + 1}:" if at + 1 < len(connections) else None)
    return Listed(rows, None)


def _address(product_id: int, names: ProductNames) -> dict[str, str]:
    """Where its page is: of a product that its supplier does not show there is none, though its stock is shared."""
    return {"sku_address": f"/products/{product_id}"} if names.knows(product_id) else {}


def _row(item: Mapping[str, Any], supplier: str) -> dict[str, Any]:
    base, *others = item["linked"]
    available, days = item["quantity_available"], item["lead_time_days"]
    return {
        "id": base["product"]["id"],
        "supplier": supplier,
        "sku": base["product"]["supplier_sku"],
        "sold_as": _sold_as(others),
        "available": number(available),
        "available_tone": "bad" if available <= 0 else "",
        "lead_time": "-" if days is None else f"{number(days)} {'day' if days == 1 else 'days'}",
        "capacity": "-" if item["daily_capacity"] is None else number(item["daily_capacity"]),
    }


def _sold_as(linked: Sequence[Mapping[str, Any]]) -> str:
    """The SKUs that it is sold under, the retailer's own where there is one, with their variants."""
    names = []
    for one in linked:
        sku = one["product"]["retail_sku"] or one["product"]["supplier_sku"]
        variant = one["variant"]
        names.append(f"{sku} ({variant['sku']})" if variant else sku)
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _none_connected() -> None:
    words = "The platform's admin connects you with suppliers: ask them, and name the supplier."
    empty("hub", "No supplier shares stock with you yet", words)
