"""Fulfillment events, and how far each endpoint of their supplier has acknowledged them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.notifier.store.due import TO_CALL, DueEndpoint
from shared.database import Session

# What is forgotten does not come back alone: a feed that is set back would find the gap behind it.
KEEP = text("""
    with streams as (
        insert into fulfillment_streams (supplier_id)
        select distinct supplier_id from unnest(cast(:supplier_ids as bigint[])) as s (supplier_id) order by 1
        on conflict (supplier_id) do nothing
    )
    insert into fulfillment_events (supplier_id, logical_timestamp, body, heard_at)
    select v.supplier_id, v.logical_timestamp, cast(v.body as jsonb), db_now()
    from unnest(cast(:supplier_ids as bigint[]), cast(:logical_timestamps as bigint[]), cast(:bodies as text[]))
        as v (supplier_id, logical_timestamp, body)
    where not exists (
        select from fulfillment_streams k
        where k.supplier_id = v.supplier_id and v.logical_timestamp <= k.forgotten_timestamp)
    order by v.supplier_id, v.logical_timestamp
    on conflict (supplier_id, logical_timestamp) do nothing
""")
# The next event and no other, once it is there; only the lock of the feed counts, as a sender that claims it meanwhile
# has moved it on.
FIND_DUE = text(
    f"""
    select {TO_CALL}, f.attempt, v.logical_timestamp, v.body
    from feeds f
    join endpoints e on e.endpoint_id = f.endpoint_id
    join fulfillment_events v on v.supplier_id = e.company_id and v.logical_timestamp = f.acked_timestamp + 1
    where e.state = 'active' and e.next_call_at <= (select db_now())
      and f.not_before <= (select db_now())
      and (f.lease_until is null or f.lease_until <= (select db_now()))
      and f.endpoint_id <> all(cast(:passed_over as bigint[]))
    order by f.not_before limit :limit for no key update of f skip locked
"""  # noqa: S608 - constants
)
# Before the socket is opened: whatever becomes of the sender, the next call is after its last moment.
TAKE = text("""
    update feeds f set lease_id = :lease_id, lease_until = db_now() + make_interval(secs => :timeout_seconds),
        not_before = db_now() + make_interval(secs => t.window_seconds + :timeout_seconds)
    from unnest(cast(:endpoint_ids as bigint[]), cast(:window_seconds as double precision[]))
        as t (endpoint_id, window_seconds)
    where f.endpoint_id = t.endpoint_id
""")
LOCK_TAKEN = text("""
    select endpoint_id from feeds
    where endpoint_id = any(cast(:endpoint_ids as bigint[])) and lease_id = any(cast(:lease_ids as uuid[]))
    order by endpoint_id for no key update
""")
# A feed that was set back during the call stays there.
FINISH = text("""
    update feeds f set lease_id = null, lease_until = null, attempt = d.attempt,
        not_before = db_now() + make_interval(secs => d.delay_seconds),
        acked_timestamp = case when d.delivered and f.acked_timestamp = d.logical_timestamp - 1
            then d.logical_timestamp else f.acked_timestamp end
    from unnest(cast(:endpoint_ids as bigint[]), cast(:lease_ids as uuid[]), cast(:logical_timestamps as bigint[]),
        cast(:delivered as boolean[]), cast(:delay_seconds as double precision[]), cast(:attempts as integer[]))
        as d (endpoint_id, lease_id, logical_timestamp, delivered, delay_seconds, attempt)
    where f.endpoint_id = d.endpoint_id and f.lease_id = d.lease_id
""")
# Until the transaction ends nothing of the supplier's is forgotten, and no feed of it is opened or set back.
LOCK_STREAM = text("""
    insert into fulfillment_streams as s (supplier_id) values (:supplier_id)
    on conflict (supplier_id) do update set forgotten_timestamp = s.forgotten_timestamp
    returning forgotten_timestamp
""")
OPEN = text("""
    insert into feeds (endpoint_id, acked_timestamp, not_before)
    values (:endpoint_id, coalesce(cast(:after as bigint), greatest(cast(:forgotten as bigint), (
        select max(logical_timestamp) from fulfillment_events where supplier_id = :supplier_id))), db_now())
""")
FIND_SUPPLIER = text("""
    select e.company_id from feeds f join endpoints e on e.endpoint_id = f.endpoint_id
    where f.endpoint_id = :endpoint_id
""")
REWIND = text("update feeds set acked_timestamp = :after where endpoint_id = :endpoint_id")
# Later events have been there for a while, and it is not.
FIND_WAITING = text("""
    select f.endpoint_id, f.acked_timestamp + 1 as logical_timestamp
    from feeds f join endpoints e on e.endpoint_id = f.endpoint_id
    where e.state = 'active' and not exists (
        select from fulfillment_events v
        where v.supplier_id = e.company_id and v.logical_timestamp = f.acked_timestamp + 1)
      and exists (
        select from fulfillment_events v
        where v.supplier_id = e.company_id and v.logical_timestamp > f.acked_timestamp + 1
          and v.heard_at < db_now() - make_interval(secs => :late_seconds))
    order by f.endpoint_id
""")
FIND_OLD = text("""
    select s.supplier_id from fulfillment_streams s
    cross join lateral (
        select heard_at from fulfillment_events v
        where v.supplier_id = s.supplier_id order by logical_timestamp limit 1) oldest
    where oldest.heard_at < db_now() - make_interval(days => :keep_days)
    order by s.supplier_id
""")
# From the oldest on, without leaving any behind.
FORGET = text("""
    with oldest as (
        select logical_timestamp, bool_and(
            heard_at < db_now() - make_interval(days => :keep_days) and logical_timestamp <= coalesce((
                select min(f.acked_timestamp) from feeds f join endpoints e on e.endpoint_id = f.endpoint_id
                where e.company_id = :supplier_id), logical_timestamp)
        ) over (order by logical_timestamp) as is_over
        from (
            select logical_timestamp, heard_at from fulfillment_events
            where supplier_id = :supplier_id order by logical_timestamp limit :limit) o
    ), gone as (
        delete from fulfillment_events v using oldest o
        where v.supplier_id = :supplier_id and v.logical_timestamp = o.logical_timestamp and o.is_over
        returning v.logical_timestamp
    ), noted as (
        update fulfillment_streams
        set forgotten_timestamp = greatest(forgotten_timestamp, (select max(logical_timestamp) from gone))
        where supplier_id = :supplier_id
    )
    select count(*) from gone
""")


@dataclass(frozen=True, slots=True)
class DueEvent:
    """The event that an endpoint is to be told next.

    `fields` are the event's, `attempt` counts its failures in a row.
    """

    endpoint: DueEndpoint
    attempt: int
    logical_timestamp: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FinishedFeed:
    """What became of the call that told a feed of an event."""

    endpoint_id: int
    lease_id: UUID
    logical_timestamp: int
    delivered: bool
    delay_seconds: float
    attempt: int


async def keep_events(session: Session, events: Sequence[Mapping[str, Any]]) -> None:
    """Keep the events, given as the format has their fields; those that are kept already stay as they are."""
    await session.execute(
        KEEP,
        {
            "supplier_ids": [event["supplier_id"] for event in events],
            "logical_timestamps": [event["logical_timestamp"] for event in events],
            "bodies": [json.dumps(event) for event in events],
        },
    )


async def find_due(session: Session, floor_seconds: int, limit: int, passed_over: Sequence[int] = ()) -> list[DueEvent]:
    """Lock at most `limit` feeds that may be called and have no call under way, and give the next event of each.

    Not those of the endpoints `passed_over`.
    """
    values = {"floor_seconds": floor_seconds, "limit": limit, "passed_over": list(passed_over)}
    found = []
    for row in (await session.execute(FIND_DUE, values)).mappings():
        endpoint = dict(row)
        told = {name: endpoint.pop(name) for name in ("attempt", "logical_timestamp", "body")}
        found.append(DueEvent(DueEndpoint(**endpoint), told["attempt"], told["logical_timestamp"], told["body"]))
    return found


async def take(session: Session, due: Sequence[DueEvent], lease_id: UUID, timeout_seconds: float) -> None:
    """Reserve these events, whose feeds are locked, for a call."""
    await session.execute(
        TAKE,
        {
            "lease_id": lease_id,
            "timeout_seconds": timeout_seconds,
            "endpoint_ids": [event.endpoint.endpoint_id for event in due],
            "window_seconds": [event.endpoint.window_seconds for event in due],
        },
    )


async def finish(session: Session, finished: Sequence[FinishedFeed]) -> None:
    """Move feeds on past what was acknowledged, where the lease is still the caller's.

    Lock what is needed of endpoints before: their removal has them in that order.
    """
    if not finished:
        return
    endpoint_ids, lease_ids = [item.endpoint_id for item in finished], [item.lease_id for item in finished]
    await session.execute(LOCK_TAKEN, {"endpoint_ids": endpoint_ids, "lease_ids": lease_ids})
    await session.execute(
        FINISH,
        {
            "endpoint_ids": endpoint_ids,
            "lease_ids": lease_ids,
            "logical_timestamps": [item.logical_timestamp for item in finished],
            "delivered": [item.delivered for item in finished],
            "delay_seconds": [item.delay_seconds for item in finished],
            "attempts": [item.attempt for item in finished],
        },
    )


async def open_feed(session: Session, endpoint_id: int, supplier_id: int, after: int | None) -> int | None:
    """Begin a feed behind the logical timestamp `after`, or behind the newest that was heard of.

    Returns `None`; or, having done nothing, the oldest logical timestamp to begin with, as those before are forgotten.
    """
    forgotten = int((await session.execute(LOCK_STREAM, {"supplier_id": supplier_id})).scalar_one())
    if after is not None and after < forgotten:
        return forgotten + 1
    values = {"endpoint_id": endpoint_id, "supplier_id": supplier_id, "after": after, "forgotten": forgotten}
    await session.execute(OPEN, values)
    return None


async def rewind(session: Session, endpoint_id: int, after: int) -> int | None:
    """Have an endpoint's feed go on behind the logical timestamp `after`, be it back or forth; windows hold.

    Returns `None`; or, having done nothing, the oldest logical timestamp to go on with, as those before are forgotten.
    Does nothing without such a feed.
    """
    supplier_id = (await session.execute(FIND_SUPPLIER, {"endpoint_id": endpoint_id})).scalar_one_or_none()
    if supplier_id is None:
        return None
    forgotten = int((await session.execute(LOCK_STREAM, {"supplier_id": supplier_id})).scalar_one())
    if after < forgotten:
        return forgotten + 1
    await session.execute(REWIND, {"endpoint_id": endpoint_id, "after": after})
    return None


async def find_waiting(session: Session, late_seconds: float) -> list[tuple[int, int]]:
    """Active feeds `(endpoint id, logical timestamp)` that wait for an event although a later one has come.

    It was heard of `late_seconds` ago, at least.
    """
    rows = await session.execute(FIND_WAITING, {"late_seconds": late_seconds})
    return [(row.endpoint_id, row.logical_timestamp) for row in rows]


async def find_suppliers_with_old_events(session: Session, keep_days: int) -> list[int]:
    """Suppliers whose oldest event was heard longer ago than this."""
    return list((await session.execute(FIND_OLD, {"keep_days": keep_days})).scalars())


async def forget_events(session: Session, supplier_id: int, keep_days: int, limit: int) -> int:
    """Delete at most `limit` of a supplier's events that are older and acknowledged by all of its feeds.

    The oldest go first, so that what is left has no gap; returns how many went.
    """
    await session.execute(LOCK_STREAM, {"supplier_id": supplier_id})
    gone = await session.execute(FORGET, {"supplier_id": supplier_id, "keep_days": keep_days, "limit": limit})
    return int(gone.scalar_one())
