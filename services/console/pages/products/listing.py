"""The list of products."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.company_names import company_name, known_companies
from services.console.frame import empty, page
from services.console.pages.products.words import (
    TRACKED_TYPES,
    TYPE_WORDS,
    draws_on,
    is_unlinked,
    needed_names,
    visibility_in_words,
)
from services.console.product_names import ProductNames
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, live, named

HERE = "/products"
FILTERS = ("q", "type", "unlinked", "owner_id", "linked_to")
COLUMNS = (
    Column("sku", "SKU", "link", "sku", descends=False),
    Column("name", "Name", sort_by="name", descends=False),
    Column("type", "Type"),
    Column("draws_on", "Draws on", "link"),
    Column("tracking", "", "badge"),
    Column("variants", "Variants", "number"),
    Column("shown_to", "Shown to"),
)
OWNER = Column("owner", "Owner")
TYPES = {"": "Every type", **TYPE_WORDS}
LINKED = {"": "Tracked or not", "true": "Untracked: linked to no stock"}
REFRESH_SECONDS = 15


@page(HERE, "Products")
async def products_page(visit: Visit) -> None:
    """All products of the visitor, and those that suppliers show it; the filters are in the address."""
    chosen = {name: visit.query.get(name, "") for name in FILTERS}
    names, companies = ProductNames(visit), await known_companies(visit)

    async def fetch(asked: Asked) -> Listed:
        answer = await visit.api.get(
            "/v1/products", **chosen, sort=asked.sort or "id", cursor=asked.cursor, limit=asked.limit
        )
        await names.learn([one for product in answer["items"] for one in needed_names(product)])
        rows = [_row(product, names, companies, visit) for product in answer["items"]]
        return Listed(rows, answer["next_cursor"])

    async def choose(name: str, value: str | int | None) -> None:
        chosen[name] = str(value or "")
        ui.navigate.history.replace(address(HERE, **chosen))
        await products.load()

    with ui.row().classes("row between"):
        await _filters(visit, chosen, choose, companies)
        _actions(visit)
    columns = COLUMNS if visit.role == "supplier" else (*COLUMNS[:2], OWNER, *COLUMNS[2:])
    products = PagedList(columns, fetch, when_empty=lambda: _none(visit, chosen))
    await products.load()
    live(products.refresh, REFRESH_SECONDS)


def _actions(visit: Visit) -> None:
    with ui.row().classes("row tight buttons"):
        if visit.may("catalog:write"):
            ui.button("New product", icon="add", on_click=lambda: ui.navigate.to(f"{HERE}/new")).props("unelevated")
            ui.button("Import", on_click=lambda: ui.navigate.to(f"{HERE}/import")).props("outline")
        if not visit.is_admin:  # whose products a file holds would have to be said
            ui.button("Export CSV", on_click=lambda: ui.navigate.to(f"{HERE}/export.csv")).props("outline")


async def _filters(visit: Visit, chosen: dict[str, str], choose: Any, companies: Mapping[int, str]) -> None:  # noqa: ANN401 - a handler
    with ui.row().classes("row filters buttons"):
        search = ui.input(placeholder="SKU or name", value=chosen["q"])
        search.props('outlined dense clearable debounce=300 type=search aria-label="Search by SKU or name"')
        search.classes("page-search").on_value_change(lambda event: choose("q", event.value))
        selects: list[tuple[str, dict[Any, str], str]] = [("type", TYPES, "Type"), ("unlinked", LINKED, "Tracking")]
        if visit.is_admin:
            owners = {"": "Every owner", **{str(one): name for one, name in companies.items()}}
            selects.append(("owner_id", owners, "Owner"))
        for name, choices, label in selects:
            value = chosen[name] if chosen[name] in choices else ""
            field = ui.select(choices, value=value, on_change=lambda event, name=name: choose(name, event.value))
            named(field, label).props("outlined dense options-dense").classes("filter")
        if chosen["linked_to"].isdecimal():
            await _linked_to(visit, int(chosen["linked_to"]), choose)


async def _linked_to(visit: Visit, product_id: int, choose: Any) -> None:  # noqa: ANN401 - a handler
    names = ProductNames(visit)
    await names.learn([product_id])
    with ui.row().classes("row tight filter-chip") as chip:
        ui.label("What draws on")
        ui.link(names.sku(product_id), f"{HERE}/{product_id}")

        async def clear() -> None:
            chip.delete()
            await choose("linked_to", "")

        ui.button(icon="close", on_click=clear).props('flat dense round size=sm aria-label="Show all products again"')


def _row(product: dict[str, Any], names: ProductNames, companies: Mapping[int, str], visit: Visit) -> dict[str, Any]:
    names.keep(product)
    target = product["base_product_id"] or product["base_stock_product_id"]
    leads_to = f"{HERE}/{target}" if target and names.knows(target) else None
    if product["type"] in TRACKED_TYPES and visit.role != "retailer":
        leads_to = f"/inventory/{product['id']}"
    return {
        "id": product["id"],
        "sku": product["sku"],
        "sku_address": f"{HERE}/{product['id']}",
        "name": product["name"],
        "owner": company_name(companies, product["owner_id"]),
        "type": TYPE_WORDS[product["type"]],
        "draws_on": draws_on(product, names),
        "draws_on_address": leads_to,
        "tracking": "untracked" if is_unlinked(product) else "",
        "tracking_tone": "warn",
        "variants": f"{len(product['variants']):,}" if product["variants"] else "",
        "shown_to": visibility_in_words(product["visibility"], companies),
    }


def _none(visit: Visit, chosen: Mapping[str, str]) -> None:
    if any(chosen.values()):
        with empty("search_off", "No such product", "SKUs are found by their beginning, names by their words."):
            ui.button("Show all products", on_click=lambda: ui.navigate.to(HERE)).props("outline")
        return
    if visit.role == "retailer":
        words = (
            "Here are your own versions of suppliers' products, and what suppliers show you. Make a version to sell."
        )
    else:
        words = "Add what you stock, then what you sell from it; or import a file with all of it."
    with empty("sell", "No products yet", words), ui.row().classes("row tight center"):
        if visit.may("catalog:write"):
            ui.button("Add a product", on_click=lambda: ui.navigate.to(f"{HERE}/new")).props("unelevated")
            ui.button("Import products", on_click=lambda: ui.navigate.to(f"{HERE}/import")).props("outline")
