"""What pages are made of: lists in pages, badges, figures, moments, questions."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from nicegui import events, ui

from services.console.frame import tell_error
from shared import clock

ROWS_PER_PAGE = 50

Tone = Literal["", "ok", "warn", "bad", "accent"]
Kind = Literal["text", "mono", "number", "badge", "link", "moment", "actions"]
# How a cell of each kind is drawn. A row has what is beside the value under the column's name and a suffix:
# `sku_address` of a link, `state_tone` of a badge, `made_at_title` of a moment.
CELLS: dict[Kind, str] = {
    "text": "{{ props.value }}",
    "mono": '<span class="mono">{{ props.value }}</span>',
    "number": '<span :class="props.row.NAME_tone">{{ props.value }}</span>',
    "badge": "<span v-if=\"props.value\" :class=\"'badge ' + (props.row.NAME_tone || '')\">{{ props.value }}</span>",
    "link": '<a v-if="props.row.NAME_address" :href="props.row.NAME_address">{{ props.value }}</a>'
    "<template v-else>{{ props.value }}</template>",
    "moment": '<span :title="props.row.NAME_title">{{ props.value }}</span>',
    # The value is a list of `(name, label)`; a row's `NAME_of` says to screen readers what it is done to.
    "actions": '<span class="actions"><q-btn v-for="[name, label] in props.value" :key="name" '
    'flat dense no-caps color="primary" '
    ":label=\"label\" :aria-label=\"label + ' ' + (props.row.NAME_of || '')\" "
    "@click=\"() => $parent.$emit('act', {row: props.row, action: name})\" /></span>",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: the rows' value `name`, under `label`; `sort_by` is what the API sorts by."""

    name: str
    label: str
    kind: Kind = "text"
    sort_by: str | None = None

    def for_quasar(self) -> dict[str, Any]:
        """As QTable has it."""
        return {
            "name": self.name,
            "field": self.name,
            "label": self.label,
            "align": "right" if self.kind in {"number", "actions"} else "left",
            "sortable": self.sort_by is not None,
            "classes": "number" if self.kind == "number" else "",
            "headerClasses": "number" if self.kind == "number" else "",
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page of a list is asked for: behind `cursor`, sorted by `sort` (`-name` descending)."""

    cursor: str | int | None
    sort: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list, and how many there are in all, where that is known."""

    rows: list[dict[str, Any]]
    next_cursor: str | int | None
    total: int | None = None


class PagedList:
    """A table that comes in pages from the API; it sorts there, and `refresh` brings what has changed into the page."""

    def __init__(
        self,
        columns: Sequence[Column],
        fetch: Callable[[Asked], Awaitable[Listed]],
        *,
        key: str = "id",
        sort: str | None = None,
        when_empty: Callable[[], object] | None = None,
        on_action: Callable[[str, dict[str, Any]], Awaitable[None]] | None = None,
    ) -> None:
        """Draw it empty; `load` fills it. `key` names the rows' own id; `when_empty` draws what stands in its place.

        `on_action` is called with the name and the row of a button in a column of `actions`; the list comes anew after.
        """
        self._columns, self._fetch, self._key, self._when_empty = columns, fetch, key, when_empty
        self.sort = sort
        self._cursors: list[str | int | None] = [None]
        self._listed = Listed([], None)
        with ui.column().classes("panel flush") as self.panel:
            self.table = ui.table(
                columns=[column.for_quasar() for column in columns], rows=[], row_key=key, pagination=self._pagination()
            )
            self.table.props("flat dense hide-pagination binary-state-sort wrap-cells=false").classes("w-full")
            for column in columns:
                cell = CELLS[column.kind].replace("NAME", column.name)
                self.table.add_slot(f"body-cell-{column.name}", f'<q-td :props="props">{cell}</q-td>')
            self.table.on("request", self._sorted)
            if on_action is not None:
                self._on_action = on_action
                self.table.on("act", self._act)
            with ui.row().classes("row between list-foot") as self._foot:
                self._said = ui.label().classes("muted").props('aria-live="polite"')
                with ui.row().classes("row tight pager"):
                    self._back = ui.button(icon="chevron_left", on_click=self._previous)
                    self._on = ui.button(icon="chevron_right", on_click=self._next)
                    self._back.props('flat dense round aria-label="Previous page"')
                    self._on.props('flat dense round aria-label="Next page"')
        self._instead = ui.column().classes("panel")
        self._instead.visible = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows that are shown."""
        return self._listed.rows

    async def load(self) -> None:
        """Show the first page."""
        self._cursors = [None]
        await self.refresh()

    async def refresh(self) -> None:
        """Show the same page as it is now; what has changed in it is marked for a moment."""
        self._listed = await self._fetch(Asked(self._cursors[-1], self.sort, ROWS_PER_PAGE))
        is_empty = not self._listed.rows and len(self._cursors) == 1
        self.panel.visible = not is_empty
        self._instead.visible = is_empty
        if is_empty and self._when_empty is not None:
            self._instead.clear()
            with self._instead:
                self._when_empty()
        if self.table.rows != self._listed.rows:
            self.table.rows = self._listed.rows
        first = (len(self._cursors) - 1) * ROWS_PER_PAGE
        last = first + len(self._listed.rows)
        total = "" if self._listed.total is None else f" of {number(self._listed.total)}"
        self._said.text = f"{number(first + 1)}-{number(last)}{total}" if last > first else "Nothing more"
        self._back.set_enabled(len(self._cursors) > 1)
        self._on.set_enabled(self._listed.next_cursor is not None)
        # A short list needs no counting.
        self._foot.visible = self._listed.total is not None or len(self._cursors) > 1 or len(self.rows) == ROWS_PER_PAGE

    async def _act(self, event: events.GenericEventArguments) -> None:
        await self._on_action(event.args["action"], event.args["row"])
        await self.refresh()

    async def _next(self) -> None:
        self._cursors.append(self._listed.next_cursor)
        await self.refresh()

    async def _previous(self) -> None:
        self._cursors.pop()
        await self.refresh()

    async def _sorted(self, event: events.GenericEventArguments) -> None:
        asked = event.args["pagination"]
        by = {column.name: column.sort_by for column in self._columns}.get(asked["sortBy"])
        self.sort = None if by is None else f"-{by}" if asked["descending"] else by
        self.table.pagination = self._pagination()
        await self.load()

    def _pagination(self) -> dict[str, Any]:
        by = (self.sort or "").removeprefix("-")
        name = next((column.name for column in self._columns if column.sort_by == by), None)
        # With a number of rows QTable leaves sorting to us.
        return {"rowsPerPage": 0, "rowsNumber": 1, "sortBy": name, "descending": (self.sort or "").startswith("-")}


def live(refresh: Callable[[], Awaitable[None]], seconds: float = 2.0) -> ui.timer:
    """Call `refresh` every so often while the page is open; a failure is told once, not each time."""
    has_failed = False

    async def again() -> None:
        nonlocal has_failed
        try:
            await refresh()
        except Exception as error:  # told, and tried again
            if not has_failed:
                tell_error(error)
            has_failed = True
        else:
            has_failed = False

    return ui.timer(seconds, again, immediate=False)


def number(value: int | None) -> str:
    """A whole number for people; `-` for none."""
    return "-" if value is None else f"{value:,}"


def moment(value: str | None, zone: ZoneInfo) -> str:
    """An RFC 3339 moment for people, in the visitor's zone: the day only where it is not today."""
    if value is None:
        return "-"
    then, now = datetime.fromisoformat(value).astimezone(zone), clock.utc_now().astimezone(zone)
    if then.date() == now.date():
        return f"today {then:%H:%M:%S}"
    return f"{then.day} {then:%b %H:%M}" if then.year == now.year else f"{then.day} {then:%b %Y %H:%M}"


def ago(value: str | None) -> str:
    """How long a moment is ago, roughly."""
    if value is None:
        return "never"
    seconds = (clock.utc_now() - datetime.fromisoformat(value)).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def address(path: str, **query: str | int | None) -> str:
    """A page's address with what of `query` is given."""
    given = {name: value for name, value in query.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given)}" if given else path


def badge(words: str, tone: Tone = "") -> ui.label:
    """A state in a word."""
    return ui.label(words).classes(f"badge {tone}")


def tile(figure: str, words: str, target: str | None = None, tone: Tone = "") -> None:
    """A figure that leads to what it counts."""
    box = ui.link(target=target) if target else ui.element("div")
    with box.classes(f"tile {tone}"):
        ui.label(figure).classes("figure")
        ui.label(words).classes("muted")


def facts(rows: Mapping[str, object]) -> None:
    """Names and values, one below the other."""
    with ui.element("div").classes("facts"):
        for name, value in rows.items():
            ui.label(name)
            ui.label("-" if value is None or value == "" else str(value))


@contextmanager
def panel(heading: str | None = None) -> Iterator[ui.column]:
    """A block of a page, under its heading."""
    with ui.column().classes("panel") as box:
        if heading:
            ui.label(heading).classes("heading").props('role="heading" aria-level="2"')
        yield box


def list_heading(words: str, *actions: tuple[str, Callable[[], object]]) -> None:
    """The heading of a list that is one of several on its page, and buttons of what can be done: `(label, do it)`."""
    with ui.row().classes("row between list-heading"):
        ui.label(words).classes("heading").props('role="heading" aria-level="2"')
        with ui.row().classes("row tight buttons"):
            for label, act in actions:
                ui.button(label, on_click=act).props("outline dense no-caps")


async def confirmed(question: str, words: str, action: str, *, is_dangerous: bool = False) -> bool:
    """Ask before something is done; whether the visitor said yes."""
    with ui.dialog() as dialog, ui.card().classes("panel dialog"):
        ui.label(question).classes("heading")
        ui.label(words).classes("muted")
        with ui.row().classes("row end"):
            ui.button("Cancel", on_click=lambda: dialog.submit("no")).props("flat")
            yes = ui.button(action, on_click=lambda: dialog.submit("yes")).props("unelevated autofocus")
            if is_dangerous:
                yes.props("color=negative")
    said: str | None = await dialog
    dialog.delete()
    return said == "yes"
