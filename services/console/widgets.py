"""What pages are made of: lists in pages, badges, figures, moments, questions."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from nicegui import events, ui
from nicegui.element import Element

from services.console.frame import tell_error
from services.console.list_table import Column as Column  # noqa: PLC0414 - pages take it from here
from services.console.list_table import ListTable as ListTable  # noqa: PLC0414 - likewise
from shared import clock

ROWS_PER_PAGE = 50

Tone = Literal["", "ok", "warn", "bad", "accent"]
Shown = TypeVar("Shown", bound=Element)


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
        self._asked = 0
        self._is_empty_told = False
        self._shown: tuple[str | int | None, str | None] | None = None
        with ui.column().classes("panel flush") as self.panel:
            self.table = ListTable(columns, key)
            self.table.on("sort", self._sorted)
            self._show_sort()
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
        self._is_empty_told = False
        await self.refresh()

    async def refresh(self) -> None:
        """Show the same page as it is now; what has changed in it is marked for a moment."""
        self._asked += 1
        mine, position = self._asked, (self._cursors[-1], self.sort)
        listed = await self._fetch(Asked(*position, ROWS_PER_PAGE))
        if mine != self._asked:  # asked for again meanwhile, perhaps for another page
            return
        is_same_page = position == self._shown
        self._listed, self._shown = listed, position
        is_empty = not self._listed.rows and len(self._cursors) == 1
        self.panel.visible = not is_empty
        self._instead.visible = is_empty
        if not is_empty:
            self._is_empty_told = False
        elif self._when_empty is not None and not self._is_empty_told:
            # Once: a button that somebody is just pressing stays.
            self._is_empty_told = True
            self._instead.clear()
            with self._instead:
                self._when_empty()
        self.table.show(listed.rows, mark=is_same_page)
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
        """By this column; where that is so already, the other way round."""
        column = next(one for one in self._columns if one.name == event.args)
        sign = "-" if column.descends and self.sort == column.sort_by else ""
        self.sort = f"{sign}{column.sort_by}"
        self._show_sort()
        await self.load()

    def _show_sort(self) -> None:
        by = (self.sort or "").removeprefix("-")
        name = next((column.name for column in self._columns if column.sort_by == by), None)
        self.table.show_sort(name, descending=(self.sort or "").startswith("-"))


class Feed:
    """What comes one below the other from a list of the API in pages: the first ones, and more on demand."""

    def __init__(
        self,
        fetch: Callable[[str | int | None], Awaitable[Mapping[str, Any]]],
        draw: Callable[[Mapping[str, Any]], None],
        *,
        more: str = "More",
        none: str = "Nothing yet.",
        link: tuple[str, str] | None = None,
    ) -> None:
        """Draw it empty; `load` fills it. `fetch` takes a cursor, `draw` draws one of the `items`.

        Where there is none it says so, with a `link`, words and an address, to where one is made.
        """
        self._fetch, self._draw, self._none, self._link = fetch, draw, none, link
        self._first: Mapping[str, Any] = {}
        self._cursor: str | int | None = None
        self._pages = 0
        self._box = ui.column().classes("timeline")
        self._more_button = ui.button(more, on_click=self._more).props("flat dense").classes("more")
        self._more_button.visible = False

    async def load(self) -> None:
        """Show the first ones as they are now; where that is what is shown, and no more is, nothing changes."""
        page = await self._fetch(None)
        if page == self._first and self._pages == 1:
            return
        self._box.clear()
        self._first, self._pages = page, 0
        self._show(page)
        if not page["items"]:
            with self._box:
                ui.label(self._none).classes("muted")
                if self._link is not None:
                    ui.link(*self._link)

    async def refresh(self, key: str) -> None:
        """Put those on top that are new, by their `key`; older ones that are shown stay."""
        page = await self._fetch(None)
        known = {item[key] for item in self._first.get("items", [])}
        new = [item for item in page["items"] if item[key] not in known]
        if not known or len(new) == len(page["items"]):
            await self.load()
            return
        self._first = page
        for item in reversed(new):
            with self._box:
                self._draw(item)
            self._box.default_slot.children[-1].move(target_index=0)

    async def _more(self) -> None:
        self._show(await self._fetch(self._cursor))

    def _show(self, page: Mapping[str, Any]) -> None:
        with self._box:
            for item in page["items"]:
                self._draw(item)
        self._pages += 1
        self._cursor = page["next_cursor"]
        self._more_button.visible = self._cursor is not None


def live(refresh: Callable[[], Awaitable[None]], seconds: float = 2.0) -> ui.timer:
    """Call `refresh` every so often while the page is open; a failure is told once, not each time."""
    has_failed = False
    client = ui.context.client

    async def again() -> None:
        nonlocal has_failed
        # A page that was left is kept for a while, should its browser come back; nobody looks at it meanwhile.
        if not client.has_socket_connection:
            return
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


def named(element: Shown, words: str) -> Shown:
    """The element with this name for screen readers.

    Words of people are never put into the text that `props` takes apart: a quote in a SKU would begin a prop of its
    own there, and one that begins with a colon is run as a script in the page.
    """
    element.props["aria-label"] = words
    return element


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


@contextmanager
def told_meanwhile(words: str) -> Iterator[None]:
    """Say what is waited for, as long as it takes."""
    waiting = ui.notification(words, spinner=True, timeout=None)
    try:
        yield
    finally:
        waiting.dismiss()


async def confirmed(question: str, words: str, action: str, *, is_dangerous: bool = False) -> bool:
    """Ask before something is done; whether the visitor said yes."""
    with ui.dialog() as dialog, ui.card().classes("panel dialog"):
        ui.label(question).classes("heading")
        ui.label(words).classes("muted")
        with ui.row().classes("row end"):
            ui.button("Back", on_click=lambda: dialog.submit("no")).props("flat")
            yes = ui.button(action, on_click=lambda: dialog.submit("yes")).props("unelevated autofocus")
            if is_dangerous:
                yes.props("color=negative")
    said: str | None = await dialog
    dialog.delete()
    return said == "yes"
