"""The variants of a product as a grid: a row for each, a column for each attribute."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from services.console.pages.products.link_editor import LinkEditor
from services.console.widgets import named

# More than that make a page slow; they are there, and shown on demand.
ROWS_AT_FIRST = 60


class VariantsGrid:
    """The variants of a product, to be changed."""

    def __init__(
        self, variants: Sequence[Mapping[str, Any]], new_link: Callable[[Sequence[Mapping[str, Any]], str], LinkEditor]
    ) -> None:
        """Draw it; `new_link` draws the editor of a link of these components."""
        self._new_link = new_link
        self._names = list(dict.fromkeys(one["name"] for variant in variants for one in variant["attributes"]))
        self._rows = [_Row(variant) for variant in variants] or [_Row({})]
        self._limit = ROWS_AT_FIRST
        names = ui.input_chips(
            "Attributes, like Size or Colour", value=self._names, new_value_mode="add-unique", on_change=self._rename
        )
        names.props('outlined dense hint="Type a name and press Enter: each is a column below"').classes("attributes")
        self._box = ui.element("div").classes("variants")
        with ui.row().classes("row tight"):
            ui.button("Add a variant", icon="add", on_click=self._add).props("flat dense no-caps")
            self._all = ui.button(on_click=self._show_all).props("flat dense no-caps")
        self._draw()

    @property
    def variants(self) -> list[dict[str, Any]]:
        """As the API takes them."""
        for row in self._rows:
            row.keep()
        return [row.body(self._names) for row in self._rows]

    def refuse(self, index: int, part: str, why: str) -> None:
        """Say beside variant `index` what is wrong with it."""
        if index >= self._limit:
            self._show_all()
        self._rows[index].refuse(part, why)

    def accept(self) -> None:
        """Nothing is wrong any more."""
        for row in self._rows:
            row.accept()

    def _draw(self) -> None:
        self._box.clear()
        columns = ["minmax(120px, 1fr)", *("minmax(90px, 1fr)" for _ in self._names), "minmax(240px, 2fr)", "36px"]
        self._box.style(f"grid-template-columns: {' '.join(columns)}")
        with self._box:
            for words in ("SKU", *self._names, "One unit draws on", ""):
                ui.label(words).classes("muted")
            for number, row in enumerate(self._rows[: self._limit], 1):
                row.draw(number, self._names, self._new_link)
                remove = ui.button(icon="delete_outline", on_click=lambda row=row: self._remove(row))
                named(remove.props("flat dense round"), f"Remove variant {number}")
        more = len(self._rows) - self._limit
        self._all.visible = more > 0
        self._all.text = f"Show {more:,} more"

    def _redraw(self) -> None:
        for row in self._rows:
            row.keep()
        self._draw()

    def _rename(self, event: Any) -> None:  # noqa: ANN401 - an event
        self._names = [name.strip() for name in event.value if name.strip()]
        self._redraw()

    def _add(self) -> None:
        self._rows.append(_Row({}))
        self._limit = max(self._limit, len(self._rows))
        self._redraw()
        self._rows[-1].focus()

    def _remove(self, row: "_Row") -> None:
        self._rows.remove(row)
        self._redraw()

    def _show_all(self) -> None:
        self._limit = len(self._rows)
        self._redraw()


class _Row:
    """A variant: what is in its fields is kept when they are drawn anew."""

    def __init__(self, variant: Mapping[str, Any]) -> None:
        self._sku: str = variant.get("sku", "")
        self._attributes = {one["name"]: one["value"] for one in variant.get("attributes", ())}
        self._components: list[dict[str, int]] = list(variant.get("components", ()))
        self._sku_field: ui.input | None = None
        self._attribute_fields: dict[str, ui.input] = {}
        self._link: LinkEditor | None = None

    def draw(
        self, number: int, names: Sequence[str], new_link: Callable[[Sequence[Mapping[str, Any]], str], LinkEditor]
    ) -> None:
        self._sku_field = named(ui.input(value=self._sku), f"SKU of variant {number}").props("outlined dense")
        self._attribute_fields = {
            name: named(ui.input(value=self._attributes.get(name, "")), f"{name} of variant {number}").props(
                "outlined dense"
            )
            for name in names
        }
        with ui.column().classes("stack"):
            self._link = new_link(self._components, self._sku or f"variant {number}")

    def keep(self) -> None:
        if self._sku_field is None or self._link is None:
            return
        self._sku = (self._sku_field.value or "").strip()
        self._attributes |= {name: (field.value or "").strip() for name, field in self._attribute_fields.items()}
        self._components = self._link.components

    def body(self, names: Sequence[str]) -> dict[str, Any]:
        attributes = [{"name": name, "value": self._attributes[name]} for name in names if self._attributes.get(name)]
        return {"sku": self._sku, "attributes": attributes, "components": self._components}

    def refuse(self, part: str, why: str) -> None:
        if part == "sku" and self._sku_field is not None:
            self._sku_field.error = why
        elif self._link is not None:
            self._link.refuse(why)

    def accept(self) -> None:
        if self._sku_field is not None and self._link is not None:
            self._sku_field.error = None
            self._link.refuse("")

    def focus(self) -> None:
        if self._sku_field is not None:
            self._sku_field.run_method("focus")
