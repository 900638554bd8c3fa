"""The first page: how things stand, what needs somebody's attention, and what to do first."""

from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.frame import empty, page
from services.console.pages.demo_data import offer_demo_data
from services.console.pages.inventory.words import KINDS, STATES, reason_in_words
from services.console.pages.orders.words import STATUS_TONES, STATUS_WORDS, waits_in_words
from services.console.product_names import ProductNames
from services.console.visits import Visit
from services.console.widgets import Tone, address, badge, live, moment, number, panel, tile

RECENT = 8
# To count all items is the dearest that the API does for a page.
SUMMARY_SECONDS = 20


@page("/", "Overview")
async def overview(visit: Visit) -> None:
    """What needs somebody's attention, by role."""
    await {"supplier": _of_supplier, "retailer": _of_retailer, "admin": _of_platform}[visit.role](visit)


async def _of_supplier(visit: Visit) -> None:
    summary = await visit.api.get("/v1/stock/summary")
    if not summary["items"]:
        _first_steps_of_supplier()
        return
    tiles = ui.element("div").classes("tiles")
    recent = ui.column().classes("w-full")
    names = ProductNames(visit)

    async def refresh(stock: dict[str, Any] | None = None) -> None:
        stock = stock or await visit.api.get("/v1/stock/summary")
        entries = (await visit.api.get("/v1/stock/ledger", limit=RECENT))["items"]
        await names.learn([entry["product_id"] for entry in entries])
        tiles.clear()
        with tiles:
            _stock_tiles(stock)
        recent.clear()
        with recent, panel("What changed last"):
            _movements(visit, entries, names)

    await refresh(summary)
    live(refresh, SUMMARY_SECONDS)


def _stock_tiles(stock: dict[str, Any]) -> None:
    tile(number(stock["items"]), "items stocked", "/inventory")
    tile(number(stock["units_available"]), "units available", "/inventory")
    tones: dict[str, Tone] = {"low": "warn", "out": "bad", "backordered": "bad", "unlinked": ""}
    for state, tone in tones.items():
        target = address("/inventory", state=state)
        tile(number(stock[state]), STATES[state].lower(), target, tone if stock[state] else "")


def _movements(visit: Visit, entries: list[dict[str, Any]], names: ProductNames) -> None:
    if not entries:
        ui.label("Nothing yet: a level that is set, an order, or an imported file shows here.").classes("muted")
    with ui.element("div").classes("timeline"):
        for entry in entries:
            with ui.element("div").classes("moment"):
                ui.label(moment(entry["occurred_at"], visit.zone)).classes("muted")
                with ui.row().classes("row tight"):
                    badge(KINDS.get(entry["kind"], entry["kind"]))
                    ui.link(names.sku(entry["product_id"]), f"/inventory/{entry['product_id']}")
                    ui.label(names.name(entry["product_id"]))
                    ui.label(reason_in_words(entry)).classes("muted")
                ui.label(f"{entry['on_hand_delta']:+,} on hand, now {number(entry['on_hand_after'])}").classes("number")


def _first_steps_of_supplier() -> None:
    with (
        panel(),
        empty("inventory_2", "No stock yet", "Stock is kept of products of the types Stock and Stock & Customisable."),
        ui.row().classes("row tight"),
    ):
        ui.button("Add a product", on_click=lambda: ui.navigate.to("/products/new")).props("unelevated")
        ui.button("Import products", on_click=lambda: ui.navigate.to("/products/import")).props("outline")


async def _of_retailer(visit: Visit) -> None:
    connections = await visit.api.pages("/v1/connections", 200)
    endpoints = await visit.api.pages("/v1/webhook-endpoints", 200)
    active = [one for one in connections if one["state"] == "active"]
    with ui.element("div").classes("tiles"):
        tile(number(len(active)), "connected suppliers", "/suppliers")
        tile(number(len(endpoints)), "webhook endpoints", "/webhooks")
        troubled = [one for one in endpoints if one["state"] == "disabled" or one.get("failing_since")]
        tile(number(len(troubled)), "of them failing or disabled", "/webhooks", "bad" if troubled else "ok")
    if visit.may("orders:read"):
        await _newest_orders(visit)
    if not active:
        with panel():
            empty("hub", "No supplier yet", "The platform's admin connects suppliers with retailers. Ask for it.")
    if not endpoints:
        with (
            panel(),
            empty("webhook", "No webhook yet", "Be told of each change of the stock that suppliers share with you."),
        ):
            ui.button("Set the URL", on_click=lambda: ui.navigate.to("/company")).props("unelevated")


async def _newest_orders(visit: Visit) -> None:
    orders = (await visit.api.get("/v1/orders", limit=RECENT))["items"]
    if not orders:
        return
    with panel("Your newest orders"), ui.element("div").classes("timeline"):
        for order in orders:
            with ui.element("div").classes("moment"):
                ui.label(moment(order["received_at"], visit.zone)).classes("muted")
                with ui.row().classes("row tight"):
                    ui.link(order["external_ref"], f"/orders/{order['order_id']}")
                    badge(STATUS_WORDS[order["status"]], STATUS_TONES.get(order["status"], ""))
                    ui.label(waits_in_words(order["lines"])).classes("muted")
                ui.label(f"{len(order['lines']):,} lines").classes("number muted")


async def _of_platform(visit: Visit) -> None:
    companies = await visit.api.pages("/v1/companies", 200)
    if not companies:
        offer_demo_data(visit)
        return
    connections = await visit.api.pages("/v1/connections", 200)
    with ui.element("div").classes("tiles"):
        for role in ("supplier", "retailer"):
            tile(number(sum(one["role"] == role for one in companies)), f"{role}s", "/platform/companies")
        active = sum(one["state"] == "active" for one in connections)
        tile(number(active), "active connections", "/platform/connections")
    health = ui.element("div").classes("tiles")

    async def refresh() -> None:
        told = [await _health(visit, service) for service in ("catalog", "orders", "inventory", "notifier")]
        health.clear()
        with health:
            for service, words, tone in told:
                tile(words, service, "/platform/operations", tone)

    await refresh()
    live(refresh, 5)


async def _health(visit: Visit, service: str) -> tuple[str, str, Tone]:
    """A service, how it is in a word or two, and how good that is."""
    try:
        state = await visit.api.get(f"/v1/operations/{service}")
    except RefusedError:
        return service, "away", "bad"
    if not state["bus"]["reachable"]:
        return service, "no broker", "bad"
    oldest = state["outbox"]["oldest_seconds"] or 0
    if oldest > 60:  # noqa: PLR2004 - a minute: messages take milliseconds
        return service, "behind", "warn"
    return service, "well", "ok"
