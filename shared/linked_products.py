"""What else a retailer sees of a base stock product: the products that draw on it and that it owns or may see.

For webhooks and for polling, which must say the same. It reads the service's own copy of the catalog.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from shared.catalog_view import VIRTUAL_DEPTH_LIMIT
from shared.database import Session

# Reverse of the links: parts that draw on the stock, then versions of them, versions of those, and so on.
FIND_LINKED = text("""
    with recursive wanted as (
        select * from unnest(cast(:company_ids as bigint[]), cast(:stock_ids as bigint[])) as w (company_id, stock_id)
    ), drawing (stock_id, product_id, end_id, variant_sku, attributes, depth) as (
        select c.stock_id, part.product_id, part.product_id, part.variant_sku, part.attributes, 0
        from (select distinct stock_id from wanted) c join product_parts part on part.component_ids @> array[c.stock_id]
        union all
        select d.stock_id, v.product_id, d.end_id, d.variant_sku, d.attributes, d.depth + 1
        from drawing d join products v on v.base_product_id = d.product_id and v.type = 'virtual'
        where d.depth < :depth_limit
    )
    select w.company_id, w.stock_id, p.product_id, p.sku, p.owner_id = w.company_id as is_own, e.sku as end_sku,
        d.variant_sku, d.attributes
    from wanted w
    join drawing d on d.stock_id = w.stock_id
    join products p on p.product_id = d.product_id
    join products e on e.product_id = d.end_id
    left join connections c
        on c.supplier_id = p.owner_id and c.retailer_id = w.company_id and c.state = 'active'
    where not p.removed and p.type not in ('stock', 'stock_customisable')
      and (p.owner_id = w.company_id or (c.connection_id is not null and (
        p.visibility = 'connected' or (p.visibility = 'listed' and p.visible_to @> array[w.company_id]))))
    order by w.company_id, w.stock_id, p.product_id, d.variant_sku
""")


@dataclass(frozen=True, slots=True)
class LinkedPart:
    """A product, or one variant of it (`""` for the product itself), that draws on a base stock product.

    `attributes` is `[{"name": ..., "value": ...}]`, in the supplier's order. `is_own` says that the retailer owns it;
    `end_sku` is the SKU of the supplier's product at the end of its chain of virtual bases, or its own.
    """

    product_id: int
    sku: str
    variant_sku: str
    attributes: Sequence[dict[str, str]]
    is_own: bool = False
    end_sku: str = ""

    @property
    def variant(self) -> dict[str, object] | None:
        """The variant as both formats have it."""
        if not self.variant_sku:
            return None
        variant: dict[str, object] = {f"attribute_{number}": one for number, one in enumerate(self.attributes, 1)}
        return variant | {"sku": self.variant_sku}


async def find_linked(session: Session, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], list[LinkedPart]]:
    """For each `(retailer, base stock product)` what that retailer owns or may see and that draws on it, in order."""
    rows = await session.execute(
        FIND_LINKED,
        {
            "company_ids": [company_id for company_id, _ in wanted],
            "stock_ids": [stock_id for _, stock_id in wanted],
            "depth_limit": VIRTUAL_DEPTH_LIMIT,
        },
    )
    linked: dict[tuple[int, int], list[LinkedPart]] = {}
    for company_id, stock_id, product_id, sku, is_own, end_sku, variant_sku, attributes in rows.all():
        part = LinkedPart(product_id, sku, variant_sku, attributes, is_own, end_sku)
        linked.setdefault((company_id, stock_id), []).append(part)
    return linked
