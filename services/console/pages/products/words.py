"""Products as people say them: types, what they need, what they draw on (docs/architecture.md, section 3)."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.console.company_names import company_name
from services.console.product_names import ProductNames

TYPE_WORDS: Mapping[str, str] = {
    "stock": "Stock",
    "customisable": "Customisable",
    "stock_customisable": "Stock & customisable",
    "configurable_stock": "Configurable stock",
    "virtual": "Virtual",
}
# What a product of the type is and needs, where one chooses it.
TYPE_RULES: Mapping[str, str] = {
    "stock": "A base stock product: inventory keeps its stock from the moment it exists. It has no variants and draws "
    "on nothing else; other products are linked to it.",
    "customisable": "Draws on base stock products of yours. Either the product has one link and no variants, or each "
    "of its variants has its own. Link all variants or none: with none the product is untracked, and orders for it "
    "lower no stock.",
    "stock_customisable": "The shortcut: it is customisable, and its own base stock product at once. It has no "
    "variants and no link. If the same physical unit is sold under other products too, make those customisable and "
    "link them to this one; a second one of this type would be counted apart.",
    "configurable_stock": "Sold in variants only, each linked to a stock product of its own: two variants cannot share "
    "one. It holds no quantity itself.",
    "virtual": "Takes the links and variants of its base product, and draws on the same stock. Its base may be virtual "
    "in turn, up to 8 levels.",
}
TRACKED_TYPES = frozenset({"stock", "stock_customisable"})
LINKING_TYPES = frozenset({"customisable", "configurable_stock"})
VISIBILITY_WORDS: Mapping[str, str] = {
    "private": "Nobody else",
    "connected": "All connected retailers",
    "listed": "Chosen retailers",
}
MANY = 3


def is_unlinked(product: Mapping[str, Any]) -> bool:
    """Whether it should be linked to stock and is not: then it is untracked."""
    return product["type"] in LINKING_TYPES and not targets(product)


def targets(product: Mapping[str, Any]) -> list[int]:
    """The base stock products that its own links and those of its variants lead to."""
    links = [product["components"], *(variant["components"] for variant in product["variants"])]
    return list(dict.fromkeys(component["product_id"] for link in links for component in link))


def link_in_words(components: Iterable[Mapping[str, Any]], names: ProductNames) -> str:
    """What one unit draws on: `T01-S`, or `2 x T01-S and S7`; empty for nothing."""
    said = [(component["quantity"], names.sku(component["product_id"])) for component in components]
    return " and ".join(sku if quantity == 1 else f"{quantity:,} x {sku}" for quantity, sku in said)


def draws_on(product: Mapping[str, Any], names: ProductNames) -> str:
    """What the product draws on, for a cell of a list."""
    if product["type"] in TRACKED_TYPES:
        return "Its own stock"
    if product["type"] == "virtual":
        return f"As {names.sku(product['base_product_id'])}"
    if product["components"]:
        return link_in_words(product["components"], names)
    found = targets(product)
    if len(found) > MANY:
        return f"{len(found):,} stock products"
    return ", ".join(names.sku(one) for one in found) or "Nothing"


def needed_names(product: Mapping[str, Any]) -> list[int]:
    """The products whose SKUs `draws_on` says."""
    if product["type"] == "virtual":
        return [product["base_product_id"]]
    found = targets(product)
    return found if product["components"] or len(found) <= MANY else []


def visibility_in_words(visibility: str | list[int], companies: Mapping[int, str]) -> str:
    """Who else sees a product."""
    if isinstance(visibility, str):
        return VISIBILITY_WORDS[visibility]
    if len(visibility) > MANY:
        return f"{len(visibility):,} retailers"
    return ", ".join(company_name(companies, one) for one in visibility)


def attributes_in_words(attributes: Iterable[Mapping[str, str]]) -> str:
    """What makes a variant differ: `Size: Small, Colour: Red`."""
    return ", ".join(f"{one['name']}: {one['value']}" for one in attributes)
