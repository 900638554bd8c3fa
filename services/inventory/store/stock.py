"""Locations, items, levels and the ledger."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from services.inventory.domain.stock import Item, Level, Location, Stock, Totals
from shared.database import Session, copy_in

ADD_MAIN_LOCATIONS = text("""
    insert into locations (supplier_id, code)
    select supplier_id, 'main' from unnest(cast(:supplier_ids as bigint[])) as supplier_id order by supplier_id
    on conflict (supplier_id, code) do nothing
""")
ADD_ITEMS = text("""
    insert into stock_items (product_id, supplier_id)
    select * from unnest(cast(:product_ids as bigint[]), cast(:supplier_ids as bigint[]))
    on conflict (product_id) do nothing returning product_id
""")
ADD_MAIN_LEVELS = text("""
    insert into stock_levels (product_id, location_id)
    select i.product_id, l.location_id
    from stock_items i join locations l on l.supplier_id = i.supplier_id and l.code = 'main'
    where i.product_id = any(cast(:product_ids as bigint[])) order by i.product_id
""")
WITHOUT_ITEM = text("""
    select product_id from unnest(cast(:product_ids as bigint[])) as product_id
    where not exists (select from stock_items i where i.product_id = product_id.product_id)
""")
LOCK_ITEMS = text("""
    select i.product_id, i.supplier_id, p.sku, i.version, coalesce(c.oversell_policy, 'backorder'), i.policy,
        i.low_stock_threshold, i.lead_time_days, i.daily_capacity, i.low_stock_threshold
    from stock_items i join products p on p.product_id = i.product_id
    left join companies c on c.company_id = i.supplier_id
    where i.product_id = any(cast(:product_ids as bigint[])) order by i.product_id for update of i
""")
# A statement of its own, after the locks: in the same one it would see levels from before the wait for a lock.
FIND_LEVELS = text("""
    select product_id, location_id, on_hand, allocated, reserved, safety_stock, removed_at is not null, stated_as_of
    from stock_levels
    where product_id = any(cast(:product_ids as bigint[])) order by product_id, location_id
""")
FIND_LOCATIONS = text("""
    select supplier_id, location_id, code, salable, order_effect, on_hand_owner from locations
    where supplier_id = any(cast(:supplier_ids as bigint[])) order by supplier_id, priority, location_id
""")
SAVE_LEVELS = text("""
    update stock_levels l set on_hand = n.on_hand, allocated = n.allocated, reserved = n.reserved
    from unnest(cast(:product_ids as bigint[]), cast(:location_ids as bigint[]), cast(:on_hand as bigint[]),
        cast(:allocated as bigint[]), cast(:reserved as bigint[]))
        as n (product_id, location_id, on_hand, allocated, reserved)
    where l.product_id = n.product_id and l.location_id = n.location_id
""")
ADD_LEVELS = text("""
    insert into stock_levels (product_id, location_id, on_hand, allocated, reserved)
    select * from unnest(cast(:product_ids as bigint[]), cast(:location_ids as bigint[]), cast(:on_hand as bigint[]),
        cast(:allocated as bigint[]), cast(:reserved as bigint[]))
""")
# All of a level by one statement: a second one would write each row once more.
RESTATE_LEVELS = text("""
    update stock_levels l set on_hand = n.on_hand, allocated = n.allocated, reserved = n.reserved,
        safety_stock = n.safety_stock,
        removed_at = case when n.removed then coalesce(l.removed_at, clock_timestamp()) end,
        stated_as_of = n.stated_as_of
    from unnest(cast(:product_ids as bigint[]), cast(:location_ids as bigint[]), cast(:on_hand as bigint[]),
        cast(:allocated as bigint[]), cast(:reserved as bigint[]), cast(:safety_stock as bigint[]),
        cast(:removed as boolean[]), cast(:stated_as_of as timestamptz[]))
        as n (product_id, location_id, on_hand, allocated, reserved, safety_stock, removed, stated_as_of)
    where l.product_id = n.product_id and l.location_id = n.location_id
""")
SAVE_SETTINGS = text("""
    update stock_items i set policy = n.policy, low_stock_threshold = n.low_stock_threshold,
        lead_time_days = n.lead_time_days, daily_capacity = n.daily_capacity
    from unnest(cast(:product_ids as bigint[]), cast(:policies as text[]), cast(:low_stock_thresholds as bigint[]),
        cast(:lead_times_days as integer[]), cast(:daily_capacities as bigint[]))
        as n (product_id, policy, low_stock_threshold, lead_time_days, daily_capacity)
    where i.product_id = n.product_id
""")
RAISE_VERSIONS = text("""
    update stock_items i set version = i.version + 1, changed_at = clock_timestamp(), on_hand = n.on_hand,
        allocated = n.allocated, reserved = n.reserved, safety_stock = n.safety_stock,
        stocked_locations = n.stocked_locations
    from unnest(cast(:product_ids as bigint[]), cast(:on_hand as bigint[]), cast(:allocated as bigint[]),
        cast(:reserved as bigint[]), cast(:safety_stock as bigint[]), cast(:stocked_locations as integer[]))
        as n (product_id, on_hand, allocated, reserved, safety_stock, stocked_locations)
    where i.product_id = n.product_id
""")
ENTRY_COLUMNS = (
    "product_id",
    "location_id",
    "item_version",
    "line_id",
    "on_hand_delta",
    "allocated_delta",
    "reserved_delta",
    "on_hand",
    "allocated",
    "reserved",
    "stated_as_of",
    "kind",
    "actor",
    "source",
    "reference",
    "reason",
)


async def add_main_locations(session: Session, supplier_ids: Collection[int]) -> None:
    """Give these suppliers their location `main` where they lack it."""
    if not supplier_ids:
        return
    await session.execute(ADD_MAIN_LOCATIONS, {"supplier_ids": sorted(set(supplier_ids))})


async def add_items(session: Session, suppliers: Mapping[int, int]) -> None:
    """Begin to keep stock of these products (`{product id: supplier id}`), at 0 in `main`, where that is news."""
    if not suppliers:
        return
    product_ids = sorted(suppliers)
    supplier_ids = [suppliers[product_id] for product_id in product_ids]
    rows = await session.execute(ADD_ITEMS, {"product_ids": product_ids, "supplier_ids": supplier_ids})
    await session.execute(ADD_MAIN_LEVELS, {"product_ids": [row.product_id for row in rows]})


async def without_item(session: Session, product_ids: Collection[int]) -> set[int]:
    """Those of these products that no stock is kept of (yet)."""
    if not product_ids:
        return set()
    rows = await session.execute(WITHOUT_ITEM, {"product_ids": list(product_ids)})
    return {row.product_id for row in rows}


async def lock_stock(session: Session, product_ids: Collection[int]) -> Stock:
    """Lock these items and read their levels, and the locations of their suppliers; unknown items are left out."""
    ids = {"product_ids": sorted(product_ids)}
    # All at once and by position: by name, and one by one, a thousand rows cost more than their query.
    items = {row[0]: Item(*row) for row in (await session.execute(LOCK_ITEMS, ids)).all()}
    for product_id, location_id, on_hand, allocated, reserved, safety_stock, removed, stated_as_of in (
        await session.execute(FIND_LEVELS, ids)
    ).all():
        item = items[product_id]
        item.levels[location_id] = Level(on_hand, allocated, reserved, safety_stock, removed, stated_as_of=stated_as_of)
        if not removed:
            item.previous_available += on_hand - allocated - reserved - safety_stock
    return Stock(items, await find_locations(session, {item.supplier_id for item in items.values()}))


async def find_locations(session: Session, supplier_ids: Collection[int]) -> dict[int, list[Location]]:
    """The locations of these suppliers, in the order to draw from."""
    found: dict[int, list[Location]] = {supplier_id: [] for supplier_id in supplier_ids}
    for supplier_id, *location in (await session.execute(FIND_LOCATIONS, {"supplier_ids": list(supplier_ids)})).all():
        found[supplier_id].append(Location(*location))
    return found


async def save_stock(session: Session, stock: Stock) -> None:
    """Save the changes made to this stock: its levels, its entries in the ledger, its items' versions and totals.

    An item without an entry keeps its version: nothing of it has changed but when its stock was stated.
    """
    items = stock.items
    changed = dict.fromkeys((entry.product_id, entry.location_id) for entry in stock.entries)
    levels = [(key, items[key[0]].levels[key[1]]) for key in dict.fromkeys([*changed, *sorted(stock.restated)])]
    added = [pair for pair in levels if not pair[1].stored]
    if added:
        await session.execute(ADD_LEVELS, _level_columns(added))
    moved = [pair for pair in levels if pair[1].stored and pair[0] not in stock.restated]
    if moved:
        await session.execute(SAVE_LEVELS, _level_columns(moved))
    if stock.restated:
        await _restate(session, stock)
    if not changed:
        return
    changed_ids = list({product_id for product_id, _ in changed})
    totals = zip(*(items[product_id].totals() for product_id in changed_ids), strict=True)
    named = dict(zip(Totals._fields, map(list, totals), strict=True))
    await session.execute(RAISE_VERSIONS, {"product_ids": changed_ids, **named})
    entries = [
        (product_id, location_id, items[product_id].version + 1, line_id, *quantities, *cause)
        for product_id, location_id, cause, line_id, *quantities in stock.entries
    ]
    await copy_in(session, "stock_ledger", ENTRY_COLUMNS, entries)


async def save_settings(session: Session, *items: Item) -> None:
    """Save what was set of locked items; the changes themselves are saved with their stock."""
    if items:
        await session.execute(
            SAVE_SETTINGS,
            {
                "product_ids": [item.product_id for item in items],
                "policies": [item.own_policy for item in items],
                "low_stock_thresholds": [item.low_stock_threshold for item in items],
                "lead_times_days": [item.lead_time_days for item in items],
                "daily_capacities": [item.daily_capacity for item in items],
            },
        )


async def _restate(session: Session, stock: Stock) -> None:
    levels = [(key, stock.items[key[0]].levels[key[1]]) for key in sorted(stock.restated)]
    more: dict[str, list[Any]] = {
        "safety_stock": [level.safety_stock for _, level in levels],
        "removed": [level.removed for _, level in levels],
        "stated_as_of": [level.stated_as_of for _, level in levels],
    }
    await session.execute(RESTATE_LEVELS, _level_columns(levels) | more)


def _level_columns(levels: Sequence[tuple[tuple[int, int], Level]]) -> dict[str, list[Any]]:
    return {
        "product_ids": [key[0] for key, _ in levels],
        "location_ids": [key[1] for key, _ in levels],
        "on_hand": [level.on_hand for _, level in levels],
        "allocated": [level.allocated for _, level in levels],
        "reserved": [level.reserved for _, level in levels],
    }
