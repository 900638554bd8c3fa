"""What a product may be and link to: architecture, section 3, rules 1-9, after the two KornitX articles. No I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shared.events.catalog import TRACKED_TYPES, CompanyRole, ProductType

# Chains of virtual products, counted without the base that is not virtual (rule 6).
VIRTUAL_DEPTH_LIMIT = 8
# Links of the other types are wrong wherever they lead.
LINKING_TYPES: frozenset[ProductType] = frozenset({"customisable", "configurable_stock"})
Visibility = Literal["private", "connected"] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One unit of the linking product or variant draws `quantity` units of this base stock product."""

    product_id: int
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant, known by its SKU; `attributes` are `(name, value)`; `variant_id` is 0 before it is saved."""

    sku: str
    attributes: tuple[tuple[str, str], ...] = ()
    components: tuple[Component, ...] = ()
    variant_id: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """A product as proposed, or as saved; before that `product_id` (unless it was chosen) and `version` are 0."""

    owner_id: int
    type: ProductType
    sku: str
    name: str
    product_id: int = 0
    barcode: str | None = None
    base_product_id: int | None = None
    components: tuple[Component, ...] = ()
    variants: tuple[Variant, ...] = ()
    visibility: Visibility = "private"
    version: int = 0

    @property
    def is_tracked(self) -> bool:
        """Whether inventory keeps stock of this very product (rule 1)."""
        return self.type in TRACKED_TYPES

    @property
    def is_unlinked(self) -> bool:
        """Whether it should be linked and is not, in any of its parts (rule 3)."""
        return self.type in LINKING_TYPES and not self.target_ids

    @property
    def target_ids(self) -> set[int]:
        """The products its own links and those of its variants lead to."""
        links = (self.components, *(variant.components for variant in self.variants))
        return {component.product_id for components in links for component in components}

    @property
    def parts(self) -> tuple[Variant, ...]:
        """What can be ordered by itself: the variants, else the product itself, as a variant with the SKU ''."""
        return self.variants or (
            Variant("", (), (Component(self.product_id),) if self.is_tracked else self.components),
        )

    def __str__(self) -> str:
        """How a sentence calls it."""
        return f"product {self.product_id}" if self.product_id else f"product {self.sku!r}"


@dataclass(frozen=True, slots=True)
class Known:
    """What must be known of a product that another one refers to."""

    owner_id: int
    type: ProductType


@dataclass(frozen=True, slots=True)
class Facts:
    """What surrounds a proposed product, read under the locks of section 3.

    `owner_role` is `None` when there is no such company; `known` holds the living products it refers to; `chain` its
    proposed base, that one's base and so on; `levels_below` is the longest chain of virtual products on top of it;
    `connected` the companies its owner has an active connection with.
    """

    owner_role: CompanyRole | None
    known: Mapping[int, Known]
    chain: tuple[int, ...] = ()
    levels_below: int = 0
    connected: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: the field it shows in, and a sentence for whoever sent it."""

    field: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Dependant:
    """A product that needs another one to stay what it is: it links to it, or is virtual on top of it."""

    product_id: int
    owner_id: int
    sku: str
    how: Literal["links to it", "is virtual and based on it"]


@dataclass(frozen=True, slots=True)
class Warned:
    """What was done though it may not be what was meant: a code for programs, a sentence for people."""

    code: Literal["independent_stock"]
    sentence: str


def copy_of(product: Product, *, sku: str, name: str | None, product_id: int | None) -> Product:
    """A duplicate as proposed: another SKU, variants of its own, and the same base product and links to stock.

    Without the barcode, which names one article: a look-up by it must find one product. And private, until somebody
    shows it: a copy is seldom finished when it is made.
    """
    return replace(
        product,
        product_id=product_id or 0,
        sku=sku,
        name=name or product.name,
        barcode=None,
        variants=tuple(replace(variant, variant_id=0) for variant in product.variants),
        visibility="private",
        version=0,
    )


def warnings_of_copy(original: Product, copy: Product) -> list[Warned]:
    """What whoever duplicated `original` should know of the saved `copy` (rule 4)."""
    if original.type != "stock_customisable":
        return []
    sentence = (
        f"product {copy.product_id} is a second stock product, with a stock of its own that starts at 0: if it is the "
        f"same physical unit as product {original.product_id}, orders for one will not lower the other; make it "
        f"customisable with base_stock_product_id {original.product_id} instead"
    )
    return [Warned("independent_stock", sentence)]


def as_seen_by(product: Product, company_id: int | None) -> Product:
    """The product as shown to a company (`None`: the platform admin): a retailer sees only itself among `visibility`.

    Whom else the supplier shows it to is no business of a retailer's (promise P9; docs/visibility.md).
    """
    if company_id is None or company_id == product.owner_id or isinstance(product.visibility, str):
        return product
    return replace(product, visibility=tuple(listed for listed in product.visibility if listed == company_id))


def violations(product: Product, facts: Facts, before: Product | None = None) -> list[Violation]:
    """Every rule that `product` would break; `before` is what it was, when it changes.

    What stays as it was is not held against it: a connection that ended must not block a new name.
    """
    return [
        *_ownership(product, facts),
        *_shape(product),
        *_repetitions(product),
        *_targets(product, facts),
        *_base(product, facts, before),
        *_visibility(product, facts, before),
    ]


def _ownership(product: Product, facts: Facts) -> Iterator[Violation]:
    if facts.owner_role is None:
        yield Violation("owner_id", f"there is no company {product.owner_id}")
    if facts.owner_role == "retailer" and product.type != "virtual":
        yield Violation(
            "type",
            f"{product} is {product.type}, but a retailer owns only virtual products: "
            "name the supplier's product as base_product_id",
        )


def _shape(product: Product) -> Iterator[Violation]:
    """Rules 2-6: which of variants, links and base a type has."""
    if product.base_product_id is not None and product.type != "virtual":
        yield Violation("base_product_id", f"{product} is {product.type}: only virtual products have a base product")
    match product.type:
        case "stock" | "stock_customisable":
            yield from _holds_stock_itself(product)
        case "customisable" if product.variants and product.components:
            yield Violation(_link_field(product), f"{product} cannot have both variants and a base stock product")
        case "customisable" if any(variant.components for variant in product.variants):
            yield from _unlinked_variants(product, "link all variants or none")
        case "configurable_stock":
            yield from _is_configurable_stock(product)
        case "virtual":
            yield from _is_virtual(product)


def _holds_stock_itself(product: Product) -> Iterator[Violation]:
    if product.variants:
        yield Violation(
            "variants", f"{product} is {product.type} and cannot have variants: make a stock product for each"
        )
    if product.components:
        yield Violation(
            _link_field(product), f"{product} is {product.type} and cannot have a base stock product: it is one"
        )


def _is_configurable_stock(product: Product) -> Iterator[Violation]:
    if not product.variants:
        yield Violation("variants", f"{product} is configurable_stock and must have variants")
    if product.components:
        yield Violation(
            _link_field(product),
            f"{product} is configurable_stock and cannot have a base stock product itself: link its variants",
        )
    yield from _unlinked_variants(product, "each variant of configurable_stock needs its own")
    yield from _shared_stock(product)


def _is_virtual(product: Product) -> Iterator[Violation]:
    if product.base_product_id is None:
        yield Violation("base_product_id", f"{product} is virtual and must have a base product")
    if product.variants:
        yield Violation("variants", f"{product} is virtual and cannot have variants: it takes those of its base")
    if product.components:
        yield Violation(
            _link_field(product), f"{product} is virtual and cannot have a base stock product: it takes its base's"
        )


def _unlinked_variants(product: Product, advice: str) -> Iterator[Violation]:
    for index, variant in enumerate(product.variants):
        if not variant.components:
            yield Violation(
                f"variants[{index}].base_stock_product_id",
                f"variant {variant.sku!r} of {product} has no base stock product: {advice}",
            )


def _shared_stock(product: Product) -> Iterator[Violation]:
    """Rule 5: a variant's stock product is its own, else one variant's orders would lower another's stock."""
    drawn_by: dict[int, int] = {}
    for index, variant in enumerate(product.variants):
        for position, component in enumerate(variant.components):
            first = drawn_by.setdefault(component.product_id, index)
            if first != index:
                yield Violation(
                    _component_field(f"variants[{index}].", variant.components, position),
                    f"variants {product.variants[first].sku!r} and {variant.sku!r} of {product} share the stock "
                    f"product {component.product_id}: each variant of configurable_stock needs its own",
                )


def _repetitions(product: Product) -> Iterator[Violation]:
    skus: set[str] = set()
    for index, variant in enumerate(product.variants):
        if variant.sku in skus:
            yield Violation(f"variants[{index}].sku", f"{product} has two variants with SKU {variant.sku!r}")
        skus.add(variant.sku)
        names = [name for name, _ in variant.attributes]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Violation(
                f"variants[{index}].attributes", f"variant {variant.sku!r} of {product} has two values of {name!r}"
            )
    for field, components in _links_with_fields(product):
        ids = [component.product_id for component in components]
        for product_id in sorted({product_id for product_id in ids if ids.count(product_id) > 1}):
            yield Violation(
                f"{field}components", f"product {product_id} is named twice in one link: name it once with its quantity"
            )


def _targets(product: Product, facts: Facts) -> Iterator[Violation]:
    """Rule 7; a product that is unknown and one of somebody else's look the same to the caller."""
    if product.type not in LINKING_TYPES:
        return
    for prefix, components in _links_with_fields(product):
        for index, component in enumerate(components):
            field = _component_field(prefix, components, index)
            target = facts.known.get(component.product_id)
            if component.product_id == product.product_id:
                yield Violation(field, f"{product} cannot be its own base stock product")
            elif target is None or target.owner_id != product.owner_id:
                yield Violation(
                    field, f"product {component.product_id} cannot be a base stock product: this supplier has none such"
                )
            elif target.type not in TRACKED_TYPES:
                yield Violation(
                    field,
                    f"product {component.product_id} cannot be a base stock product: it is {target.type}, "
                    "not stock or stock_customisable",
                )


def _base(product: Product, facts: Facts, before: Product | None) -> Iterator[Violation]:
    """Rule 6: whose product may be the base, no cycle, not too deep."""
    base_id = product.base_product_id
    if product.type != "virtual" or base_id is None or (before is not None and before.base_product_id == base_id):
        return
    field = "base_product_id"
    usable = {product.owner_id} | (facts.connected if facts.owner_role == "retailer" else frozenset())
    bases = [facts.known.get(ancestor_id) for ancestor_id in facts.chain]
    if base_id == product.product_id or product.product_id in facts.chain:
        yield Violation(field, f"{product} cannot be based on itself, directly or through other virtual products")
    elif not bases or any(base is None or base.owner_id not in usable for base in bases):
        yield Violation(
            field,
            f"product {base_id} cannot be the base product: there is none such among the owner's products"
            + (" and those of suppliers it is connected with" if facts.owner_role == "retailer" else ""),
        )
    else:
        depth = 1 + sum(1 for base in bases if base is not None and base.type == "virtual") + facts.levels_below
        if depth > VIRTUAL_DEPTH_LIMIT:
            yield Violation(
                field,
                f"{product} would make a chain of {depth} virtual products; at most {VIRTUAL_DEPTH_LIMIT} are allowed",
            )


def _visibility(product: Product, facts: Facts, before: Product | None) -> Iterator[Violation]:
    if isinstance(product.visibility, str):
        return
    listed = before.visibility if before is not None and not isinstance(before.visibility, str) else ()
    for index, company_id in enumerate(product.visibility):
        if company_id not in facts.connected and company_id not in listed:
            yield Violation(
                f"visibility[{index}]", f"company {company_id} is no retailer with an active connection to the owner"
            )


def _is_plain(components: Sequence[Component]) -> bool:
    return len(components) == 1 and components[0].quantity == 1


def plain_target(components: Sequence[Component]) -> int | None:
    """The one base stock product of a link without kits: a single component of quantity 1, else `None` (rule 8)."""
    return components[0].product_id if _is_plain(components) else None


def _link_field(product: Product) -> str:
    return "base_stock_product_id" if _is_plain(product.components) else "components"


def _component_field(prefix: str, components: Sequence[Component], index: int) -> str:
    return f"{prefix}base_stock_product_id" if _is_plain(components) else f"{prefix}components[{index}].product_id"


def _links_with_fields(product: Product) -> Iterator[tuple[str, tuple[Component, ...]]]:
    yield "", product.components
    for index, variant in enumerate(product.variants):
        yield f"variants[{index}].", variant.components


def dependants_in_words(dependants: Iterable[Dependant], caller_id: int | None) -> tuple[str, list[Violation]]:
    """Who stands in the way (rule 7): a sentence, and the caller's own products one by one; others are only counted.

    `caller_id` is the caller's company, `None` for the platform admin, who may see all.
    """
    all_of_them = list(dependants)
    own = [item for item in all_of_them if caller_id is None or item.owner_id == caller_id]
    parts = [f"product {item.product_id} ({item.sku})" for item in own[:10]]
    if len(own) > len(parts):
        parts.append(f"{len(own) - len(parts)} more of them")
    if others := len(all_of_them) - len(own):
        parts.append(f"{others} {'product' if others == 1 else 'products'} of other companies")
    listed = [Violation(f"products[{item.product_id}]", f"product {item.product_id} {item.how}") for item in own]
    return ", ".join(parts), listed


def connection_violations(supplier_role: CompanyRole | None, retailer_role: CompanyRole | None) -> list[Violation]:
    """What is wrong with the two ends of a dropship connection; `None` stands for a company that does not exist."""
    ends = (("supplier_id", "supplier", supplier_role), ("retailer_id", "retailer", retailer_role))
    return [
        Violation(field, f"there is no such {wanted}" if role is None else f"this company is a {role}, not a {wanted}")
        for field, wanted, role in ends
        if role != wanted
    ]
