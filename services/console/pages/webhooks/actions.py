"""What can be done to a webhook endpoint, besides changing its settings."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui
from nicegui.element import Element

from services.console.forms import Form, form_dialog, moment_in, show_secret
from services.console.frame import tell_done
from services.console.number_field import NumberField
from services.console.pages.webhooks.words import PATH, SIGNED_WITH, ids_in, outcome_in_words
from services.console.visits import Visit
from services.console.widgets import confirmed, number

TEST_WAIT_SECONDS = 10
REPLAYED = {
    "since": "What was told or changed since a time",
    "product_ids": "Some base stock products",
    "all": "Everything it may hear of",
}


class EndpointActions:
    """The buttons of an endpoint; `refresh` is awaited when something was done to it.

    Buttons may be drawn anew while what they began goes on: dialogs and what they say are in `dialogs`, which stays.
    """

    def __init__(
        self, visit: Visit, endpoint: Mapping[str, Any], refresh: Callable[[], Awaitable[None]], dialogs: Element
    ) -> None:
        """`endpoint` is as the API shows it."""
        self._visit, self._endpoint, self._refresh, self._dialogs = visit, endpoint, refresh, dialogs
        self._path = f"{PATH}/{endpoint['id']}"

    def buttons(self) -> None:
        """Draw them, for whoever may use them."""
        if not self._visit.may("webhooks:write"):
            return
        with ui.row().classes("row tight buttons"):
            ui.button("Send a test", on_click=lambda: self._begin(self._test)).props("unelevated")
            ui.button("Replay", on_click=lambda: self._begin(self._replay)).props("outline")
            ui.button("Rotate secret", on_click=lambda: self._begin(self._rotate)).props("outline")
            if self._endpoint["state"] == "disabled":
                self._state_button("Enable", "enable", "Enabled: it is called again")
            elif self._endpoint["state"] == "paused":
                self._state_button("Resume", "resume", "Resumed")
            else:
                self._state_button("Pause", "pause", "Paused")
            ui.button("Remove", on_click=lambda: self._begin(self._remove)).props("flat color=negative")

    def _state_button(self, name: str, action: str, words: str) -> None:
        ui.button(name, on_click=lambda: self._begin(lambda: self._set(action, words))).props("outline")

    async def _begin(self, action: Callable[[], Awaitable[None]]) -> None:
        with self._dialogs:
            await action()

    async def _set(self, action: str, words: str) -> None:
        await self._visit.api.post(f"{self._path}/{action}")
        tell_done(words)
        await self._refresh()

    async def _test(self) -> None:
        """Send a sample and wait for what comes of it."""
        waiting = ui.notification("Sending a test ...", spinner=True, timeout=None)
        try:
            sample = await self._visit.api.post(f"{self._path}/test", wait=TEST_WAIT_SECONDS)
        finally:
            waiting.dismiss()
        attempt = sample["attempt"]
        if attempt is None:
            ui.notify("The test is sent; no answer within 10 seconds. See the log of calls.", type="warning")
        elif attempt["error"] is None:
            tell_done(f"Answered {attempt['status']} in {number(attempt['duration_milliseconds'])} ms")
        else:
            ui.notify(outcome_in_words(attempt), type="negative", multi_line=True, close_button="OK", timeout=12_000)
        await self._refresh()

    async def _remove(self) -> None:
        words = f"{self._endpoint['url']} is not called any more, and its log of calls is forgotten."
        if await confirmed("Remove this endpoint?", words, "Remove", is_dangerous=True):
            await self._visit.api.delete(self._path)
            ui.navigate.to("/webhooks")

    async def _rotate(self) -> None:
        async def rotate(fields: Form) -> None:
            body = {"overlap_hours": fields["overlap_hours"]}
            rotated = await self._visit.api.post(f"{self._path}/rotate-secret", body, once=fields.once(body))
            show_secret("The new secret", rotated["secret"], SIGNED_WITH)

        words = (
            "From now on calls are signed with a new secret. The old one signs too for a while, so that none is lost "
            "while your receivers change over."
        )
        with form_dialog("Rotate the secret", "Rotate", rotate, words, then=self._refresh) as fields:
            hours = NumberField("Older secrets sign for, in hours", value=24, least=0, most=168)
            fields.add("overlap_hours", hours).props('hint="0 to 168; 0 ends them at once, for one that has leaked"')

    async def _replay(self) -> None:
        if self._endpoint["format"] == "fulfillment":
            self._replay_feed()
        else:
            self._replay_stock()

    def _replay_stock(self) -> None:
        async def replay(fields: Form) -> None:
            body: dict[str, Any] = {}
            if what.value == "since":
                body["since"] = moment_in(fields["since"], self._visit.zone) or ""
            elif what.value == "product_ids":
                body["product_ids"] = ids_in(fields["product_ids"])
            await self._tell_again(body)

        words = "What comes is the state of then, never an old one, and windows hold. Deltas are never told twice."
        with form_dialog("Tell again", "Replay", replay, words, then=self._refresh) as fields:
            what = ui.radio(REPLAYED, value="since").props("dense")
            since = fields.add("since", ui.input("Since").props("type=datetime-local stack-label"))
            products = fields.add("product_ids", ui.input("Ids of base stock products", placeholder="100, 101"))
            since.bind_visibility_from(what, "value", value="since")
            products.bind_visibility_from(what, "value", value="product_ids")

    def _replay_feed(self) -> None:
        async def replay(fields: Form) -> None:
            await self._tell_again({"after": fields["after"]})

        words = "It goes on after this logical timestamp; a later one than it has reached leaves out what lies between."
        with form_dialog("Tell again", "Replay", replay, words, then=self._refresh) as fields:
            after = NumberField("After the logical timestamp", value=self._endpoint["acked_timestamp"] or 0)
            fields.add("after", after)

    async def _tell_again(self, body: Mapping[str, Any]) -> None:
        tell_done(replayed_in_words(await self._visit.api.post(f"{self._path}/replay", dict(body))))


def replayed_in_words(answer: Mapping[str, Any]) -> str:
    """What a replay or a resend came to."""
    if answer["acked_timestamp"] is not None:
        return f"It goes on after event {number(answer['acked_timestamp'])}"
    marked = answer["marked"]
    if marked is None:
        return "All of it is told again when its windows are over; it is being looked for, part after part"
    words = f"{number(marked)} {'product is' if marked == 1 else 'products are'} told again when their windows are over"
    left = answer["deltas_left"]
    return f"{words}; {number(left)} deltas are never told twice" if left else words
