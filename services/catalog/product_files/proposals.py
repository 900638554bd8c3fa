"""From a row of a file to the product as it would be: names become ids, what is left out stays as it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.catalog.domain import LINKING_TYPES, Component, Product, Variant, Violation
from services.catalog.product_files.names import Directory, Named
from services.catalog.product_files.rows import ComponentRow, ProductRow, VariantRow

# A sentence that names more of them helps nobody.
SHOWN_CANDIDATES = 5


@dataclass(slots=True)
class Proposal:
    """A product as it would be, and as it is (`before`, unless it is new); `violations` where a name leads nowhere."""

    product: Product
    before: Product | None
    violations: list[Violation]


def proposal_of(row: ProductRow, owner_id: int, before: Product | None, directory: Directory) -> Proposal:
    """What a row makes of a product; `before` is the owner's product of its type and SKU, if there is one."""
    product = before or Product(owner_id, row.type, row.sku, row.name or "", row.id or 0)
    violations = list(_identity(row, before))
    changes: dict[str, object] = {}
    if row.name is not None:
        changes["name"] = row.name
    if "barcode" in row.model_fields_set:
        changes["barcode"] = row.barcode
    if row.visibility is not None:
        changes["visibility"] = (
            row.visibility if isinstance(row.visibility, str) else tuple(sorted(set(row.visibility)))
        )
    if row.base_product_id is not None:
        changes["base_product_id"] = row.base_product_id
    elif row.base_sku is not None:
        changes["base_product_id"] = _base(row, product, directory, violations)
    changes |= _links(row, product, directory, violations)
    return Proposal(replace(product, **changes), before, violations)  # type: ignore[arg-type]


def _identity(row: ProductRow, before: Product | None) -> Iterator[Violation]:
    if before is None and row.name is None:
        yield Violation("name", f"product {row.sku!r} is new and needs a name")
    if before is not None and row.id not in {None, before.product_id}:
        yield Violation("id", f"the {row.type} product {row.sku!r} has the id {before.product_id} already")


def _links(
    row: ProductRow, product: Product, directory: Directory, violations: list[Violation]
) -> dict[str, tuple[Component, ...] | tuple[Variant, ...]]:
    link = row.link()
    if row.type not in LINKING_TYPES and (link or row.variants):
        # What it names is not looked for: stock of the same file may not be saved yet.
        field = "components" if link else "variants"
        violations.append(Violation(field, f"{product} is {row.type} and has neither links nor variants of its own"))
        return {}
    changes: dict[str, tuple[Component, ...] | tuple[Variant, ...]] = {}
    if link is not None:
        changes["components"] = _components("", link, directory, violations)
    if row.variants is not None:
        changes["variants"] = _variants(row.variants, product, directory, violations)
    return changes


def _variants(
    rows: Sequence[VariantRow], product: Product, directory: Directory, violations: list[Violation]
) -> tuple[Variant, ...]:
    """The whole list; of a variant that stays, what is left out stays as well."""
    known = {variant.sku: variant for variant in product.variants}
    variants = []
    for index, row in enumerate(rows):
        variant = known.get(row.sku, Variant(row.sku))
        if row.attributes is not None:
            variant = replace(variant, attributes=tuple((item.name, item.value) for item in row.attributes))
        link = row.link()
        if link is not None:
            components = _components(f"variants[{index}].", link, directory, violations)
            variant = replace(variant, components=components)
        variants.append(variant)
    return tuple(variants)


def _components(
    prefix: str, rows: Sequence[ComponentRow], directory: Directory, violations: list[Violation]
) -> tuple[Component, ...]:
    components = []
    for index, row in enumerate(rows):
        found = row.product_id
        if row.sku is not None:
            found = directory.stock_named(row.sku, row.type)
        if found is None:
            wanted = f"{row.type or 'stock or stock_customisable'} product with the SKU {row.sku!r}"
            violations.append(
                Violation(f"{prefix}components[{index}].sku", f"there is no {wanted} here, nor a good one in the file")
            )
        else:
            components.append(Component(found, row.quantity))
    return tuple(components)


def _base(row: ProductRow, product: Product, directory: Directory, violations: list[Violation]) -> int | None:
    candidates = directory.bases_named(row.base_sku or "", row.base_type, product.product_id, product.owner_id)
    if len(candidates) == 1:
        return candidates[0].product_id
    wanted = f"{row.base_type or ''} product with the SKU {row.base_sku!r}".lstrip()
    if candidates:
        # Of these products the caller may base its own on any, so it may know of them (docs/visibility.md).
        named = ", ".join(f"{_id_of(item)} ({item.type})" for item in candidates[:SHOWN_CANDIDATES])
        reason = f"the SKU {row.base_sku!r} means several products: {named}; name one by its id, or add base_type"
    else:
        reason = f"there is no {wanted} to base it on here, nor a good one in the file"
    violations.append(Violation("base_sku", reason))
    return product.base_product_id


def _id_of(item: Named) -> str:
    """Its id; what a dry run has just created has none that anybody could use."""
    return str(item.product_id) if item.product_id > 0 else "a new one"
