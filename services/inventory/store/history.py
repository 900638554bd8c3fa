"""The ledger as it is read: filtered, across products, and day by day."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.database import Session

_COLUMNS = """
    e.entry_id, e.product_id, e.item_version, l.code as location, e.kind, e.on_hand_delta, e.allocated_delta,
    e.reserved_delta, e.on_hand as on_hand_after, e.allocated as allocated_after, e.reserved as reserved_after,
    e.reason, e.actor, e.source, e.reference, e.line_id, e.stated_as_of,
    e.occurred_at
"""
_FILTERS = """
    (cast(:location as text) is null or l.code = :location)
    and (cast(:kinds as text[]) is null or e.kind = any(cast(:kinds as text[])))
    and (cast(:since as timestamptz) is null or e.occurred_at >= :since)
    and (cast(:until as timestamptz) is null or e.occurred_at < :until)
"""
LIST_ENTRIES = text(f"""
    select {_COLUMNS} from stock_ledger e join locations l on l.location_id = e.location_id
    where e.product_id = :product_id and (cast(:before as bigint) is null or e.entry_id < :before) and {_FILTERS}
      and (cast(:reference as text) is null or e.reference = :reference)
    order by e.entry_id desc limit :limit
""")  # noqa: S608 - of the two above
# By its own statement, so that the index of references serves it.
LIST_BY_REFERENCE = text(f"""
    select {_COLUMNS} from stock_ledger e join locations l on l.location_id = e.location_id
    where e.reference = :reference and (cast(:supplier_id as bigint) is null or l.supplier_id = :supplier_id)
      and (cast(:before as bigint) is null or e.entry_id < :before) and {_FILTERS}
    order by e.entry_id desc limit :limit
""")  # noqa: S608 - of the two above
LIST_WINDOW = text(f"""
    select {_COLUMNS} from stock_ledger e join locations l on l.location_id = e.location_id
    where e.entry_id >= :first and e.entry_id < :before
      and (cast(:supplier_id as bigint) is null or l.supplier_id = :supplier_id) and {_FILTERS}
    order by e.entry_id desc limit :limit
""")  # noqa: S608 - of the two above
NEWEST_ENTRY = text("""
    select coalesce(pg_sequence_last_value(cast(pg_get_serial_sequence('stock_ledger', 'entry_id') as regclass)), 0)
""")
# What was at the beginning is what is now, less what changed since. Entries of one version are one state.
SERIES = text("""
    with clock as (
        select cast(db_now() at time zone 'UTC' as date) as today
    ), days as (
        select cast(day as date) as day
        from clock, generate_series(today - cast(:days as integer) + 1, today, interval '1 day') as day
    ), now as (
        select coalesce(sum(v.on_hand), 0) as on_hand,
            coalesce(sum(v.on_hand - v.allocated - v.reserved - v.safety_stock), 0) as available
        from stock_levels v join locations l using (location_id)
        where v.product_id = :product_id and (cast(:location as text) is null or l.code = :location)
    ), changes as (
        select e.item_version, cast(max(e.occurred_at) at time zone 'UTC' as date) as day,
            sum(e.on_hand_delta) as on_hand, sum(e.on_hand_delta - e.allocated_delta - e.reserved_delta) as available,
            coalesce(sum(e.allocated_delta - e.on_hand_delta)
                filter (where e.kind like 'order%' or e.kind like 'fulfil%'), 0) as sold,
            coalesce(sum(e.on_hand_delta) filter (where e.on_hand_delta > 0
                and not (e.kind like 'order%' or e.kind like 'fulfil%')), 0) as received
        from stock_ledger e join locations l using (location_id)
        where e.product_id = :product_id and (cast(:location as text) is null or l.code = :location)
          and e.occurred_at >= (select cast(min(day) as timestamp) from days) at time zone 'UTC'
        group by e.item_version
    ), opening as (
        select now.on_hand - coalesce(sum(c.on_hand), 0) as on_hand,
            now.available - coalesce(sum(c.available), 0) as available
        from now left join changes c on true group by now.on_hand, now.available
    ), states as (
        select day, on_hand, available, sold, received, sum(on_hand) over versions as on_hand_then,
            sum(available) over versions as available_then
        from changes window versions as (order by item_version)
    ), moved as (
        select day, sum(on_hand) as on_hand, sum(available) as available, sum(sold) as sold, sum(received) as received,
            min(on_hand_then) as lowest_on_hand, min(available_then) as lowest_available
        from states group by day
    ), closed as (
        select d.day, m.lowest_on_hand, m.lowest_available, coalesce(m.sold, 0) as sold,
            coalesce(m.received, 0) as received, o.on_hand as first_on_hand, o.available as first_available,
            coalesce(m.on_hand, 0) as on_hand, coalesce(m.available, 0) as available,
            o.on_hand + coalesce(sum(m.on_hand) over (order by d.day), 0) as closing_on_hand,
            o.available + coalesce(sum(m.available) over (order by d.day), 0) as closing_available
        from days d cross join opening o left join moved m using (day)
    )
    select day, closing_on_hand - on_hand as opening_on_hand, closing_on_hand,
        least(closing_on_hand - on_hand, first_on_hand + lowest_on_hand) as lowest_on_hand,
        closing_available - available as opening_available, closing_available,
        least(closing_available - available, first_available + lowest_available) as lowest_available,
        sold as units_sold, received as units_received
    from closed order by day
""")

# Entries are read from the newest back, in windows that grow until a page is full: a supplier with little in them
# costs a few more, and nobody an index that each order would pay for.
FIRST_WINDOW_ENTRIES, WINDOW_GROWTH = 2_000, 4

Row = dict[str, Any]


class Filters(NamedTuple):
    """Which entries are meant; `None` filters nothing. `since` is included, `until` is not."""

    location: str | None = None
    kinds: Sequence[str] | None = None
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_entries(
    session: Session, product_id: int, filters: Filters, *, before: int | None, limit: int
) -> list[Row]:
    """An item's entries, newest first, of those with ids below `before`."""
    parameters = {"product_id": product_id, "before": before, "limit": limit, **filters._asdict()}
    return [dict(row) for row in (await session.execute(LIST_ENTRIES, parameters)).mappings()]


async def list_all_entries(
    session: Session, supplier_id: int | None, filters: Filters, *, before: int | None, limit: int
) -> list[Row]:
    """Entries of all items of a supplier, or of everybody, newest first, of those with ids below `before`."""
    parameters = {"supplier_id": supplier_id, "before": before, "limit": limit, **filters._asdict()}
    if filters.reference is not None:
        return [dict(row) for row in (await session.execute(LIST_BY_REFERENCE, parameters)).mappings()]
    del parameters["reference"]
    newest: int = (await session.execute(NEWEST_ENTRY)).scalar_one()
    end, window = min(before or newest + 1, newest + 1), FIRST_WINDOW_ENTRIES
    rows: list[Row] = []
    while end > 1 and len(rows) < limit:
        first = max(1, end - window)
        asked = parameters | {"first": first, "before": end, "limit": limit - len(rows)}
        rows += [dict(row) for row in (await session.execute(LIST_WINDOW, asked)).mappings()]
        end, window = first, WINDOW_GROWTH * window
    return rows


async def series(session: Session, product_id: int, days: int, location: str | None) -> list[Row]:
    """An item's last `days` days (UTC), today among them, at a location or in total; oldest first."""
    parameters = {"product_id": product_id, "days": days, "location": location}
    return [dict(row) for row in (await session.execute(SERIES, parameters)).mappings()]
