"""What stands around a product: what it draws on, what draws on it, and it itself for who may not change it."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.pages.products.words import (
    TRACKED_TYPES,
    TYPE_WORDS,
    attributes_in_words,
    draws_on,
    visibility_in_words,
)
from services.console.product_names import ProductNames
from services.console.visits import Visit
from services.console.widgets import address, badge, facts, panel

SHOWN = 20


def readable(product: Mapping[str, Any], names: ProductNames, companies: Mapping[int, str]) -> None:
    """The product, for who may not change it."""
    with panel():
        facts(
            {
                "SKU": product["sku"],
                "Name": product["name"],
                "Type": TYPE_WORDS[product["type"]],
                "Barcode": product["barcode"],
                "Draws on": draws_on(product, names),
                "Shown to": visibility_in_words(product["visibility"], companies),
                "Id": product["id"],
            }
        )


async def stock_links(visit: Visit, product: Mapping[str, Any], names: ProductNames) -> None:
    """What can be ordered of it, and what one unit of that takes from stock, through all virtual bases."""
    links = await visit.api.get(f"/v1/products/{product['id']}/stock-links")
    await names.learn(links["bases"])
    with panel("What orders take from stock"):
        if links["bases"]:
            with ui.row().classes("row tight"):
                ui.label("Based on").classes("muted")
                for base in links["bases"]:
                    ui.link(names.sku(base), f"/products/{base}").classes("mono")
        if not links["tracked"]:
            ui.label("Nothing: it is untracked, and orders for it lower no stock.").classes("muted")
        if links["reason"]:
            ui.label(f"It leads nowhere: {links['reason']}.").classes("note warn")
        for part in links["parts"][:SHOWN]:
            _part(visit, part)
        if (more := len(links["parts"]) - SHOWN) > 0:
            ui.label(f"And {more:,} more variants.").classes("muted")


def _part(visit: Visit, part: Mapping[str, Any]) -> None:
    with ui.row().classes("row tight part"):
        if part["variant_sku"]:
            ui.label(part["variant_sku"]).classes("mono")
            ui.label(attributes_in_words(part["attributes"])).classes("muted")
            ui.label("takes").classes("muted")
        for component in part["components"]:
            page_of = "products" if visit.role == "retailer" else "inventory"
            units = f"{component['quantity']:,} x " if component["quantity"] > 1 else ""
            ui.link(f"{units}{component['sku']}", f"/{page_of}/{component['product_id']}").classes("mono")
        if not part["components"]:
            badge("untracked", "warn")


async def what_draws_on(visit: Visit, product: Mapping[str, Any]) -> None:
    """The products that draw on a stock product, in whatever way."""
    if product["type"] not in TRACKED_TYPES:
        return
    found = await visit.api.get("/v1/products", linked_to=product["id"], limit=SHOWN)
    with panel("What draws on it"):
        for one in found["items"]:
            with ui.row().classes("row tight part"):
                ui.link(one["sku"], f"/products/{one['id']}").classes("mono")
                ui.label(one["name"])
                badge(TYPE_WORDS[one["type"]])
        if not found["items"]:
            ui.label("Nothing but itself: orders for it alone lower its stock.").classes("muted")
            if visit.may("catalog:write") and visit.role != "retailer":
                ui.link("Add a customisable product, and link it to this one", "/products/new?type=customisable")
        if found["next_cursor"]:
            ui.link("All that draws on it", address("/products", linked_to=product["id"]))
