"""The base product of a virtual one."""

from collections.abc import Callable

from nicegui import ui

from services.console.number_field import NumberField, whole
from services.console.product_names import ProductNames
from services.console.product_picker import pick_product
from services.console.visits import Visit


class BaseField:
    """Which product is the base: chosen by search, by a retailer also by its id."""

    def __init__(
        self, visit: Visit, names: ProductNames, product_id: int | None, owner_id: Callable[[], int | None]
    ) -> None:
        """Draw it; `owner_id` tells whose products may be the base of a supplier's."""
        self._visit, self._names, self._owner_id, self.value = visit, names, owner_id, product_id
        self._box = ui.row().classes("row tight")
        if visit.role == "retailer":
            # What is not shown may be sold all the same, by whoever knows its id (docs/visibility.md).
            by_id = NumberField("Or the id of one that is not shown to you", on_change=self._take_id)
            by_id.props("outlined dense").classes("id-field")
        self._error = ui.label().classes("bad field-error").props('role="alert"')
        self.refuse("")
        self._draw()

    def refuse(self, why: str) -> None:
        """Say below it what is wrong, or nothing any more."""
        self._error.text, self._error.visible = why, bool(why)

    def _draw(self) -> None:
        self._box.clear()
        with self._box:
            ui.label("Base product").classes("muted")
            if self.value is not None:
                ui.link(self._names.sku(self.value), f"/products/{self.value}", new_tab=True).classes("mono")
                ui.label(self._names.name(self.value)).classes("muted")
            words = "Choose the base product" if self.value is None else "Choose another"
            ui.button(words, icon="search", on_click=self._pick).props("flat dense no-caps")

    async def _pick(self) -> None:
        owner_id = None if self._visit.role == "retailer" else self._owner_id()
        product = await pick_product(self._visit, "Choose the base product", owner_id=owner_id)
        if product is not None:
            self._names.keep(product)
            self.value = product["id"]
            self._draw()

    def _take_id(self, event: object) -> None:
        given = getattr(event, "value", None)
        value = whole(given)
        self.value = value if isinstance(value, int) else None
        self._draw()
