"""A product as it is to be: its fields, those that its type needs, and what the API finds wrong with them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.forms import Form
from services.console.pages.products.base_field import BaseField
from services.console.pages.products.link_editor import LinkEditor
from services.console.pages.products.variants_grid import VariantsGrid
from services.console.pages.products.visibility_field import VisibilityField
from services.console.pages.products.words import TRACKED_TYPES, TYPE_RULES, TYPE_WORDS
from services.console.product_names import ProductNames
from services.console.product_picker import STOCK_TYPES, pick_product
from services.console.visits import Visit

VARIANT_FIELD = re.compile(r"variants\[(\d+)\]\.?(\w*)")
ONE_LINK, BY_VARIANT = "One link for the whole product", "Variants, each with its own"


class Draft:
    """The product in a form."""

    def __init__(
        self,
        visit: Visit,
        fields: Form,
        names: ProductNames,
        retailers: Mapping[int, str],
        *,
        proposed: Mapping[str, Any],
        owners: Mapping[int, str] | None = None,
    ) -> None:
        """Draw it with what is `proposed`: a saved product, or a new one without `id`, whose owner is one of `owners`.

        Only the platform admin chooses the owner.
        """
        self._visit, self._fields, self._names = visit, fields, names
        self._saved = proposed if "id" in proposed else None
        self._has_owners = owners is not None
        self._link: LinkEditor | None = None
        self._grid: VariantsGrid | None = None
        self._base: BaseField | None = None
        self._kept = {name: proposed[name] for name in ("components", "variants", "base_product_id")}
        with ui.element("div").classes("grid three"):
            fields.add("sku", ui.input("SKU", value=proposed["sku"])).props("autofocus" if self._saved is None else "")
            fields.add("name", ui.input("Name", value=proposed["name"]))
            fields.add("barcode", ui.input("Barcode", value=proposed["barcode"] or ""))
            types = {"virtual": TYPE_WORDS["virtual"]} if visit.role == "retailer" else dict(TYPE_WORDS)
            self._type = fields.add("type", ui.select(types, value=proposed["type"], label="Type"))
            self._type.props("options-dense").on_value_change(self._retype)
            if owners is not None:
                fields.add("owner_id", ui.select(dict(owners), label="Owner"))
        self._rule = ui.label().classes("note")
        self._change = ui.label().classes("note warn")
        self._parts = ui.column().classes("stack")
        self.visibility = None if visit.role == "retailer" else VisibilityField(proposed["visibility"], retailers)
        self._retype()

    @property
    def type(self) -> str:
        """The type that is chosen."""
        return str(self._type.value)

    def body(self) -> dict[str, Any]:
        """As the API takes it: what the type has no use for is taken away."""
        self._keep()
        body = {
            "sku": self._fields["sku"] or "",
            "name": self._fields["name"] or "",
            "type": self.type,
            "barcode": self._fields["barcode"],
            "components": self._kept["components"] if self._link is not None else [],
            "variants": self._kept["variants"] if self._grid is not None else [],
            "base_product_id": self._kept["base_product_id"] if self._base is not None else None,
        }
        if self._has_owners:
            body["owner_id"] = self._fields["owner_id"]
        if self.visibility is not None:
            body["visibility"] = self.visibility.value
        return body

    def refuse(self, error: RefusedError) -> RefusedError:
        """Say what is wrong beside what it is of; returns the rest."""
        rest = dict(error.errors)
        for field, why in error.errors.items():
            if (found := VARIANT_FIELD.match(field)) and self._grid is not None and found[2]:
                self._grid.refuse(int(found[1]), found[2], why)
            elif field.startswith(("components", "base_stock_product_id")) and self._link is not None:
                self._link.refuse(why)
            elif field == "base_product_id" and self._base is not None:
                self._base.refuse(why)
            elif field.startswith("visibility") and self.visibility is not None:
                self.visibility.refuse(why)
            else:
                continue
            del rest[field]
        is_told = bool(error.errors) and not rest
        detail = "Some of it cannot be: see what is said in red above." if is_told else error.detail
        return RefusedError(error.status, error.code, detail, rest)

    def accept(self) -> None:
        """Nothing is wrong any more."""
        if self._grid is not None:
            self._grid.accept()
        if self._link is not None:
            self._link.refuse("")
        if self._base is not None:
            self._base.refuse("")
        if self.visibility is not None:
            self.visibility.refuse("")

    def _keep(self) -> None:
        if self._link is not None:
            self._kept["components"] = self._link.components
        if self._grid is not None:
            self._kept["variants"] = self._grid.variants
        if self._base is not None:
            self._kept["base_product_id"] = self._base.value

    def _retype(self) -> None:
        self._rule.text = TYPE_RULES[self.type]
        self._change.text = self._change_in_words()
        self._change.visible = bool(self._change.text)
        self._draw_parts()

    def _change_in_words(self) -> str:
        """What a change of type takes with it."""
        if self._saved is None or self._saved["type"] == self.type:
            return ""
        was, now = self._saved["type"] in TRACKED_TYPES, self.type in TRACKED_TYPES
        words = [f"It was {TYPE_WORDS[self._saved['type']]}."]
        if was and not now:
            words.append("Inventory will keep no stock of it any more.")
        if now and not was:
            words.append("Its variants and links go; it gets a stock of its own, which starts at 0.")
        words.append("It is refused while other products draw on this one or are based on it.")
        return " ".join(words)

    def _draw_parts(self, mode: str | None = None) -> None:
        self._keep()
        self._link, self._grid, self._base = None, None, None
        self._parts.clear()
        with self._parts:
            if self.type == "virtual":
                self._base = BaseField(self._visit, self._names, self._kept["base_product_id"], self._owner_id)
            elif self.type == "configurable_stock":
                self._grid = VariantsGrid(self._kept["variants"], self._new_link)
            elif self.type == "customisable":
                mode = mode or (BY_VARIANT if self._kept["variants"] else ONE_LINK)
                choice = ui.radio([ONE_LINK, BY_VARIANT], value=mode).props('inline dense aria-label="Links"')
                choice.on_value_change(lambda event: self._draw_parts(event.value))
                if mode == BY_VARIANT:
                    self._grid = VariantsGrid(self._kept["variants"], self._new_link)
                else:
                    self._link = self._new_link(self._kept["components"], "the product")

    def _new_link(self, components: Sequence[Mapping[str, Any]], what: str) -> LinkEditor:
        return LinkEditor(self._names, self._pick_stock, components, what)

    def _owner_id(self) -> int | None:
        if self._saved is not None:
            return int(self._saved["owner_id"])
        return self._fields["owner_id"] if self._visit.is_admin else self._visit.company_id

    async def _pick_stock(self) -> dict[str, Any] | None:
        words = "What one unit of it takes from stock: products of the types Stock and Stock & customisable."
        return await pick_product(
            self._visit, "Choose a stock product", words, types=STOCK_TYPES, owner_id=self._owner_id()
        )
