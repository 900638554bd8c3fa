"""Samples that endpoints are to be sent: one each at a time, claimed by deleting it."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text

from services.notifier.store.due import TO_CALL, DueEndpoint
from shared.database import Session

SampleKind = Literal["ping", "test"]

# One that waits already is the one that is asked for; a test says more than a ping.
ENQUEUE = text("""
    insert into pings as waiting (endpoint_id, webhook_id, kind, requested_at)
    values (:endpoint_id, :webhook_id, :kind, db_now())
    on conflict (endpoint_id) do update set kind = excluded.kind,
        webhook_id = case when waiting.kind = excluded.kind then waiting.webhook_id else excluded.webhook_id end
    returning webhook_id
""")
CLAIM = text(
    f"""
    with claimed as (
        delete from pings where endpoint_id in (
            select endpoint_id from pings order by requested_at limit :limit for update skip locked)
        returning endpoint_id, webhook_id, kind
    )
    select c.webhook_id, c.kind as sample_kind, {TO_CALL}
    from claimed c join endpoints e on e.endpoint_id = c.endpoint_id
"""  # noqa: S608 - constants
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample to send now."""

    endpoint: DueEndpoint
    webhook_id: str
    kind: SampleKind


async def enqueue(session: Session, endpoint_id: int, webhook_id: str, kind: SampleKind) -> str:
    """Have a sample sent; returns its webhook id, which is that of one of its kind that still waits."""
    values = {"endpoint_id": endpoint_id, "webhook_id": webhook_id, "kind": kind}
    return str((await session.execute(ENQUEUE, values)).scalar_one())


async def claim(session: Session, limit: int, floor_seconds: int) -> list[Sample]:
    """Take at most `limit` samples that wait: whoever commits this sends them, or nobody does."""
    rows = await session.execute(CLAIM, {"limit": limit, "floor_seconds": floor_seconds})
    return [_sample(dict(row)) for row in rows.mappings()]


def _sample(row: dict[str, object]) -> Sample:
    webhook_id, kind = row.pop("webhook_id"), row.pop("sample_kind")
    return Sample(
        endpoint=DueEndpoint(**row),  # type: ignore[arg-type] # columns of TO_CALL
        webhook_id=str(webhook_id),
        kind=kind,  # type: ignore[arg-type] # checked by the table
    )
