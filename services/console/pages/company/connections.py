"""Dropship connections: who sells whose stock."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from services.console.forms import Form, form_dialog
from services.console.frame import tell_done
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, Tone, confirmed

PATH = "/v1/connections"
TONES: Mapping[str, Tone] = {"active": "ok", "paused": "warn", "ended": ""}
SUPPLIER = Column("supplier", "Supplier", "link")
RETAILER = Column("retailer", "Retailer", "link")
SETTINGS = (
    Column("state", "State", "badge"),
    Column("external_ref", "External ref"),
    Column("default_location", "Draws first on"),
    Column("do", "", "actions"),
)


async def connection_list(
    visit: Visit,
    when_empty: Callable[[], object],
    *,
    company: Mapping[str, Any] | None = None,
    filters: Mapping[str, str | int | None] | None = None,
) -> PagedList:
    """The connections that the visitor sees, or of `company`, with what may be done to each."""
    columns = {None: (SUPPLIER, RETAILER), "supplier": (RETAILER,), "retailer": (SUPPLIER,)}
    of_company = {"company_id": company["id"]} if company and visit.is_admin else {}

    async def fetch(asked: Asked) -> Listed:
        wanted = {**of_company, **(filters or {})}
        page = await visit.api.get(PATH, **wanted, cursor=asked.cursor, limit=asked.limit)
        return Listed([_row(connection, visit) for connection in page["items"]], page["next_cursor"])

    async def act(action: str, row: dict[str, Any]) -> None:
        await _act(visit, connections, action, row)

    shown = (*columns[company["role"] if company else None], *SETTINGS)
    connections = PagedList(shown, fetch, when_empty=when_empty, on_action=act)
    await connections.load()
    return connections


def side_name(connection: Mapping[str, Any], role: str) -> str:
    """The name of the connection's supplier or retailer."""
    return str(connection[f"{role}_name"])


def _row(connection: dict[str, Any], visit: Visit) -> dict[str, Any]:
    names = {role: side_name(connection, role) for role in ("supplier", "retailer")}
    addresses = {
        f"{role}_address": f"/platform/companies/{connection[f'{role}_id']}" if visit.is_admin else None
        for role in names
    }
    return {
        "id": connection["id"],
        "state": connection["state"],
        "state_tone": TONES[connection["state"]],
        "external_ref": connection["external_ref"] or "",
        "default_location": connection["default_location"] or "",
        "ids": [connection["supplier_id"], connection["retailer_id"]],
        "do": _actions(connection["state"], visit),
        "do_of": f"{names['supplier']} and {names['retailer']}",
        **names,
        **addresses,
    }


def _actions(state: str, visit: Visit) -> list[tuple[str, str]]:
    if not visit.may("catalog:write"):
        return []
    if state == "ended":
        return [("again", "Connect again")] if visit.is_admin else []
    end = ("end", "End")
    if visit.role == "retailer":
        return [end]
    return [("change", "Change"), ("resume", "Resume") if state == "paused" else ("pause", "Pause"), end]


async def _act(visit: Visit, connections: PagedList, action: str, row: dict[str, Any]) -> None:
    path, who = f"{PATH}/{row['id']}", row["do_of"]
    if action == "change":
        _change(visit, connections, row)
    elif action == "again":
        supplier_id, retailer_id = row["ids"]
        await visit.api.post(PATH, {"supplier_id": supplier_id, "retailer_id": retailer_id})
        tell_done(f"{who} are connected again")
    elif action == "resume":
        await visit.api.patch(path, {"state": "active"})
        tell_done(f"The connection of {who} goes on")
    elif action == "pause":
        words = "No new orders are accepted and no webhooks are called until it is resumed."
        if await confirmed(f"Pause the connection of {who}?", words, "Pause"):
            await visit.api.patch(path, {"state": "paused"})
            tell_done(f"The connection of {who} is paused")
    elif await confirmed(f"End the connection of {who}?", _ending(visit), "End it", is_dangerous=True):
        await visit.api.delete(path)
        tell_done(f"The connection of {who} has ended")


def _ending(visit: Visit) -> str:
    words = "No new orders, no webhooks, no shared stock any more. What was ordered before is still to be sent."
    return words if visit.is_admin else f"{words} Only the platform's admin can make it again."


def _change(visit: Visit, connections: PagedList, row: dict[str, Any]) -> None:
    async def save(fields: Form) -> None:
        await visit.api.patch(f"{PATH}/{row['id']}", fields.values)
        tell_done("Saved")

    with form_dialog("Change the connection", "Save", save, row["do_of"], then=connections.refresh) as fields:
        connection_settings(fields, row["external_ref"], row["default_location"])


def connection_settings(fields: Form, external_ref: str = "", default_location: str = "") -> None:
    """The fields of a connection that may be changed."""
    ref = fields.add("external_ref", ui.input("External ref", value=external_ref))
    ref.props('hint="What the supplier calls the retailer: the dropship_ref of GET /stock"')
    location = fields.add("default_location", ui.input("Draws first on", value=default_location))
    location.props('hint="Code of the stock location that the orders of the retailer take from first"')
