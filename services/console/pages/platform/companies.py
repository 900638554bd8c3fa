"""The platform's companies."""

from typing import Any

from nicegui import ui

from services.console.forms import Form, form_dialog
from services.console.frame import empty, page, tell_done
from services.console.number_field import NumberField
from services.console.pages.company.api_keys import api_keys_panel
from services.console.pages.company.connections import connection_list
from services.console.pages.company.settings import OVERSELL_WORDS, settings_panel
from services.console.pages.company.users import users_panel
from services.console.pages.platform.connections import new_connection
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, list_heading, panel

PATH = "/v1/companies"
HERE = "/platform/companies"
COLUMNS = (
    Column("name", "Name", "link"),
    Column("role", "Role"),
    Column("ref", "Ref", "mono"),
    Column("id", "Id", "number"),
    Column("policy", "When sold out"),
)
ROLES = {"supplier": "Supplier: keeps stock", "retailer": "Retailer: sells it"}


@page(HERE, "Companies", ("admin",))
async def company_list(visit: Visit) -> None:
    """All companies, by name, to be opened or added."""
    q = visit.query.get("q", "")

    async def fetch(asked: Asked) -> Listed:
        found = await visit.api.get(PATH, q=q, cursor=asked.cursor, limit=asked.limit)
        return Listed([_row(company) for company in found["items"]], found["next_cursor"])

    async def search(words: str | None) -> None:
        nonlocal q
        q = (words or "").strip()
        ui.navigate.history.replace(address(HERE, q=q))
        await companies.load()

    def none_found() -> None:
        if q:
            empty("search_off", f"No company is called {q}", "Names and refs are searched.")
            return
        with empty("apartment", "No company yet", "Suppliers keep stock, retailers sell it: add one of each."):
            ui.button("Add a company", on_click=lambda: _add(visit))

    with ui.row().classes("row between"):
        field = ui.input(placeholder="Search by name or ref", value=q, on_change=lambda event: search(event.value))
        field.props('outlined dense clearable debounce=300 type=search aria-label="Search by name or ref"')
        field.classes("page-search")
        ui.button("Add a company", icon="add", on_click=lambda: _add(visit)).props("unelevated")
    companies = PagedList(COLUMNS, fetch, when_empty=none_found)
    await companies.load()


@page(HERE + "/{company_id:int}", "Company", ("admin",))
async def company_page(visit: Visit) -> None:
    """One company: settings, connections, users, keys."""
    company = await visit.api.get(f"{PATH}/{visit.path['company_id']}")
    ui.label(company["name"]).classes("title")
    with ui.element("div").classes("grid two"):
        settings_panel(visit, company)
        with panel("What it has"):
            if company["role"] == "supplier":
                ui.link("Stock", address("/inventory", supplier_id=company["id"]))
            ui.link("Products", address("/products", owner_id=company["id"]))
            ui.link("Webhook endpoints", address("/webhooks", company=company["id"]))
            ui.link("Audit trail", address("/platform/audit", company=company["id"]))

    async def connect() -> None:
        await new_connection(visit, connections.refresh, company)

    list_heading("Connections", ("Connect", connect))
    connections = await connection_list(
        visit,
        lambda: empty("link", "Not connected yet", "A connection lets a retailer sell what a supplier stocks."),
        company=company,
    )
    await users_panel(visit, company["id"])
    await api_keys_panel(visit, company["id"])


def _row(company: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": company["id"],
        "name": company["name"],
        "name_address": f"{HERE}/{company['id']}",
        "role": company["role"].capitalize(),
        "ref": company["ref"],
        "policy": company["oversell_policy"] if company["role"] == "supplier" else "",
    }


def _add(visit: Visit) -> None:
    async def save(fields: Form) -> None:
        given = {name: value for name, value in fields.values.items() if value is not None}
        company = await visit.api.post(PATH, given, once=fields.once(given))
        tell_done(f"{company['name']} is added")
        ui.navigate.to(f"{HERE}/{company['id']}")

    with form_dialog("Add a company", "Add", save) as fields:
        fields.add("name", ui.input("Name"))
        ref = fields.add("ref", ui.input("Ref", placeholder="supplier-a"))
        ref.props('hint="Its short name for programs: letters, digits, . _ - ; it stays as it is"')
        role = fields.add("role", ui.radio(ROLES, value="supplier").props("dense"))
        policy = fields.add(
            "oversell_policy", ui.select(OVERSELL_WORDS, label="When a product is sold out", value="backorder")
        )
        policy.bind_visibility_from(role, "value", value="supplier")
        number = fields.add("id", NumberField("Id"))
        number.props('hint="Empty: it is given one. An id of an older system otherwise"')
