"""An order entered by hand, as at a counter."""

from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.forms import Form, form
from services.console.frame import page, tell_done
from services.console.number_field import NumberField, whole
from services.console.pages.products.words import attributes_in_words
from services.console.product_picker import pick_product
from services.console.visits import Visit
from services.console.widgets import named, panel
from shared import clock

# Inventory mostly decides within milliseconds; after that the order's page shows it.
WAIT_SECONDS = 1


@page("/orders/new", "New order", ("supplier", "retailer"))
async def new_order(visit: Visit) -> None:
    """Lines are chosen by search; the reference is proposed."""

    async def save() -> None:
        body = {"external_ref": fields["external_ref"] or "", "source": fields["source"], "lines": lines.body()}
        try:
            made = await visit.api.post("/v1/orders", body, once=fields.once(body), wait=WAIT_SECONDS)
        except RefusedError as error:
            raise lines.refuse(error) from error
        tell_done(f"Order {made['external_ref']} is taken in")
        ui.navigate.to(f"/orders/{made['order_id']}")

    now = clock.utc_now().astimezone(visit.zone)
    with panel(), form(save, "Take the order in", cancel=lambda: ui.navigate.to("/orders")) as fields:
        with ui.element("div").classes("grid three"):
            proposed = f"C-{now:%Y%m%d-%H%M%S}"
            fields.add("external_ref", ui.input("Reference, used once", value=proposed))
            sources = {"console": "By hand", "pos": "Sold at a till"}
            fields.add("source", ui.select(sources, label="How it was sold", value="console"))
        lines = _Lines(visit, fields)


class _Lines:
    """The lines of the order, one below the other."""

    def __init__(self, visit: Visit, fields: Form) -> None:
        self._visit, self._fields = visit, fields
        self._lines: list[_Line] = []
        self._box = ui.column().classes("stack")
        with ui.row().classes("row tight"):
            ui.button("Add a product", icon="add", on_click=self._add).props("flat no-caps dense")
            by_id = NumberField("or the id of one that is not shown to you")
            by_id.props("outlined dense").classes("id-field")
            ui.button("Add it", on_click=lambda: self._add_id(whole(by_id.value))).props("flat no-caps dense")
        self._said = ui.label().classes("bad field-error").props('role="alert"')

    def body(self) -> list[dict[str, Any]]:
        """As the API takes them. Raises `RefusedError` for none."""
        self._said.text = ""
        for line in self._lines:
            line.said.text = ""
        if not self._lines:
            raise RefusedError(422, "no_lines", "Add what was sold.")
        return [line.body() for line in self._lines]

    def refuse(self, error: RefusedError) -> RefusedError:
        """Say beside each line what is wrong with it; returns the rest."""
        rest = dict(error.errors)
        for field, why in error.errors.items():
            number = field.removeprefix("lines[").partition("]")[0]
            if field.startswith("lines[") and number.isdecimal() and int(number) < len(self._lines):
                self._lines[int(number)].said.text = why
                del rest[field]
        detail = "See what is said in red above." if error.errors and not rest else error.detail
        return RefusedError(error.status, error.code, detail, rest)

    async def _add(self) -> None:
        product = await pick_product(self._visit, "What was sold?")
        if product is not None:
            await self._add_line(product)

    async def _add_id(self, product_id: float | None) -> None:
        if product_id is not None:
            await self._add_line({"id": product_id, "sku": f"Product {product_id}", "name": "", "variants": []})

    async def _add_line(self, product: dict[str, Any]) -> None:
        variants = {variant["sku"]: attributes_in_words(variant["attributes"]) for variant in product["variants"]}
        if product.get("type") == "virtual":
            links = await self._visit.api.get(f"/v1/products/{product['id']}/stock-links")
            variants = {
                part["variant_sku"]: attributes_in_words(part["attributes"])
                for part in links["parts"]
                if part["variant_sku"]
            }
        with self._box:
            line = _Line(product, variants, self._remove)
        self._lines.append(line)

    def _remove(self, line: "_Line") -> None:
        self._lines.remove(line)
        line.box.delete()


class _Line:
    def __init__(self, product: dict[str, Any], variants: dict[str, str], remove: Any) -> None:  # noqa: ANN401 - a handler
        self._product = product
        with ui.column().classes("stack") as self.box:
            with ui.row().classes("row tight"):
                self._quantity = NumberField("Units", value=1, least=1).props("outlined dense")
                self._quantity.classes("units")
                ui.label("x").classes("muted")
                ui.label(product["sku"]).classes("mono")
                ui.label(product["name"]).classes("muted")
                self._variant = ui.select(
                    {sku: f"{sku} {words}".strip() for sku, words in variants.items()},
                    label="Variant",
                    value=next(iter(variants), None),
                )
                self._variant.props("outlined dense options-dense").classes("wide-filter").visible = bool(variants)
                button = ui.button(icon="delete_outline", on_click=lambda: remove(self)).props("flat dense round")
                named(button, f"Remove {product['sku']}")
            self.said = ui.label().classes("bad field-error").props('role="alert"')

    def body(self) -> dict[str, Any]:
        line = {"product_id": self._product["id"], "quantity": whole(self._quantity.value) or 0}
        return {**line, "variant_sku": self._variant.value} if self._variant.value else line
