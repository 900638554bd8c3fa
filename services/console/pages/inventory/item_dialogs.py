"""What is set of an item, and that it is stocked no longer: shown, and changed in dialogs."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from services.console.api import RefusedError
from services.console.pages.inventory.words import Json
from services.console.visits import Visit
from services.console.widgets import facts, number, show_refusal

POLICIES = {
    "backorder": "Orders are taken all the same (backorder)",
    "deny": "Orders get nothing (deny)",
}
AS_IT_IS, COMPANYS = "as_it_is", "companys"
SETTINGS = {
    "low_stock_threshold": "Low at (available units)",
    "lead_time_days": "Lead time (days)",
    "daily_capacity": "Daily capacity (units)",
}
ANYWHERE = "everywhere"
VERSION_CHANGED = "version_changed"
CHANGED_MEANWHILE = "Somebody changed this item meanwhile. Close this, look at what is there now, and decide anew."


def draw_settings(item: Json) -> None:
    """What the supplier has set of the item."""
    threshold, days, capacity = item["low_stock_threshold"], item["lead_time_days"], item["daily_capacity"]
    kept = [level for level in item["levels"] if level["safety_stock"]]
    facts(
        {
            "When there is not enough": POLICIES[item["policy"]],
            "Low at": None if threshold is None else f"{number(threshold)} available",
            "Lead time": None if days is None else f"{days} days",
            "Daily capacity": None if capacity is None else f"{number(capacity)} units",
            "Safety stock": ", ".join(f"{number(level['safety_stock'])} at {level['location']}" for level in kept),
        }
    )


async def ask_settings(visit: Visit, item: Json) -> Json | None:
    """Have the visitor change the item's settings; returns it as it is then, or `None` when nothing was changed."""
    with ui.dialog() as dialog, ui.card().classes("panel dialog"):
        ui.label("Settings").classes("heading")
        policies = {AS_IT_IS: f"As it is: {POLICIES[item['policy']]}", **POLICIES, COMPANYS: "As the company has it"}
        policy = ui.select(policies, label="When there is not enough", value=AS_IT_IS).props("outlined dense")
        fields: dict[str, ui.number] = {}
        with ui.element("div").classes("grid fields"):
            for name, label in SETTINGS.items():
                fields[name] = ui.number(label, value=item[name], min=0, precision=0).props("outlined dense clearable")
            for level in item["levels"]:
                label = f"Safety stock at {level['location']}"
                field = ui.number(label, value=level["safety_stock"], min=0, precision=0).props("outlined dense")
                fields[f"safety_stock {level['location']}"] = field

        async def save() -> None:
            chosen = {} if policy.value == AS_IT_IS else {"policy": None if policy.value == COMPANYS else policy.value}
            changed = await _save_settings(visit, item, chosen, fields)
            if changed is not None:
                dialog.submit(changed)

        for field in fields.values():
            field.on("keydown.enter", save)
        with ui.row().classes("row end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("Save", on_click=save).props("unelevated")
    answer: Json | None = await dialog
    dialog.delete()
    return answer


async def _save_settings(
    visit: Visit, item: Json, chosen: Mapping[str, Any], fields: Mapping[str, ui.number]
) -> Json | None:
    """Save what differs, what holds everywhere first; `None` when something was refused, which the fields show."""
    named: dict[str, Any] = {name: _units(fields[name].value) for name in SETTINGS}
    writes = [{**chosen} | {name: value for name, value in named.items() if value != item[name]}]
    for level in item["levels"]:
        units = _units(fields[f"safety_stock {level['location']}"].value) or 0
        if units != level["safety_stock"]:
            writes.append({"safety_stock": units, "location": level["location"]})
    for write in filter(None, writes):
        of_write = dict(fields)
        if "location" in write:
            of_write["safety_stock"] = fields[f"safety_stock {write['location']}"]
        changed = await _patched(visit, item, write, of_write)
        if changed is None:
            return None
        item = changed
    return item


async def _patched(
    visit: Visit, item: Json, write: Mapping[str, Any], fields: Mapping[str, ValidationElement[Any]]
) -> Json | None:
    for field in fields.values():
        field.error = None
    try:
        changed: Json = await visit.api.patch(f"/v1/stock/{item['product_id']}", write, if_match=item["version"])
    except RefusedError as error:
        tell_refusal(error, fields)
        return None
    return changed


def tell_refusal(error: RefusedError, fields: Mapping[str, ValidationElement[Any]]) -> None:
    """Show what was refused beside the fields; what is about none of them in a notification."""
    try:
        show_refusal(error, fields)
    except RefusedError:
        words = CHANGED_MEANWHILE if error.code == VERSION_CHANGED else str(error)
        ui.notify(words, type="negative", multi_line=True, close_button="OK", timeout=12_000)


def _units(value: float | None) -> int | None:
    return None if value is None else int(value)


async def ask_removal(visit: Visit, item: Json) -> Json | None:
    """Ask whether the item is stocked no longer, where and why; returns it as it is then, or `None`."""
    places = [level["location"] for level in item["levels"] if level["removed_at"] is None]
    with ui.dialog() as dialog, ui.card().classes("panel dialog"):
        ui.label(f"Stock {item['sku']} no longer?").classes("heading")
        ui.label(
            "Its units stay, and orders that are on their way still take them. But it is not listed any more, and "
            "retailers are told that none are available. The next time its stock is written it is listed again."
        ).classes("muted")
        place = ui.select({None: ANYWHERE, **{one: f"at {one}" for one in places}}, label="Where", value=None)
        place.props("outlined dense").visible = len(places) > 1
        reason = ui.input("Reason").props("outlined dense maxlength=200 autofocus")

        async def remove() -> None:
            query = {name: value for name, value in (("location", place.value), ("reason", reason.value)) if value}
            path = f"/v1/stock/{item['product_id']}" + (f"?{urlencode(query)}" if query else "")
            try:
                await visit.api.delete(path, if_match=item["version"])
            except RefusedError as error:
                tell_refusal(error, {"reason": reason, "location": place})
                return
            dialog.submit(await visit.api.get(f"/v1/stock/{item['product_id']}"))

        reason.on("keydown.enter", remove)
        with ui.row().classes("row end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("No longer stocked", on_click=remove).props("unelevated color=negative")
    answer: Json | None = await dialog
    dialog.delete()
    return answer
