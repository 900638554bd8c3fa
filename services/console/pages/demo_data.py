"""An empty Basestock offers to load the demo's data: the documents' example, and a real wholesaler's orders."""

from pathlib import Path

import structlog
from nicegui import background_tasks, ui
from rich.progress import Progress

import demo
from demo.run import fill
from services.console.frame import empty
from services.console.visits import Visit
from services.console.widgets import number, panel

log = structlog.get_logger()

ORDERS_FILE = Path(demo.__file__).parent / "data" / "online-retail.csv"
WATCH_SECONDS = 0.5


def offer_demo_data(visit: Visit) -> None:
    """What the platform admin of an empty Basestock can do first."""
    with panel():
        with empty(
            "inventory_2",
            "This Basestock is empty",
            "Make the first company, or load the demo's data to look around in: two suppliers and two retailers, "
            "a wholesaler's products and some of its real orders. Later nothing tells them from real data.",
        ):
            with ui.row().classes("row tight"):
                ui.button("Make a company", on_click=lambda: ui.navigate.to("/platform/companies")).props("unelevated")
                load = ui.button("Load the demo data").props("outline")
            doing = ui.column().classes("w-full")
        load.on_click(lambda: _load(visit, load, doing))


def _load(visit: Visit, load: ui.button, doing: ui.column) -> None:
    load.disable()
    progress = Progress(disable=True)
    filling = background_tasks.create(_fill(visit, progress), name="demo data")
    with doing:
        words = ui.label("Starting ...").props('role="status"')
        bar = ui.linear_progress(show_value=False, size="8px")

    def watch() -> None:
        if progress.tasks:
            task = progress.tasks[-1]
            words.text = f"{task.description}: {number(int(task.completed))} of {number(int(task.total or 0))}"
            bar.value = task.percentage / 100
        if not filling.done():
            return
        timer.cancel()
        if error := filling.exception():
            log.error("demo_data_failed", error=repr(error))
            words.text = f"Not all of it was loaded: {error}"
            words.classes("bad")
            load.enable()
        else:
            ui.navigate.reload()

    with doing:
        timer = ui.timer(WATCH_SECONDS, watch)


async def _fill(visit: Visit, progress: Progress) -> None:
    credential = visit.api.credential
    assert credential is not None  # noqa: S101 - pages are for those who are signed in
    await fill(visit.api.base_url, credential.secret, orders_file=ORDERS_FILE, progress=progress)
