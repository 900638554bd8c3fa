"""The table of base stock products: found, filtered, sorted, and changed in place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nicegui import events, ui

from services.console.company_names import company_names
from services.console.frame import empty, page
from services.console.pages.inventory.level_editor import LevelEditor, Spot
from services.console.pages.inventory.tiles import StateTiles
from services.console.pages.inventory.words import (
    STATES,
    Json,
    Names,
    level_at,
    locations_of,
    state_of,
)
from services.console.pages.inventory.words import (
    Column as Changed,
)
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, live, number

PATH = "/inventory"
FIGURES = ("on_hand", "allocated", "reserved", "available", "safety_stock")
# The summary counts all items: often enough for a glance.
SUMMARY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items are shown, as the page's address says."""

    q: str | None
    location: str | None
    state: str | None
    supplier_id: str | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filters":
        """As the address has them; a state that is none is left out."""
        state = query.get("state")
        return cls(
            query.get("q") or None,
            query.get("location") or None,
            state if state in STATES else None,
            query.get("supplier_id") or None,
        )

    def query(self) -> dict[str, str | int | None]:
        """As the API takes them."""
        return {"q": self.q, "location": self.location, "state": self.state, "supplier_id": self.supplier_id}

    @property
    def are_none(self) -> bool:
        """Whether all items are shown."""
        return self.q is None and self.location is None and self.state is None


@page(PATH, "Inventory", ("supplier", "admin"))
async def show_inventory(visit: Visit) -> None:
    """The table."""
    places = [] if visit.company_id is None else await locations_of(visit.api, visit.company_id)
    suppliers = await company_names(visit, "supplier") if visit.is_admin else {}
    table = InventoryTable(visit, await Names.of(visit), [place["code"] for place in places])
    table.draw(suppliers)
    await table.load()


class InventoryTable:
    """The table with its filters, which follows what happens to the stock."""

    def __init__(self, visit: Visit, names: Names, places: list[str]) -> None:
        """Begin with the filters of the page's address."""
        self._visit, self._places = visit, places
        self._filters = Filters.of(visit.query)
        self._sort = visit.query.get("sort", "sku")
        self._items: dict[int, Json] = {}
        self._may_write = visit.may("stock:write")
        self._editor = LevelEditor(visit, names, self._saved, self._following)

    def draw(self, suppliers: Mapping[int, str]) -> None:
        """Draw it empty."""
        self._tiles = StateTiles(self._choose_state)
        with ui.row().classes("row"):
            self._draw_filters(suppliers)
            ui.space()
            self._export = ui.link("Export CSV", "").classes("export")
            if self._may_write:
                ui.button("Import CSV", icon="upload_file", on_click=lambda: ui.navigate.to(f"{PATH}/imports"))
        self._box = ui.column().classes("stack")
        self._draw_list()
        live(self._refresh)
        live(self._count, SUMMARY_SECONDS)

    def _draw_filters(self, suppliers: Mapping[int, str]) -> None:
        shown = self._filters
        self._q = ui.input("Search SKU, title, barcode", value=shown.q or "").classes("page-search")
        self._q.props('outlined dense clearable debounce=250 type="search"').on_value_change(self._filter)
        self._state = ui.select(dict(STATES), label="Show", value=shown.state, clearable=True).classes("filter")
        self._state.props("outlined dense options-dense").on_value_change(self._filter)
        places = sorted({*self._places, *([shown.location] if shown.location else [])})
        self._place = ui.select(places, label="Location", value=shown.location, clearable=True).classes("filter")
        self._place.props("outlined dense options-dense").on_value_change(self._filter)
        self._place.visible = len(places) > 1
        chosen = next((one for one in suppliers if str(one) == shown.supplier_id), None)
        self._supplier = ui.select(dict(suppliers), label="Supplier", value=chosen, clearable=True).classes("filter")
        self._supplier.props("outlined dense options-dense").on_value_change(self._filter)
        self._supplier.visible = bool(suppliers)

    def _draw_list(self) -> None:
        """With a location the numbers are those there, which nothing can be sorted by."""
        self._box.clear()
        changed: Any = "edit" if self._may_write else "number"
        is_whole = self._filters.location is None

        def figure(name: str, label: str, kind: Any = "number") -> Column:  # noqa: ANN401 - a kind
            return Column(name, label, kind, name if is_whole else None)

        columns = [
            Column("sku", "SKU", "link", "sku"),
            Column("title", "Title", "text", "title"),
            Column("state", "State", "badge"),
            figure("on_hand", "On hand", changed),
            figure("allocated", "Allocated"),
            figure("reserved", "Reserved"),
            figure("available", "Available", changed),
            figure("safety_stock", "Safety stock"),
            Column("lead_time_days", "Lead time", "number", "lead_time_days"),
        ]
        if not is_whole:
            columns.append(Column("in_all", "Available in all", "number", "available"))
        with self._box:
            self._list = PagedList(columns, self._fetch, key="product_id", sort=self._sort, when_empty=self._draw_empty)
        self._list.table.on("edit", self._edit)

    async def load(self) -> None:
        """Show the first page."""
        self._keep_address()
        await self._count()
        await self._list.load()

    async def _refresh(self) -> None:
        await self._list.refresh()

    async def _count(self) -> None:
        wanted = {**self._filters.query(), "state": None}
        self._tiles.show(await self._visit.api.get("/v1/stock/summary", **wanted), self._filters.state)

    async def _filter(self) -> None:
        before = self._filters
        self._filters = Filters(
            (self._q.value or "").strip() or None,
            self._place.value,
            self._state.value,
            self._supplier.value and str(self._supplier.value),
        )
        if self._filters == before:
            return
        if self._filters.location != before.location:
            self._draw_list()
        await self.load()

    def _choose_state(self, state: str | None) -> None:
        self._state.value = state

    def _keep_address(self) -> None:
        here = {**self._filters.query(), "sort": None if self._sort == "sku" else self._sort}
        ui.navigate.history.replace(address(PATH, **here))
        self._export.props["href"] = address(f"{PATH}/export.csv", **self._filters.query())
        # A file is of one supplier.
        self._export.visible = not self._visit.is_admin or self._filters.supplier_id is not None

    async def _fetch(self, asked: Asked) -> Listed:
        query = self._filters.query()
        listed = await self._visit.api.get(
            "/v1/stock", **query, sort=asked.sort, cursor=asked.cursor, limit=asked.limit
        )
        if (asked.sort or "sku") != self._sort:
            self._sort = asked.sort or "sku"
            self._keep_address()
        items = {item["product_id"]: item for item in listed["items"]}
        if self._editor.is_open:
            # Rows stay where they are while one is being changed; who waits to come in waits on.
            items = {product_id: items.get(product_id, item) for product_id, item in self._items.items()}
        self._items = items
        rows = [self._row(item) for item in items.values()]
        return Listed(rows, listed["next_cursor"], self._tiles.total)

    def _row(self, item: Json) -> dict[str, Any]:
        place = self._filters.location
        level = item if place is None else level_at(item, place)
        words, tone = state_of(item)
        days = item["lead_time_days"]
        return {
            "product_id": item["product_id"],
            "sku": item["sku"],
            "sku_address": f"{PATH}/{item['product_id']}",
            "title": item["title"],
            **{name: number(level[name]) for name in FIGURES},
            "available_tone": "bad" if level["available"] < 0 else "",
            "in_all": number(item["available"]),
            "lead_time_days": "-" if days is None else f"{days} d",
            "state": words,
            "state_tone": tone,
        }

    def _draw_empty(self) -> None:
        if self._filters.are_none:
            box = empty("inventory_2", "No stock yet", "What you sell out of stock is kept here, once it is a product.")
            with box:
                ui.button("Add products", on_click=lambda: ui.navigate.to("/products")).props("unelevated")
            return
        with empty("search_off", "Nothing matches", "No item is found with these filters."):
            ui.button("Clear the filters", on_click=self._clear).props("unelevated")

    def _clear(self) -> None:
        for field in (self._q, self._state, self._place):
            field.value = None

    def _edit(self, event: events.GenericEventArguments) -> None:
        self._editor.open(self._spot(self._items[event.args["key"]], event.args["column"]))

    def _spot(self, item: Json, column: Changed) -> Spot:
        stocked = [level["location"] for level in item["levels"]]
        places = stocked + [place for place in self._places if place not in stocked]
        location = self._filters.location or places[0]
        return Spot(item, column, location, places, f"edit-{item['product_id']}-{column}")

    def _following(self, spot: Spot) -> Spot | None:
        rows = list(self._items.values())
        ids = [item["product_id"] for item in rows]
        behind = rows[ids.index(spot.item["product_id"]) + 1 :]
        if not behind:
            return None
        following = self._spot(behind[0], spot.column)
        return replace(following, location=spot.location) if spot.location in following.locations else following

    async def _saved(self, item: Json) -> None:
        self._items[item["product_id"]] = item
        await self._list.refresh()
        await self._count()
