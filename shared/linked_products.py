"""What else a retailer sees of a base stock product: the products that draw on it and that it owns or may see.

For webhooks and for polling, which must say the same. It reads the service's own copy of the catalog.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text

from shared.catalog_view import VIRTUAL_DEPTH_LIMIT
from shared.database import Session

# Reverse of the links: parts that draw on the stock, then versions of their products, versions of those, and so on. The
# supplier's come first and are the same for all companies; on top of them each company has its own and never another's
# (rule 6), so that what one company has costs no other. Versions are looked for by product, once for all its variants,
# and cut before they are multiplied by these. They are no plain `limit`, which PostgreSQL would plan for badly.
FIND_LINKED = text("""
    with recursive wanted as (
        select * from unnest(cast(:company_ids as bigint[]), cast(:stock_ids as bigint[])) as w (company_id, stock_id)
    ), parts as (
        select c.stock_id, part.product_id as end_id, part.variant_sku, part.attributes
        from (select distinct stock_id from wanted) c
        join product_parts part on part.component_ids @> array[c.stock_id]
    ), ends as (
        select distinct w.company_id, part.end_id from wanted w join parts part on part.stock_id = w.stock_id
    ), supplied (end_id, owner_id, product_id, depth) as (
        select p.product_id, p.owner_id, p.product_id, 0
        from (select distinct end_id from ends) e join products p on p.product_id = e.end_id
        union all
        select d.end_id, d.owner_id, v.product_id, d.depth + 1
        from supplied d
        join products v on v.base_product_id = d.product_id and v.owner_id = d.owner_id and v.type = 'virtual'
        where d.depth < :depth_limit
    ), own (company_id, end_id, product_id, sku, removed, depth) as (
        select e.company_id, e.end_id, v.product_id, v.sku, v.removed, d.depth + 1
        from ends e
        join supplied d on d.end_id = e.end_id and d.owner_id <> e.company_id
        join products v on v.base_product_id = d.product_id and v.owner_id = e.company_id and v.type = 'virtual'
        where d.depth < :depth_limit
        union all
        select d.company_id, d.end_id, v.product_id, v.sku, v.removed, d.depth + 1
        from own d
        join products v on v.base_product_id = d.product_id and v.owner_id = d.company_id and v.type = 'virtual'
        where d.depth < :depth_limit
    ), shown as (
        select company_id, end_id, product_id, sku, true as is_own from own where not removed
        union all
        select e.company_id, e.end_id, p.product_id, p.sku, p.owner_id = e.company_id
        from ends e
        join supplied d on d.end_id = e.end_id
        join products p on p.product_id = d.product_id
        left join connections c
            on c.supplier_id = p.owner_id and c.retailer_id = e.company_id and c.state = 'active'
        where not p.removed and p.type not in ('stock', 'stock_customisable')
          and (p.owner_id = e.company_id or (c.connection_id is not null and (
            p.visibility = 'connected' or (p.visibility = 'listed' and p.visible_to @> array[e.company_id]))))
    ), cut as (
        select * from (
            select *, row_number() over (partition by company_id, end_id order by is_own desc, product_id) as place
            from shown) s
        where cast(:found_limit as bigint) is null or s.place <= :found_limit
    ), placed as (
        select w.company_id, w.stock_id, c.product_id, c.sku, c.is_own, c.end_id, part.variant_sku, part.attributes,
            row_number() over (partition by w.company_id, w.stock_id
                order by c.is_own desc, c.product_id, part.variant_sku) as place
        from wanted w
        join parts part on part.stock_id = w.stock_id
        join cut c on c.company_id = w.company_id and c.end_id = part.end_id
    )
    select l.company_id, l.stock_id, l.product_id, l.sku, l.is_own, e.sku as end_sku, l.variant_sku, l.attributes,
        l.place
    from placed l
    join products e on e.product_id = l.end_id
    where cast(:found_limit as bigint) is null or l.place <= :found_limit
    order by l.company_id, l.stock_id, l.product_id, l.variant_sku
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


@dataclass(slots=True)
class Linked:
    """What a retailer is told to draw on a base stock product, in order; `more` says that there is more than that."""

    parts: list[LinkedPart] = field(default_factory=list)
    more: bool = False


async def find_linked(
    session: Session, wanted: Collection[tuple[int, int]], limit: int | None = None
) -> dict[tuple[int, int], Linked]:
    """For each `(retailer, base stock product)` what that retailer owns or may see and that draws on it.

    At most `limit` of each, its own before others'; `None` for all.
    """
    rows = await session.execute(
        FIND_LINKED,
        {
            "company_ids": [company_id for company_id, _ in wanted],
            "stock_ids": [stock_id for _, stock_id in wanted],
            "depth_limit": VIRTUAL_DEPTH_LIMIT,
            # One more, which tells that there are more.
            "found_limit": None if limit is None else limit + 1,
        },
    )
    linked = {key: Linked() for key in wanted}
    for company_id, stock_id, product_id, sku, is_own, end_sku, variant_sku, attributes, place in rows.all():
        found = linked[company_id, stock_id]
        if limit is not None and place > limit:
            found.more = True
        else:
            found.parts.append(LinkedPart(product_id, sku, variant_sku, attributes, is_own, end_sku))
    return linked
