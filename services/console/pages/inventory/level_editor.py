"""Changing a number in place: a small form beside the cell, for the keyboard first."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from nicegui import ui

from services.console.api import RefusedError
from services.console.frame import show_what_came
from services.console.pages.inventory.words import (
    Column,
    Json,
    Names,
    as_typed,
    change_in_words,
    entry_in_words,
    level_at,
    typed_write,
)
from services.console.visits import Visit
from services.console.widgets import number

HEADINGS: dict[Column, str] = {"on_hand": "On hand", "available": "Available"}
# What most writes are for; who changes it keeps what was typed for the next rows.
COUNTED, CORRECTED = "Stock count", "Correction"
REASONS = (COUNTED, CORRECTED, "Delivery", "Damaged", "Lost", "Returned")
HINT = "42 sets it, +5 or -3 adds or takes. Enter saves and goes on to the next row, Esc leaves."
ENTRIES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Spot:
    """What is changed: an item's number at a location, in the cell of this id; `locations` are those to choose from."""

    item: Json
    column: Column
    location: str
    locations: Sequence[str]
    cell: str


class LevelEditor:
    """The form. `open` puts it beside a cell; `after_save` is told what was written, `following` says what is next.

    Statements carry the item's version as it was shown: when somebody has changed the number since, that is shown
    first. Adjustments are right whatever came between, and carry none.
    """

    def __init__(
        self,
        visit: Visit,
        names: Names,
        after_save: Callable[[Json], Awaitable[None]],
        following: Callable[[Spot], Spot | None],
    ) -> None:
        """Draw it, closed."""
        self._visit, self._names, self._after_save, self._following = visit, names, after_save, following
        self._spot: Spot | None = None
        self._reasons = {COUNTED: COUNTED, CORRECTED: CORRECTED}
        self._sent: tuple[object, str] = (None, "")
        with ui.menu().props('no-parent-event no-refocus anchor="bottom left" self="top left"') as self._menu:
            self._menu.on_value_change(lambda event: None if event.value else self._left())
            with ui.column().classes("editor"):
                self._title = ui.label().classes("heading")
                with ui.row().classes("row fields"):
                    self._draw_fields()
                self._says = ui.label().classes("muted").props('aria-live="polite"')
                self._conflict = ui.column().classes("note warn")
                ui.label(HINT).classes("muted small")

    def _draw_fields(self) -> None:
        self._value = ui.input("Number", on_change=self._typed).classes("value")
        self._value.props("outlined dense hide-bottom-space no-error-icon")
        self._place = ui.select([], label="Location", on_change=self._moved).classes("place")
        self._place.props("outlined dense options-dense")
        self._reason = ui.input("Reason", autocomplete=list(REASONS), on_change=self._reasoned).classes("reason")
        self._reason.props("outlined dense maxlength=200")
        self._button = ui.button("Save", on_click=self._save).props("unelevated")
        for field in (self._value, self._reason):
            # What is typed until the next row can take it is kept for that.
            field.on("keydown.enter.prevent", self._save, js_handler="() => { basestock.holdKeys(); emit(); }")

    @property
    def is_open(self) -> bool:
        """Whether something is being changed."""
        return self._spot is not None

    def open(self, spot: Spot) -> None:
        """Put the form beside the spot's cell."""
        self._mark(is_editing=False)
        self._spot, self._sent = spot, (None, "")
        item = spot.item
        self._title.text = f"{item['sku']}, {item['title']}" if item["title"] else item["sku"]
        self._value.props["label"] = HEADINGS[spot.column]
        self._place.visible = len(spot.locations) > 1
        self._place.set_options(list(spot.locations), value=spot.location)
        self._show_level()
        self._menu.props["target"] = f'[id="{spot.cell}"]'
        self._menu.open()
        self._mark(is_editing=True)
        ui.run_javascript(f"basestock.putBeside({json.dumps(spot.cell)}, {self._menu.id}, {self._value.id})")

    def close(self) -> None:
        """Leave it as it is."""
        self._menu.close()

    def _left(self) -> None:
        if self._spot is not None:
            self._mark(is_editing=False)
            cell = json.dumps(self._spot.cell)
            ui.run_javascript(f"basestock.releaseKeys(); document.getElementById({cell})?.focus()")
        self._spot = None

    def _mark(self, *, is_editing: bool) -> None:
        if self._spot is not None:
            toggle = "add" if is_editing else "remove"
            cell = json.dumps(self._spot.cell)
            ui.run_javascript(f"document.getElementById({cell})?.classList.{toggle}('editing')")

    def _show_level(self) -> None:
        assert self._spot is not None  # noqa: S101 - open
        self._tell("")
        level = level_at(self._spot.item, self._spot.location)
        self._value.value = as_typed(level[self._spot.column])
        self._choose_reason()

    def _tell(self, words: str, *, is_wrong: bool = False) -> None:
        self._says.text = words
        self._says.classes(replace="bad" if is_wrong else "muted")
        self._value.props("error" if is_wrong else "", remove="" if is_wrong else "error")
        self._conflict.visible = False
        self._conflict.clear()

    def _kind(self) -> str:
        return CORRECTED if (self._value.value or "").strip()[:1] in {"+", "-"} else COUNTED

    def _choose_reason(self) -> None:
        self._reason.value = self._reasons[self._kind()]

    def _reasoned(self) -> None:
        self._reasons[self._kind()] = self._reason.value or ""

    def _moved(self) -> None:
        if self._spot is not None and self._place.value and self._place.value != self._spot.location:
            self._spot = replace(self._spot, location=self._place.value)
            self._show_level()

    def _typed(self) -> None:
        if self._spot is None:
            return
        self._choose_reason()
        try:
            write = typed_write(self._value.value or "", self._spot.column)
        except ValueError:
            self._tell("")
        else:
            self._tell(change_in_words(level_at(self._spot.item, self._spot.location), write))

    async def _save(self) -> None:
        if self._spot is None or "loading" in self._button.props:
            return
        spot = self._spot
        await self._try_to_save(spot)
        if self._spot is not None and self._spot.cell == spot.cell:
            ui.run_javascript("basestock.releaseKeys()")

    async def _try_to_save(self, spot: Spot) -> None:
        try:
            write = typed_write(self._value.value or "", spot.column)
        except ValueError as error:
            self._tell(str(error), is_wrong=True)
            return
        if write == {spot.column: level_at(spot.item, spot.location)[spot.column]}:
            self._go_on(spot)
        else:
            await self._write(spot, write)

    async def _write(self, spot: Spot, write: dict[str, Any]) -> None:
        body = {"location": spot.location, "reason": self._reason.value or "", **write}
        version = spot.item["version"] if "adjustment" not in write and "as_of" not in write else None
        # Enter again, when no answer came, is the same write, until the form is opened anew.
        if self._sent[0] != (body, version):
            self._sent = ((body, version), uuid4().hex)
        path = f"/v1/stock/{spot.item['product_id']}/adjustments"
        self._button.props("loading")
        try:
            answer = await self._visit.api.call("POST", path, body, if_match=version, once=self._sent[1])
        except RefusedError as error:
            if error.code == "version_changed":
                await self._look_again(spot, write)
            else:
                self._tell(str(error), is_wrong=True)
            return
        finally:
            self._button.props(remove="loading")
        self._sent = (None, "")
        await show_what_came(lambda: self._after_save(answer.body))
        if self._spot == spot:
            self._go_on(spot)

    def _go_on(self, spot: Spot) -> None:
        following = self._following(spot)
        if following is None:
            self.close()
        else:
            self.open(following)

    async def _look_again(self, spot: Spot, write: dict[str, Any]) -> None:
        """The item was changed since it was shown. Go on if this number was not; else show what became of it."""
        path = f"/v1/stock/{spot.item['product_id']}"
        item = await self._visit.api.get(path)
        if self._spot != spot:
            return
        before, now = level_at(spot.item, spot.location), level_at(item, spot.location)
        self._spot = replace(spot, item=item)
        if before[spot.column] == now[spot.column]:
            await self._write(self._spot, write)
            return
        entries = await self._visit.api.get(f"{path}/ledger", location=spot.location, limit=ENTRIES_SHOWN)
        since = [entry for entry in entries["items"] if entry["item_version"] > spot.item["version"]]
        self._show_conflict(before, now, [entry_in_words(one, self._names, self._visit.zone) for one in since], write)

    def _show_conflict(self, before: Json, now: Json, since: Sequence[str], write: dict[str, Any]) -> None:
        spot = self._spot
        assert spot is not None  # noqa: S101 - it was just looked at
        self._says.text = ""
        self._conflict.clear()
        self._conflict.visible = True
        name, units = HEADINGS[spot.column].lower(), number(write[spot.column])
        was, has = number(before[spot.column]), number(now[spot.column])
        with self._conflict:
            ui.label(f"Somebody changed this meanwhile: {name} was {was}, it is {has} now.")
            for line in since:
                ui.label(line).classes("muted")
            with ui.row().classes("row"):
                ui.button(f"Set it to {units} all the same", on_click=self._save).props("unelevated dense")
                ui.button(f"Leave it at {has}", on_click=self.close).props("flat dense")
