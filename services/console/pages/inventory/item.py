"""One item: its levels, how it went, why, who draws on it, which orders hold it, and who was told."""

from collections.abc import Mapping
from typing import Any

from nicegui import events, ui

from services.console.frame import page
from services.console.pages.inventory.around import draw_around
from services.console.pages.inventory.chart import StockChart
from services.console.pages.inventory.history import History
from services.console.pages.inventory.item_dialogs import ask_removal, ask_settings, draw_settings
from services.console.pages.inventory.level_editor import LevelEditor, Spot
from services.console.pages.inventory.words import Json, Names, state_of
from services.console.visits import Visit
from services.console.widgets import Column, ListTable, badge, live, number, panel

FIGURES = {
    "on_hand": "on hand",
    "allocated": "allocated",
    "reserved": "reserved",
    "safety_stock": "safety stock",
    "available": "available",
}


@page("/inventory/{product_id:int}", "Item", ("supplier", "admin"))
async def show_item(visit: Visit) -> None:
    """An item of the inventory."""
    item = await visit.api.get(f"/v1/stock/{visit.path['product_id']}")
    view = ItemView(visit, item, await Names.of(visit))
    await view.draw()


class ItemView:
    """The page of an item, which follows what happens to it."""

    def __init__(self, visit: Visit, item: Json, names: Names) -> None:
        """Know the item as it is now."""
        self._visit, self._item, self._names = visit, item, names
        self._path = f"/v1/stock/{item['product_id']}"
        self._may_write = visit.may("stock:write")
        self._figures: dict[str, ui.label] = {}

    async def draw(self) -> None:
        """Draw all of it, and keep it fresh."""
        ui.page_title(f"{self._item['sku']} - Basestock")
        self._head = ui.row().classes("row between")
        self._dialogs = ui.element("div").classes("nothing")
        with ui.element("div").classes("tiles compact"):
            for name, words in FIGURES.items():
                with ui.element("div").classes("tile"):
                    self._figures[name] = ui.label().classes("figure")
                    ui.label(words).classes("muted")
        with ui.element("div").classes("grid levels"):
            with panel("Levels"):
                self._draw_levels()
            with panel("Settings"):
                self._settings = ui.column()
        with panel() as box:
            self._chart = StockChart(self._visit, self._item, box)
        with ui.element("div").classes("grid item"):
            with panel("What happened"):
                self._history = History(self._visit, self._item, self._names)
            with ui.column().classes("beside"):
                self._around = await draw_around(self._visit, self._item)
        self._show()
        await self._chart.load()
        await self._history.load()
        live(self._refresh)

    def _draw_levels(self) -> None:
        kind: Any = "edit" if self._may_write else "number"
        columns = [
            Column("location", "Location"),
            Column("on_hand", "On hand", kind),
            Column("allocated", "Allocated", "number"),
            Column("reserved", "Reserved", "number"),
            Column("safety_stock", "Safety stock", "number"),
            Column("available", "Available", kind),
        ]
        self._levels = ListTable(columns, "code")
        if self._may_write:
            self._editor = LevelEditor(self._visit, self._names, self._changed, self._following)
            self._levels.on("edit", self._edit)

    def _edit(self, event: events.GenericEventArguments) -> None:
        self._editor.open(self._spot(event.args["key"], event.args["column"]))

    def _spot(self, location: str, column: Any) -> Spot:  # noqa: ANN401 - `on_hand` or `available`
        return Spot(self._item, column, location, [location], f"edit-{location}-{column}")

    def _following(self, spot: Spot) -> Spot | None:
        places = [level["location"] for level in self._item["levels"]]
        behind = places[places.index(spot.location) + 1 :]
        return self._spot(behind[0], spot.column) if behind else None

    async def _refresh(self) -> None:
        item = await self._visit.api.get(self._path)
        if item["version"] != self._item["version"]:
            await self._changed(item)

    async def _changed(self, item: Json) -> None:
        self._item = item
        self._show()
        await self._history.refresh()
        await self._chart.load()
        await self._around.takings.load()

    def _show(self) -> None:
        item = self._item
        self._show_head()
        for name, label in self._figures.items():
            label.text = number(item[name])
        _, tone = state_of(item)
        self._figures["available"].classes(replace=f"figure {tone}")
        self._levels.show([self._row(level) for level in item["levels"]], mark=True)
        self._settings.clear()
        with self._settings:
            draw_settings(item)

    def _row(self, level: Json) -> dict[str, Any]:
        figures: Mapping[str, Any] = {name: number(level[name]) for name in FIGURES}
        tone = "bad" if level["available"] < 0 else ""
        place = f"{level['location']} (no longer)" if level["removed_at"] else level["location"]
        return {"code": level["location"], "location": place, **figures, "available_tone": tone}

    def _show_head(self) -> None:
        item = self._item
        words, tone = state_of(item)
        self._head.clear()
        with self._head:
            with ui.row().classes("row narrow"):
                ui.label(item["title"] or item["sku"]).classes("item-title").props('role="heading" aria-level="2"')
                ui.label(item["sku"]).classes("mono muted")
                if item["barcode"]:
                    ui.label(f"barcode {item['barcode']}").classes("muted")
                if words:
                    badge(words, tone)
            with ui.row().classes("row narrow"):
                ui.link("Product", f"/products/{item['product_id']}")
                if self._may_write:
                    ui.button("Settings", icon="tune", on_click=self._change_settings).props("outline dense")
                    remove = ui.button("No longer stocked", on_click=self._remove).props("flat dense color=negative")
                    remove.visible = item["removed_at"] is None

    def _change_settings(self) -> None:
        # Not within the head, which is drawn anew when the item changes.
        with self._dialogs:
            ask_settings(self._visit, self._item, self._changed)

    def _remove(self) -> None:
        with self._dialogs:
            ask_removal(self._visit, self._item, self._changed)
