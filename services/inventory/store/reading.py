"""What the API shows: items with their levels, and look-ups by SKU and barcode."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import text

from shared.database import Session

# A list is what is stocked now, and what is found by a code is what can be. One item by its id, or a ledger, is history
# as well: also that of products that were removed or are not tracked any more, and of locations that stock it no more.
LIST_ITEMS = text("""
    select i.product_id, i.supplier_id, p.sku, p.title, p.barcode,
        coalesce(i.policy, c.oversell_policy, 'backorder') as policy, i.low_stock_threshold, i.lead_time_days,
        i.daily_capacity, i.version
    from stock_items i join products p on p.product_id = i.product_id
    left join companies c on c.company_id = i.supplier_id
    where (cast(:product_id as bigint) is null or i.product_id = :product_id)
      and (cast(:supplier_id as bigint) is null or i.supplier_id = :supplier_id)
      and (cast(:sku as text) is null or p.sku = :sku)
      and i.product_id > :after_product_id
      and (cast(:product_id as bigint) is not null or not p.removed and p.type in ('stock', 'stock_customisable')
        and exists (select from stock_levels l where l.product_id = i.product_id and l.removed_at is null))
    order by i.product_id limit :limit
""")
LIST_LEVELS = text("""
    select v.product_id, l.code as location, v.on_hand, v.allocated, v.reserved, v.safety_stock,
        v.on_hand - v.allocated - v.reserved - v.safety_stock as available, v.removed_at
    from stock_levels v join locations l on l.location_id = v.location_id
    where v.product_id = any(cast(:product_ids as bigint[])) and (:with_removed or v.removed_at is null)
    order by v.product_id, l.priority, l.location_id
""")
# Rule 9: `stock` before `stock_customisable`.
FIND_BY_SKU = text("""
    select distinct on (p.sku) p.sku as code, i.product_id
    from products p join stock_items i on i.product_id = p.product_id
    where p.owner_id = :supplier_id and p.sku = any(cast(:codes as text[]))
      and not p.removed and p.type in ('stock', 'stock_customisable')
    order by p.sku, p.type <> 'stock', i.product_id
""")
FIND_BY_BARCODE = text("""
    select p.barcode as code, i.product_id
    from products p join stock_items i on i.product_id = p.product_id
    where p.owner_id = :supplier_id and p.barcode = any(cast(:codes as text[]))
      and not p.removed and p.type in ('stock', 'stock_customisable')
""")
FIND_OWN = text("""
    select product_id from stock_items
    where supplier_id = :supplier_id and product_id = any(cast(:product_ids as bigint[]))
""")

Row = dict[str, Any]


async def list_items(
    session: Session,
    *,
    limit: int,
    product_id: int | None = None,
    supplier_id: int | None = None,
    sku: str | None = None,
    after_product_id: int = 0,
) -> list[Row]:
    """Items by product id, each with `levels`; `None` filters nothing, but only `product_id` finds a removed one."""
    parameters = {
        "product_id": product_id,
        "supplier_id": supplier_id,
        "sku": sku,
        "after_product_id": after_product_id,
        "limit": limit,
    }
    items = [dict(row) | {"levels": []} for row in (await session.execute(LIST_ITEMS, parameters)).mappings()]
    by_id = {item["product_id"]: item for item in items}
    of_items = {"product_ids": list(by_id), "with_removed": product_id is not None}
    for level in (await session.execute(LIST_LEVELS, of_items)).mappings():
        by_id[level["product_id"]]["levels"].append(dict(level))
    return items


async def find_by_sku(session: Session, supplier_id: int, skus: Sequence[str]) -> dict[str, int]:
    """The supplier's items by these SKUs, exact in case (rule 9)."""
    rows = await session.execute(FIND_BY_SKU, {"supplier_id": supplier_id, "codes": list(skus)})
    return {row[0]: row[1] for row in rows.all()}


async def find_by_barcode(session: Session, supplier_id: int, barcodes: Sequence[str]) -> dict[str, list[int]]:
    """The supplier's items by these barcodes: several may carry the same one."""
    found: dict[str, list[int]] = {}
    for row in await session.execute(FIND_BY_BARCODE, {"supplier_id": supplier_id, "codes": list(barcodes)}):
        found.setdefault(row.code, []).append(row.product_id)
    return found


async def find_own(session: Session, supplier_id: int, product_ids: Collection[int]) -> set[int]:
    """Those of these products that are the supplier's items."""
    rows = await session.execute(FIND_OWN, {"supplier_id": supplier_id, "product_ids": list(product_ids)})
    return {row.product_id for row in rows}
