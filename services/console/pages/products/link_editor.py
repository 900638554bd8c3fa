"""What one unit draws on: one base stock product, or several in their quantities (a kit)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from services.console.number_field import NumberField, whole
from services.console.product_names import ProductNames
from services.console.widgets import named

Pick = Callable[[], Awaitable[dict[str, Any] | None]]


class LinkEditor:
    """The components of a link, to be changed; nothing means that it is not linked."""

    def __init__(self, names: ProductNames, pick: Pick, components: Sequence[Mapping[str, Any]], what: str) -> None:
        """Draw it; `what` is linked, for screen readers."""
        self._names, self._pick, self._what = names, pick, what
        self._components = [(one["product_id"], one["quantity"]) for one in components]
        self._quantities: list[ui.number] = []
        self._box = ui.column().classes("link-editor")
        self._error = ui.label().classes("bad field-error").props('role="alert"')
        self.refuse("")
        self._draw()

    @property
    def components(self) -> list[dict[str, int]]:
        """As the API takes them; a quantity that is no whole number is left to the API to refuse."""
        self._keep()
        return [{"product_id": product_id, "quantity": quantity} for product_id, quantity in self._components]

    def refuse(self, why: str) -> None:
        """Say below it what is wrong with it, or nothing any more."""
        self._error.text, self._error.visible = why, bool(why)

    def _keep(self) -> None:
        ids = [product_id for product_id, _ in self._components]
        self._components = list(zip(ids, (whole(field.value) or 0 for field in self._quantities), strict=True))

    def _draw(self) -> None:
        self._box.clear()
        self._quantities.clear()
        with self._box:
            for index, (product_id, quantity) in enumerate(self._components):
                with ui.row().classes("row tight nowrap"):
                    field = NumberField(value=quantity, least=1)
                    named(field.props("outlined dense"), f"Units of {self._names.sku(product_id)} in {self._what}")
                    self._quantities.append(field.classes("quantity"))
                    ui.label("x").classes("muted")
                    ui.link(self._names.sku(product_id), f"/products/{product_id}", new_tab=True).classes("mono")
                    ui.label(self._names.name(product_id)).classes("muted ellipsis")
                    remove = ui.button(icon="close", on_click=lambda index=index: self._remove(index))
                    named(remove.props("flat dense round size=sm"), f"Unlink {self._names.sku(product_id)}")
                    if index == len(self._components) - 1:
                        kit = ui.button(icon="add_link", on_click=self._add).props("flat dense round size=sm")
                        named(kit, f"Add another to {self._what}: a kit").tooltip("Add another: a kit")
            if not self._components:
                link = ui.button("Link to stock", icon="add_link", on_click=self._add).props("flat dense no-caps")
                named(link, f"Link to stock: {self._what}")

    async def _add(self) -> None:
        product = await self._pick()
        if product is None:
            return
        self._keep()
        self._names.keep(product)
        self._components.append((product["id"], 1))
        self._draw()

    def _remove(self, index: int) -> None:
        self._keep()
        del self._components[index]
        self._draw()
