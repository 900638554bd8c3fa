"""The first page: how things stand, and where to go on."""

from nicegui import ui

from services.console.frame import page
from services.console.visits import Visit


@page("/", "Overview")
async def overview(visit: Visit) -> None:
    """What needs somebody's attention."""
    ui.label(f"Hello {visit.name}")
