"""The lines of an order: how each stands, what it took from where, and what it waits for."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.pages.orders.order_actions import ask_to_amend, ask_to_cancel_line
from services.console.pages.orders.shown_order import ShownOrder
from services.console.pages.orders.words import (
    STATUS_TONES,
    STATUS_WORDS,
    counts_in_words,
    line_in_words,
    open_units,
)
from services.console.widgets import address, badge, named, panel

LINES_AT_FIRST = 100


def lines_panel(order: ShownOrder) -> None:
    """All lines; of many the first ones, and the rest on demand."""
    lines = order.body["lines"]
    with panel("Lines"):
        box = ui.element("div").classes("lines")
        with box:
            for words, kind in (("", ""), ("Product", ""), ("Units", "number"), ("State", ""), ("Took", ""), ("", "")):
                ui.label(words).classes(f"muted {kind}")
            for line in lines[:LINES_AT_FIRST]:
                _line(order, line)
        if len(lines) > LINES_AT_FIRST:
            more = ui.button(f"Show {len(lines) - LINES_AT_FIRST:,} more").props("flat dense")
            more.on_click(lambda: _rest(order, box, more))


async def _rest(order: ShownOrder, box: ui.element, more: ui.button) -> None:
    lines = order.body["lines"][LINES_AT_FIRST:]
    await order.names.learn([line["product_id"] for line in lines])
    more.visible = False
    with box:
        for line in lines:
            _line(order, line)


def _line(order: ShownOrder, line: Mapping[str, Any]) -> None:
    ui.label(str(line["line_id"])).classes("muted number")
    with ui.row().classes("row tight nowrap"):
        if order.names.knows(line["product_id"]):
            ui.link(order.names.sku(line["product_id"]), f"/products/{line['product_id']}").classes("mono")
        else:
            ui.label(order.names.sku(line["product_id"])).classes("mono")
        if line["variant_sku"]:
            ui.label(line["variant_sku"]).classes("mono")
        ui.label(order.names.name(line["product_id"])).classes("muted grow")
    ui.label(f"{line['quantity']:,}").classes("number")
    with ui.row().classes("row tight"):
        badge(STATUS_WORDS[line["status"]], STATUS_TONES.get(line["status"], ""))
        ui.label(counts_in_words(line)).classes("muted")
    _takes(order, line)
    with ui.row().classes("row tight end nowrap"):
        _buttons(order, line)
    if words := line_in_words(line, order.names):
        ui.label(words).classes("line-note muted")


def _takes(order: ShownOrder, line: Mapping[str, Any]) -> None:
    with ui.column().classes("takings"):
        for take in line["takes"]:
            words = f"{take['quantity']:,} x {order.names.sku(take['product_id'])} at {take['location']}"
            if order.visit.role == "retailer":
                ui.label(words)
            else:
                ui.link(words, address(f"/inventory/{take['product_id']}", reference=order.id))
        if not line["takes"] and line["location"]:
            ui.label(f"to be taken at {line['location']}").classes("muted")


def _buttons(order: ShownOrder, line: Mapping[str, Any]) -> None:
    if not order.may_change or order.body["state"] != "open" or not open_units(line):
        return
    name = order.line_name(line)
    amend = ui.button("Amend", on_click=lambda: ask_to_amend(order, line)).props("flat dense no-caps")
    named(amend, f"Amend line {line['line_id']}: {name}")
    cancel = ui.button("Cancel", on_click=lambda: ask_to_cancel_line(order, line)).props("flat dense no-caps")
    named(cancel, f"Cancel line {line['line_id']}: {name}")
