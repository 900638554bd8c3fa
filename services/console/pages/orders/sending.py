"""What suppliers send of an order: fulfillment requests, made, completed and failed (docs/fulfillment.md)."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.company_names import company_name
from services.console.forms import Form, form_dialog
from services.console.frame import tell_done
from services.console.number_field import NumberField
from services.console.pages.orders.order_actions import REASON
from services.console.pages.orders.shown_order import ShownOrder, by_line, units_name
from services.console.pages.orders.words import REQUEST_TONES, REQUEST_WORDS, open_units
from services.console.widgets import badge, moment, panel

PATH = "/v1/fulfillment-requests"
# What has got no stock cannot be sent.
SENDABLE = frozenset({"allocated", "untracked"})


async def requests_of(order: ShownOrder) -> list[dict[str, Any]]:
    """The fulfillment requests of an order that the visitor may see; retailers see none."""
    if not order.suppliers:
        return []
    return await order.visit.api.pages(PATH, 200, order_id=order.id)


def ask_buttons(order: ShownOrder) -> None:
    """A button for each supplier that has something to send still."""
    for supplier_id in order.suppliers:
        lines = [line for line in order.body["lines"] if line["supplier_id"] == supplier_id]
        lines = [line for line in lines if line["outcome"] in SENDABLE and open_units(line) > 0]
        if lines and order.body["state"] == "open":
            whose = f" for {company_name(order.companies, supplier_id)}" if len(order.suppliers) > 1 else ""
            ask = ui.button(f"Send{whose}", icon="local_shipping", on_click=lambda lines=lines: _assign(order, lines))
            ask.props("unelevated")


def _assign(order: ShownOrder, lines: list[Mapping[str, Any]]) -> None:
    async def assign(fields: Form) -> None:
        body = {"order_id": order.id, "location": fields["location"], "external_ref": fields["external_ref"]}
        await _with_items(order, PATH, fields, [line["line_id"] for line in lines], body)
        tell_done("It is asked for; say so here when it has left")

    words = "What is sent together, from one location. Until it has left, nothing of stock changes."
    heading = "Send items of this order"
    with order.dialogs, form_dialog(heading, "Ask for it", assign, words, then=order.refresh) as fields:
        _units(order, fields, {line["line_id"]: open_units(line) for line in lines})
        fields.add("location", ui.input("From the location (left empty: where it was taken)"))
        fields.add("external_ref", ui.input("Your own reference, like a parcel's number"))


def requests_panel(order: ShownOrder, requests: list[dict[str, Any]]) -> None:
    """The order's fulfillment requests, and what can be done with those that are open."""
    if not order.suppliers:
        return
    with panel("What is sent"):
        if not requests:
            ui.label("Nobody was asked to send anything of it yet.").classes("muted")
        for request in requests:
            _request(order, request)


def _request(order: ShownOrder, request: Mapping[str, Any]) -> None:
    with ui.row().classes("row tight part"):
        badge(REQUEST_WORDS[request["state"]], REQUEST_TONES[request["state"]])
        ui.label(request["external_ref"] or "").classes("mono")
        items = ", ".join(f"{item['quantity']:,} x {order.line_name(item)}" for item in request["items"])
        ui.label(f"{items} from {request['location']}")
        ui.label(moment(request["created_at"], order.visit.zone)).classes("muted")
        if request["state"] == "open" and order.may_send:
            sent = ui.button("It has left", on_click=lambda: _settle(order, request, "complete"))
            sent.props("outline dense no-caps").classes("takes")
            failed = ui.button("Not sent", on_click=lambda: _settle(order, request, "fail"))
            failed.props("flat dense no-caps color=negative")


def _settle(order: ShownOrder, request: Mapping[str, Any], action: str) -> None:
    assigned = {item["line_id"]: item["assigned"] for item in request["items"] if item["assigned"]}

    async def settle(fields: Form) -> None:
        body = {"reason": fields["reason"]} if action == "fail" else {}
        await _with_items(order, f"{PATH}/{request['request_id']}/{action}", fields, list(assigned), body)
        tell_done("Noted: it has left" if action == "complete" else "Noted: it is not sent, and given back to stock")

    headings = {
        "complete": ("Has it left?", "It has left", "Where orders allocate, this lowers what is on hand."),
        "fail": ("It is not sent?", "Not sent", "The order has no claim on these units any more; they are given back."),
    }
    heading, button, words = headings[action]
    with order.dialogs, form_dialog(heading, button, settle, words, then=order.refresh) as fields:
        _units(order, fields, assigned)
        if action == "fail":
            fields.add("reason", ui.input(REASON)).props("autofocus")


def _units(order: ShownOrder, fields: Form, units: Mapping[int, int]) -> None:
    lines = {line["line_id"]: line for line in order.body["lines"]}
    for line_id, count in units.items():
        label = f"{order.line_name(lines[line_id])}: units, of {count:,}"
        fields.add(units_name(line_id), NumberField(label, value=count, least=0, most=count))


async def _with_items(order: ShownOrder, path: str, fields: Form, line_ids: list[int], body: Mapping[str, Any]) -> None:
    """POST the body with the units that the fields hold."""
    named = [line_id for line_id in line_ids if fields[units_name(line_id)]]
    if not named:
        raise RefusedError(422, "nothing", "Say of which line how many units.")
    items = [{"line_id": line_id, "quantity": fields[units_name(line_id)]} for line_id in named]
    try:
        said = {**body, "items": items}
        await order.visit.api.post(path, said, once=fields.once(said))
    except RefusedError as error:
        raise by_line(error, named) from error
