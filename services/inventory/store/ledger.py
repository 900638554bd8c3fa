"""What the ledger says of a level after a moment, for statements that speak of then."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from services.inventory.domain.writing import Moved
from shared.database import Session

NOW = text("select clock_timestamp()")
# Both parts read the item's entries backwards by the primary key, no further than the moment that is asked for. Entries
# are numbered in the order of their commits, since they are made under their item's lock.
FIND_MOVED = text("""
    select b.occurred_at, cast(coalesce(m.on_hand, 0) as bigint), cast(coalesce(m.available, 0) as bigint),
        coalesce(m.removed, false), m.entry_id, m.stated_as_of
    from unnest(cast(:product_ids as bigint[]), cast(:location_ids as bigint[]), cast(:versions as bigint[]),
        cast(:moments as timestamptz[])) with ordinality as n (product_id, location_id, version, moment, position)
    left join lateral (
        select e.entry_id, e.occurred_at from stock_ledger e
        where e.product_id = n.product_id and (n.version is null or e.item_version <= n.version)
          and (n.moment is null or e.occurred_at <= n.moment)
        order by e.entry_id desc limit 1
    ) b on true
    left join lateral (
        select sum(e.on_hand_delta) filter (where e.stated_as_of is null) as on_hand,
            sum(e.on_hand_delta - e.allocated_delta - e.reserved_delta) filter (where e.stated_as_of is null)
                as available,
            bool_or(e.kind = 'removed') as removed,
            (array_agg(e.entry_id order by e.stated_as_of desc, e.entry_id desc)
                filter (where e.stated_as_of is not null))[1] as entry_id,
            max(e.stated_as_of) as stated_as_of
        from stock_ledger e
        where e.product_id = n.product_id and e.entry_id > coalesce(b.entry_id, 0) and e.location_id = n.location_id
    ) m on true
    order by n.position
""")


class Asked(NamedTuple):
    """A level, and after which version of its item, or which moment, it is asked for: one of the two."""

    product_id: int
    location_id: int
    version: int | None
    moment: datetime | None


async def now(session: Session) -> datetime:
    """The ledger's clock: under the lock of an item it lies between the entries that it has and those to come."""
    found: datetime = (await session.execute(NOW)).scalar_one()
    return found


async def find_moved(session: Session, asked: Sequence[Asked]) -> list[Moved]:
    """What moved at these levels, whose items are locked, since then; in the order in which they are asked for."""
    if not asked:
        return []
    parameters = {
        "product_ids": [one.product_id for one in asked],
        "location_ids": [one.location_id for one in asked],
        "versions": [one.version for one in asked],
        "moments": [one.moment for one in asked],
    }
    return [Moved(*row) for row in (await session.execute(FIND_MOVED, parameters)).all()]
