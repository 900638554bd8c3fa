"""How the services get on: what waits, how late, what was given up, and whether the stock adds up."""

import asyncio
from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.frame import page
from services.console.pages.platform.stock_check import StockCheckPanel
from services.console.visits import Visit
from services.console.widgets import Tone, ago, badge, facts, live, number, panel, tile

SERVICES = ("catalog", "orders", "inventory", "notifier")
REFRESH_SECONDS = 5
# Later than that somebody should look (docs/operators.md, "Metrics"): events take seconds.
LATE_SECONDS = 60
DEAD_LETTERS = "/platform/dead-letters"


@page("/platform/operations", "Operations", ("admin",))
async def operations(visit: Visit) -> None:
    """The four services, refreshed every few seconds, and the check of stock."""
    content = ui.column().classes("stack")
    shown: list[Mapping[str, Any]] = []

    async def refresh() -> None:
        nonlocal shown
        states = await asyncio.gather(*(_state(visit, service) for service in SERVICES))
        if states != shown:
            shown = states
            content.clear()
            with content:
                _draw(states)

    await refresh()
    live(refresh, REFRESH_SECONDS)
    StockCheckPanel(visit)


async def _state(visit: Visit, service: str) -> Mapping[str, Any]:
    """How the service gets on, or under `refused` why it does not say."""
    try:
        state: Mapping[str, Any] = await visit.api.get(f"/v1/operations/{service}")
    except RefusedError as error:
        return {"service": service, "refused": str(error)}
    return state


def _draw(states: list[Mapping[str, Any]]) -> None:
    answering = [state for state in states if "refused" not in state]
    ready = sum(state["bus"]["reachable"] for state in answering)
    letters = sum(state["dead_letters"]["messages"] for state in answering)
    waiting = sum(queue["messages"] or 0 for state in answering for queue in state["queues"])
    oldest = max((state["outbox"]["oldest_seconds"] for state in answering), default=0)
    late = max((state["webhooks"]["oldest_due_seconds"] for state in answering if "webhooks" in state), default=0)
    with ui.element("div").classes("tiles"):
        tile(f"{ready} of {len(SERVICES)}", "services ready", tone="ok" if ready == len(SERVICES) else "bad")
        tile(number(waiting), "messages in queues")
        tile(_seconds(oldest), "oldest message in an outbox", tone=_late(oldest))
        tile(_seconds(late), "webhooks are late", tone=_late(late))
        tile(number(letters), "dead letters", DEAD_LETTERS, "bad" if letters else "ok")
    with ui.element("div").classes("grid two"):
        for state in states:
            with panel(state["service"].capitalize()):
                _service(state)


def _service(state: Mapping[str, Any]) -> None:
    if "refused" in state:
        badge("not ready", "bad")
        ui.label(state["refused"]).classes("note bad")
        return
    bus, outbox, letters = state["bus"], state["outbox"], state["dead_letters"]
    badge("ready" if bus["reachable"] else "not ready", "ok" if bus["reachable"] else "bad")
    if not bus["reachable"]:
        ui.label(f"The message bus is away: {bus['reason']}").classes("note bad")
    oldest = f", the oldest for {_seconds(outbox['oldest_seconds'])}" if outbox["messages"] else ""
    newest = f", the newest {ago(letters['newest_at'])}" if letters["messages"] else ""
    facts(
        {
            "Outbox": f"{number(outbox['messages'])} messages{oldest}",
            "Dead letters": f"{number(letters['messages'])}{newest}",
            **_webhooks(state.get("webhooks")),
        }
    )
    if letters["messages"]:
        ui.link("Look at the dead letters", f"{DEAD_LETTERS}?service={state['service']}")
    _queues(state["queues"])


def _webhooks(webhooks: Mapping[str, Any] | None) -> dict[str, str]:
    if webhooks is None:
        return {}
    counts = webhooks["endpoints"]
    late = f", the oldest for {_seconds(webhooks['oldest_due_seconds'])}" if webhooks["due"] else ""
    return {
        "Webhooks due": f"{number(webhooks['due'])} products{late}",
        "Endpoints": ", ".join(
            f"{number(counts[state])} {state}" for state in ("active", "failing", "paused", "disabled")
        ),
    }


def _queues(queues: list[Mapping[str, Any]]) -> None:
    columns = [
        {"name": "name", "label": "Queue", "field": "name", "align": "left"},
        {"name": "messages", "label": "Messages", "field": "messages", "align": "right", "classes": "number"},
        {"name": "consumers", "label": "Consumers", "field": "consumers", "align": "right", "classes": "number"},
    ]
    rows = [
        {"name": queue["name"], "messages": number(queue["messages"]), "consumers": number(queue["consumers"])}
        for queue in queues
    ]
    ui.table(columns=columns, rows=rows, row_key="name").props("flat dense hide-pagination").classes("w-full")


def _seconds(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds >= LATE_SECONDS * 2 else f"{seconds:.0f} s"


def _late(seconds: float) -> Tone:
    return "bad" if seconds >= LATE_SECONDS else "ok"
