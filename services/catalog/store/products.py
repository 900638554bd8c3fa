"""Products, their variants and links, as they are."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.catalog.domain import Component, Product, Variant, Visibility
from shared.database import Session

# The retailer sees what the supplier shows it, while they are connected; the owner and the admin see all. Lists ask
# the same in ways of their own (`product_lists`).
IS_READABLE = text("""
    select p.product_id from products p
    where p.product_id = :product_id and p.removed_at is null
        and (cast(:company_id as bigint) is null or p.owner_id = :company_id
            or ((p.visibility = 'connected' or :company_id = any(p.visible_to)) and exists (
                select from connections c
                where c.supplier_id = p.owner_id and c.retailer_id = :company_id and c.state = 'active')))
""")
FIND_PRODUCTS = text("""
    select p.product_id, p.owner_id, p.type, p.sku, p.title, p.barcode, p.base_product_id, p.visibility, p.visible_to,
        p.version,
        coalesce((
            select jsonb_agg(jsonb_build_array(c.base_stock_product_id, c.quantity) order by c.component_id)
            from components c where c.product_id = p.product_id and c.variant_id is null
        ), '[]') as components,
        coalesce((
            select jsonb_agg(jsonb_build_object('variant_id', v.variant_id, 'sku', v.sku, 'attributes', v.attributes,
                'components', coalesce((
                    select jsonb_agg(jsonb_build_array(c.base_stock_product_id, c.quantity) order by c.component_id)
                    from components c where c.product_id = p.product_id and c.variant_id = v.variant_id
                ), '[]')) order by v.position)
            from variants v where v.product_id = p.product_id
        ), '[]') as variants
    from products p
    where p.product_id = any(cast(:product_ids as bigint[])) and p.removed_at is null
    order by p.product_id
""").columns(components=JSONB, variants=JSONB)
FIND_SKUS = text("select product_id, sku from products where product_id = any(cast(:product_ids as bigint[]))")
# Of removed products too: versions of retailers whose connection has ended may still stand on them.
FIND_CHAINS = text("""
    with recursive chain as (
        select product_id as first_id, product_id, base_product_id, 1 as level from products
        where product_id = any(cast(:product_ids as bigint[]))
        union all
        select c.first_id, p.product_id, p.base_product_id, c.level + 1 from chain c join products p
            on p.product_id = c.base_product_id
    )
    select first_id, array_agg(product_id order by level) as product_ids from chain group by first_id
""")


async def find_readable(session: Session, product_id: int, company_id: int | None) -> Product | None:
    """The product, if it exists and this company (or the admin, `None`) may see it."""
    ids = await session.execute(IS_READABLE, {"product_id": product_id, "company_id": company_id})
    return next(iter(await find_products(session, ids.scalars().all())), None)


async def find_products(session: Session, product_ids: Collection[int]) -> list[Product]:
    """Those of these products that exist, in the order of their ids."""
    rows = await session.execute(FIND_PRODUCTS, {"product_ids": list(product_ids)})
    return [product_of(dict(row)) for row in rows.mappings()]


async def find_skus(session: Session, product_ids: Collection[int]) -> dict[int, str]:
    """`{product id: SKU}`."""
    rows = await session.execute(FIND_SKUS, {"product_ids": list(product_ids)})
    return {row.product_id: row.sku for row in rows}


async def find_chains(session: Session, product_ids: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Of each of these products that there is: itself, its base, that one's base and so on, by its id."""
    if not product_ids:
        return {}
    rows = await session.execute(FIND_CHAINS, {"product_ids": sorted(product_ids)})
    return {row.first_id: tuple(row.product_ids) for row in rows}


async def find_own(session: Session, product_id: int, company_id: int | None) -> Product | None:
    """A product of this company (of any, for the admin, `None`); `None` when it has no such one."""
    found = next(iter(await find_products(session, [product_id])), None)
    return found if found and company_id in {None, found.owner_id} else None


def product_of(row: Mapping[str, Any]) -> Product:
    """A row of `FIND_PRODUCTS`."""
    visibility: Visibility = tuple(row["visible_to"]) if row["visibility"] == "listed" else row["visibility"]
    return Product(
        owner_id=row["owner_id"],
        type=row["type"],
        sku=row["sku"],
        name=row["title"],
        product_id=row["product_id"],
        barcode=row["barcode"],
        base_product_id=row["base_product_id"],
        components=_components(row["components"]),
        variants=tuple(
            Variant(
                sku=variant["sku"],
                attributes=tuple((item["name"], item["value"]) for item in variant["attributes"]),
                components=_components(variant["components"]),
                variant_id=variant["variant_id"],
            )
            for variant in row["variants"]
        ),
        visibility=visibility,
        version=row["version"],
    )


def _components(pairs: Iterable[tuple[int, int]]) -> tuple[Component, ...]:
    return tuple(Component(product_id, quantity) for product_id, quantity in pairs)
