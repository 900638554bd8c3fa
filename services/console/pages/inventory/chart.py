"""How an item's stock went: the last 90 days."""

from typing import Any

from nicegui import ui

from services.console.pages.inventory.words import Json
from services.console.visits import Visit
from services.console.widgets import named

DAYS = 90
# An item that is new has a chart of these, in which its first days can be told apart.
LEAST_DAYS = 14
ALL = "All locations"
# SVG takes the page's own colours, so that the chart is light and dark as the page is.
INK, MUTED, LINE, ACCENT, OK, SURFACE = (
    f"var(--{name})" for name in ("ink", "muted", "line", "accent", "ok", "raised")
)
# Labels are measured before they are in the page.
FONT = "system-ui, sans-serif"


class StockChart:
    """What was available at the end of each day, with what was sold and what came."""

    def __init__(self, visit: Visit, item: Json, box: ui.column) -> None:
        """Draw it empty into `box`; `load` fills it."""
        self._visit, self._item = visit, item
        with box:
            with ui.row().classes("row between"):
                ui.label(f"The last {DAYS} days").classes("heading").props('role="heading" aria-level="2"')
                places = [ALL, *(level["location"] for level in item["levels"])]
                self._place = ui.select(places, value=ALL, on_change=self.load).classes("filter")
                self._place.props('outlined dense options-dense aria-label="Location"')
                self._place.visible = len(places) > 2  # noqa: PLR2004 - all, and a single one
            self._chart = ui.echart(_options([]), renderer="svg").classes("chart")
            self._chart.props('role="img"')

    async def load(self) -> None:
        """Show it as it is now."""
        place = None if self._place.value == ALL else self._place.value
        path = f"/v1/stock/{self._item['product_id']}/series"
        series = await self._visit.api.get(path, days=DAYS, location=place)
        days = series["days"]
        self._chart.options.clear()
        self._chart.options.update(_options(drawn_days(days)))
        named(self._chart, _in_words(days))
        self._chart.update()


def drawn_days(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The days from the first one on which there was anything of the item; the last `LEAST_DAYS` at least."""
    figures = ("closing_available", "units_sold", "units_received")
    first = next((at for at, day in enumerate(days) if any(day[name] for name in figures)), len(days))
    return days[max(0, min(first, len(days) - LEAST_DAYS)) :]


def _in_words(days: list[dict[str, Any]]) -> str:
    sold, received = (sum(day[name] for day in days) for name in ("units_sold", "units_received"))
    return f"In {len(days)} days {sold} units were sold and {received} came; {days[-1]['closing_available']} are left."


def _options(days: list[dict[str, Any]]) -> dict[str, Any]:
    names = {"fontFamily": FONT, "color": MUTED}
    axis = {"axisLabel": names, "axisLine": {"lineStyle": {"color": LINE}}, "axisTick": {"show": False}}
    quiet = {"disabled": True}
    return {
        "animation": False,
        "textStyle": names,
        "grid": {"left": 8, "right": 8, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "textStyle": names, "itemWidth": 14, "itemHeight": 8},
        "tooltip": {
            "trigger": "axis",
            "backgroundColor": SURFACE,
            "borderColor": LINE,
            "textStyle": {"color": INK},
            "axisPointer": {"lineStyle": {"color": MUTED}},
        },
        "xAxis": {"type": "category", "data": [day["day"] for day in days], **axis},
        "yAxis": [
            {"type": "value", "minInterval": 1, "splitLine": {"lineStyle": {"color": LINE}}, **axis},
            {"type": "value", "minInterval": 1, "splitLine": {"show": False}, **axis},
        ],
        "series": [
            _bars("Sold (right)", [day["units_sold"] for day in days], MUTED) | {"emphasis": quiet},
            _bars("Came (right)", [day["units_received"] for day in days], OK) | {"emphasis": quiet},
            {
                "name": "Available at the end of the day",
                "type": "line",
                "step": "end",
                "showSymbol": False,
                "lineStyle": {"color": ACCENT, "width": 2},
                "itemStyle": {"color": ACCENT},
                "emphasis": quiet,
                "data": [day["closing_available"] for day in days],
            },
        ],
    }


def _bars(name: str, units: list[int], colour: str) -> dict[str, Any]:
    return {"name": name, "type": "bar", "yAxisIndex": 1, "itemStyle": {"color": colour, "opacity": 0.5}, "data": units}
