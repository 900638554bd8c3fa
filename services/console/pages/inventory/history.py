"""What happened to an item: its ledger as a timeline, and what each entry leads to."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.pages.inventory.words import (
    IMPORT_KINDS,
    KINDS,
    ORDER_KINDS,
    Json,
    Names,
    deltas_in_words,
    reason_in_words,
    signed,
)
from services.console.visits import Visit
from services.console.widgets import Feed, moment

ENTRIES_PER_PAGE = 25
IMPORT_SOURCES = frozenset({"csv"})
# What happened says it already.
ACTORS_BY_KIND = frozenset({"order", "reservation", "return", "fulfillment"})


class History:
    """The timeline, with its filters."""

    def __init__(self, visit: Visit, item: Json, names: Names) -> None:
        """Draw it empty; `load` fills it."""
        self._visit, self._item, self._names = visit, item, names
        with ui.row().classes("row"):
            self._kinds = ui.select(dict(KINDS), label="What", multiple=True, clearable=True, on_change=self.load)
            self._kinds.props("outlined dense options-dense use-chips").classes("wide-filter")
            places = [level["location"] for level in item["levels"]]
            self._place = ui.select(places, label="Location", clearable=True, on_change=self.load)
            self._place.props("outlined dense options-dense").classes("filter").visible = len(places) > 1
        self._feed = Feed(
            self._fetch,
            self._draw,
            more="Older entries",
            none="Nothing has changed its stock yet. Write a level above, import a file, or wait for the first order.",
        )

    async def load(self) -> None:
        """Show the newest entries that the filters let through."""
        await self._feed.load()

    async def refresh(self) -> None:
        """Put entries on top that are new."""
        await self._feed.refresh("entry_id")

    async def _fetch(self, cursor: str | int | None) -> Mapping[str, Any]:
        kinds = "&".join(f"kind={kind}" for kind in self._kinds.value or [])
        path = f"/v1/stock/{self._item['product_id']}/ledger" + (f"?{kinds}" if kinds else "")
        page: Mapping[str, Any] = await self._visit.api.get(
            path, location=self._place.value, cursor=cursor, limit=ENTRIES_PER_PAGE
        )
        return page

    def _draw(self, entry: Json) -> None:
        with ui.element("div").classes("moment"):
            ui.label(moment(entry["occurred_at"], self._visit.zone)).classes("muted").tooltip(entry["occurred_at"])
            with ui.element("div"):
                with ui.row().classes("row tight"):
                    ui.label(KINDS.get(entry["kind"], entry["kind"])).classes("what")
                    if entry["actor"] not in ACTORS_BY_KIND:
                        ui.label(f"by {self._names.who(entry)}").classes("muted")
                    self._draw_reference(entry)
                if entry["reason"]:
                    ui.label(reason_in_words(entry))
            with ui.element("div").classes("number"):
                ui.label(_sum_of(entry)).classes(f"delta {_tone(entry)}")
                moved = deltas_in_words(entry)
                place = f" at {entry['location']}" if moved and len(self._item["levels"]) > 1 else ""
                ui.label(moved + place).classes("muted")

    def _draw_reference(self, entry: Json) -> None:
        reference = entry["reference"]
        if entry["kind"] in ORDER_KINDS:
            ui.link("Order", f"/orders/{reference}")
        elif entry["kind"] in IMPORT_KINDS and entry["source"] in IMPORT_SOURCES:
            ui.link(f"Import {reference}", f"/inventory/imports/{reference}")


def _sum_of(entry: Json) -> str:
    """How many units more or fewer can be sold since, where that changed."""
    units = entry["on_hand_delta"] - entry["allocated_delta"] - entry["reserved_delta"]
    return signed(units) if units else ""


def _tone(entry: Json) -> str:
    units = entry["on_hand_delta"] - entry["allocated_delta"] - entry["reserved_delta"]
    return "ok" if units > 0 else "bad" if units < 0 else ""
