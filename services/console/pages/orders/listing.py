"""The list of orders: those that the visitor sold, or has to send."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from services.console.company_names import company_name, known_companies
from services.console.frame import empty, page
from services.console.list_table import Column
from services.console.pages.orders.words import STATUS_TONES, STATUS_WORDS, waits_in_words
from services.console.visits import Visit
from services.console.widgets import Asked, Listed, PagedList, address, live, moment, named

HERE = "/orders"
FILTERS = ("view", "q", "status", "waiting", "seller_id")
COLUMNS = (
    Column("ref", "Reference", "link"),
    Column("seller", "Sold by"),
    Column("received_at", "Received", "moment"),
    Column("status", "State", "badge"),
    Column("lines", "Lines", "number"),
    Column("units", "Units", "number"),
    Column("waits", "Waits"),
)
STATES = {"": "Every state", **STATUS_WORDS}
WAITING = {"": "Waiting or not", "true": "Parked or short"}
# A supplier has to send something of the one, and sold the other itself.
TO_SEND, SOLD = "send", "sold"
VIEWS = {TO_SEND: "To send", SOLD: "Sold by us"}


@page(HERE, "Orders")
async def orders_page(visit: Visit) -> None:
    """Orders, newest first; the filters are in the address."""
    chosen = {name: visit.query.get(name, "") for name in FILTERS}
    if visit.role == "supplier" and chosen["view"] != SOLD:
        chosen["view"] = TO_SEND
    companies = await known_companies(visit)

    async def fetch(asked: Asked) -> Listed:
        query = {name: chosen[name] for name in FILTERS if name != "view"}
        supplier_id = visit.company_id if chosen["view"] == TO_SEND else None
        answer = await visit.api.get(
            "/v1/orders", **query, supplier_id=supplier_id, cursor=asked.cursor, limit=asked.limit
        )
        return Listed([_row(order, companies, visit) for order in answer["items"]], answer["next_cursor"])

    async def choose(name: str, value: str | None) -> None:
        chosen[name] = value or ""
        shown = dict(chosen) | {"view": SOLD if chosen["view"] == SOLD else None}
        ui.navigate.history.replace(address(HERE, **shown))
        await orders.load()

    with ui.row().classes("row between"):
        _filters(visit, chosen, choose, companies)
        _actions(visit)
    columns = [column for column in COLUMNS if column.name != "seller" or visit.role != "retailer"]
    orders = PagedList(columns, fetch, when_empty=lambda: _none(visit, chosen))
    await orders.load()
    live(orders.refresh)


def _actions(visit: Visit) -> None:
    with ui.row().classes("row tight buttons"):
        if visit.may("orders:write") and not visit.is_admin:
            ui.button("New order", icon="add", on_click=lambda: ui.navigate.to(f"{HERE}/new")).props("unelevated")
            ui.button("Import", on_click=lambda: ui.navigate.to(f"{HERE}/import")).props("outline")
        if not visit.is_admin:
            ui.link("Refused messages", f"{HERE}/dead-letters").classes("export")


def _filters(
    visit: Visit,
    chosen: Mapping[str, str],
    choose: Callable[[str, str | None], Awaitable[None]],
    companies: Mapping[int, str],
) -> None:
    with ui.row().classes("row filters buttons"):
        if visit.role == "supplier":
            view = ui.toggle(VIEWS, value=chosen["view"], on_change=lambda event: choose("view", event.value))
            view.props('unelevated no-caps toggle-color=primary aria-label="Whose orders"').classes("views")
        search = ui.input(placeholder="Reference, id", value=chosen["q"])
        search.props('outlined dense clearable debounce=300 type=search aria-label="Search by reference or id"')
        search.classes("page-search short").on_value_change(lambda event: choose("q", event.value))
        selects: list[tuple[str, Mapping[str, str], str]] = [("status", STATES, "State"), ("waiting", WAITING, "Waits")]
        if visit.is_admin:
            sellers = {"": "Every seller", **{str(one): name for one, name in companies.items()}}
            selects.append(("seller_id", sellers, "Seller"))
        for name, choices, label in selects:
            value = chosen[name] if chosen[name] in choices else ""
            field = ui.select(dict(choices), value=value, on_change=lambda event, name=name: choose(name, event.value))
            named(field, label).props("outlined dense options-dense").classes("filter")


def _row(order: Mapping[str, Any], companies: Mapping[int, str], visit: Visit) -> dict[str, Any]:
    return {
        "id": order["order_id"],
        "ref": order["external_ref"],
        "ref_address": f"{HERE}/{order['order_id']}",
        "seller": company_name(companies, order["seller_id"]),
        "received_at": moment(order["received_at"], visit.zone),
        "received_at_title": order["received_at"],
        "status": STATUS_WORDS[order["status"]],
        "status_tone": STATUS_TONES.get(order["status"], ""),
        "waits": waits_in_words(order["lines"]),
        "lines": f"{len(order['lines']):,}",
        "units": f"{sum(line['quantity'] - line['cancelled'] for line in order['lines']):,}",
    }


def _none(visit: Visit, chosen: Mapping[str, str]) -> None:
    if any(chosen[name] for name in FILTERS if name != "view"):
        with empty("search_off", "No such order", "References are found by any part of them, ids by their beginning."):
            ui.button("Show all orders", on_click=lambda: ui.navigate.to(HERE)).props("outline")
    elif chosen["view"] == TO_SEND:
        empty("local_shipping", "Nothing to send", "Orders for your stock show here as soon as they come in.")
    elif visit.is_admin:
        empty("receipt_long", "No orders yet", "They come over HTTP, RabbitMQ, from files, and from this console.")
    else:
        words = "They come over HTTP, RabbitMQ, from files, and from this console."
        with empty("receipt_long", "No orders yet", words), ui.row().classes("row tight center"):
            if visit.may("orders:write"):
                ui.button("New order", on_click=lambda: ui.navigate.to(f"{HERE}/new")).props("unelevated")
                ui.button("Import orders", on_click=lambda: ui.navigate.to(f"{HERE}/import")).props("outline")
