"""A retailer's "Product Stock Level Changed URL": the setting as KornitX has it, kept as a webhook endpoint."""

from typing import Any

from nicegui import ui

from services.console.forms import form, show_secret
from services.console.frame import show_what_came, tell_done
from services.console.pages.webhooks.words import PATH, SIGNED_WITH, health, health_in_words, outcome, window
from services.console.visits import Visit
from services.console.widgets import ago, badge, confirmed, panel

LABEL = "Product Stock Level Changed URL"


async def stock_level_url_panel(visit: Visit) -> None:
    """The URL, to be set, changed or taken away, with how its calls go."""
    with panel("Webhooks") as box:
        content = ui.column().classes("stack")

        async def draw() -> None:
            page = await visit.api.get(PATH, format="stock_level", limit=100)
            last = await _last_call(visit, page["items"])
            content.clear()
            with content:
                _draw(visit, page["items"], last, draw)

        await draw()
    box.props("id=webhooks")


async def _last_call(visit: Visit, endpoints: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not endpoints:
        return None
    attempts = await visit.api.get(f"{PATH}/{endpoints[0]['id']}/attempts", limit=1)
    last: dict[str, Any] | None = next(iter(attempts["items"]), None)
    return last


def _draw(visit: Visit, endpoints: list[dict[str, Any]], last: dict[str, Any] | None, again: Any) -> None:  # noqa: ANN401 - a coroutine function
    endpoint = endpoints[0] if endpoints else None
    if visit.may("webhooks:write"):
        _form(visit, endpoint, again)
    else:
        ui.label(f"{LABEL}: {endpoint['url'] if endpoint else 'not set'}")
    if endpoint is None:
        return
    words, tone = health(endpoint)
    with ui.row().classes("row"):
        badge(words, tone)
        ui.label(f"at most {window(endpoint)} for each base stock product").classes("muted")
    if why := health_in_words(endpoint):
        ui.label(why).classes(f"note {'warn' if endpoint['state'] == 'paused' else 'bad'}")
    with ui.row().classes("row"):
        if last is None:
            ui.label("Not called yet").classes("muted")
        else:
            ui.link(f"Last call {ago(last['at'])}", f"/webhooks/{endpoint['id']}/attempts/{last['id']}")
            badge(*outcome(last))
        ui.link("Settings, test and log of calls", f"/webhooks/{endpoint['id']}")
    if len(endpoints) > 1:
        more = len(endpoints) - 1
        ui.link(f"{more} more {'endpoint' if more == 1 else 'endpoints'} of stock levels", "/webhooks")


def _form(visit: Visit, endpoint: dict[str, Any] | None, again: Any) -> None:  # noqa: ANN401 - likewise
    async def save() -> None:
        url = fields["url"]
        if endpoint is None:
            body = {"url": url or "", "format": "stock_level"}
            made = await visit.api.post(PATH, body, once=fields.once(body))
            show_secret("The secret of the webhook", made["secret"], SIGNED_WITH)
        elif url is None:
            words = "Stock levels are not sent there any more, and its log of calls is forgotten."
            if not await confirmed("Take the URL away?", words, "Take it away", is_dangerous=True):
                return
            await visit.api.delete(f"{PATH}/{endpoint['id']}")
            tell_done("No URL is called any more")
        else:
            await visit.api.patch(f"{PATH}/{endpoint['id']}", {"url": url}, if_match=endpoint["version"])
            tell_done("Saved: calls go there from now on, signed with the same secret")
        await show_what_came(again)

    with form(save, "Save") as fields:
        value = endpoint["url"] if endpoint else ""
        url = fields.add("url", ui.input(LABEL, value=value, placeholder="https://shop.example/webhooks/stock"))
        url.props("type=url autocomplete=off")
        url.props('hint="Called when the stock of a product changes that you sell"')
