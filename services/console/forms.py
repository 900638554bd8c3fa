"""Forms: fields under the API's own names, and what the API refuses told beside the field that it names."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement
from nicegui.elements.mixins.value_element import ValueElement

from services.console.api import UNAUTHORIZED, RefusedError
from services.console.frame import show_what_came
from services.console.number_field import whole
from services.console.widgets import named

VERSION_CHANGED = 412
COPIED_FIELD = 'outlined dense readonly input-class="mono"'

Field = TypeVar("Field", bound=ValueElement[Any])


class Form:
    """The fields of a form; `values` are those that the visitor left in them, by the API's names."""

    def __init__(self, submit: Callable[[], Awaitable[object]]) -> None:
        """`submit` does what the form is for, and raises `RefusedError` where that is refused."""
        self._submit = submit
        self._fields: dict[str, ValueElement[Any]] = {}
        self._refused_as: dict[str, str] = {}
        # What is secret is sent as it was typed, with the blanks around it.
        self._verbatim: set[str] = set()
        self._is_sending = False
        self._keys: dict[str, str] = {}
        # Of a dialog, which is closing: what is pressed meanwhile is not meant.
        self.is_over = False
        self.button: ui.button
        self.note: ui.label
        self.anew: ui.button

    def add(self, name: str, field: Field, *, refused_as: str | None = None) -> Field:
        """Hold this field under the name that the API has for it (`auth_header.name` where it is inside another).

        `refused_as` is the API's name where the field holds something else than that, say minutes for seconds.
        """
        self._fields[name] = field
        self._refused_as[refused_as or name] = name
        if field.props.get("type") == "password":
            self._verbatim.add(name)
        if isinstance(field, ValidationElement):
            field.props("outlined dense bottom-slots")
        return field

    def focus(self) -> None:
        """Begin with the first field, so that Enter and typing go there."""
        next(iter(self._fields.values())).props("autofocus")

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what fields hold
        """What is in a field: text without blanks around it, but for a password; `None` where there is none."""
        value = self._fields[name].value
        if isinstance(value, str):
            value = (value if name in self._verbatim else value.strip()) or None
        return whole(value) if isinstance(value, float) else value

    @property
    def values(self) -> dict[str, Any]:
        """What is in all fields."""
        return {name: self[name] for name in self._fields}

    def once(self, body: object) -> str:
        """The idempotency key of what this form sends: the same for the same body, however often that is sent."""
        return self._keys.setdefault(json.dumps(body, sort_keys=True), uuid4().hex)

    async def send(self) -> None:
        """Do what the form is for, once at a time, and tell what is refused."""
        if self._is_sending or self.is_over:
            return
        self._is_sending = True
        self.button.props("loading")
        self._tell({}, "")
        try:
            await self._submit()
        except RefusedError as error:
            if error.status == UNAUTHORIZED:
                raise
            self.refuse(error)
        finally:
            self._is_sending = False
            if not self.button.is_deleted:
                self.button.props(remove="loading")

    def refuse(self, error: RefusedError) -> None:
        """Tell what is wrong beside the fields that it is of, and the rest below them."""
        beside = {name: detail for field, detail in error.errors.items() if (name := self._name_of(field))}
        is_all_told = bool(beside) and len(beside) == len(error.errors)
        self._tell(beside, "" if is_all_told else str(error))
        self.anew.visible = error.status == VERSION_CHANGED

    def _name_of(self, field: str) -> str | None:
        """Our field for one that an error names: itself, or the one that it is a part of (`product_ids[3]`)."""
        part_of = (name for name in self._refused_as if field == name or field.startswith((f"{name}.", f"{name}[")))
        ours = self._refused_as.get(max(part_of, key=len, default=""))
        return ours if ours and isinstance(self._fields[ours], ValidationElement) else None

    def _tell(self, beside: Mapping[str, str], note: str) -> None:
        for name, field in self._fields.items():
            if isinstance(field, ValidationElement):
                field.error = beside.get(name)
        self.note.text = note
        self.note.visible = bool(note)
        self.anew.visible = False


@contextmanager
def form(
    submit: Callable[[], Awaitable[object]], action: str, *, cancel: Callable[[], object] | None = None
) -> Iterator[Form]:
    """A form of what is drawn in the block; `action` is on its button, and Enter does it too."""
    shown = Form(submit)
    with ui.element("form").classes("form").props("novalidate").on("submit.prevent", shown.send, args=[]):
        yield shown
        shown.note = ui.label().classes("note bad").props('role="alert"')
        shown.note.visible = False
        with ui.row().classes("row end"):
            if cancel is not None:
                ui.button("Back", on_click=cancel).props("flat")
            shown.anew = ui.button("Load it anew", on_click=ui.navigate.reload).props("outline")
            shown.anew.visible = False
            shown.button = ui.button(action).props("type=submit unelevated")


@contextmanager
def form_dialog(
    heading: str,
    action: str,
    submit: Callable[[Form], Awaitable[object]],
    words: str = "",
    *,
    then: Callable[[], Awaitable[None]] | None = None,
) -> Iterator[Form]:
    """A form in a dialog that opens at once; it closes when `submit` has done what it is for, or with Esc.

    `then` shows on the page what has come of it.
    """
    with ui.dialog() as dialog, ui.card().classes("panel dialog"):
        dialog.on("hide", dialog.delete)
        ui.label(heading).classes("heading").props('role="heading" aria-level="2"')
        if words:
            ui.label(words).classes("muted")

        async def send() -> None:
            await submit(shown)
            shown.is_over = True
            dialog.close()
            if then is not None:
                await show_what_came(then)

        with form(send, action, cancel=dialog.close) as shown:
            yield shown
            shown.focus()
    dialog.open()


def show_secret(heading: str, secret: str, words: str, then: Callable[[], object] = lambda: None) -> None:
    """Show what is shown this once, to be copied, until the visitor says that it is kept; and do `then`."""

    def close() -> None:
        dialog.close()
        then()

    # Not in the form that asked for it, which closes now.
    with ui.context.client.content, ui.dialog().props("persistent") as dialog, ui.card().classes("panel dialog wide"):
        dialog.on("hide", dialog.delete)
        ui.label(heading).classes("heading").props('role="heading" aria-level="2"')
        ui.label(words)
        with ui.row().classes("row nowrap"):
            field = named(ui.input(value=secret), heading).props(COPIED_FIELD).classes("grow secret")
            copy_button(secret, field)
        ui.label("It is shown this once: nobody can show it again.").classes("note warn")
        with ui.row().classes("row end"):
            ui.button("I have kept it", on_click=close).props("unelevated")
    dialog.open()


def copy_button(text: str, field: ui.input) -> None:
    """Copies the text; where the browser does not let pages do that, it is marked to be copied by hand."""

    async def copy() -> None:
        is_copied = await ui.run_javascript(f"return basestock.copy({json.dumps(text)}, getHtmlElement({field.id}))")
        ui.notify("Copied" if is_copied else "Press Ctrl+C to copy what is marked", timeout=3_000)

    ui.button("Copy", icon="content_copy", on_click=copy).props("outline")


def moment_in(text: str | None, zone: ZoneInfo) -> str | None:
    """The RFC 3339 moment that `<input type=datetime-local>` holds, in the visitor's zone; `None` for none.

    Raises `ValueError` for what is no time.
    """
    return datetime.fromisoformat(text).replace(tzinfo=zone).isoformat() if text else None
