"""Products as they come in and go out."""

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from services.catalog import domain
from services.catalog.fields import Body, ChosenId, Id, Int, Text, not_null
from shared.events.catalog import ProductType

Visibility = Literal["private", "connected"] | Annotated[list[Id], Field(min_length=1, max_length=1000)]
QUANTITY_LIMIT = 1_000_000


class ComponentBody(Body):
    """One unit draws `quantity` units of the base stock product `product_id`."""

    product_id: Id
    quantity: Int = Field(1, gt=0, le=QUANTITY_LIMIT)


class AttributeBody(Body):
    """What makes a variant differ, e.g. Size: Small."""

    name: Text
    value: Text


class LinkBody(Body):
    """A link to stock: `base_stock_product_id` for a plain one, `components` for a kit; both only if they agree."""

    base_stock_product_id: Id | None = None
    components: Annotated[tuple[ComponentBody, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        plain, has_components = self.base_stock_product_id, "components" in self.model_fields_set
        if plain is not None and has_components and domain.plain_target(self._components()) != plain:
            message = f"name either base_stock_product_id ({plain}) or components, not two different links"
            raise ValueError(message)
        return self

    def _components(self) -> tuple[domain.Component, ...]:
        return tuple(domain.Component(item.product_id, item.quantity) for item in self.components)

    def link(self) -> tuple[domain.Component, ...]:
        """The link as components; a plain one is one component of quantity 1 (rule 8)."""
        if self.base_stock_product_id is not None:
            return (domain.Component(self.base_stock_product_id),)
        return self._components()


class VariantBody(LinkBody):
    """A variant; its SKU is what orders name."""

    sku: Text
    attributes: Annotated[tuple[AttributeBody, ...], Field(max_length=20)] = ()

    def variant(self, variant_id: int) -> domain.Variant:
        """As the domain knows it; `variant_id` is 0 for a new one."""
        attributes = tuple((item.name, item.value) for item in self.attributes)
        return domain.Variant(self.sku, attributes, self.link(), variant_id)


Variants = Annotated[tuple[VariantBody, ...], Field(max_length=1000)]


class ProductBody(LinkBody):
    """A new product; `owner_id` is for the platform admin, who must name the owner."""

    id: ChosenId | None = None
    owner_id: Id | None = None
    sku: Text
    name: Text
    type: ProductType
    barcode: Text | None = None
    base_product_id: Id | None = None
    variants: Variants = ()
    visibility: Visibility = "private"

    def product(self, owner_id: int) -> domain.Product:
        """As the domain knows it."""
        return domain.Product(
            owner_id=owner_id,
            type=self.type,
            sku=self.sku,
            name=self.name,
            product_id=self.id or 0,
            barcode=self.barcode,
            base_product_id=self.base_product_id,
            components=self.link(),
            variants=tuple(item.variant(0) for item in self.variants),
            visibility=_visibility(self.visibility),
        )


class DuplicateBody(Body):
    """What is different in a duplicate; the name stays where none is given."""

    id: ChosenId | None = None
    sku: Text
    name: Text | None = None


class ProductChange(LinkBody):
    """A change of a product: what is left out stays; `variants` and `components` replace the whole list."""

    sku: Text | None = None
    name: Text | None = None
    type: ProductType | None = None
    barcode: Text | None = None
    base_product_id: Id | None = None
    variants: Variants | None = None
    visibility: Visibility | None = None

    _not_null = field_validator("sku", "name", "type", "variants", "visibility", mode="before")(not_null)

    def changed(self, before: domain.Product) -> domain.Product:
        """The product as it would be."""
        given = self.model_fields_set
        after = replace(
            before,
            sku=self.sku or before.sku,
            name=self.name or before.name,
            type=self.type or before.type,
            barcode=self.barcode if "barcode" in given else before.barcode,
            base_product_id=self.base_product_id if "base_product_id" in given else before.base_product_id,
            visibility=_visibility(self.visibility) if self.visibility else before.visibility,
        )
        if given & {"base_stock_product_id", "components"}:
            after = replace(after, components=self.link())
        if self.variants is not None:
            ids = {variant.sku: variant.variant_id for variant in before.variants}
            after = replace(after, variants=tuple(item.variant(ids.get(item.sku, 0)) for item in self.variants))
        return after


def _visibility(value: Literal["private", "connected"] | list[int]) -> domain.Visibility:
    return value if isinstance(value, str) else tuple(sorted(set(value)))


class Component(BaseModel):
    """One unit draws `quantity` units of the base stock product `product_id`."""

    product_id: int
    quantity: int


class Attribute(BaseModel):
    """What makes a variant differ."""

    name: str
    value: str


class Variant(BaseModel):
    """A variant; `base_stock_product_id` is null for kits, whose `components` say it all."""

    id: int
    sku: str
    attributes: list[Attribute]
    base_stock_product_id: int | None
    components: list[Component]

    @classmethod
    def of(cls, variant: domain.Variant) -> Self:
        """As it is shown."""
        return cls(
            id=variant.variant_id,
            sku=variant.sku,
            attributes=[Attribute(name=name, value=value) for name, value in variant.attributes],
            base_stock_product_id=domain.plain_target(variant.components),
            components=components_of(variant.components),
        )


class Product(BaseModel):
    """A product with its own links; what a virtual one draws on is told by its stock links."""

    id: int
    owner_id: int
    sku: str
    name: str
    type: ProductType
    barcode: str | None
    base_product_id: int | None
    base_stock_product_id: int | None
    components: list[Component]
    variants: list[Variant]
    visibility: Literal["private", "connected"] | list[int]
    version: int

    @classmethod
    def of(cls, product: domain.Product) -> Self:
        """As it is shown."""
        return cls(
            id=product.product_id,
            owner_id=product.owner_id,
            sku=product.sku,
            name=product.name,
            type=product.type,
            barcode=product.barcode,
            base_product_id=product.base_product_id,
            base_stock_product_id=domain.plain_target(product.components),
            components=components_of(product.components),
            variants=[Variant.of(variant) for variant in product.variants],
            visibility=product.visibility if isinstance(product.visibility, str) else list(product.visibility),
            version=product.version,
        )


class Warned(BaseModel):
    """What was done though it may not be what was meant."""

    code: Literal["independent_stock"]
    detail: str


class Duplicate(Product):
    """A duplicate, and what to know of it."""

    warnings: list[Warned]

    @classmethod
    def with_warnings(cls, product: domain.Product, warnings: list[domain.Warned]) -> Self:
        """As it is shown."""
        shown = [Warned(code=item.code, detail=item.sentence) for item in warnings]
        return cls(warnings=shown, **Product.of(product).model_dump())


class Products(BaseModel):
    """A page of products."""

    items: list[Product]
    next_cursor: str | None


def components_of(components: tuple[domain.Component, ...]) -> list[Component]:
    """A link as it is shown."""
    return [Component(product_id=item.product_id, quantity=item.quantity) for item in components]


class StockComponent(Component):
    """A base stock product that one unit draws on."""

    sku: str


class StockLink(BaseModel):
    """What can be ordered (the product itself, or a variant) and what one unit draws on; nothing means untracked."""

    variant_id: int | None
    variant_sku: str | None
    attributes: list[Attribute]
    components: list[StockComponent]


class StockLinks(BaseModel):
    """Where a product's stock comes from: `bases` are its virtual bases in order, the last one's links are `parts`.

    Where the last one was removed, or is of a supplier the caller is not connected with any more, `parts` is empty.
    """

    product_id: int
    bases: list[int]
    tracked: bool
    parts: list[StockLink]
    reason: str | None = Field(description="Why it leads nowhere, if it does.")
