"""The list of webhook endpoints."""

from typing import Any

from nicegui import ui

from services.console.company_names import company_names
from services.console.frame import empty, page
from services.console.pages.webhooks.words import PATH, health, window
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, ago, live, moment

COLUMNS = (
    Column("url", "URL", "link"),
    Column("format", "Format", "mono"),
    Column("state", "State", "badge"),
    Column("window", "Called"),
    Column("failing", "Failing since", "moment"),
    Column("created", "Registered", "moment"),
)
COMPANY = Column("company", "Company", "link")
STATES = {"": "Any state", "active": "Active", "paused": "Paused", "disabled": "Disabled"}
REFRESH_SECONDS = 5


@page("/webhooks", "Webhooks")
async def endpoint_list(visit: Visit) -> None:
    """All endpoints of the company; the platform admin sees those of all companies."""
    state = visit.query.get("state", "")
    company_id = visit.query.get("company", "") if visit.is_admin else ""
    names = await company_names(visit) if visit.is_admin else {}

    async def fetch(asked: Asked) -> Listed:
        found = await visit.api.get(PATH, state=state, company_id=company_id, cursor=asked.cursor, limit=asked.limit)
        return Listed([_row(endpoint, visit, names) for endpoint in found["items"]], found["next_cursor"])

    async def choose(chosen: str) -> None:
        nonlocal state
        state = chosen
        ui.navigate.history.replace(address("/webhooks", state=state, company=company_id))
        await endpoints.load()

    def none_found() -> None:
        if state:
            empty("webhook", f"No endpoint is {state}", "Choose another state above.")
            return
        _none_yet(visit)

    with ui.row().classes("row between"):
        ui.select(STATES, value=state, on_change=lambda event: choose(event.value)).props(
            'outlined dense options-dense aria-label="State"'
        ).classes("filter")
        if visit.may("webhooks:write"):
            ui.button("New endpoint", icon="add", on_click=lambda: ui.navigate.to("/webhooks/new")).props("unelevated")
    endpoints = PagedList((*COLUMNS, COMPANY) if visit.is_admin else COLUMNS, fetch, when_empty=none_found)
    await endpoints.load()
    live(endpoints.refresh, REFRESH_SECONDS)


def _none_yet(visit: Visit) -> None:
    what = {
        "retailer": "An endpoint is a URL of yours that is called when the stock of a product changes that you sell.",
        "supplier": "An endpoint is a URL of yours that is called with what happens to the items that you send.",
        "admin": "Retailers register URLs for stock, suppliers for fulfillment events.",
    }
    with empty("webhook", "No endpoint yet", what[visit.role]):
        if visit.may("webhooks:write"):
            ui.button("New endpoint", on_click=lambda: ui.navigate.to("/webhooks/new")).props("unelevated")


def _row(endpoint: dict[str, Any], visit: Visit, names: dict[int, str]) -> dict[str, Any]:
    words, tone = health(endpoint)
    company_id = endpoint["company_id"]
    return {
        "id": endpoint["id"],
        "url": endpoint["url"],
        "url_address": f"/webhooks/{endpoint['id']}",
        "format": endpoint["format"],
        "state": words,
        "state_tone": tone,
        "window": window(endpoint),
        "failing": moment(endpoint["failing_since"], visit.zone) if endpoint["failing_since"] else "",
        "failing_title": ago(endpoint["failing_since"]),
        "created": moment(endpoint["created_at"], visit.zone),
        "company": names.get(company_id, f"Company {company_id}"),
        "company_address": f"/platform/companies/{company_id}",
    }
