"""Which products the SKUs in a file mean (rule 9)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Row, text

from services.catalog.domain import Product
from services.catalog.product_files.names import Directory, Name, Named
from services.catalog.store.products import find_products
from shared.database import Session
from shared.events.catalog import ProductType

# One look into the index for each: plans are kept, and this one may be made while there is hardly a product.
FIND_BY_NAME = text("""
    select p.product_id from unnest(cast(:types as text[]), cast(:skus as text[])) as n (type, sku)
    cross join lateral (
        select product_id from products
        where owner_id = :owner_id and type = n.type and sku = n.sku and removed_at is null limit 1) p
""")
FIND_STOCK = text("""
    select s.sku, p.product_id, p.type, p.owner_id from unnest(cast(:skus as text[])) as s (sku)
    join products p on p.owner_id = :owner_id and p.type in ('stock', 'stock_customisable') and p.sku = s.sku
        and p.removed_at is null
""")
# A retailer may base its products on any of a connected supplier's, shown or not (docs/visibility.md).
FIND_BASES = text("""
    with usable as (
        select cast(:owner_id as bigint) as owner_id
        union
        select supplier_id from connections where retailer_id = :owner_id and state = 'active'
    ), types (type) as (
        values ('stock'), ('customisable'), ('stock_customisable'), ('configurable_stock'), ('virtual')
    )
    select s.sku, p.product_id, p.type, p.owner_id from unnest(cast(:skus as text[])) as s (sku)
    cross join usable u cross join types t
    join products p on p.owner_id = u.owner_id and p.type = t.type and p.sku = s.sku and p.removed_at is null
    order by p.product_id
""")
FIND_NAMES = text("""
    select product_id, owner_id, type, sku from products where product_id = any(cast(:product_ids as bigint[]))
""")


async def find_by_name(
    session: Session, owner_id: int, names: Sequence[tuple[ProductType, str]]
) -> dict[tuple[ProductType, str], Product]:
    """The owner's products of these types and SKUs, as they are."""
    values = {"owner_id": owner_id, "types": [type_ for type_, _ in names], "skus": [sku for _, sku in names]}
    ids = (await session.execute(FIND_BY_NAME, values)).scalars().all()
    found = await find_products(session, ids) if ids else []
    return {(product.type, product.sku): product for product in found}


async def find_directory(
    session: Session, owner_id: int, stock_skus: Collection[str], base_skus: Collection[str]
) -> Directory:
    """What these SKUs mean to this owner, as links and as bases."""
    stock = {"owner_id": owner_id, "skus": sorted(stock_skus)}
    bases = {"owner_id": owner_id, "skus": sorted(base_skus)}
    return Directory(
        stock=_by_sku(await session.execute(FIND_STOCK, stock) if stock_skus else ()),
        bases=_by_sku(await session.execute(FIND_BASES, bases) if base_skus else ()),
    )


def _by_sku(rows: Iterable[Row[tuple[str, int, ProductType, int]]]) -> dict[str, list[Named]]:
    found: defaultdict[str, list[Named]] = defaultdict(list)
    for row in rows:
        found[row.sku].append(Named(row.product_id, row.type, row.owner_id))
    return found


async def find_names(session: Session, product_ids: Collection[int]) -> dict[int, Name]:
    """What these products are called, removed ones too."""
    rows = await session.execute(FIND_NAMES, {"product_ids": sorted(product_ids)})
    return {row.product_id: Name(row.owner_id, row.type, row.sku) for row in rows}
