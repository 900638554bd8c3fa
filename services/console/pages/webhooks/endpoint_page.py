"""One webhook endpoint: how it gets on, what was sent to it, its settings."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.forms import form
from services.console.frame import page, tell_done
from services.console.pages.webhooks.actions import EndpointActions
from services.console.pages.webhooks.attempt_list import attempt_list
from services.console.pages.webhooks.options import EndpointFields, supplier_names
from services.console.pages.webhooks.words import FORMAT_WORDS, PATH, health, health_in_words, window
from services.console.visits import Visit
from services.console.widgets import address, ago, badge, facts, live, moment, number, panel

REFRESH_SECONDS = 5
PRECONDITION_FAILED = 412
# What changes without anybody changing the endpoint.
NOT_SETTINGS = {
    *("version", "state", "reason", "failing_since", "failures", "next_call_at", "acked_timestamp", "is_replaying"),
    "secrets",
}


@page("/webhooks/{endpoint_id:int}", "Webhook endpoint")
async def endpoint_page(visit: Visit) -> None:
    """State and what can be done, then the log of calls or the settings."""
    path = f"{PATH}/{visit.path['endpoint_id']}"
    here = f"/webhooks/{visit.path['endpoint_id']}"
    endpoint = await visit.api.get(path)
    head = ui.column().classes("panel")
    # Not within the head, which is drawn anew when the endpoint changes.
    dialogs = ui.element("div").classes("nothing")

    async def refresh() -> None:
        nonlocal endpoint
        now = await visit.api.get(path)
        if now != endpoint:
            endpoint = now
            draw()

    def draw() -> None:
        head.clear()
        with head:
            _head(visit, endpoint, EndpointActions(visit, endpoint, refresh, dialogs))

    draw()
    tab = "settings" if visit.query.get("tab") == "settings" else "calls"
    with ui.tabs(on_change=lambda event: _keep(here, event.value)).props("dense align=left no-caps") as tabs:
        ui.tab("calls", "Calls")
        ui.tab("settings", "Settings")
    with ui.tab_panels(tabs, value=tab).props("animated=false keep-alive").classes("tab-panels"):
        with ui.tab_panel("calls"):
            await attempt_list(visit, path, here)
        with ui.tab_panel("settings"):
            await _settings(visit, endpoint, path)
    live(refresh, REFRESH_SECONDS)


def _keep(here: str, tab: str) -> None:
    ui.navigate.history.replace(address(here, tab=tab if tab == "settings" else None))


def _head(visit: Visit, endpoint: Mapping[str, Any], actions: EndpointActions) -> None:
    words, tone = health(endpoint)
    with ui.row().classes("row between"):
        with ui.row().classes("row tight url"):
            badge(words, tone)
            ui.label(endpoint["url"]).classes("mono")
        actions.buttons()
    if why := health_in_words(endpoint):
        ui.label(why).classes(f"note {'warn' if endpoint['state'] == 'paused' else 'bad'}")
    until = [moment(secret["until"], visit.zone) for secret in endpoint["secrets"] if secret["until"]]
    with ui.element("div").classes("grid two"):
        facts(
            {
                "Format": FORMAT_WORDS[endpoint["format"]],
                "Called": f"at most {window(endpoint)} per product" if endpoint["window_seconds"] else "at each change",
                "Registered": moment(endpoint["created_at"], visit.zone),
                **({"Company": endpoint["company_id"]} if visit.is_admin else {}),
            }
        )
        facts(
            {
                "Failing": ago(endpoint["failing_since"]) if endpoint["failing_since"] else "no",
                "Next call": _next_call(endpoint, visit),
                **({"Replay": "what is told again is being looked for"} if endpoint["is_replaying"] else {}),
                "Secrets that sign": f"the newest, older ones until {', '.join(until)}" if until else "one",
                **(
                    {"Told up to event": number(endpoint["acked_timestamp"])}
                    if endpoint["format"] == "fulfillment"
                    else {}
                ),
            }
        )


def _next_call(endpoint: Mapping[str, Any], visit: Visit) -> str:
    if endpoint["state"] != "active":
        return f"none while it is {endpoint['state']}"
    at = endpoint["next_call_at"]
    return f"rests until {moment(at, visit.zone)}" if at else "as soon as something changes"


async def _settings(visit: Visit, endpoint: Mapping[str, Any], path: str) -> None:
    if not visit.may("webhooks:write"):
        settings = {name: value for name, value in endpoint.items() if name not in NOT_SETTINGS}
        facts({name.replace("_", " ").capitalize(): _shown(value) for name, value in settings.items()})
        return
    suppliers = await supplier_names(visit) if endpoint["format"] != "fulfillment" else {}

    async def save() -> None:
        changes = options.changed()
        if not changes:
            tell_done("Nothing was changed")
            return
        try:
            await visit.api.patch(path, changes, if_match=endpoint["version"])
        except RefusedError as error:
            if error.status != PRECONDITION_FAILED:
                raise
            now = await visit.api.get(path)
            if changed := _changed_settings(endpoint, now):
                raise _conflict(changed) from error
            # It was paused, resumed, or its secret rotated, perhaps on this very page.
            await visit.api.patch(path, changes, if_match=now["version"])
        tell_done("Saved")
        ui.navigate.reload()

    with panel(), form(save, "Save") as fields:
        options = EndpointFields(fields, endpoint["format"], endpoint, suppliers)


def _changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that are others than before, as they are now."""
    return {name: value for name, value in now.items() if name not in NOT_SETTINGS and value != before[name]}


def _conflict(changed: Mapping[str, Any]) -> RefusedError:
    """What somebody else changed since the page was opened."""
    words = "; ".join(f"{name.replace('_', ' ')} is {_shown(value)} now" for name, value in changed.items())
    detail = f"Somebody else changed this endpoint since you opened it: {words}. Nothing of yours was saved."
    return RefusedError(PRECONDITION_FAILED, "version_changed", detail)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "not set" if value is None else str(value)
