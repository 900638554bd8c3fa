"""The log of an endpoint's calls."""

from datetime import timedelta
from typing import Any

from nicegui import ui

from services.console.frame import empty
from services.console.pages.webhooks.words import KIND_WORDS, outcome, outcome_in_words, told
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, live, moment, named, number
from shared import clock

COLUMNS = (
    Column("at", "When", "link"),
    Column("kind", "What"),
    Column("told", "Told of"),
    Column("products", "Products", "number"),
    Column("outcome", "Answer", "badge"),
    Column("error", "What went wrong", "prose"),
    Column("took", "Took, ms", "number"),
)
KINDS = {"": "Every kind", **KIND_WORDS}
OUTCOMES = {"": "Delivered or not", "true": "Delivered", "false": "Not delivered"}
SPANS = {"": "Any time", "1": "Last hour", "24": "Last 24 hours", "168": "Last 7 days"}
REFRESH_SECONDS = 5


async def attempt_list(visit: Visit, path: str, here: str) -> None:
    """The calls to the endpoint at the API's `path`, newest first; the filters stay in the address of page `here`."""
    chosen = {name: visit.query.get(name, "") for name in ("kind", "delivered", "product_id", "hours")}

    async def fetch(asked: Asked) -> Listed:
        hours = chosen["hours"]
        found = await visit.api.get(
            f"{path}/attempts",
            kind=chosen["kind"],
            delivered=chosen["delivered"],
            product_id=chosen["product_id"],
            since=(clock.utc_now() - timedelta(hours=int(hours))).isoformat() if hours in SPANS and hours else None,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return Listed([_row(attempt, visit, here) for attempt in found["items"]], found["next_cursor"])

    async def choose(name: str, value: str | None) -> None:
        chosen[name] = value or ""
        ui.navigate.history.replace(address(here, **chosen))
        await attempts.load()

    def none_found() -> None:
        if any(chosen.values()):
            empty("search_off", "No such call", "Choose other filters above.")
        else:
            empty("outbox", "Not called yet", "It is called with the next change; send a test to see one now.")

    with ui.row().classes("row filters"):
        for name, choices, label in (
            ("kind", KINDS, "Kind"),
            ("delivered", OUTCOMES, "Outcome"),
            ("hours", SPANS, "Time"),
        ):
            value = chosen[name] if chosen[name] in choices else ""
            field = ui.select(choices, value=value, on_change=lambda event, name=name: choose(name, event.value))
            named(field, label).props("outlined dense options-dense").classes("filter")
        product = ui.input(placeholder="Id of a base stock product", value=chosen["product_id"])
        product.props('outlined dense clearable debounce=400 aria-label="Id of a base stock product"').classes("filter")
        product.on_value_change(lambda event: choose("product_id", event.value))
    attempts = PagedList(COLUMNS, fetch, when_empty=none_found)
    await attempts.load()
    live(attempts.refresh, REFRESH_SECONDS)


def _row(attempt: dict[str, Any], visit: Visit, here: str) -> dict[str, Any]:
    words, tone = outcome(attempt)
    return {
        "id": attempt["id"],
        "at": moment(attempt["at"], visit.zone).replace(" ", "\u00a0"),
        "at_address": f"{here}/attempts/{attempt['id']}",
        "kind": KIND_WORDS[attempt["kind"]],
        "told": told(attempt),
        "products": number(len(attempt["products"])) if attempt["products"] else "",
        "outcome": words,
        "outcome_tone": tone,
        "error": outcome_in_words(attempt),
        "took": number(attempt["duration_milliseconds"]),
    }
