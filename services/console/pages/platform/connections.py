"""All dropship connections of the platform."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from services.console.company_names import company_names
from services.console.forms import Form, form_dialog
from services.console.frame import empty, page, tell_done
from services.console.pages.company.connections import PATH, connection_list, connection_settings
from services.console.visits import Visit
from services.console.widgets import address

HERE = "/platform/connections"


@page(HERE, "Connections", ("admin",))
async def all_connections(visit: Visit) -> None:
    """Who sells whose stock, to be made, paused, resumed and ended."""
    names = await company_names(visit)
    filters: dict[str, str | int | None] = {"company_id": _chosen(visit, names)}

    async def choose(company_id: int | None) -> None:
        filters["company_id"] = company_id
        ui.navigate.history.replace(address(HERE, company=company_id))
        await connections.load()

    async def connect() -> None:
        await new_connection(visit, connections.refresh)

    def none_yet() -> None:
        with empty("link", "No connection yet", "A connection lets a retailer sell what a supplier stocks."):
            ui.button("Connect two companies", on_click=connect)

    with ui.row().classes("row between"):
        company = ui.select(names, value=filters["company_id"], with_input=True, clearable=True, label="Company")
        company.props("outlined dense options-dense").classes("filter company-filter")
        company.on_value_change(lambda event: choose(event.value))
        ui.button("Connect two companies", icon="add", on_click=connect).props("unelevated")
    connections = await connection_list(visit, none_yet, filters=filters)


def _chosen(visit: Visit, names: Mapping[int, str]) -> int | None:
    asked = visit.query.get("company", "")
    return int(asked) if asked.isdecimal() and int(asked) in names else None


async def new_connection(
    visit: Visit, refresh: Callable[[], Awaitable[None]], company: Mapping[str, Any] | None = None
) -> None:
    """Ask which companies to connect; `company` is one of them already."""
    names = {role: await company_names(visit, role) for role in ("supplier", "retailer")}

    async def save(fields: Form) -> None:
        given = {name: value for name, value in fields.values.items() if value is not None}
        made = await visit.api.post(PATH, given, once=fields.once(given))
        tell_done(f"{made['supplier_name']} and {made['retailer_name']} are connected")

    words = "The retailer sees the supplier's products and stock, and may order them. Its webhooks are told at once."
    with form_dialog("Connect two companies", "Connect", save, words, then=refresh) as fields:
        for role, label in (("supplier", "Supplier"), ("retailer", "Retailer")):
            value = company["id"] if company and company["role"] == role else None
            fields.add(f"{role}_id", ui.select(names[role], label=label, value=value, with_input=True))
        connection_settings(fields)
