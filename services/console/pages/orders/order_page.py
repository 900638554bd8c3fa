"""An order's page: how it and its lines stand, what was sent and came back, and what happened to it."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.company_names import company_name, known_companies
from services.console.frame import page
from services.console.pages.orders import order_lines, sending
from services.console.pages.orders.order_actions import ask_to_cancel, take_return
from services.console.pages.orders.shown_order import ShownOrder
from services.console.pages.orders.words import (
    CHANGE_TONES,
    CHANGE_WORDS,
    SOURCE_WORDS,
    STATUS_TONES,
    STATUS_WORDS,
    actor_in_words,
    open_units,
)
from services.console.product_names import ProductNames
from services.console.visits import Visit
from services.console.widgets import badge, facts, live, moment, panel

HISTORY_LIMIT = 500


@page("/orders/{order_id:uuid}", "Order")
async def order_page(visit: Visit) -> None:
    """An order as it stands, kept fresh; a dialog that is open is not disturbed by that."""
    names, companies = ProductNames(visit), await known_companies(visit)
    dialogs = ui.element("div")  # what is redrawn would take dialogs with it that were opened from there
    dialogs.visible = False
    box = ui.column().classes("stack")
    path = f"/v1/orders/{visit.path['order_id']}"
    last: dict[str, Any] = {}

    async def refresh() -> None:
        nonlocal last
        now = await visit.api.get(path)
        if now == last:
            return
        order = ShownOrder(visit, now, names, companies, dialogs, refresh)
        history = await visit.api.pages(f"{path}/history", HISTORY_LIMIT)
        requests = await sending.requests_of(order)
        returns = await visit.api.pages("/v1/returns", 200, order_id=order.id) if order.is_seller else []
        await names.learn(order.product_ids)
        last = now
        box.clear()
        with box:
            _head(order)
            order_lines.lines_panel(order)
            with ui.element("div").classes("grid two"):
                with ui.column().classes("stack"):
                    sending.requests_panel(order, requests)
                    _returns(order, returns)
                _history(order, history)

    await refresh()
    live(refresh)


def _head(order: ShownOrder) -> None:
    body = order.body
    with ui.row().classes("row between"):
        with ui.row().classes("row tight buttons"):
            ui.label(body["external_ref"]).classes("item-title").props('role="heading" aria-level="2"')
            badge(STATUS_WORDS[body["status"]], STATUS_TONES.get(body["status"], ""))
            if body["state"] == "cancelled" and body["status"] != "cancelled":
                badge("the rest was cancelled", "warn")
            if body["decided_version"] != body["version"]:
                ui.label("Inventory has not decided its newest version yet.").classes("muted")
        with ui.row().classes("row tight buttons"):
            if order.may_send:
                sending.ask_buttons(order)
            if order.may_change:
                ui.button("Take a return", on_click=lambda: take_return(order)).props("outline")
                if body["state"] == "open" and any(open_units(line) for line in body["lines"]):
                    cancel = ui.button("Cancel the order", on_click=lambda: ask_to_cancel(order))
                    cancel.props("outline color=negative")
    with panel() as box:
        box.classes("wide-facts")
        facts(
            {
                "Sold by": company_name(order.companies, body["seller_id"]),
                "Stock of": ", ".join(company_name(order.companies, one["supplier_id"]) for one in body["suppliers"]),
                "Placed": moment(body["placed_at"], order.visit.zone),
                "Received": moment(body["received_at"], order.visit.zone),
                "Came by": SOURCE_WORDS.get(body["source"], body["source"]),
                "Version": f"{body['version']:,}",
                "Id": order.id,
            }
        )


def _returns(order: ShownOrder, returns: list[dict[str, Any]]) -> None:
    if not order.is_seller:
        return
    with panel("What came back"):
        if not returns:
            ui.label("Nothing. Items that came back go into stock again only where the return says so.").classes(
                "muted"
            )
        for one in returns:
            with ui.row().classes("row tight part"):
                ui.label(moment(one["returned_at"], order.visit.zone)).classes("muted")
                ui.label(one["external_ref"]).classes("mono")
                for line in one["lines"]:
                    what = f"{line['quantity']:,} x {line['variant_sku'] or order.names.sku(line['product_id'])}"
                    badge(what, "ok" if line["restock"] else "")
                    ui.label("into stock" if line["restock"] else "not into stock").classes("muted")


def _history(order: ShownOrder, history: list[dict[str, Any]]) -> None:
    with panel("What happened"), ui.element("div").classes("timeline"):
        for change in reversed(history):
            with ui.element("div").classes("moment"):
                when = ui.label(moment(change["changed_at"], order.visit.zone)).classes("muted")
                when.props["title"] = change["changed_at"]
                with ui.row().classes("row tight"):
                    badge(CHANGE_WORDS.get(change["kind"], change["kind"]), CHANGE_TONES.get(change["kind"], ""))
                    ui.label(_changed_lines(change)).classes("muted")
                    if change["reason"]:
                        ui.label(change["reason"])
                ui.label(actor_in_words(change["actor"], order.companies)).classes("muted")
        if len(history) >= HISTORY_LIMIT:
            ui.label(f"The first {HISTORY_LIMIT:,} changes are shown.").classes("muted")


def _changed_lines(change: Mapping[str, Any]) -> str:
    lines = change["lines"]
    if change["kind"] == "decided":
        return ", ".join(f"line {line['line_id']} {STATUS_WORDS[line['status']].lower()}" for line in lines[:5])
    return ", ".join(f"line {line['line_id']}: {line['quantity']:+,}" for line in lines[:5]) + (
        f" and {len(lines) - 5:,} more" if len(lines) > 5 else ""  # noqa: PLR2004 - what fits
    )
