"""Dead letters: messages that could not be handled, of each service, and a company's own orders among them."""

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any

from nicegui import events, ui

from services.console.api import RefusedError
from services.console.frame import NOT_FOUND, empty, page, tell_done
from services.console.list_table import Column, ListTable
from services.console.message_body import show_body
from services.console.visits import Visit
from services.console.widgets import (
    Asked,
    Listed,
    PagedList,
    address,
    ago,
    confirmed,
    facts,
    live,
    moment,
    number,
    panel,
)

PATH = "/v1/dead-letters"
PLATFORM, OWN = "/platform/dead-letters", "/orders/dead-letters"
SERVICES = ("catalog", "orders", "inventory", "notifier")
COLUMNS = (
    Column("dead_at", "When", "link"),
    Column("topic", "Topic", "mono"),
    Column("queue", "Queue", "mono"),
    Column("user_id", "Sent by"),
    Column("reason", "Why"),
)
CHOICE = Column("chosen", "", "choice")
OWN_COLUMNS = tuple(column for column in COLUMNS if column.name not in {"topic", "queue"})
REFRESH_SECONDS = 5
REASON_LETTERS = 140
AGAIN = (
    "They are handled once more, as if they had just come. Do it when the cause is gone; what is refused again stays."
)
GONE = "They are gone for good: nothing that they say happens."


@page(PLATFORM, "Dead letters", ("admin",))
async def platform_dead_letters(visit: Visit) -> None:
    """Those of one service at a time."""
    states = {service: await _state(visit, service) for service in SERVICES}
    counts = {service: state["messages"] if state else None for service, state in states.items()}
    with_some = next((service for service, count in counts.items() if count), SERVICES[0])
    service = visit.query.get("service", with_some)
    if service not in SERVICES:
        service = with_some
    with ui.element("div").classes("tiles"):
        for one, state in states.items():
            _tile(one, state, is_chosen=one == service)
    await _list(visit, f"{PATH}/{service}", f"{PLATFORM}/{service}", COLUMNS, _none_of_service)


@page(OWN, "Refused order messages", ("supplier", "retailer"))
async def own_dead_letters(visit: Visit) -> None:
    """The messages of the company's own order systems that could not be handled."""
    ui.label(
        "Messages that your order systems sent over RabbitMQ, and that could not be handled. A mistake in the order "
        "itself is mended by sending a right one; then give the wrong one up."
    ).classes("muted")
    await _list(visit, PATH, OWN, OWN_COLUMNS, _none_of_own)


@page(f"{PLATFORM}/{{service}}/{{letter_id:uuid}}", "Dead letter", ("admin",))
async def platform_dead_letter(visit: Visit) -> None:
    """One of a service's."""
    service = visit.path["service"]
    if service not in SERVICES:
        raise RefusedError(NOT_FOUND, "", f"The services are {', '.join(SERVICES)}.")
    await _letter(visit, f"{PATH}/{service}/{visit.path['letter_id']}", address(PLATFORM, service=service))


@page(f"{OWN}/{{letter_id:uuid}}", "Refused order message", ("supplier", "retailer"))
async def own_dead_letter(visit: Visit) -> None:
    """One of the company's own."""
    await _letter(visit, f"{PATH}/{visit.path['letter_id']}", OWN)


async def _state(visit: Visit, service: str) -> Mapping[str, Any] | None:
    """How many the service has; `None` where it does not answer."""
    try:
        state = await visit.api.get(f"/v1/operations/{service}")
    except RefusedError:
        return None
    counted: Mapping[str, Any] = state["dead_letters"]
    return counted


def _tile(service: str, state: Mapping[str, Any] | None, *, is_chosen: bool) -> None:
    tone = "bad" if state is None or state["messages"] else "ok"
    with ui.link(target=address(PLATFORM, service=service)).classes(f"tile {tone}") as box:
        ui.label("away" if state is None else number(state["messages"])).classes("figure")
        newest = f", the newest {ago(state['newest_at'])}" if state and state["messages"] else ""
        ui.label(f"{service}{newest}").classes("muted")
    if is_chosen:
        box.classes("chosen").props('aria-current="true"')


class _Chosen:
    """Which letters of a list are chosen, and the buttons of what can be done to them."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.buttons: list[ui.button] = []
        self.table: ListTable

    def choose(self, event: events.GenericEventArguments) -> None:
        if event.args["chosen"]:
            self.ids[event.args["key"]] = None
        else:
            self.ids.pop(event.args["key"], None)
        self.show()

    def choose_all(self) -> None:
        self.ids.update(dict.fromkeys(row["id"] for row in self.table.rows))
        self.show()

    def take(self) -> list[str]:
        """Those that are chosen; then none is any more."""
        taken = list(self.ids)
        self.ids.clear()
        self.show()
        return taken

    def show(self) -> None:
        self.table.show([{**row, "chosen": row["id"] in self.ids} for row in self.table.rows])
        for button in self.buttons:
            button.set_enabled(bool(self.ids))


async def _list(
    visit: Visit, path: str, here: str, columns: Sequence[Column], when_empty: Callable[[], object]
) -> None:
    chosen = _Chosen()

    async def fetch(asked: Asked) -> Listed:
        answer = await visit.api.get(path, cursor=asked.cursor, limit=asked.limit)
        return Listed([_row(letter, visit, here, chosen.ids) for letter in answer["items"]], answer["next_cursor"])

    async def do(question: str, words: str, action: str, each: Callable[[str], Awaitable[object]]) -> None:
        count = len(chosen.ids)
        asked = question.format("this message" if count == 1 else f"these {count:,} messages")
        if await confirmed(asked, words, action, is_dangerous=action == "Give up"):
            await _do_each(chosen.take(), each, said)
            await letters.refresh()

    async def redrive(letter_id: str) -> None:
        await visit.api.post(f"{path}/{letter_id}/redrive")

    async def give_up(letter_id: str) -> None:
        await visit.api.delete(f"{path}/{letter_id}")

    with ui.row().classes("row tight") as actions:
        again = ui.button("Handle again", on_click=lambda: do("Handle {} again?", AGAIN, "Handle again", redrive))
        up = ui.button("Give up", on_click=lambda: do("Give {} up?", GONE, "Give up", give_up))
        chosen.buttons += [again.props("unelevated"), up.props("outline color=negative")]
        ui.button("Choose all that are shown", on_click=chosen.choose_all).props("flat")
    said = ui.column().classes("stack").props('role="status"')
    said.visible = False
    may_act = visit.is_admin or visit.may("orders:write")
    letters = PagedList(((CHOICE, *columns) if may_act else columns), fetch, when_empty=when_empty)
    chosen.table = letters.table
    letters.table.on("choose", chosen.choose)
    chosen.show()

    async def refresh() -> None:
        await letters.refresh()
        actions.visible = may_act and bool(letters.rows)

    await refresh()
    live(refresh, REFRESH_SECONDS)


async def _do_each(ids: Sequence[str], each: Callable[[str], Awaitable[object]], said: ui.column) -> None:
    """Do it to one after the other, and tell how many it was done to and why not to others."""
    said.clear()
    refused: list[str] = []
    for letter_id in ids:
        try:
            await each(letter_id)
        except RefusedError as error:
            refused.append(str(error))
    if done := len(ids) - len(refused):
        tell_done(f"{done:,} of {len(ids):,} done")
    said.visible = bool(refused)
    with said:
        for why in dict.fromkeys(refused):
            times = refused.count(why)
            ui.label(f"Refused again{f' ({times:,} times)' if times > 1 else ''}: {why}").classes("note bad")


def _row(letter: Mapping[str, Any], visit: Visit, here: str, chosen: Container[str]) -> dict[str, Any]:
    reason = letter["reason"]
    return {
        "id": letter["id"],
        "chosen": letter["id"] in chosen,
        "chosen_of": f"the message of {letter['dead_at']}",
        "dead_at": moment(letter["dead_at"], visit.zone),
        "dead_at_address": f"{here}/{letter['id']}",
        "topic": letter["topic"],
        "queue": letter["queue"],
        "user_id": letter["user_id"] or "",
        "reason": reason if len(reason) <= REASON_LETTERS else f"{reason[:REASON_LETTERS]} ...",
    }


def _none_of_service() -> None:
    empty("mark_email_read", "No dead letters", "Every message was handled. What cannot be handled is kept here.")


def _none_of_own() -> None:
    with empty("mark_email_read", "No refused messages", "Every order that your systems sent was taken in."):
        ui.button("To the orders", on_click=lambda: ui.navigate.to("/orders")).props("outline")


async def _letter(visit: Visit, path: str, back: str) -> None:
    letter = await visit.api.get(path)

    async def redrive() -> None:
        if await confirmed("Handle this message again?", AGAIN, "Handle again"):
            await visit.api.post(f"{path}/redrive")
            ui.navigate.to(back)

    async def give_up() -> None:
        if await confirmed("Give this message up?", GONE, "Give up", is_dangerous=True):
            await visit.api.delete(path)
            ui.navigate.to(back)

    with ui.row().classes("row between"):
        ui.link("All of them", back)
        if visit.is_admin or visit.may("orders:write"):
            with ui.row().classes("row tight buttons"):
                ui.button("Handle again", on_click=redrive).props("unelevated")
                ui.button("Give up", on_click=give_up).props("outline color=negative")
    with panel("Why it could not be handled"):
        ui.label(letter["reason"]).classes("note bad reason")
        facts(
            {
                "When": moment(letter["dead_at"], visit.zone),
                "Service": letter["service"],
                "Queue": letter["queue"],
                "Topic": letter["topic"],
                "Sent by": letter["user_id"],
                "Message id": letter["message_id"],
                "Content type": letter["content_type"],
                "Answer to": letter["reply_to"],
                "Bytes": number(letter["body_bytes"]),
                "Id": letter["id"],
            }
        )
    with panel("The message"):
        show_body(letter["body"], "Body of the message", is_base64=letter["body_encoding"] == "base64")
