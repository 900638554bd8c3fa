"""Which endpoints may be called now, and what a call must know of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from services.notifier.tables import DeltaSemantics, Format
from shared.database import Session

# Of `endpoints e`; `:floor_seconds` is the platform's window for stock levels.
WINDOW_SECONDS = """
    case when e.format = 'stock_level' then greatest(e.window_seconds, :floor_seconds) else e.window_seconds end
"""
# Of `endpoints e`, for a `DueEndpoint`. Older secrets sign until their time is over.
TO_CALL = f"""
    e.endpoint_id, e.company_id, e.url, e.format, e.secret, e.auth_header_name, e.auth_header_value,
    case when e.old_secrets = '[]' then e.old_secrets else (
        select coalesce(jsonb_agg(o.one order by o.place), '[]')
        from jsonb_array_elements(e.old_secrets) with ordinality as o (one, place)
        where cast(o.one ->> 'expires_at' as timestamptz) > db_now()) end as old_secrets,
    {WINDOW_SECONDS} as window_seconds,
    e.legacy_key, e.delta_semantics, e.dotted_names, e.early_retry, e.event_types, e.only, e.calls_at_once,
    e.calls_per_second, e.products_per_call, e.backlog_until
"""  # noqa: S608 - constants
# Of `e`, an endpoint: whether one more call may be under way. The slots of a call share its lease. Most endpoints want
# one call at a time, and then one slot says enough.
HAS_ROOM = """
    case when e.calls_at_once = 1 then not exists (
        select from slots l where l.endpoint_id = e.endpoint_id and l.lease_until > (select db_now()))
    else e.calls_at_once > (
        select count(distinct l.lease_id) from slots l
        where l.endpoint_id = e.endpoint_id and l.lease_until > (select db_now()))
    end
"""
FIND_DUE_ENDPOINTS = text(
    f"""
    select {TO_CALL}
    from endpoints e
    cross join lateral (
        select from slots s
        where s.endpoint_id = e.endpoint_id and s.dirty and s.not_before <= (select db_now()) limit 1) due
    where e.state = 'active' and e.endpoint_id > :after
      and e.next_call_at <= (select db_now())
      and {HAS_ROOM}
    order by e.endpoint_id limit :limit for no key update of e skip locked
"""  # noqa: S608 - constants
)
# Every replica sees it, as the endpoint is locked from when it was found due.
PACE = text("""
    update endpoints e set next_call_at = db_now() + make_interval(secs => p.pause_seconds),
        backlog_until = case when p.has_backlog then e.backlog_until end
    from unnest(cast(:endpoint_ids as bigint[]), cast(:pause_seconds as double precision[]),
        cast(:have_backlog as boolean[])) as p (endpoint_id, pause_seconds, has_backlog)
    where e.endpoint_id = p.endpoint_id
""")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long not to call an endpoint that was called, and whether it has more due since before it was enabled."""

    endpoint_id: int
    pause_seconds: float
    has_backlog: bool


@dataclass(frozen=True, slots=True)
class DueEndpoint:
    """An endpoint that may be called; `window_seconds` is at least the platform's. Its secrets are encrypted.

    What was due before `backlog_until` goes slowly.
    """

    endpoint_id: int
    company_id: int
    url: str
    format: Format
    secret: str
    old_secrets: Sequence[dict[str, str]]
    auth_header_name: str | None
    auth_header_value: str | None
    window_seconds: int
    legacy_key: bool
    delta_semantics: DeltaSemantics
    dotted_names: bool
    early_retry: bool
    event_types: Sequence[str] | None
    only: Sequence[str] | None
    calls_at_once: int
    calls_per_second: float | None
    products_per_call: int
    backlog_until: datetime | None


async def find_due_endpoints(session: Session, after: int, limit: int, floor_seconds: int) -> list[DueEndpoint]:
    """Lock endpoints with ids above `after` that have something due and may be called, in the order of ids."""
    rows = await session.execute(FIND_DUE_ENDPOINTS, {"after": after, "limit": limit, "floor_seconds": floor_seconds})
    return [DueEndpoint(**row) for row in rows.mappings()]


async def pace(session: Session, paces: Sequence[Pace]) -> None:
    """Leave these locked endpoints alone for a while, as they have been called."""
    if paces:
        values = {
            "endpoint_ids": [one.endpoint_id for one in paces],
            "pause_seconds": [one.pause_seconds for one in paces],
            "have_backlog": [one.has_backlog for one in paces],
        }
        await session.execute(PACE, values)
