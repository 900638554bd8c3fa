"""What a seller does with an order: amend it, cancel it or some of it, and take items back."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.forms import Form, form_dialog
from services.console.frame import tell_done
from services.console.number_field import NumberField
from services.console.pages.orders.shown_order import ShownOrder, by_line, units_name
from services.console.pages.orders.words import open_units

REASON = "Reason"


def ask_to_amend(order: ShownOrder, line: Mapping[str, Any]) -> None:
    """Ask for the new quantity of a line, and where it is to be taken from."""

    async def amend(fields: Form) -> None:
        wanted: dict[str, Any] = {"line_id": line["line_id"], "quantity": fields["lines[0].quantity"]}
        if fields["lines[0].location"] != line["location"]:
            wanted["location"] = fields["lines[0].location"]
        body = {"lines": [wanted], "reason": fields["reason"]}
        await order.visit.api.patch(order.path, body, if_match=order.body["version"])
        tell_done(f"Line {line['line_id']} is amended; inventory takes or gives back the difference")

    words = "Inventory takes or gives back the difference. Units that are on their way cannot be amended."
    heading = f"Amend {order.line_name(line)}"
    with order.dialogs, form_dialog(heading, "Amend", amend, words, then=order.refresh) as fields:
        quantity = NumberField("Units, with those cancelled since", value=line["quantity"], least=1)
        fields.add("lines[0].quantity", quantity).props("autofocus")
        location = ui.input("Taken at (left empty: as the rules say)", value=line["location"] or "")
        fields.add("lines[0].location", location)
        fields.add("reason", ui.input(REASON))


def ask_to_cancel_line(order: ShownOrder, line: Mapping[str, Any]) -> None:
    """Ask how many units of a line are not wanted any more."""

    async def cancel(fields: Form) -> None:
        wanted = {"line_id": line["line_id"], "quantity": fields["lines[0].quantity"]}
        await _cancel(order, fields, {"lines": [wanted], "reason": fields["reason"]})
        tell_done(f"Line {line['line_id']}: what was taken for it is given back")

    words = "What is still taken for these units is given back. This cannot be undone."
    heading = f"Cancel {order.line_name(line)}?"
    with order.dialogs, form_dialog(heading, "Cancel these units", cancel, words, then=order.refresh) as fields:
        fields.add("lines[0].quantity", NumberField("Units", value=open_units(line), least=1))
        fields.add("reason", ui.input(REASON)).props("autofocus")


def ask_to_cancel(order: ShownOrder) -> None:
    """Ask whether the whole order is not wanted any more."""

    async def cancel(fields: Form) -> None:
        await _cancel(order, fields, {"reason": fields["reason"]})
        tell_done("The order is cancelled: what was taken for it is given back")

    words = "What is still taken for it is given back to stock. A cancelled order stays cancelled."
    heading = f"Cancel order {order.body['external_ref']}?"
    with order.dialogs, form_dialog(heading, "Cancel the order", cancel, words, then=order.refresh) as fields:
        fields.add("reason", ui.input(REASON)).props("autofocus")


async def _cancel(order: ShownOrder, fields: Form, body: object) -> None:
    path, version = f"{order.path}/cancel", order.body["version"]
    await order.visit.api.call("POST", path, body, if_match=version, once=fields.once(body))


def take_return(order: ShownOrder) -> None:
    """Ask which units came back, and whether they go into stock again."""
    lines = [line for line in order.body["lines"] if line["quantity"] > line["cancelled"]]

    async def take(fields: Form) -> None:
        back = [line for line in lines if fields[units_name(line["line_id"])]]
        if not back:
            raise RefusedError(422, "nothing", "Say of which line how many units came back.")
        returned = [
            {
                "product_id": line["product_id"],
                "variant_sku": line["variant_sku"],
                "quantity": fields[units_name(line["line_id"])],
                "restock": fields["restock"],
                "location": fields["location"],
            }
            for line in back
        ]
        body = {"external_ref": fields["external_ref"] or "", "order_id": order.id, "lines": returned}
        seller = {"seller_id": order.body["seller_id"]} if order.visit.is_admin else {}
        try:
            said = {**body, "source": "console", **seller}
            await order.visit.api.post("/v1/returns", said, once=fields.once(said))
        except RefusedError as error:
            raise by_line(error, [line["line_id"] for line in back]) from error
        tell_done("The return is noted" + (", and its items go into stock" if fields["restock"] else ""))

    words = "Items that came back go into stock again only if you say so. A return cannot be undone."
    with order.dialogs, form_dialog("Take a return", "Take it", take, words, then=order.refresh) as fields:
        proposed = f"RET-{order.body['external_ref']}"
        fields.add("external_ref", ui.input("Your reference of the return, used once", value=proposed))
        for line in lines:
            label = f"{order.line_name(line)}: units that came back"
            fields.add(units_name(line["line_id"]), NumberField(label, value=0, least=0))
        fields.add("restock", ui.checkbox("They go into stock again"))
        fields.add("location", ui.input("Into the location (left empty: where it was taken)"))
