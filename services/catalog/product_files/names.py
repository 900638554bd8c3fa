"""Names of products: how rows refer to them, and what they lead to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.events.catalog import ProductType


@dataclass(frozen=True, slots=True)
class Name:
    """What a product is called: unique per owner and type (rule 9)."""

    owner_id: int
    type: ProductType
    sku: str


@dataclass(frozen=True, slots=True)
class Named:
    """A product with its name."""

    product_id: int
    type: ProductType
    owner_id: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The products that SKUs in rows may mean: `stock` the owner's tracked ones, `bases` what it may base others on."""

    stock: Mapping[str, Sequence[Named]]
    bases: Mapping[str, Sequence[Named]]

    def stock_named(self, sku: str, type_: ProductType | None) -> int | None:
        """The owner's stock product of this SKU: of this type, else `stock`, else `stock_customisable` (rule 9)."""
        found = {item.type: item.product_id for item in self.stock.get(sku, ())}
        if type_ is not None:
            return found.get(type_)
        return found.get("stock") or found.get("stock_customisable")

    def bases_named(self, sku: str, type_: ProductType | None, product_id: int, owner_id: int) -> list[Named]:
        """The products of this SKU (and type, where one is named) that may be a base of product `product_id`.

        The owner's own come first: those of suppliers only count where it has none.
        """
        found = [
            item for item in self.bases.get(sku, ()) if item.product_id != product_id and type_ in {None, item.type}
        ]
        return [item for item in found if item.owner_id == owner_id] or found
