"""What is around an item: the products that draw on it, the orders that hold it, and the retailers who were told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from services.console.company_names import company_name, known_companies
from services.console.pages.inventory.words import Json
from services.console.visits import Visit
from services.console.widgets import Feed, Tone, badge, moment, number, panel

SHOWN = 10
TYPES = {
    "stock": "stock product",
    "customisable": "customisable",
    "stock_customisable": "stock and customisable",
    "configurable_stock": "sold in variants",
    "virtual": "virtual",
}
STATES: Mapping[str, tuple[str, Tone]] = {
    "told": ("Told", "ok"),
    "due": ("Due now", "accent"),
    "waiting": ("Waits", "accent"),
    "failing": ("Failing", "bad"),
    "paused": ("Paused", "warn"),
    "never": ("Never", ""),
}


@dataclass(frozen=True, slots=True)
class Around:
    """The lists; those of orders and of retailers are loaded anew when the item changes."""

    takings: Feed
    tellings: Feed | None

    async def load(self) -> None:
        """Show them as they are now."""
        await self.takings.load()
        if self.tellings is not None:
            await self.tellings.load()


async def draw_around(visit: Visit, item: Json) -> Around:
    """Draw the three blocks."""
    names = await known_companies(visit)
    with panel("Who draws on it"):
        drawing = _drawing(visit, item)
    with panel("Open orders that hold it"):
        takings = _takings(visit, item, names)
    tellings = None
    if visit.may("webhooks:read"):
        with panel("Retailers who were told"):
            tellings = _tellings(visit, item, names)
    around = Around(takings, tellings)
    await drawing.load()
    await around.load()
    return around


def _drawing(visit: Visit, item: Json) -> Feed:
    async def fetch(cursor: str | int | None) -> Any:  # noqa: ANN401 - JSON
        return await visit.api.get("/v1/products", linked_to=item["product_id"], cursor=cursor, limit=SHOWN)

    def draw(product: Json) -> None:
        drawing = [one for one in product["variants"] if _draws(one, item["product_id"])]
        with ui.element("div").classes("entry"):
            with ui.row().classes("row tight"):
                ui.link(product["name"] or product["sku"], f"/products/{product['id']}")
                ui.label(product["sku"]).classes("mono muted")
                badge(TYPES[product["type"]])
            for variant in drawing:
                named = ", ".join(f"{one['name']} {one['value']}" for one in variant["attributes"])
                ui.label(f"{variant['sku']}: {named}" if named else variant["sku"]).classes("muted")

    none = "Nothing draws on it: link a product or its variants to it, and their orders lower this stock."
    return Feed(fetch, draw, none=none, link=("Products that are linked to no stock", "/products?unlinked=true"))


def _draws(variant: Json, product_id: int) -> bool:
    return any(component["product_id"] == product_id for component in variant["components"])


def _takings(visit: Visit, item: Json, names: Mapping[int, str]) -> Feed:
    async def fetch(cursor: str | int | None) -> Any:  # noqa: ANN401 - JSON
        return await visit.api.get(f"/v1/stock/{item['product_id']}/takings", cursor=cursor, limit=SHOWN)

    def draw(taking: Json) -> None:
        with ui.row().classes("entry row between"):
            with ui.row().classes("row tight narrow"):
                ui.link(taking["external_ref"] or taking["order_id"], f"/orders/{taking['order_id']}")
                ui.label(company_name(names, taking["seller_id"])).classes("muted")
            effect = "allocated" if taking["effect"] == "allocate" else "taken off"
            ui.label(f"{number(taking['quantity'])} {effect} at {taking['location']}").classes("number")

    return Feed(fetch, draw, none="No open order holds units of it.")


def _tellings(visit: Visit, item: Json, names: Mapping[int, str]) -> Feed:
    async def fetch(cursor: str | int | None) -> Any:  # noqa: ANN401 - JSON
        return await visit.api.get("/v1/tellings", product_id=item["product_id"], cursor=cursor, limit=SHOWN)

    def draw(telling: Json) -> None:
        with ui.row().classes("entry row between"):
            with ui.row().classes("row tight narrow"):
                ui.label(company_name(names, telling["retailer_id"]))
                badge(*STATES[telling["state"]])
            ui.label(_told(visit, telling)).classes("muted")

    return Feed(fetch, draw, none="No retailer's webhook asks for this product.")


def _told(visit: Visit, telling: Json) -> str:
    if telling["state"] in {"due", "waiting"} and telling["next_at"]:
        return f"next {moment(telling['next_at'], visit.zone)}"
    if telling["told_at"] is None:
        return ""
    units = "" if telling["told_available"] is None else f"{number(telling['told_available'])} available, "
    return units + moment(telling["told_at"], visit.zone)
