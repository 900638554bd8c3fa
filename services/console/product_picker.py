"""Choosing a product: a dialog that searches as one types."""

from collections.abc import Sequence
from typing import Any

from nicegui import events, ui

from services.console.visits import Visit

FOUND_LIMIT = 12
STOCK_TYPES = ("stock", "stock_customisable")


async def pick_product(
    visit: Visit, heading: str, words: str = "", *, types: Sequence[str] = ("",), owner_id: int | None = None
) -> dict[str, Any] | None:
    """The product that the visitor chooses, as the API shows it, of one of these types; `None` if it is left open."""
    asked = 0

    async def find(**wanted: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for type_ in types:
            query = {**wanted, "type": type_, "owner_id": owner_id}
            found += (await visit.api.get("/v1/products", **query, sort="sku", limit=FOUND_LIMIT))["items"]
        return found[:FOUND_LIMIT]

    async def look() -> None:
        nonlocal asked
        asked += 1
        mine, found = asked, await find(q=(search.value or "").strip())
        if mine == asked and not dialog.is_deleted:
            _show(results, found, dialog)

    async def take_first(event: events.GenericEventArguments) -> None:
        """What is typed may be newer than what is shown: a scanner presses Enter at once."""
        typed = event.args.strip()
        found = (await find(sku=typed) if typed else []) or await find(q=typed)
        if found:
            dialog.submit(found[0])

    with ui.dialog() as dialog, ui.card().classes("panel dialog wide"):
        ui.label(heading).classes("heading").props('role="heading" aria-level="2"')
        if words:
            ui.label(words).classes("muted")
        search = ui.input(placeholder="SKU or name", on_change=look)
        search.props('outlined dense autofocus debounce=250 type=search aria-label="Search by SKU or name"')
        search.on("keydown.enter", take_first, js_handler="(event) => emit(event.target.value)")
        results = ui.column().classes("picks").props('aria-live="polite"')
        with ui.row().classes("row end"):
            ui.button("Back", on_click=dialog.close).props("flat")
    await look()
    chosen: dict[str, Any] | None = await dialog
    dialog.delete()
    return chosen


def _show(results: ui.column, found: Sequence[dict[str, Any]], dialog: ui.dialog) -> None:
    results.clear()
    with results:
        for product in found:
            with ui.element("button").props("type=button").classes("pick") as choose:
                ui.label(product["sku"]).classes("mono")
                ui.label(product["name"])
            choose.on("click", lambda product=product: dialog.submit(product))
        if not found:
            ui.label("No such product. SKUs are found by their beginning, names by their words.").classes("muted")
