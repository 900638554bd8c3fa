"""Stock files: a file is looked at first, then imported; and what became of those before."""

from collections.abc import Mapping
from uuid import uuid4

from nicegui import events, ui
from nicegui.elements.upload_files import FileUpload

from services.console.api import RefusedError
from services.console.company_names import company_names
from services.console.file_imports import FILE_LIMIT_BYTES, TOO_LARGE
from services.console.forms import moment_in
from services.console.frame import empty, page, show_what_came, tell_done
from services.console.pages.inventory.import_view import ImportView, of_import
from services.console.pages.inventory.words import locations_of
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, live, panel, told_meanwhile

PATH = "/inventory/imports"
API_PATH = "/v1/stock/imports"
IDLE_SECONDS = 5
EXPLAINED = (
    "A CSV file with a column sku (or barcode, or id), and one of quantity_available, on_hand and adjustment; location "
    "and reason if you like. What the file does not name stays as it is."
)


@page(PATH, "Stock imports", ("supplier", "admin"))
async def show_imports(visit: Visit) -> None:
    """Import a file, and the imports so far."""
    if visit.may("stock:write"):
        upload = Upload(visit)
        await upload.draw()
    await _draw_past(visit)


class Upload:
    """A file is chosen, looked at (a dry run), and then imported; it is kept meanwhile, as long as the page is open."""

    def __init__(self, visit: Visit) -> None:
        """Know no file yet."""
        self._visit = visit

    async def draw(self) -> None:
        """Draw the form, and the place for what the file would change."""
        with panel("Import stock from a file") as self._form:
            with ui.row().classes("row between"):
                ui.label(EXPLAINED).classes("muted prose")
                ui.link("Export what is there, to edit", "/inventory/export.csv").classes("export")
            await self._draw_options()
            self._picker = ui.upload(
                auto_upload=True,
                max_file_size=FILE_LIMIT_BYTES,
                on_upload=self._uploaded,
                on_rejected=lambda: self._tell(TOO_LARGE),
            )
            self._picker.props('accept=".csv,.txt,text/csv" flat bordered').classes("upload")
            with ui.row().classes("row"):
                choose = ui.button("Choose a CSV file", icon="upload_file").props("unelevated")
                choose.on("click", js_handler=f"() => getElement({self._picker.id}).pickFiles()")
                ui.label("First you see what it would change.").classes("muted")
            self._wrong = ui.label().classes("note bad").props('role="alert"')
            self._wrong.visible = False
        self._preview = ui.column().classes("stack")

    async def _draw_options(self) -> None:
        visit = self._visit
        with ui.row().classes("row"):
            suppliers = await company_names(visit, "supplier") if visit.is_admin else {}
            self._supplier = ui.select(suppliers, label="Supplier", value=next(iter(suppliers), None))
            self._supplier.props("outlined dense options-dense").classes("filter").visible = visit.is_admin
            places = {"main": "main"}
            if visit.company_id is not None:
                places = {
                    one["code"]: one["name"] or one["code"] for one in await locations_of(visit.api, visit.company_id)
                }
            self._place = ui.select(places, label="Rows without a location are for", value="main").classes(
                "wide-filter"
            )
            self._place.props("outlined dense options-dense").visible = len(places) > 1
            self._counted = ui.input("Counted at (left out: now)").props(
                "outlined dense type=datetime-local stack-label"
            )
            self._counted.tooltip("What was sold since then stays sold.")
            self._whole = ui.checkbox("All rows or none")
            self._whole.tooltip("When one row is bad, nothing is changed.")

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        self._picker.reset()
        await self._look_at(event.file)

    def _options(self) -> dict[str, str | int | None]:
        return {
            "mode": "all" if self._whole.value else "rows",
            "location": self._place.value,
            "as_of": moment_in(self._counted.value, self._visit.zone),
            "supplier_id": self._supplier.value,
        }

    async def _look_at(self, file: FileUpload) -> None:
        """Show what the file would change with the options of now; the button below does this, and nothing else."""
        options, once = self._options(), uuid4().hex

        async def do_it() -> None:
            if self._options() != options:
                ui.notify("The options have changed: this is what it would change now.", type="warning")
                await self._look_at(file)
                return
            go.disable()
            import_id = await self._send(file, options, once, is_dry_run=False)
            if import_id is None:
                go.enable()
                return
            tell_done("The file is being imported.")
            ui.navigate.to(f"{PATH}/{import_id}")

        self._preview.clear()
        sent = await self._send(file, options, uuid4().hex, is_dry_run=True)
        if sent is None:
            return
        ui.navigate.history.replace(f"{PATH}/{sent}")
        self._preview.clear()
        with self._preview:
            view = ImportView(self._visit, sent, title=f"What {file.name} would change")
            with view.actions:
                go = ui.button("Import these changes", on_click=do_it).props("unelevated")
                ui.button("Look again", on_click=lambda: self._look_at(file)).props("flat")
                ui.button("Discard", on_click=lambda: ui.navigate.to(PATH)).props("flat")
        await show_what_came(view.load)

    async def _send(
        self, file: FileUpload, options: Mapping[str, str | int | None], once: str, *, is_dry_run: bool
    ) -> int | None:
        """Send the file; the import's id, or `None` when it was refused, which is shown."""
        self._wrong.visible = False
        query = {**options, "dry_run": "true" if is_dry_run else "false"}
        try:
            with told_meanwhile("The file is being read ..."):
                answer = await self._visit.api.call("POST", API_PATH, file.iterate(), query=query, once=once)
        except RefusedError as error:
            self._tell(str(error))
            return None
        import_id: int = answer.body["id"]
        return import_id

    def _tell(self, words: str) -> None:
        self._wrong.text = words
        self._wrong.visible = True


async def _draw_past(visit: Visit) -> None:
    ui.label("Imports so far").classes("heading").props('role="heading" aria-level="2"')
    columns = [
        Column("id", "Import", "link"),
        Column("created_at", "When", "moment"),
        Column("what", "What"),
        Column("state", "State", "badge"),
        *(Column(name, name.capitalize(), "number") for name in ("rows", "changed", "unchanged", "refused", "pending")),
    ]

    async def fetch(asked: Asked) -> Listed:
        found = await visit.api.get(API_PATH, cursor=asked.cursor, limit=asked.limit)
        rows = [{**of_import(one, visit.zone), "id_address": f"{PATH}/{one['id']}"} for one in found["items"]]
        return Listed(rows, found["next_cursor"])

    def draw_empty() -> None:
        empty("upload_file", "No imports yet", "Choose a file above; imports are remembered for 14 days.")

    past = PagedList(columns, fetch, when_empty=draw_empty)
    await past.load()
    live(past.refresh, IDLE_SECONDS)


@page(PATH + "/{import_id:int}", "Stock import", ("supplier", "admin"))
async def show_import(visit: Visit) -> None:
    """What became of a file, or would."""
    ui.link("All imports", PATH)
    view = ImportView(visit, visit.path["import_id"])
    await view.load()
