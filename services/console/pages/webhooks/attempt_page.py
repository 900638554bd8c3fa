"""One call to a webhook endpoint: the request as it was sent, and the answer."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.frame import page, tell_done
from services.console.message_body import show_body, show_code
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
            in_base64 = attempt["request_body_base64"]
            show_body(in_base64 or attempt["request_body"], "Body of the request", is_base64=in_base64 is not None)
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
        show_code(attempt["response_body"], "Body of the answer")
        if len(attempt["response_body"].encode()) >= KEPT_BYTES:
            ui.label("That is its first KiB: no more is kept.").classes("muted")
    else:
        ui.label("Without a body.").classes("muted")


async def _resend(visit: Visit, attempt_path: str) -> None:
    tell_done(replayed_in_words(await visit.api.post(f"{attempt_path}/resend")))
