"""A company's settings."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.forms import Form, form
from services.console.frame import tell_done
from services.console.visits import Visit
from services.console.widgets import facts, panel
from shared.scopes import ADMIN

OVERSELL_WORDS = {
    "backorder": "Backorder: orders are accepted, and stock may fall below zero",
    "deny": "Deny: an order for more than is available is refused",
}


def settings_panel(visit: Visit, company: Mapping[str, Any]) -> None:
    """The settings, as a form for whoever may change them; `company` is as the API shows it."""
    is_supplier = company["role"] == "supplier"
    with panel("Settings"):
        known = {"Role": company["role"].capitalize(), "Ref": company["ref"], "Id": company["id"]}
        if not visit.may(ADMIN):
            policy = {"When sold out": OVERSELL_WORDS[company["oversell_policy"]]} if is_supplier else {}
            facts({"Name": company["name"], **policy, **known})
            return
        facts(known)

        async def save() -> None:
            await visit.api.patch(f"/v1/companies/{company['id']}", fields.values)
            tell_done("Saved")

        with form(save, "Save") as fields:
            fields.add("name", ui.input("Name", value=company["name"]))
            if is_supplier:
                _policy(fields, company["oversell_policy"])


def _policy(fields: Form, value: str) -> None:
    field = ui.select(OVERSELL_WORDS, label="When a product is sold out", value=value)
    field.props('hint="For base stock products that say nothing themselves"')
    fields.add("oversell_policy", field)
