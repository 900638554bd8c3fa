"""What items keep for their lists beside totals: whether they are listed, and whether anything draws on them.

Both follow from the copy of the catalog; whoever changes that has them looked up anew, under the locks of the items.
"""

from collections.abc import Collection

from sqlalchemy import text

from services.inventory.domain.checking import Listing
from shared.database import Session, plan_anew

# What draws on stock is of the same supplier (rule 7); a `stock_customisable` product is sold as it is. Counted, and
# each part's product asked for by itself: while a catalog is taken in nothing is known of the tables yet, and for
# `exists`, or for a join, all parts or all products of the supplier would be read for each item.
LISTINGS = """
    select i.product_id, coalesce(not p.removed and p.type in ('stock', 'stock_customisable'), false) as is_listed,
        coalesce(not p.removed and p.type = 'stock', false) and 0 = (
            select count(*) from product_parts part where part.component_ids @> array[i.product_id] and (
                select q.owner_id = i.supplier_id and not q.removed and q.type in ('customisable', 'configurable_stock')
                from products q where q.product_id = part.product_id)) as is_unlinked
    from stock_items i join products p on p.product_id = i.product_id
    where i.product_id = any(cast(:product_ids as bigint[]))
"""
LOCK_ITEMS = text("""
    select product_id from stock_items
    where product_id = any(cast(:product_ids as bigint[]) || array(
        select unnest(component_ids) from product_parts where product_id = any(cast(:product_ids as bigint[]))))
    order by product_id for update
""")
# A statement of its own, after the locks: it sees what was committed by those that it waited for.
RENEW_LISTINGS = text(f"""
    update stock_items i set is_listed = n.is_listed, is_unlinked = n.is_unlinked from ({LISTINGS}) n
    where i.product_id = n.product_id and (i.is_listed, i.is_unlinked) <> (n.is_listed, n.is_unlinked)
""")  # noqa: S608 - of the one above
FIND_WRONG_LISTINGS = text(f"""
    select i.product_id, i.is_listed, i.is_unlinked, n.is_listed, n.is_unlinked
    from stock_items i join ({LISTINGS}) n on n.product_id = i.product_id
    where (i.is_listed, i.is_unlinked) <> (n.is_listed, n.is_unlinked) order by i.product_id
""")  # noqa: S608 - of the one above


async def renew_listings(session: Session, product_ids: Collection[int]) -> None:
    """Look up anew whether these products are listed and unlinked, and all that they draw on.

    Locks the items: to be called last, when the products are as they will be.
    """
    if not product_ids:
        return
    locked = (await session.execute(LOCK_ITEMS, {"product_ids": sorted(product_ids)})).scalars().all()
    if locked:
        # While a catalog is taken in, a plan that is kept would still be that for the few links there were at first.
        await plan_anew(session)
        await session.execute(RENEW_LISTINGS, {"product_ids": list(locked)})


async def find_wrong_listings(session: Session, product_ids: Collection[int]) -> list[tuple[int, Listing, Listing]]:
    """Of these items, `(product id, what it keeps, what the copy of the catalog says)` where the two differ."""
    rows = (await session.execute(FIND_WRONG_LISTINGS, {"product_ids": list(product_ids)})).all()
    return [(row[0], Listing(*row[1:3]), Listing(*row[3:5])) for row in rows]
