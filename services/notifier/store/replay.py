"""Telling an endpoint again what it was told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.notifier.store.parts import ALL_PRODUCTS, find_suppliers, next_products
from services.notifier.store.wanted import ADD_SLOTS, HEARERS
from shared.database import Session

# What was told of a variant's stock stays known, as an event says whether it changed; of a total nothing, nor of bands:
# it is told whatever the endpoint's `only`. Windows hold. Slots are locked in a finish's order; those that wait for a
# replay already are left alone, so that one replay after the other costs a look. Stock needs no lock: whatever is dirty
# is told as it is then.
REPLAY = text(f"""
    with wanted as (
        {HEARERS} and e.endpoint_id = :endpoint_id and p.product_id > :after and p.product_id <= :last_id
        and (cast(:product_ids as bigint[]) is null or p.product_id = any(cast(:product_ids as bigint[])))
    ), hearers as (
        select endpoint_id, product_id, format, kinds, levels, told_changes, cast(null as text[]) as only,
            cast(null as smallint) as band, cast(null as smallint) as fanned_out_band
        from wanted where cast(:since as timestamptz) is null or occurred_at >= :since
    ), asked as (
        select s.product_id, s.location, s.kind, s.dirty and s.acked_version = 0 and s.replays > 0 as is_waiting
        from slots s join wanted p on p.product_id = s.product_id
        where s.endpoint_id = :endpoint_id and s.kind = any(p.kinds)
          and (cast(:since as timestamptz) is null or s.acked_at >= :since or p.occurred_at >= :since)
    ), locked as (
        select s.product_id, s.location, s.kind
        from asked a join slots s
            on s.product_id = a.product_id and s.location = a.location and s.kind = a.kind
        where s.endpoint_id = :endpoint_id and not a.is_waiting and a.kind <> 'variant_stock_delta'
        order by s.product_id, s.location, s.kind for no key update of s
    ), marked as (
        update slots s set dirty = true, acked_version = 0, replays = s.replays + 1,
            told_band = case when s.kind = 'stock_level' then null else s.told_band end,
            told_available = case when s.kind = 'stock_level' then null else s.told_available end
        from locked l
        where s.endpoint_id = :endpoint_id and s.product_id = l.product_id and s.location = l.location
          and s.kind = l.kind
    ), added as ({ADD_SLOTS} returning 1)
    select (select count(*) from asked where kind <> 'variant_stock_delta') + (select count(*) from added) as marked,
        (select count(*) from asked where kind = 'variant_stock_delta') as deltas_left
""")  # noqa: S608 - constants


# What the one before wanted and has not had is in it. From the first product on: what was told again meanwhile is told
# once more, as it was asked for.
ASK_TO_REPLAY = text("""
    update endpoints set replay_after = 0,
        replay_since = case when replay_after is null then cast(:since as timestamptz)
            when replay_since is not null and cast(:since as timestamptz) is not null
                then least(replay_since, cast(:since as timestamptz)) end
    where endpoint_id = :endpoint_id
""")
REPLAYED = text("""
    update endpoints set replay_after = cast(:reached as bigint),
        replay_since = case when cast(:reached as bigint) is not null then replay_since end
    where endpoint_id = :endpoint_id
""")


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many slots are told again, and how many deltas are not: whoever adds them up must hear each once."""

    marked: int
    deltas_left: int


async def replay_products(session: Session, endpoint_id: int, product_ids: Sequence[int]) -> Replayed:
    """Tell the locked endpoint again of these products, as far as it wants them, or of them for the first time.

    A call that is under way counts as one that tells it again.
    """
    values = {"endpoint_id": endpoint_id, "since": None, "product_ids": product_ids}
    row = (await session.execute(REPLAY, values | {"after": 0, "last_id": ALL_PRODUCTS})).one()
    return Replayed(row.marked, row.deltas_left)


async def ask_to_replay(session: Session, endpoint_id: int, since: datetime | None) -> None:
    """Tell the locked endpoint again, after the commit: what it was told or what changed `since`, or all it wants."""
    await session.execute(ASK_TO_REPLAY, {"endpoint_id": endpoint_id, "since": since})


async def replay_some(session: Session, endpoint: Any, slots: int) -> None:  # noqa: ANN401 - a row
    """Do a part of what a locked endpoint was asked to be told again, about so many slots."""
    supplier_ids = await find_suppliers(session, endpoint.company_id, None)
    part = await next_products(session, endpoint.format, supplier_ids, endpoint.replay_after, slots)
    values = {"endpoint_id": endpoint.endpoint_id, "since": endpoint.replay_since, "product_ids": None}
    await session.execute(REPLAY, values | part.values)
    await session.execute(REPLAYED, {"endpoint_id": endpoint.endpoint_id, "reached": part.reached})
