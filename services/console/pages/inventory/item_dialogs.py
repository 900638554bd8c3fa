"""What is set of an item, and that it is stocked no longer: shown, and changed in dialogs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from services.console.api import RefusedError
from services.console.forms import Form, form_dialog
from services.console.number_field import NumberField
from services.console.pages.inventory.words import Json, level_at
from services.console.visits import Visit
from services.console.widgets import facts, number

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
REMOVAL = (
    "Its units stay, and orders that are on their way still take them. But it is not listed any more, and retailers "
    "are told that none are available. The next time its stock is written it is listed again."
)
After = Callable[[Json], Awaitable[None]]


def draw_settings(item: Json) -> None:
    """What the supplier has set of the item."""
    threshold, days, capacity = item["low_stock_threshold"], item["lead_time_days"], item["daily_capacity"]
    kept = [level for level in item["levels"] if level["safety_stock"]]
    facts(
        {
            "When there is not enough": POLICIES[item["policy"]],
            "Low at": None if threshold is None else f"{number(threshold)} available",
            "Lead time": None if days is None else f"{days} {'day' if days == 1 else 'days'}",
            "Daily capacity": None if capacity is None else f"{number(capacity)} units",
            "Safety stock": ", ".join(f"{number(level['safety_stock'])} at {level['location']}" for level in kept),
        }
    )


def ask_settings(visit: Visit, item: Json, after: After) -> None:
    """Have the visitor change the item's settings; what it is then is told to `after`."""
    path = f"/v1/stock/{item['product_id']}"
    places = [level["location"] for level in item["levels"]]
    # Several writes: when the second is refused, the first is not made again.
    saved = item

    async def save(asked: Form) -> None:
        nonlocal saved
        for write in _writes(saved, asked):
            try:
                saved = await visit.api.patch(path, write, if_match=saved["version"])
            except RefusedError as error:
                raise _beside(error, write) from error

    with form_dialog("Settings", "Save", save, then=lambda: after(saved)) as asked:
        policies = {AS_IT_IS: f"As it is: {POLICIES[item['policy']]}", **POLICIES, COMPANYS: "As the company has it"}
        asked.add("policy", ui.select(policies, label="When there is not enough", value=AS_IT_IS))
        with ui.element("div").classes("grid fields"):
            for name, label in SETTINGS.items():
                field = NumberField(label, value=item[name], least=0).props("clearable")
                asked.add(name, field)
            for place in places:
                units = level_at(item, place)["safety_stock"]
                asked.add(kept_at(place), NumberField(f"Safety stock at {place}", value=units, least=0))


def kept_at(place: str) -> str:
    """The name of the field for the safety stock at a location."""
    return f"safety_stock {place}"


def _writes(item: Json, asked: Form) -> list[dict[str, Any]]:
    """What differs, what holds everywhere first."""
    chosen = {AS_IT_IS: {}, COMPANYS: {"policy": None}}.get(asked["policy"], {"policy": asked["policy"]})
    differing = {name: asked[name] for name in SETTINGS if asked[name] != item[name]}
    writes: list[dict[str, Any]] = [{**chosen, **differing}]
    for level in item["levels"]:
        units = asked[kept_at(level["location"])] or 0
        if units != level["safety_stock"]:
            writes.append({"safety_stock": units, "location": level["location"]})
    return [write for write in writes if write]


def _beside(error: RefusedError, write: Mapping[str, Any]) -> RefusedError:
    """The refusal, told beside the field of the location that was written."""
    place = write.get("location")
    errors = {kept_at(place) if place else field: why for field, why in error.errors.items()}
    return RefusedError(error.status, error.code, error.detail, errors)


def ask_removal(visit: Visit, item: Json, after: After) -> None:
    """Ask whether the item is stocked no longer, where and why; what it is then is told to `after`."""
    places = [level["location"] for level in item["levels"] if level["removed_at"] is None]
    path = f"/v1/stock/{item['product_id']}"

    async def remove(asked: Form) -> None:
        query = {name: asked[name] for name in ("location", "reason") if asked[name]}
        await visit.api.delete(f"{path}?{urlencode(query)}" if query else path, if_match=item["version"])

    async def show() -> None:
        await after(await visit.api.get(path))

    heading = f"Stock {item['sku']} no longer?"
    with form_dialog(heading, "No longer stocked", remove, REMOVAL, then=show) as asked:
        where = ui.select({"": ANYWHERE, **{one: f"at {one}" for one in places}}, label="Where", value="")
        asked.add("location", where).visible = len(places) > 1
        asked.add("reason", ui.input("Reason")).props("maxlength=200 autofocus")
    asked.button.props("color=negative")
