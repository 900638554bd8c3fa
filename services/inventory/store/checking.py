"""Reading all that must add up, some items at a time, each time in one snapshot."""

from collections.abc import Collection, Mapping

from sqlalchemy import text

from services.inventory.domain.checking import Figures, OrderDrift, Quantities
from services.inventory.domain.stock import Totals
from shared.database import Session

ONE_SNAPSHOT = text("set transaction isolation level repeatable read, read only")
FIND_ITEMS = text("""
    select product_id from stock_items
    where product_id > :after and (cast(:supplier_id as bigint) is null or supplier_id = :supplier_id)
    order by product_id limit :limit
""")
# What adds up stays in the database: only what does not comes out. Takings and completed items are read whole, once for
# each chunk: an index by product would cost each order.
FIND_FIGURES = text("""
    with sums as (
        select product_id, location_id, sum(on_hand_delta) as on_hand, sum(allocated_delta) as allocated,
            sum(reserved_delta) as reserved, max(entry_id) as last_id,
            coalesce(sum(allocated_delta - on_hand_delta) filter (where kind like 'order%' or kind like 'fulfil%'), 0)
                as drawn
        from stock_ledger where product_id = any(cast(:product_ids as bigint[])) group by 1, 2
    ), ledger as (
        select s.*, e.on_hand as on_hand_last, e.allocated as allocated_last, e.reserved as reserved_last
        from sums s join stock_ledger e on e.product_id = s.product_id and e.entry_id = s.last_id
    ), parts as (
        select product_id, location_id, quantity, effect = 'allocate' as allocates from takings
        where product_id = any(cast(:product_ids as bigint[]))
        union all
        select product_id, location_id, quantity, held from completed_items
        where product_id = any(cast(:product_ids as bigint[]))
    ), held as (
        select product_id, location_id, sum(quantity) as units,
            coalesce(sum(quantity) filter (where allocates), 0) as allocating
        from parts group by 1, 2
    ), reserving as (
        select product_id, location_id, sum(quantity) as units from reserved_units
        where product_id = any(cast(:product_ids as bigint[])) group by 1, 2
    ), figures as (
        select product_id, location_id,
            coalesce(v.on_hand, 0) as on_hand, coalesce(v.allocated, 0) as allocated,
            coalesce(v.reserved, 0) as reserved,
            coalesce(s.on_hand, 0) as on_hand_sum, coalesce(s.allocated, 0) as allocated_sum,
            coalesce(s.reserved, 0) as reserved_sum,
            coalesce(on_hand_last, 0) as on_hand_last, coalesce(allocated_last, 0) as allocated_last,
            coalesce(reserved_last, 0) as reserved_last,
            coalesce(h.allocating, 0) as allocating, coalesce(h.units, 0) as held, coalesce(s.drawn, 0) as drawn,
            coalesce(r.units, 0) as reserving
        from (select * from stock_levels where product_id = any(cast(:product_ids as bigint[]))) v
        full join ledger s using (product_id, location_id)
        full join held h using (product_id, location_id)
        full join reserving r using (product_id, location_id)
    )
    select f.product_id, coalesce(l.code, '?') as location, on_hand, allocated, reserved,
        cast(on_hand_sum as bigint), cast(allocated_sum as bigint), cast(reserved_sum as bigint),
        on_hand_last, allocated_last, reserved_last, cast(allocating as bigint), cast(held as bigint),
        cast(drawn as bigint), cast(reserving as bigint)
    from figures f left join locations l using (location_id)
    where (on_hand, allocated, reserved) <> (on_hand_sum, allocated_sum, reserved_sum)
       or (on_hand_last, allocated_last, reserved_last) <> (on_hand_sum, allocated_sum, reserved_sum)
       or (allocated_sum, held, reserved_sum) <> (allocating, drawn, reserving)
    order by f.product_id, location
""")
FIND_VERSIONS = text("""
    select i.product_id, i.version, coalesce(e.newest, 0) as newest
    from stock_items i left join (
        select product_id, max(item_version) as newest from stock_ledger
        where product_id = any(cast(:product_ids as bigint[])) group by 1) e using (product_id)
    where i.product_id = any(cast(:product_ids as bigint[])) and i.version <> coalesce(e.newest, 0)
    order by i.product_id
""")
FIND_ORDERS = text("""
    with place as (
        select l.location_id from locations l join stock_items i on i.supplier_id = l.supplier_id
        where i.product_id = :product_id and l.code = :location
    ), held as (
        select cast(order_id as text) as reference, sum(quantity) as units from (
            select t.order_id, t.quantity from takings t join place using (location_id)
            where t.product_id = :product_id
            union all
            select f.order_id, c.quantity from completed_items c join place using (location_id)
            join fulfillment_items f using (supplier_id, logical_timestamp) where c.product_id = :product_id) as parts
        group by 1
    ), drawn as (
        select e.reference, sum(e.allocated_delta - e.on_hand_delta) as units
        from stock_ledger e join place using (location_id)
        where e.product_id = :product_id and (e.kind like 'order%' or e.kind like 'fulfil%') group by 1
    )
    select reference, cast(coalesce(h.units, 0) as bigint), cast(coalesce(d.units, 0) as bigint)
    from held h full join drawn d using (reference)
    where coalesce(h.units, 0) <> coalesce(d.units, 0) order by reference limit :limit
""")
SUMS_OF_LEVELS = """
    select product_id, cast(sum(on_hand) as bigint) as on_hand, cast(sum(allocated) as bigint) as allocated,
        cast(sum(reserved) as bigint) as reserved, cast(sum(safety_stock) as bigint) as safety_stock,
        count(*) as stocked_locations
    from stock_levels where product_id = any(cast(:product_ids as bigint[])) and removed_at is null group by product_id
"""
FIND_TOTALS = text(f"""
    select i.product_id, i.on_hand, i.allocated, i.reserved, i.safety_stock, i.stocked_locations,
        coalesce(s.on_hand, 0), coalesce(s.allocated, 0), coalesce(s.reserved, 0), coalesce(s.safety_stock, 0),
        coalesce(s.stocked_locations, 0)
    from stock_items i left join ({SUMS_OF_LEVELS}) s using (product_id)
    where product_id = any(cast(:product_ids as bigint[]))
      and (i.on_hand, i.allocated, i.reserved, i.safety_stock, i.stocked_locations)
        is distinct from (coalesce(s.on_hand, 0), coalesce(s.allocated, 0), coalesce(s.reserved, 0),
            coalesce(s.safety_stock, 0), coalesce(s.stocked_locations, 0))
    order by i.product_id
""")  # noqa: S608 - of the one above
SET_TOTALS = text("""
    update stock_items set on_hand = :on_hand, allocated = :allocated, reserved = :reserved,
        safety_stock = :safety_stock, stocked_locations = :stocked_locations
    where product_id = :product_id
""")
SET_VERSIONS = text("""
    update stock_items i set version = n.version
    from unnest(cast(:product_ids as bigint[]), cast(:versions as bigint[])) as n (product_id, version)
    where i.product_id = n.product_id
""")


async def see_one_moment(session: Session) -> None:
    """Let all that this transaction reads be of one moment: to be called before it reads anything."""
    await session.execute(ONE_SNAPSHOT)


async def find_items(session: Session, supplier_id: int | None, after: int, limit: int) -> list[int]:
    """The next items by id, of this supplier or of all."""
    parameters = {"supplier_id": supplier_id, "after": after, "limit": limit}
    return list((await session.execute(FIND_ITEMS, parameters)).scalars())


async def find_figures(session: Session, product_ids: Collection[int]) -> list[Figures]:
    """Of these items, where something does not add up."""
    rows = await session.execute(FIND_FIGURES, {"product_ids": list(product_ids)})
    return [
        Figures(row[0], row[1], Quantities(*row[2:5]), Quantities(*row[5:8]), Quantities(*row[8:11]), *row[11:15])
        for row in rows.all()
    ]


async def find_versions(session: Session, product_ids: Collection[int]) -> list[tuple[int, int, int]]:
    """Of these items, `(product id, version, version of its newest entry)` where the two differ."""
    rows = await session.execute(FIND_VERSIONS, {"product_ids": list(product_ids)})
    return [(product_id, version, newest) for product_id, version, newest in rows.all()]


async def find_totals(session: Session, product_ids: Collection[int]) -> list[tuple[int, Totals, Totals]]:
    """Of these items, `(product id, totals it keeps, sums over its levels)` where the two differ."""
    rows = await session.execute(FIND_TOTALS, {"product_ids": list(product_ids)})
    return [(row[0], Totals(*row[1:6]), Totals(*row[6:11])) for row in rows.all()]


async def find_orders(session: Session, product_id: int, location: str, limit: int) -> list[OrderDrift]:
    """The first orders that hold, or have sent, other than the ledger says they took of an item at a location."""
    parameters = {"product_id": product_id, "location": location, "limit": limit}
    return [OrderDrift(*row) for row in (await session.execute(FIND_ORDERS, parameters)).all()]


async def set_versions(session: Session, versions: Mapping[int, int]) -> None:
    """Set the versions of these locked items, by product id."""
    parameters = {"product_ids": list(versions), "versions": list(versions.values())}
    await session.execute(SET_VERSIONS, parameters)


async def set_totals(session: Session, product_id: int, totals: Totals) -> None:
    """Set the totals of a locked item."""
    await session.execute(SET_TOTALS, {"product_id": product_id, **totals._asdict()})
