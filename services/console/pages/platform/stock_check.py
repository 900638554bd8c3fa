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


class StockCheckPanel:
    """The check, with a button; nothing is read before somebody asks for it."""

    def __init__(self, visit: Visit) -> None:
        """Draw it."""
        self._visit = visit
        with panel("Does the stock add up?"):
            words = "Holds every item and location against its ledger, open orders and reservations."
            ui.label(words).classes("muted")
            with ui.row().classes("row tight"):
                self._check = ui.button("Check all stock", on_click=self._look).props("outline")
                self._repair = ui.button("Repair what can be repaired", on_click=self._ask).props("unelevated")
                self._said = ui.label().props('role="status"')
            self._table = ui.table(columns=COLUMNS, rows=[], row_key="key").props("flat dense hide-pagination")
            self._table.props(':pagination="{rowsPerPage: 0}"').classes("w-full")
            self._table.add_slot("body-cell-product_id", PRODUCT_CELL)
        self._repair.visible = self._table.visible = False

    async def _look(self) -> None:
        self._check.props("loading")
        try:
            items, drifts, _ = await self._go_through(repair=False)
        finally:
            self._check.props(remove="loading")
        self._show(items, drifts)

    async def _ask(self) -> None:
        words = "Levels and versions that drifted are made anew from the ledger."
        if await confirmed("Repair the stock?", words, "Repair"):
            items, drifts, repaired = await self._go_through(repair=True)
            tell_done(f"{number(repaired)} repaired")
            self._show(items, drifts)

    async def _go_through(self, *, repair: bool) -> tuple[int, list[Mapping[str, Any]], int]:
        """Check all items, page by page; how many there are, what (still) drifts, and how much was repaired."""
        items, repaired = 0, 0
        drifts: list[Mapping[str, Any]] = []
        cursor: int | None = None
        while True:
            if repair:
                page = await self._visit.api.post(PATH, {"repair": True}, cursor=cursor)
            else:
                page = await self._visit.api.get(PATH, cursor=cursor)
            mended = {_key(one) for one in page["repaired"]}
            items, repaired = items + page["items_checked"], repaired + len(mended)
            drifts += [one for one in page["drifts"] if _key(one) not in mended]
            self._said.text = f"{number(items)} items checked ..."
            cursor = page["next_cursor"]
            if cursor is None:
                return items, drifts, repaired

    def _show(self, items: int, drifts: list[Mapping[str, Any]]) -> None:
        count = f"{number(len(drifts))} things do not add up, in {number(items)} items"
        self._said.text = count if drifts else f"All {number(items)} items add up"
        self._table.rows = [_row(drift) for drift in drifts[:DRIFTS_SHOWN]]
        self._table.visible = bool(drifts)
        self._repair.visible = any(drift["repairable"] for drift in drifts)


def _key(drift: Mapping[str, Any]) -> str:
    return f"{drift['product_id']} {drift['location']} {drift['kind']}"


def _row(drift: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: drift[name] for name in ("product_id", "what", "stored", "expected")},
        "key": _key(drift),
        "location": drift["location"] or "all",
        "repair": "can be repaired" if drift["repairable"] else "a person must look",
    }
