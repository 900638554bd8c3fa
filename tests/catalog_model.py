"""A catalog in memory that decides by the real rules, operations to try on it, and what must hold whatever is tried."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, NamedTuple, get_args

from services.catalog.domain import (
    VIRTUAL_DEPTH_LIMIT,
    Component,
    Facts,
    Known,
    Product,
    Variant,
    copy_of,
    violations,
)
from shared.events.catalog import CompanyRole, ProductType

ROLES: dict[int, CompanyRole] = {1: "supplier", 2: "supplier", 11: "retailer", 12: "retailer"}
SUPPLIERS, RETAILERS = (1, 2), (11, 12)
FIRST_ID = 100


class Operation(NamedTuple):
    """Something somebody asks of the catalog; `product` as it is proposed, `pair` a supplier and a retailer."""

    kind: Literal["create", "change", "remove", "duplicate", "connect", "end"]
    product: Product | None = None
    original_id: int = 0
    pair: tuple[int, int] = (0, 0)


@dataclass
class Model:
    """All products that ever were, and who is connected; `cut` are those removed while versions stood on them."""

    rows: dict[int, Product] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    connections: dict[tuple[int, int], bool] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)

    @property
    def living(self) -> dict[int, Product]:
        """The products that were not removed."""
        return {product_id: row for product_id, row in self.rows.items() if product_id not in self.removed}

    def apply(self, operation: Operation) -> bool:
        """Do it, if the rules allow it; says whether they do."""
        match operation.kind:
            case "connect" | "end":
                active = operation.kind == "connect"
                news = self.connections.get(operation.pair, False) != active
                self.connections[operation.pair] = active
                return news or not active
            case "remove":
                return self._remove(operation.original_id)
        proposed = operation.product
        assert proposed is not None
        if operation.kind == "change":
            return self._change(proposed)
        taken = self.rows.get(proposed.product_id)
        reusable = taken is None or (taken.product_id in self.removed and taken.owner_id == proposed.owner_id)
        return self._keep(proposed) if reusable else False

    def facts(self, product: Product) -> Facts:
        """What store reads of what surrounds a product."""
        chain = tuple(self.chain(product.base_product_id))
        known = {item: self.living[item] for item in product.target_ids | set(chain) if item in self.living}
        return Facts(
            owner_role=ROLES.get(product.owner_id),
            known={item: Known(row.owner_id, row.type) for item, row in known.items()},
            chain=chain,
            levels_below=self._levels_below(product.product_id),
            connected=frozenset(
                retailer if supplier == product.owner_id else supplier
                for (supplier, retailer), active in self.connections.items()
                if active and product.owner_id in {supplier, retailer}
            ),
        )

    def chain(self, product_id: int | None) -> Iterator[int]:
        """A product and its bases, removed ones too."""
        while product_id in self.rows:
            assert product_id is not None
            yield product_id
            product_id = self.rows[product_id].base_product_id

    def _levels_below(self, product_id: int) -> int:
        on_top = [row.product_id for row in self.living.values() if row.base_product_id == product_id]
        return max((1 + self._levels_below(item) for item in on_top), default=0)

    def _dependants(self, product: Product, *, also_ended: bool = False) -> list[Product]:
        return [
            row
            for row in self.living.values()
            if product.product_id in row.target_ids
            or (
                row.base_product_id == product.product_id
                and (
                    also_ended
                    or row.owner_id == product.owner_id
                    or self.connections.get((product.owner_id, row.owner_id), False)
                )
            )
        ]

    def _change(self, proposed: Product) -> bool:
        before = self.living.get(proposed.product_id)
        if before is None:
            return False
        if proposed == before:
            return True
        if proposed.type != before.type and self._dependants(before):
            return False
        return self._keep(proposed, before)

    def _keep(self, proposed: Product, before: Product | None = None) -> bool:
        same_sku = [
            row.product_id
            for row in self.living.values()
            if (row.owner_id, row.type, row.sku) == (proposed.owner_id, proposed.type, proposed.sku)
        ]
        if violations(proposed, self.facts(proposed), before) or set(same_sku) - {proposed.product_id}:
            return False
        self.rows[proposed.product_id] = proposed
        self.removed.discard(proposed.product_id)
        return True

    def _remove(self, product_id: int) -> bool:
        product = self.living.get(product_id)
        if product is None or self._dependants(product):
            return False
        if self._dependants(product, also_ended=True):
            self.cut.add(product_id)
        self.removed.add(product_id)
        return True


def faults(products: Mapping[int, Product], cut: set[int]) -> list[str]:
    """Where the link graph is wrong: what can be ordered leads to stock of one supplier, or visibly to none."""
    return [fault for product in products.values() for fault in _faults_of(product, products, cut)]


def _faults_of(product: Product, products: Mapping[int, Product], cut: set[int]) -> Iterator[str]:
    chain = [product]
    while chain[-1].type == "virtual":
        base_id = chain[-1].base_product_id
        base = products.get(base_id or 0)
        if base is None:
            if base_id not in cut:
                yield f"{product} is based on {base_id}, which is gone"
            return
        if base in chain:
            yield f"{product} is based on itself through {base}"
            return
        chain.append(base)
    if len(chain) - 1 > VIRTUAL_DEPTH_LIMIT:
        yield f"{product} stands on {len(chain) - 1} virtual products"
    end = chain[-1]
    linked = [bool(part.components) for part in end.parts]
    if any(linked) and not all(linked):
        yield f"{product} is half-linked"
    for component in (item for part in end.parts for item in part.components):
        target = products.get(component.product_id)
        if target is None or not target.is_tracked or target.owner_id != end.owner_id:
            yield f"{product} draws on {component.product_id}, which is no stock of its supplier"


def some_operation(chance: Random, model: Model) -> Operation:
    """What somebody might ask: mostly possible, sometimes not."""
    pair = (chance.choice(SUPPLIERS), chance.choice(RETAILERS))
    living = sorted(model.living)
    kind = chance.choices(
        ("create", "change", "remove", "duplicate", "connect", "end"), weights=(30, 30, 10, 10, 5, 2)
    )[0]
    if kind in {"connect", "end"}:
        return Operation("connect" if kind == "connect" else "end", pair=pair)
    if kind == "create" or not living:
        product_id = max([FIRST_ID, *model.rows]) + 1
        if model.removed and chance.random() < 0.2:
            product_id = chance.choice(sorted(model.removed))
        return Operation("create", _some_product(chance, model, chance.choice((*SUPPLIERS, *ROLES)), product_id))
    original = model.living[chance.choice(living)]
    if kind == "remove":
        return Operation("remove", original_id=original.product_id)
    if kind == "duplicate":
        copy = copy_of(original, sku=_some_sku(chance), name=None, product_id=max(model.rows) + 1)
        return Operation("duplicate", copy, original.product_id)
    return Operation("change", _some_product(chance, model, original.owner_id, original.product_id))


def _some_product(chance: Random, model: Model, owner_id: int, product_id: int) -> Product:
    kinds: tuple[ProductType, ...] = get_args(ProductType)
    kind: ProductType = "virtual" if owner_id in RETAILERS and chance.random() < 0.95 else chance.choice(kinds)
    product = Product(owner_id=owner_id, type=kind, sku=_some_sku(chance), name="P", product_id=product_id)
    if kind == "virtual":
        return replace(product, base_product_id=_some_base(chance, model, owner_id))
    style = chance.choice(("plain", "kit", "variants", "none") if kind == "customisable" else ("variants",))
    if kind in {"stock", "stock_customisable"} and chance.random() < 0.9:
        style = "none"
    if style == "variants":
        variants = (
            Variant(f"V{n}", components=_some_link(chance, model, owner_id)) for n in range(chance.randint(1, 3))
        )
        return replace(product, variants=tuple(variants))
    if style == "none":
        return product
    more = _some_link(chance, model, owner_id) if style == "kit" else ()
    return replace(product, components=_some_link(chance, model, owner_id) + more)


def _some_sku(chance: Random) -> str:
    return f"S{chance.randrange(40)}"


def _some_base(chance: Random, model: Model, owner_id: int) -> int:
    usable = {owner_id} | {
        supplier for (supplier, retailer), on in model.connections.items() if on and retailer == owner_id
    }
    likely = [row.product_id for row in model.living.values() if row.owner_id in usable]
    if likely and chance.random() < 0.95:
        deepest = max(likely, key=lambda one: len(list(model.chain(one))))
        return deepest if chance.random() < 0.4 else chance.choice(likely)
    return chance.choice([FIRST_ID, *model.rows])


def _some_link(chance: Random, model: Model, owner_id: int) -> tuple[Component, ...]:
    if chance.random() < 0.03:
        return ()
    likely = [row.product_id for row in model.living.values() if row.owner_id == owner_id and row.is_tracked]
    pool = likely if likely and chance.random() < 0.95 else [FIRST_ID, *model.rows]
    return (Component(chance.choice(pool), chance.choice((1, 1, 1, 3))),)
