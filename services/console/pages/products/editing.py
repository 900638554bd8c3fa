"""A product's page, and the page of a new one."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.company_names import NAMES_LIMIT, company_name, company_names, known_companies
from services.console.forms import Form, form, form_dialog
from services.console.frame import page, tell_done
from services.console.pages.products.draft import Draft
from services.console.pages.products.surroundings import readable, stock_links, what_draws_on
from services.console.pages.products.visibility_field import retailers_of
from services.console.pages.products.words import TRACKED_TYPES, TYPE_WORDS, is_unlinked, targets
from services.console.product_names import ProductNames
from services.console.visits import Visit
from services.console.widgets import badge, confirmed, panel

PATH = "/v1/products"
NEW: Mapping[str, Any] = {
    "sku": "",
    "name": "",
    "barcode": None,
    "type": "stock",
    "base_product_id": None,
    "components": [],
    "variants": [],
    "visibility": "private",
}
VERSION_CHANGED, CONFLICT = 412, 409


@page("/products/new", "New product")
async def new_product(visit: Visit) -> None:
    """Make a product; the address may say its type, or its base."""
    names = ProductNames(visit)
    proposed = {**NEW, "type": visit.query.get("type", "stock")}
    base = visit.query.get("base", "")
    if base.isdecimal():
        await names.learn([int(base)])
        proposed |= {"type": "virtual", "base_product_id": int(base), "name": names.name(int(base))}
    if visit.role == "retailer" or proposed["type"] not in TYPE_WORDS:
        proposed["type"] = "virtual" if visit.role == "retailer" else "stock"

    async def save() -> None:
        draft.accept()
        try:
            body = draft.body()
            made = await visit.api.post(PATH, body, once=fields.once(body))
        except RefusedError as error:
            raise draft.refuse(error) from error
        tell_done(f"{made['sku']} is there")
        ui.navigate.to(f"/products/{made['id']}")

    owners = await company_names(visit) if visit.is_admin else None
    retailers = await retailers_of(visit, visit.company_id)
    with panel(), form(save, "Make the product", cancel=lambda: ui.navigate.to("/products")) as fields:
        draft = Draft(visit, fields, names, retailers, proposed=proposed, owners=owners)


@page("/products/{product_id:int}", "Product")
async def product_page(visit: Visit) -> None:
    """A product: what it is, what it draws on, what draws on it; and its form, for who may change it."""
    product = await visit.api.get(f"{PATH}/{visit.path['product_id']}")
    names, companies = ProductNames(visit), await known_companies(visit)
    names.keep(product)
    await names.learn([*targets(product), *([product["base_product_id"]] if product["base_product_id"] else [])])
    is_own = visit.is_admin or product["owner_id"] == visit.company_id
    _head(visit, product, companies, may_change=is_own and visit.may("catalog:write"))
    if is_own and visit.may("catalog:write"):
        await _form(visit, product, names)
    else:
        readable(product, names, companies)
    with ui.element("div").classes("grid two"):
        await stock_links(visit, product, names)
        await what_draws_on(visit, product)


def _head(visit: Visit, product: Mapping[str, Any], companies: Mapping[int, str], *, may_change: bool) -> None:
    with ui.row().classes("row between"):
        with ui.row().classes("row tight buttons"):
            ui.label(product["name"]).classes("item-title").props('role="heading" aria-level="2"')
            ui.label(product["sku"]).classes("mono muted")
            badge(TYPE_WORDS[product["type"]])
            if is_unlinked(product):
                badge("untracked", "warn")
            if product["owner_id"] != visit.company_id:
                ui.label(f"of {company_name(companies, product['owner_id'])}").classes("muted")
        with ui.row().classes("row tight buttons"):
            if product["type"] in TRACKED_TYPES and visit.role != "retailer":
                ui.button("Its stock", on_click=lambda: ui.navigate.to(f"/inventory/{product['id']}")).props("outline")
            if visit.role == "retailer" and not may_change and visit.may("catalog:write"):
                here = f"/products/new?base={product['id']}"
                ui.button("Make my own version", on_click=lambda: ui.navigate.to(here)).props("unelevated")
            if may_change:
                ui.button("Duplicate", on_click=lambda: _duplicate(visit, product)).props("outline")
                ui.button("Delete", on_click=lambda: _delete(visit, product)).props("outline color=negative")


async def _form(visit: Visit, product: Mapping[str, Any], names: ProductNames) -> None:
    async def save() -> None:
        draft.accept()
        # The API takes no If-Match for products: this leaves milliseconds in which somebody else's change is lost.
        now = await visit.api.get(f"{PATH}/{product['id']}")
        if now["version"] != product["version"]:
            detail = "Somebody changed this product while you had it open. Load it anew, and decide again."
            raise RefusedError(VERSION_CHANGED, "version_changed", detail)
        try:
            await visit.api.patch(f"{PATH}/{product['id']}", draft.body())
        except RefusedError as error:
            raise _of_form(draft.refuse(error)) from error
        tell_done("Saved")
        ui.navigate.reload()

    retailers = await retailers_of(visit, product["owner_id"])
    with panel(), form(save, "Save") as fields:
        draft = Draft(visit, fields, names, retailers, proposed=product)


def _of_form(error: RefusedError) -> RefusedError:
    """What stands in the way of a change of type is said under the form, in one sentence."""
    return RefusedError(error.status, error.code, error.detail) if error.code == "product_linked" else error


def _duplicate(visit: Visit, product: Mapping[str, Any]) -> None:
    async def make(fields: Form) -> None:
        once = fields.once(fields.values)
        made = await visit.api.post(f"{PATH}/{product['id']}/duplicate", fields.values, once=once)
        if made["warnings"]:
            _warn(made)
        else:
            ui.navigate.to(f"/products/{made['id']}")

    words = "The copy has the same links, and variants of its own. It has no barcode, and nobody else sees it yet."
    if product["type"] == "stock_customisable":
        words += (
            " It is a second stock product, counted apart: for the same physical unit make a customisable product "
            "that is linked to this one instead."
        )
    with form_dialog(f"Duplicate {product['sku']}", "Make the copy", make, words) as fields:
        fields.add("sku", ui.input("SKU of the copy")).props("autofocus")
        fields.add("name", ui.input("Name", value=product["name"]))


def _warn(made: Mapping[str, Any]) -> None:
    # Not in the dialog that asked for the copy, which closes now.
    with ui.context.client.content, ui.dialog().props("persistent") as dialog, ui.card().classes("panel dialog wide"):
        ui.label(f"{made['sku']} is there").classes("heading").props('role="heading" aria-level="2"')
        for warning in made["warnings"]:
            sentence = str(warning["detail"])
            ui.label(f"{sentence[:1].upper()}{sentence[1:]}.").classes("note warn")
        with ui.row().classes("row end"):
            ui.button("Open the copy", on_click=lambda: ui.navigate.to(f"/products/{made['id']}")).props("unelevated")
    dialog.open()


async def _delete(visit: Visit, product: Mapping[str, Any]) -> None:
    words = "Orders for it are not accepted any more. What was ordered before stays as it is."
    if product["type"] in TRACKED_TYPES:
        words += " Inventory keeps no stock of it any more."
    if not await confirmed(f"Delete {product['sku']}?", words, "Delete", is_dangerous=True):
        return
    try:
        await visit.api.delete(f"{PATH}/{product['id']}")
    except RefusedError as error:
        if error.status != CONFLICT or not error.errors:
            raise
        _in_the_way(error)
    else:
        ui.navigate.to("/products")


def _in_the_way(error: RefusedError) -> None:
    with ui.dialog() as dialog, ui.card().classes("panel dialog wide"):
        dialog.on("hide", dialog.delete)
        ui.label("Others still need it").classes("heading").props('role="heading" aria-level="2"')
        ui.label(error.detail)
        for field, why in list(error.errors.items())[:NAMES_LIMIT]:
            product_id = field.removeprefix("products[").removesuffix("]")
            with ui.row().classes("row tight"):
                ui.link("Open it", f"/products/{product_id}", new_tab=True)
                ui.label(why)
        with ui.row().classes("row end"):
            ui.button("Close", on_click=dialog.close).props("flat autofocus")
    dialog.open()
