"""What became of a stock file, or would: how far it is, what it changed, and which rows were refused."""

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

from nicegui import ui

from services.console.frame import empty
from services.console.pages.inventory.words import Json, signed
from services.console.visits import Visit
from services.console.widgets import (
    Asked,
    Column,
    Listed,
    PagedList,
    Tone,
    badge,
    live,
    moment,
    number,
    panel,
)

API_PATH = "/v1/stock/imports"
STATES: dict[str, tuple[str, Tone]] = {
    "receiving": ("Coming in", "accent"),
    "received": ("Waits", "accent"),
    "running": ("Under way", "accent"),
    "done": ("Done", "ok"),
    "failed": ("Failed", "bad"),
}
WRITES = {"quantity_available": "what is available", "on_hand": "what is on hand", "adjustment": "adjustments"}
MODES = {"rows": "good rows go in, bad ones do not", "all": "all rows or none"}
POLL_SECONDS = 1
ARROW = "\N{RIGHTWARDS ARROW}"


def of_import(found: Json, zone: ZoneInfo) -> dict[str, Any]:
    """A row of the list of imports."""
    words, tone = STATES[found["state"]]
    source = "CSV file" if found["source"] == "csv" else found["source"]
    return {
        "id": found["id"],
        "created_at": moment(found["created_at"], zone),
        "created_at_title": found["created_at"],
        "what": f"Preview of a {source}" if found["dry_run"] else source,
        "state": words,
        "state_tone": tone,
        **{name: number(found[name]) for name in ("rows", "changed", "unchanged", "refused", "pending")},
    }


class ImportView:
    """An import; it follows it until it is done. What can be done next goes into `actions`."""

    def __init__(self, visit: Visit, import_id: object, title: str | None = None) -> None:
        """Draw it empty; `load` fills it."""
        self._visit, self._path, self._title = visit, f"{API_PATH}/{import_id}", title
        with panel():
            with ui.row().classes("row between"):
                self._heading = ui.label(title or "").classes("heading").props('role="heading" aria-level="2"')
                self._state = ui.row().classes("row narrow")
            self._bar = ui.linear_progress(value=0, show_value=False).props('aria-label="Progress"')
            with ui.element("div").classes("tiles"):
                self._figures = {
                    name: self._figure(words)
                    for name, words in (
                        ("rows", "rows in the file"),
                        ("changed", "changed"),
                        ("unchanged", "unchanged"),
                        ("refused", "refused"),
                    )
                }
            self._facts = ui.column()
            self.actions = ui.row().classes("row")
        self._lists = ui.column().classes("stack")
        self._lists_state: object = None
        self._timer = live(self.load, POLL_SECONDS)

    def _figure(self, words: str) -> tuple[ui.element, ui.label]:
        with ui.element("div").classes("tile") as box:
            figure = ui.label("-").classes("figure")
            ui.label(words).classes("muted")
        return box, figure

    async def load(self) -> None:
        """Show it as it is now, and again until it is done."""
        found = await self._visit.api.get(self._path)
        await self._show(found)
        if found["finished_at"] is not None:
            self._timer.deactivate()

    async def _show(self, found: Json) -> None:
        if self._title is None:
            self._heading.text = f"Preview {found['id']}" if found["dry_run"] else f"Import {found['id']}"
        self._state.clear()
        with self._state:
            badge(*STATES[found["state"]])
        self._bar.value = found["progress"]
        self._bar.visible = found["finished_at"] is None
        for name, (box, figure) in self._figures.items():
            figure.text = number(found[name])
            box.classes(replace="tile bad" if name == "refused" and found[name] else "tile")
        self._facts.clear()
        with self._facts:
            self._draw_facts(found)
        await self._show_lists(found)

    def _draw_facts(self, found: Json) -> None:
        zone = self._visit.zone
        if found["reason"]:
            ui.label(found["reason"]).classes("note bad")
        elif found["dry_run"] and found["finished_at"]:
            ui.label("Nothing was changed: this is what would be.").classes("note")
        told = [
            f"writes {WRITES[found['writes']]}" if found["writes"] else "",
            MODES[found["mode"]],
            f"rows without a location are for {found['location']}",
            f"counted {moment(found['as_of'], zone)}" if found["as_of"] else "",
            f"begun {moment(found['created_at'], zone)}",
            f"finished {moment(found['finished_at'], zone)}" if found["finished_at"] else "",
            f"{number(found['pending'])} rows wait for their products" if found["pending"] else "",
        ]
        ui.label("; ".join(filter(None, told)).capitalize() + ".").classes("muted")

    async def _show_lists(self, found: Json) -> None:
        """The lists, drawn anew when there is something new for them."""
        state = (found["finished_at"], found["refused"] > 0)
        if state == self._lists_state or found["finished_at"] is None:
            return
        self._lists_state = state
        self._lists.clear()
        with self._lists:
            lists = [self._refused()] if found["refused"] else []
            if found["changed"]:
                lists.append(self._would_change() if found["dry_run"] else self._changed(found["id"]))
        for one in lists:
            await one.load()
        if not lists and not found["reason"]:
            with self._lists, panel():
                empty("done_all", "Everything is as the file says", "No row changes anything.")

    def _refused(self) -> PagedList:
        ui.label("Refused rows").classes("heading").props('role="heading" aria-level="2"')
        ui.label("Correct these lines in the file, and import it again: the others change nothing then.").classes(
            "muted"
        )
        columns = [
            Column("line", "Line", "number"),
            Column("named", "Item", "mono"),
            Column("location", "Location"),
            Column("column", "Column", "mono"),
            Column("detail", "What is wrong"),
        ]

        async def fetch(asked: Asked) -> Listed:
            page = await self._rows("refused", asked)
            return Listed([_refused_row(row) for row in page["items"]], page["next_cursor"])

        return PagedList(columns, fetch, key="row")

    def _would_change(self) -> PagedList:
        ui.label("What would change").classes("heading").props('role="heading" aria-level="2"')
        columns = [
            Column("line", "Line", "number"),
            Column("named", "Item", "link"),
            Column("location", "Location"),
            Column("on_hand", "On hand", "number"),
            Column("available", "Available", "number"),
            Column("difference", "Difference", "number"),
        ]

        async def fetch(asked: Asked) -> Listed:
            page = await self._rows("changed", asked)
            return Listed([_changed_row(row) for row in page["items"]], page["next_cursor"])

        return PagedList(columns, fetch, key="row")

    async def _rows(self, status: str, asked: Asked) -> Any:  # noqa: ANN401 - JSON
        return await self._visit.api.get(f"{self._path}/rows", status=status, cursor=asked.cursor, limit=asked.limit)

    def _changed(self, import_id: int) -> PagedList:
        ui.label("What it changed, as the ledger has it").classes("heading").props('role="heading" aria-level="2"')
        columns = [
            Column("named", "Item", "link"),
            Column("location", "Location"),
            Column("on_hand", "On hand", "number"),
            Column("difference", "Difference", "number"),
            Column("reason", "Reason"),
            Column("occurred_at", "When", "moment"),
        ]

        async def fetch(asked: Asked) -> Listed:
            page = await self._visit.api.get(
                "/v1/stock/ledger?kind=csv_import&kind=external_reset&kind=external_adjustment",
                reference=str(import_id),
                cursor=asked.cursor,
                limit=asked.limit,
            )
            ids = sorted({entry["product_id"] for entry in page["items"]})
            items = await asyncio.gather(*(self._visit.api.get(f"/v1/stock/{one}") for one in ids))
            skus = {item["product_id"]: item["sku"] for item in items}
            return Listed([_entry_row(entry, skus, self._visit.zone) for entry in page["items"]], page["next_cursor"])

        return PagedList(columns, fetch, key="entry_id")


def _named(row: Json) -> str:
    names = [row["sku"], row["variant_sku"], row["barcode"], None if row["sku"] else row["product_id"]]
    return " ".join(str(name) for name in names if name is not None)


def _refused_row(row: Json) -> dict[str, Any]:
    return {
        "row": row["row"],
        "line": number(row["line"]),
        "named": _named(row),
        "location": row["location"] or "-",
        "column": ", ".join(error["field"] for error in row["errors"]),
        "detail": " ".join(error["detail"] for error in row["errors"]),
    }


def _changed_row(row: Json) -> dict[str, Any]:
    return {
        "row": row["row"],
        "line": number(row["line"]),
        "named": _named(row),
        "named_address": f"/inventory/{row['product_id']}",
        "location": row["location"] or "-",
        "on_hand": f"{number(row['on_hand_before'])} {ARROW} {number(row['on_hand_after'])}",
        "available": f"{number(row['available_before'])} {ARROW} {number(row['available_after'])}",
        **_difference(row["on_hand_after"] - row["on_hand_before"]),
    }


def _entry_row(entry: Json, skus: Json, zone: ZoneInfo) -> dict[str, Any]:
    after, by = entry["on_hand_after"], entry["on_hand_delta"]
    return {
        "entry_id": entry["entry_id"],
        "named": skus[entry["product_id"]],
        "named_address": f"/inventory/{entry['product_id']}",
        "location": entry["location"],
        "on_hand": f"{number(after - by)} {ARROW} {number(after)}",
        "reason": entry["reason"] or "-",
        "occurred_at": moment(entry["occurred_at"], zone),
        "occurred_at_title": entry["occurred_at"],
        **_difference(by),
    }


def _difference(units: int) -> dict[str, str]:
    return {"difference": signed(units), "difference_tone": "ok" if units > 0 else "bad" if units < 0 else ""}
