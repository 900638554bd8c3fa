"""Stock as connected retailers poll it, and since when it has changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from shared.database import Session

# The newest mark that was there when the reader read last. Before all marks everything counts as changed.
FIND_OPEN_SINCE = text("""
    select coalesce((select open_since from feed_marks where noted_at <= :changed_since order by noted_at desc limit 1),
        '-infinity') as open_since
""")
CLOCK = text("select clock_timestamp()")
# A transaction without an id has changed nothing yet: what it changes, it stamps later than now. They are looked at
# after the first time is taken and before the second: it holds for whoever reads from the second on, back to the first.
ADD_MARK = text("""
    insert into feed_marks (noted_at, open_since)
    select clock_timestamp(), least(cast(:before as timestamptz), min(xact_start)) from pg_stat_activity
    where backend_xid is not null and datname = current_database()
    on conflict (noted_at) do nothing
""")
FORGET_MARKS = text("delete from feed_marks where noted_at < clock_timestamp() - make_interval(days => :days)")
# Its own names before our numbers: they may be numbers too.
FIND_CONNECTION = text("""
    select connection_id from connections
    where retailer_id = :retailer_id and (external_ref = :ref or cast(connection_id as text) = :ref)
    order by external_ref is distinct from :ref limit 1
""")
# What was removed everywhere is no stock any more; whoever asks for changes learns that none are available. Each
# connection gives as many as are wanted in the order of its supplier's index, so no more than that are looked at.
LIST_ITEMS = text("""
    select s.* from connections c
    cross join lateral (
        select i.product_id, p.sku, i.lead_time_days, i.daily_capacity, l.available
        from stock_items i
        join products p on p.product_id = i.product_id
        cross join lateral (
            select coalesce(sum(v.on_hand - v.allocated - v.reserved - v.safety_stock), 0) as available,
                count(*) as locations
            from stock_levels v where v.product_id = i.product_id and v.removed_at is null) l
        where i.supplier_id = c.supplier_id and i.product_id > :after_product_id
          and not p.removed and p.type in ('stock', 'stock_customisable')
          and (cast(:q as text) is null or position(lower(:q) in lower(p.sku)) > 0)
          and (cast(:open_since as timestamptz) is null and l.locations > 0 or i.changed_at >= :open_since)
        order by i.product_id limit :limit) s
    where c.retailer_id = :retailer_id and c.state = 'active'
      and (cast(:connection_id as bigint) is null or c.connection_id = :connection_id)
    order by s.product_id limit :limit
""")

Row = dict[str, Any]


async def find_open_since(session: Session, changed_since: datetime) -> datetime:
    """Since when changes can have been missed by whoever read everything at `changed_since`."""
    found: datetime = (await session.execute(FIND_OPEN_SINCE, {"changed_since": changed_since})).scalar_one()
    return found


async def read_clock(session: Session) -> datetime:
    """What the database's clock shows now."""
    now: datetime = (await session.execute(CLOCK)).scalar_one()
    return now


async def add_mark(session: Session) -> None:
    """Note which changes are under way. First thing in a transaction: PostgreSQL shows it one state of the others."""
    await session.execute(ADD_MARK, {"before": await read_clock(session)})


async def forget_marks(session: Session, days: int) -> None:
    """Delete marks that are this old."""
    await session.execute(FORGET_MARKS, {"days": days})


async def find_connection(session: Session, retailer_id: int, ref: str) -> int | None:
    """The retailer's connection of this external ref, or id."""
    found = await session.execute(FIND_CONNECTION, {"retailer_id": retailer_id, "ref": ref})
    connection_id: int | None = found.scalar_one_or_none()
    return connection_id


async def list_items(  # noqa: PLR0913 - each narrows it down
    session: Session,
    retailer_id: int,
    *,
    connection_id: int | None,
    open_since: datetime | None,
    q: str | None,
    after_product_id: int,
    limit: int,
) -> Sequence[Row]:
    """The stock of the retailer's active connections, or of one, by product id; all, or what has changed.

    With `q` that whose SKU it is a part of, in any case.
    """
    parameters = {
        "retailer_id": retailer_id,
        "connection_id": connection_id,
        "open_since": open_since,
        "q": q,
        "after_product_id": after_product_id,
        "limit": limit,
    }
    return [dict(row) for row in (await session.execute(LIST_ITEMS, parameters)).mappings()]
