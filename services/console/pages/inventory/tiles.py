"""Tiles that say how many items are in which state, and show those."""

from collections.abc import Callable

from nicegui import ui

from services.console.pages.inventory.words import STATES, Json
from services.console.widgets import Tone, number

TONES: dict[str, Tone] = {"low": "warn", "out": "bad", "backordered": "bad", "unlinked": "warn"}


class StateTiles:
    """A tile for all items and one for each state that is counted; the chosen one stands out."""

    def __init__(self, choose: Callable[[str | None], None]) -> None:
        """Draw them empty; `choose` is called with the state of the one that is clicked, `None` for all."""
        self._tiles: dict[str | None, tuple[ui.element, ui.label]] = {}
        self._counts: dict[str | None, int] = {}
        self._chosen: str | None = None
        with ui.element("div").classes("tiles compact"):
            self._draw(None, "items", choose)
            for state in TONES:
                self._draw(state, STATES[state].lower(), choose)
            with ui.element("div").classes("tile"):
                self._units = ui.label("-").classes("figure")
                ui.label("units available").classes("muted")

    def _draw(self, state: str | None, words: str, choose: Callable[[str | None], None]) -> None:
        with ui.element("button").classes("tile").props('type="button"').on("click", lambda: choose(state)) as box:
            figure = ui.label("-").classes("figure")
            ui.label(words).classes("muted")
        self._tiles[state] = (box, figure)

    @property
    def total(self) -> int | None:
        """How many items there are in the chosen state; `None` where that is not counted."""
        return self._counts.get(self._chosen)

    def show(self, summary: Json, chosen: str | None) -> None:
        """Show what is counted."""
        self._chosen = chosen
        self._counts = {None: summary["items"], **{state: summary[state] for state in TONES}}
        for state, (box, figure) in self._tiles.items():
            count = self._counts[state]
            figure.text = number(count)
            tone = TONES[state] if state and count else ""
            box.classes(replace=f"tile {tone} {'is-chosen' if state == chosen else ''}")
            box.props["aria-pressed"] = "true" if state == chosen else "false"
        self._units.text = number(summary["units_available"])
