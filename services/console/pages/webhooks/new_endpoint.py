"""Registering a webhook endpoint."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.company_names import company_names
from services.console.forms import form, show_secret
from services.console.frame import empty, page
from services.console.pages.webhooks.options import EndpointFields, supplier_names
from services.console.pages.webhooks.words import FORMAT_WORDS, FORMATS_OF_ROLE, PATH, SIGNED_WITH
from services.console.visits import Visit
from services.console.widgets import panel

FORMAT_EXPLAINED = {
    "stock_level": "What is in stock now of up to 100 base stock products a call, with all products that you sell them "
    "as. The first change goes at once, then at most one call per product and window; the last state always arrives.",
    "variant_stock": "One event of one product at one location a call, as they happen: what is in stock there now, or "
    "by how much it changed.",
    "fulfillment": "What happened to an item of a fulfillment request, one event a call, in the order of its logical "
    "timestamp and without a gap.",
}


@page("/webhooks/new", "New webhook endpoint")
async def new_endpoint(visit: Visit) -> None:
    """The form."""
    if not visit.may("webhooks:write"):
        empty("lock", "You may not add endpoints", "That needs the scope webhooks:write.")
        return
    suppliers = await supplier_names(visit)
    companies = await company_names(visit) if visit.is_admin else {}
    formats = {name: FORMAT_WORDS[name] for name in FORMATS_OF_ROLE[visit.role]}
    with panel("What it is sent"):
        chosen = ui.radio(formats, value=next(iter(formats))).props("dense")
        said = ui.label().classes("muted")
    content = ui.column().classes("panel")

    def draw() -> None:
        said.text = FORMAT_EXPLAINED[chosen.value]
        content.clear()
        with content:
            _form(visit, chosen.value, suppliers, companies)

    chosen.on_value_change(draw)
    draw()


def _form(visit: Visit, format_: str, suppliers: Mapping[int, str], companies: Mapping[int, str]) -> None:
    async def save() -> None:
        body: dict[str, Any] = {"format": format_, **options.stated()}
        if visit.is_admin:
            body["company_id"] = fields["company_id"]
        made = await visit.api.post(PATH, body, once=fields.once(body))
        ui.navigate.history.replace(f"/webhooks/{made['id']}")
        show_secret(
            "The secret of the endpoint",
            made["secret"],
            f"{SIGNED_WITH} A ping is on its way to the URL already.",
            then=lambda: ui.navigate.to(f"/webhooks/{made['id']}"),
        )

    with form(save, "Register", cancel=lambda: ui.navigate.to("/webhooks")) as fields:
        if visit.is_admin:
            company = ui.select(dict(companies), label="Whose endpoint", with_input=True)
            fields.add("company_id", company)
        options = EndpointFields(fields, format_, None, suppliers)
