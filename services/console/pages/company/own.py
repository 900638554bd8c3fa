"""The visitor's own company."""

from nicegui import ui

from services.console.frame import empty, page
from services.console.pages.company.api_keys import api_keys_panel
from services.console.pages.company.connections import connection_list
from services.console.pages.company.settings import settings_panel
from services.console.pages.company.stock_level_url import stock_level_url_panel
from services.console.pages.company.users import users_panel
from services.console.visits import Visit
from services.console.widgets import list_heading
from shared.scopes import ADMIN


@page("/company", "Company", ("supplier", "retailer"))
async def own_company(visit: Visit) -> None:
    """Settings, webhook URL, connections, users and keys of the visitor's company."""
    company = visit.me["company"]
    with ui.element("div").classes("grid two"):
        settings_panel(visit, company)
        if visit.role == "retailer" and visit.may("webhooks:read"):
            await stock_level_url_panel(visit)
    if visit.may("catalog:read"):
        list_heading("Connections")
        await connection_list(visit, lambda: _none_connected(visit), company=company)
    if visit.may(ADMIN):
        await users_panel(visit, company["id"])
        await api_keys_panel(visit, company["id"])
    else:
        ui.label("Users and API keys are managed by the company's owners.").classes("muted")


def _none_connected(visit: Visit) -> None:
    others = "retailer sells your stock" if visit.role == "supplier" else "supplier shares stock with you"
    empty("link", f"No {others} yet", "The platform's admin connects you: ask them, and name the other company.")
