"""Files that are looked at first (a dry run), then imported: upload, progress, what comes of it, and refused rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from nicegui import events, ui
from nicegui.elements.upload_files import FileUpload

from services.console.api import RefusedError
from services.console.frame import show_what_came
from services.console.list_table import Column
from services.console.visits import Visit
from services.console.widgets import (
    Asked,
    Listed,
    PagedList,
    Tone,
    address,
    badge,
    live,
    moment,
    number,
    panel,
    told_meanwhile,
)

FILE_LIMIT_BYTES = 256 * 1024 * 1024
TOO_LARGE = "This file is larger than 256 MiB. Split it, and import one after the other."
POLL_SECONDS = 0.7
STATES: Mapping[str, tuple[str, Tone]] = {
    "receiving": ("Coming in", "accent"),
    "received": ("Waits", "accent"),
    "running": ("Under way", "accent"),
    "done": ("Done", "ok"),
    "failed": ("Failed", "bad"),
}


@dataclass(frozen=True, slots=True)
class FileKind:
    """What is imported: `things` of the file, by the API's `upload_path`, on the console's page `here`.

    `counts` are the fields of an import that count, and their words; `row` draws one of `imports_path`'s rows.
    """

    things: str
    here: str
    upload_path: str
    imports_path: str
    explained: str
    counts: Mapping[str, str]
    columns: Sequence[Column]
    row: Callable[[Mapping[str, Any]], dict[str, Any]]
    statuses: Sequence[str]
    leads_to: str
    query: Mapping[str, str] = field(default_factory=dict)


class FileImport:
    """A file on its way in; it is kept meanwhile, as long as the page is open."""

    def __init__(self, visit: Visit, kind: FileKind) -> None:
        """Know no file yet. `options` (to be filled by the page) are asked for with each upload."""
        self._visit, self._kind = visit, kind
        self.options: dict[str, Callable[[], str | int | None]] = {}
        with panel(f"Import {kind.things} from a file"):
            ui.label(kind.explained).classes("muted prose")
            self.options_row = ui.row().classes("row")
            self._picker = ui.upload(
                auto_upload=True,
                max_file_size=FILE_LIMIT_BYTES,
                on_upload=self._uploaded,
                on_rejected=lambda: self._tell(TOO_LARGE),
            )
            self._picker.props('accept=".csv,.txt,text/csv" flat bordered').classes("upload")
            with ui.row().classes("row"):
                choose = ui.button("Choose a CSV file", icon="upload_file").props("unelevated")
                # In the browser alone: it opens a file dialog only for who has just clicked.
                choose.on("click", js_handler=f"() => getElement({self._picker.id}).pickFiles()")
                ui.label("Nothing is changed yet: you see first what it would do.").classes("muted")
            self._wrong = ui.label().classes("note bad").props('role="alert"')
            self._wrong.visible = False
        self._result = ui.column().classes("stack")

    async def show(self, import_id: int) -> None:
        """Show what came of an import that the address names."""
        with self._result:
            progress = _Progress(self._visit, self._kind, import_id)
            await progress.load()
            with progress.actions:
                if progress.is_dry_run:
                    ui.label("To import it, choose the file again.").classes("muted")
                else:
                    self._draw_way_on(progress)

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        self._picker.reset()
        await self._look_at(event.file)

    def _options(self) -> dict[str, str | int | None]:
        return {**self._kind.query, **{name: value() for name, value in self.options.items()}}

    async def _look_at(self, file: FileUpload) -> None:
        """Show what the file would do with the options of now; the button below that does this, and nothing else."""
        options, once = self._options(), uuid4().hex

        async def do_it() -> None:
            if self._options() != options:
                ui.notify("The options have changed: this is what it would do now.", type="warning")
                await self._look_at(file)
            elif (import_id := await self._send(file, options, once, is_dry_run=False)) is not None:
                await self._follow(import_id, self._draw_way_on)

        def draw(progress: "_Progress") -> None:
            go = ui.button(f"Import these {self._kind.things}", on_click=do_it).props("unelevated")
            go.bind_enabled_from(progress, "is_done")
            ui.button("Discard", on_click=lambda: ui.navigate.to(self._kind.here)).props("flat")

        # What another file would do must not stand above this one's button.
        self._result.clear()
        if (import_id := await self._send(file, options, uuid4().hex, is_dry_run=True)) is not None:
            await self._follow(import_id, draw)

    async def _send(
        self, file: FileUpload, options: Mapping[str, str | int | None], once: str, *, is_dry_run: bool
    ) -> int | None:
        """Send the file; the import's id, or `None` when it was refused, which is shown."""
        self._wrong.visible = False
        query = {**options, "dry_run": "true" if is_dry_run else "false"}
        try:
            with told_meanwhile("The file is being read ..."):
                sent = await self._visit.api.call(
                    "POST", self._kind.upload_path, file.iterate(), query=query, once=once
                )
        except RefusedError as error:
            self._tell(str(error))
            return None
        import_id: int = sent.body["id"]
        ui.navigate.history.replace(address(self._kind.here, id=import_id))
        return import_id

    async def _follow(self, import_id: int, draw_actions: Callable[["_Progress"], None]) -> None:
        """Show the import, which was sent, until it is done."""
        self._result.clear()
        with self._result:
            progress = _Progress(self._visit, self._kind, import_id)
            with progress.actions:
                draw_actions(progress)
        await show_what_came(progress.load)

    def _draw_way_on(self, _: "_Progress") -> None:
        way = ui.button(f"To the {self._kind.things}", on_click=lambda: ui.navigate.to(self._kind.leads_to))
        way.props("outline")

    def _tell(self, words: str) -> None:
        self._wrong.text, self._wrong.visible = words, True


class _Progress:
    """An import as it goes on, and its rows when it is done."""

    def __init__(self, visit: Visit, kind: FileKind, import_id: int) -> None:
        self._visit, self._kind, self._path = visit, kind, f"{kind.imports_path}/{import_id}"
        self.is_done, self.is_dry_run = False, False
        with panel():
            self._head = ui.row().classes("row tight")
            self._bar = ui.linear_progress(value=0, show_value=False).props('aria-label="Progress"')
            self._tiles = ui.element("div").classes("tiles compact")
            self._note = ui.label().classes("note")
            self.actions = ui.row().classes("row")
        self._rows = ui.column().classes("stack")
        self._timer = live(self.load, POLL_SECONDS)

    async def load(self) -> None:
        found = await self._visit.api.get(self._path)
        if not self._timer.active:  # shown whole meanwhile
            return
        self.is_dry_run = found["dry_run"]
        self._show(found)
        if found["state"] not in {"done", "failed"}:
            return
        self._timer.deactivate()
        self.is_done = found["state"] == "done"
        if found["rows"]:
            with self._rows:
                await self._list("refused" if found["refused"] else "")

    def _show(self, found: Mapping[str, Any]) -> None:
        self._head.clear()
        with self._head:
            ui.label("What it would do" if self.is_dry_run else "What it did").classes("heading").props(
                'role="heading" aria-level="2"'
            )
            badge(*STATES[found["state"]])
            ui.label(moment(found["created_at"], self._visit.zone)).classes("muted")
        self._bar.value, self._bar.visible = found["progress"], found["state"] not in {"done", "failed"}
        self._tiles.clear()
        with self._tiles:
            for name, words in self._kind.counts.items():
                with ui.element("div").classes(f"tile {'bad' if name == 'refused' and found[name] else ''}"):
                    ui.label(number(found[name])).classes("figure")
                    ui.label(words).classes("muted")
        self._note.text = found["reason"] or "Nothing was changed yet: this is what would be."
        self._note.visible = bool(found["reason"]) or self.is_dry_run
        self._note.classes(replace="note bad" if found["reason"] else "note")

    async def _list(self, status: str) -> None:
        chosen = {"status": status}

        async def fetch(asked: Asked) -> Listed:
            answer = await self._visit.api.get(
                f"{self._path}/rows", status=chosen["status"], cursor=asked.cursor, limit=asked.limit
            )
            return Listed([self._kind.row(row) for row in answer["items"]], answer["next_cursor"])

        async def choose(status: str) -> None:
            chosen["status"] = status
            await rows.load()

        choices = {"": "Every row", **{one: one.capitalize() for one in self._kind.statuses}}
        with ui.row().classes("row filters"):
            ui.select(choices, value=status, on_change=lambda event: choose(event.value)).props(
                'outlined dense options-dense aria-label="Rows"'
            ).classes("filter")
        rows = PagedList(self._kind.columns, fetch, key="row", when_empty=lambda: ui.label("No such row."))
        await rows.load()


def errors_in_words(row: Mapping[str, Any]) -> str:
    """What is wrong with a row: each column, and why."""
    return "; ".join(f"{one['field']}: {one['detail']}" for one in row["errors"])


async def import_page(visit: Visit, kind: FileKind, owner: tuple[str, Mapping[int, str]] | None = None) -> None:
    """The page of a kind of file; `owner` is the name of the API's parameter, and whose the platform admin may say."""
    shown = FileImport(visit, kind)
    if owner is not None:
        name, companies = owner
        with shown.options_row:
            whose = ui.select(dict(companies), label="Whose", value=next(iter(companies), None))
            whose.props("outlined dense options-dense").classes("filter")
        shown.options[name] = lambda: whose.value
    if visit.query.get("id", "").isdecimal():
        await shown.show(int(visit.query["id"]))
