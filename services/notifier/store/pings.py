"""Samples that endpoints are to be sent: one each at a time, under way until its call is written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text

from services.notifier.store.due import TO_CALL, DueEndpoint
from shared.database import Session

SampleKind = Literal["ping", "test"]

# One that waits already is the one that is asked for; a test says more than a ping. One that is under way keeps its
# place until its lease is over: so nobody has more than one call at a time by asking for samples.
ENQUEUE = text("""
    insert into pings as waiting (endpoint_id, webhook_id, kind, requested_at)
    values (:endpoint_id, :webhook_id, :kind, db_now())
    on conflict (endpoint_id) do update set kind = excluded.kind, lease_until = null,
        webhook_id = case when waiting.lease_until is null and waiting.kind = excluded.kind
            then waiting.webhook_id else excluded.webhook_id end
        where waiting.lease_until is null or waiting.lease_until <= db_now()
    returning webhook_id
""")
# One whose sender died is forgotten: it may have been sent.
CLAIM = text(
    f"""
    with lost as (
        delete from pings where endpoint_id in (
            select endpoint_id from pings where lease_until <= db_now() order by endpoint_id for update skip locked)
    ), due as (
        select endpoint_id from pings where lease_until is null
        order by requested_at limit :limit for update skip locked
    ), claimed as (
        update pings p set lease_until = db_now() + make_interval(secs => :timeout_seconds)
        from due where p.endpoint_id = due.endpoint_id
        returning p.endpoint_id, p.webhook_id, p.kind
    )
    select c.webhook_id, c.kind as sample_kind, {TO_CALL}
    from claimed c join endpoints e on e.endpoint_id = c.endpoint_id
"""  # noqa: S608 - constants
)
FINISH = text("""
    with done as (
        select p.endpoint_id from pings p
        join unnest(cast(:endpoint_ids as bigint[]), cast(:webhook_ids as text[])) as d (endpoint_id, webhook_id)
            on d.endpoint_id = p.endpoint_id and d.webhook_id = p.webhook_id
        order by p.endpoint_id for update of p
    )
    delete from pings p using done where p.endpoint_id = done.endpoint_id
""")


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample to send now."""

    endpoint: DueEndpoint
    webhook_id: str
    kind: SampleKind


async def enqueue(session: Session, endpoint_id: int, webhook_id: str, kind: SampleKind) -> str | None:
    """Have a sample sent; returns its webhook id, which is that of one of its kind that still waits.

    `None`, and nothing is done, while another one is under way.
    """
    values = {"endpoint_id": endpoint_id, "webhook_id": webhook_id, "kind": kind}
    found: str | None = (await session.execute(ENQUEUE, values)).scalar_one_or_none()
    return found


async def claim(session: Session, limit: int, floor_seconds: int, timeout_seconds: float) -> list[Sample]:
    """Take at most `limit` samples that wait, for so long: whoever commits this sends them, or nobody does."""
    values = {"limit": limit, "floor_seconds": floor_seconds, "timeout_seconds": timeout_seconds}
    rows = await session.execute(CLAIM, values)
    return [_sample(dict(row)) for row in rows.mappings()]


async def finish(session: Session, sent: Sequence[tuple[int, str]]) -> None:
    """These `(endpoint id, webhook id)` have been sent: the next ones may be."""
    if sent:
        endpoint_ids, webhook_ids = zip(*sent, strict=True)
        await session.execute(FINISH, {"endpoint_ids": endpoint_ids, "webhook_ids": webhook_ids})


def _sample(row: dict[str, object]) -> Sample:
    webhook_id, kind = row.pop("webhook_id"), row.pop("sample_kind")
    return Sample(
        endpoint=DueEndpoint(**row),  # type: ignore[arg-type] # columns of TO_CALL
        webhook_id=str(webhook_id),
        kind=kind,  # type: ignore[arg-type] # checked by the table
    )
