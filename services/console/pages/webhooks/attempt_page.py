"""One call to a webhook endpoint: the request as it was sent, and the answer."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from services.console.frame import page, tell_done
from services.console.pages.webhooks.actions import replayed_in_words
from services.console.pages.webhooks.words import KIND_WORDS, PATH, outcome, outcome_in_words
from services.console.visits import Visit
from services.console.widgets import badge, facts, moment, number, panel

# What is kept of an answer.
KEPT_BYTES = 1024


@page("/webhooks/{endpoint_id:int}/attempts/{attempt_id:int}", "Webhook call")
async def attempt_page(visit: Visit) -> None:
    """Summary, request, answer."""
    path = f"{PATH}/{visit.path['endpoint_id']}"
    attempt_path = f"{path}/attempts/{visit.path['attempt_id']}"
    endpoint, attempt = await visit.api.get(path), await visit.api.get(attempt_path)
    with panel():
        with ui.row().classes("row between"):
            with ui.row().classes("row tight url"):
                badge(*outcome(attempt))
                ui.link(endpoint["url"], f"/webhooks/{endpoint['id']}").classes("mono")
            if attempt["products"] and visit.may("webhooks:write"):
                ui.button("Send again", on_click=lambda: _resend(visit, attempt_path)).props("outline")
        if words := outcome_in_words(attempt):
            ui.label(words).classes("note bad")
        facts(_summary(attempt, visit))
    with ui.element("div").classes("grid two"):
        with panel("Request"):
            facts({"POST": endpoint["url"], **attempt["request_headers"]})
            _body(attempt["request_body"], attempt["request_body_base64"])
        with panel("Answer"):
            _answer(attempt)


def _summary(attempt: Mapping[str, Any], visit: Visit) -> dict[str, object]:
    told = ", ".join(f"{one['product_id']} (version {one['version']})" for one in attempt["products"])
    charged = "" if attempt["error"] is None else "yes" if attempt["charged"] else "no, it was our own fault"
    return {
        "What": KIND_WORDS[attempt["kind"]],
        "Sent": moment(attempt["at"], visit.zone),
        "Took": f"{number(attempt['duration_milliseconds'])} ms",
        "webhook-id": attempt["webhook_id"],
        **({"Base stock products": told} if told else {}),
        **({"Counts for disabling": charged} if charged else {}),
    }


def _answer(attempt: Mapping[str, Any]) -> None:
    if attempt["status"] is None:
        ui.label("There was none.").classes("muted")
        return
    facts({"Status": attempt["status"], "After": f"{number(attempt['duration_milliseconds'])} ms"})
    if attempt["response_body"]:
        _code(attempt["response_body"], "Body of the answer")
        if len(attempt["response_body"].encode()) >= KEPT_BYTES:
            ui.label("That is its first KiB: no more is kept.").classes("muted")
    else:
        ui.label("Without a body.").classes("muted")


def _body(sent: str, sent_base64: str | None) -> None:
    """The body, indented where it is JSON, and exactly as it was sent."""
    if sent_base64 is not None:
        ui.label("These bytes are no text; in base64:").classes("muted")
        _code(sent_base64, "Body of the request")
        return
    try:
        pretty = json.dumps(json.loads(sent), indent=2, ensure_ascii=False)
    except ValueError:
        _code(sent, "Body of the request")
        return
    exact = ui.toggle({"pretty": "Indented", "exact": "As it was sent"}, value="pretty").props(
        "dense no-caps unelevated"
    )
    with ui.element("div").bind_visibility_from(exact, "value", value="pretty"):
        _code(pretty, "Body of the request, indented")
    with ui.element("div").bind_visibility_from(exact, "value", value="exact"):
        _code(sent, "Body of the request, as it was sent")


def _code(text: str, label: str) -> None:
    ui.html(f'<pre class="code" tabindex="0" aria-label="{escape(label)}">{escape(text)}</pre>', sanitize=False)


async def _resend(visit: Visit, attempt_path: str) -> None:
    tell_done(replayed_in_words(await visit.api.post(f"{attempt_path}/resend")))
