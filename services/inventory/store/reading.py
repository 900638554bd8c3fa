"""What the API shows: items with their levels, and look-ups by SKU and barcode."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from shared.database import Session

ITEM_COLUMNS = """
    i.product_id, i.supplier_id, p.sku, p.title, p.barcode,
    coalesce(i.policy, c.oversell_policy, 'backorder') as policy, i.low_stock_threshold, i.lead_time_days,
    i.daily_capacity, i.version
"""
ITEMS = """
    stock_items i join products p on p.product_id = i.product_id
    left join companies c on c.company_id = i.supplier_id
"""
# One item by its id is history as well: also of a product that was removed or is not tracked any more, and of locations
# that stock it no more.
FIND_ITEM = text(f"""
    select {ITEM_COLUMNS} from {ITEMS}
    where i.product_id = :product_id and (cast(:supplier_id as bigint) is null or i.supplier_id = :supplier_id)
""")  # noqa: S608 - of the two above
LIST_LEVELS = text("""
    select v.product_id, l.code as location, v.on_hand, v.allocated, v.reserved, v.safety_stock,
        v.on_hand - v.allocated - v.reserved - v.safety_stock as available, v.removed_at
    from stock_levels v join locations l on l.location_id = v.location_id
    where v.product_id = any(cast(:product_ids as bigint[]))
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


async def find_item(session: Session, product_id: int, supplier_id: int | None) -> Row | None:
    """An item with all its `levels`, removed or not; of this supplier only, unless that is `None`."""
    parameters = {"product_id": product_id, "supplier_id": supplier_id}
    found = (await session.execute(FIND_ITEM, parameters)).mappings().one_or_none()
    if found is None:
        return None
    (item,) = await with_levels(session, [found])
    return item


async def with_levels(session: Session, items: Iterable[Mapping[Any, Any]]) -> list[Row]:
    """These items, each with its `levels`, removed or not."""
    by_id = {item["product_id"]: dict(item) | {"levels": []} for item in items}
    for level in (await session.execute(LIST_LEVELS, {"product_ids": list(by_id)})).mappings():
        by_id[level["product_id"]]["levels"].append(dict(level))
    return list(by_id.values())


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
