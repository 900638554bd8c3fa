"""Whether all stock adds up, and making levels anew from the ledger where it does not."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.frame import tell_done
from services.console.visits import Visit
from services.console.widgets import confirmed, number, panel

PATH = "/v1/stock/check"
# Beyond it something is wrong that no list of items explains.
DRIFTS_SHOWN = 200
COLUMNS = [
    {"name": name, "label": label, "field": name, "align": "right" if name in {"stored", "expected"} else "left"}
    for name, label in (
        ("product_id", "Product"),
        ("location", "Location"),
        ("what", "What does not add up"),
        ("stored", "Stored"),
        ("expected", "Expected"),
        ("repair", "Repair"),
    )
]
PRODUCT_CELL = '<q-td :props="props"><a :href="`/inventory/${props.value}`">{{ props.value }}</a></q-td>'


def stock_check_panel(visit: Visit) -> None:
    """The check, with a button; nothing is read before somebody asks for it."""
    with panel("Does the stock add up?"):
        ui.label("Holds every item and location against its ledger, open orders and reservations.").classes("muted")
        with ui.row().classes("row tight"):
            check = ui.button("Check all stock", on_click=lambda: run(repair=False)).props("outline")
            repair = ui.button("Repair what can be repaired", on_click=ask).props("unelevated")
            said = ui.label().props('role="status"')
        table = ui.table(columns=COLUMNS, rows=[], row_key="key").props("flat dense hide-pagination")
        table.props(':pagination="{rowsPerPage: 0}"').classes("w-full")
        table.add_slot("body-cell-product_id", PRODUCT_CELL)
    repair.visible = table.visible = False

    async def ask() -> None:
        words = (
            "Levels and versions that drifted are made anew from the ledger. Every repair is an entry of the ledger."
        )
        if await confirmed("Repair the stock?", words, "Repair"):
            await run(repair=True)

    async def run(*, repair: bool) -> None:
        check.props("loading")
        try:
            await _check(visit, said, show, is_repair=repair)
        finally:
            check.props(remove="loading")

    def show(drifts: list[Mapping[str, Any]]) -> None:
        table.rows = [_row(drift) for drift in drifts[:DRIFTS_SHOWN]]
        table.visible = bool(drifts)
        repair.visible = visit.may("stock:write") and any(drift["repairable"] for drift in drifts)


async def _check(visit: Visit, said: ui.label, show: Any, *, is_repair: bool) -> None:  # noqa: ANN401 - a function
    items, drifts, repaired = 0, [], 0
    cursor: int | None = None
    while True:
        if is_repair:
            page = await visit.api.post(PATH, {"repair": True}, cursor=cursor)
        else:
            page = await visit.api.get(PATH, cursor=cursor)
        items += page["items_checked"]
        mended = [(one["product_id"], one["location"], one["kind"]) for one in page["repaired"]]
        repaired += len(mended)
        drifts += [one for one in page["drifts"] if (one["product_id"], one["location"], one["kind"]) not in mended]
        said.text = f"{number(items)} items checked, {number(len(drifts))} do not add up"
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if not drifts:
        said.text = f"All {number(items)} items add up"
    if is_repair:
        tell_done(f"{number(repaired)} repaired")
    show(drifts)


def _row(drift: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: drift[name] for name in ("product_id", "what", "stored", "expected")},
        "key": f"{drift['product_id']} {drift['location']} {drift['kind']}",
        "location": drift["location"] or "all",
        "repair": "can be repaired" if drift["repairable"] else "a person must look",
    }
