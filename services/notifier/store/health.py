"""The health of endpoints, and what operators have to be told of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.notifier.domain.health import CALL_PRODUCTS, Health
from services.notifier.tables import EndpointState
from shared.database import Session

# Healthy ones whose calls went well stay as they are, and are not locked. One that is disabled is judged no more.
LOCK_HEALTH = text("""
    select endpoint_id, company_id, url, state, failing_since, failures, warned, products_per_call, db_now() as now
    from endpoints
    where endpoint_id = any(cast(:endpoint_ids as bigint[])) and state <> 'disabled'
      and (endpoint_id = any(cast(:failed_ids as bigint[])) or failures > 0 or products_per_call < :call_products)
    order by endpoint_id for no key update
""")
SAVE_HEALTH = text("""
    update endpoints e set failing_since = h.failing_since, failures = h.failures, warned = h.warned,
        products_per_call = h.products_per_call,
        next_call_at = greatest(e.next_call_at, db_now() + make_interval(secs => h.rest_seconds)),
        state = case when h.reason is null then e.state else 'disabled' end, reason = h.reason,
        version = case when h.reason is null then e.version else e.version + 1 end
    from unnest(cast(:endpoint_ids as bigint[]), cast(:failing_since as timestamptz[]), cast(:failures as integer[]),
        cast(:warned as integer[]), cast(:products_per_call as integer[]), cast(:rest_seconds as double precision[]),
        cast(:reasons as text[]))
        as h (endpoint_id, failing_since, failures, warned, products_per_call, rest_seconds, reason)
    where e.endpoint_id = h.endpoint_id
""")
ADD_ALERTS = text("""
    insert into alerts (alert_id, body, not_before, raised_at)
    select a.alert_id, cast(a.body as jsonb), db_now(), db_now()
    from unnest(cast(:alert_ids as uuid[]), cast(:bodies as text[])) as a (alert_id, body)
""")
# Whoever dies with alerts in hand leaves them to the next one.
CLAIM_ALERTS = text("""
    update alerts a set attempt = a.attempt + 1, not_before = db_now() + make_interval(secs => :lease_seconds)
    from (
        select alert_id from alerts where not_before <= db_now()
        order by not_before, alert_id limit :limit for update skip locked
    ) due
    where a.alert_id = due.alert_id
    returning a.alert_id, a.body, a.attempt
""")
DELAY_ALERT = text("""
    update alerts set not_before = db_now() + make_interval(secs => :seconds) where alert_id = :alert_id
""")
DROP_ALERT = text("delete from alerts where alert_id = :alert_id")
DROP_OLD_ALERTS = text("""
    delete from alerts where alert_id in (
        select alert_id from alerts where raised_at < db_now() - cast(:keep as interval)
        order by alert_id for update skip locked)
    returning alert_id, body
""")
# A call is late when its turn is over and nothing keeps it; so one look along an index for each endpoint. What is
# parked is not due: a difference to infinity is infinite, and before PostgreSQL 17 an error.
BACKLOG = text("""
    select e.state, count(*) as endpoints,
        count(*) filter (where e.state = 'active' and e.failing_since is not null) as failing,
        coalesce(max(extract(epoch from db_now() - due.since)) filter (where e.state = 'active'), 0)
            as oldest_due_seconds
    from endpoints e
    left join lateral (
        select greatest(s.not_before, e.next_call_at) as since from slots s
        where s.endpoint_id = e.endpoint_id and s.dirty and s.not_before < 'infinity' order by s.not_before limit 1
    ) due on true
    group by e.state
""")
# What the latest call is measured of, slot by slot: for a person who looks, not again and again.
COUNT_DUE = text("""
    select count(*) from endpoints e join slots s on s.endpoint_id = e.endpoint_id
    where e.state = 'active' and e.next_call_at <= (select db_now()) and s.dirty and s.not_before <= (select db_now())
""")


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many endpoints are in each state, how many of the active ones fail, and how late the latest call is.

    It is late for as many seconds as its product is due at an active endpoint that does not rest.
    """

    endpoints: Mapping[EndpointState, int]
    failing: int
    oldest_due_seconds: float


@dataclass(frozen=True, slots=True)
class LockedEndpoint:
    """An endpoint whose health is locked, and the time by the database."""

    endpoint_id: int
    company_id: int
    url: str
    state: EndpointState
    health: Health
    now: datetime


@dataclass(frozen=True, slots=True)
class Alert:
    """What operators have to be told, for the `attempt`th time."""

    alert_id: UUID
    body: dict[str, Any]
    attempt: int


async def lock_health(session: Session, endpoint_ids: Sequence[int], failed_ids: Sequence[int]) -> list[LockedEndpoint]:
    """Lock, in the order of ids, those of the endpoints whose health may change by what came of their calls."""
    rows = await session.execute(
        LOCK_HEALTH,
        {"endpoint_ids": endpoint_ids, "failed_ids": failed_ids, "call_products": CALL_PRODUCTS},
    )
    return [
        LockedEndpoint(
            endpoint_id=row.endpoint_id,
            company_id=row.company_id,
            url=row.url,
            state=row.state,
            health=Health(row.failing_since, row.failures, row.warned, row.products_per_call),
            now=row.now,
        )
        for row in rows
    ]


async def save_health(session: Session, healths: Mapping[int, Health]) -> None:
    """Write down the health of these locked endpoints, by their ids; a `reason` disables."""
    if not healths:
        return
    found = list(healths.values())
    await session.execute(
        SAVE_HEALTH,
        {
            "endpoint_ids": list(healths),
            "failing_since": [health.failing_since for health in found],
            "failures": [health.failures for health in found],
            "warned": [health.warned for health in found],
            "products_per_call": [health.products_per_call for health in found],
            "rest_seconds": [health.rest_seconds for health in found],
            "reasons": [health.reason for health in found],
        },
    )


async def add_alerts(session: Session, bodies: Mapping[UUID, dict[str, Any]]) -> None:
    """Have operators told these, by their ids."""
    if bodies:
        values = {"alert_ids": list(bodies), "bodies": [json.dumps(body) for body in bodies.values()]}
        await session.execute(ADD_ALERTS, values)


async def claim_alerts(session: Session, limit: int, lease_seconds: float) -> list[Alert]:
    """At most `limit` alerts that are due; nobody else gets them for `lease_seconds`."""
    rows = await session.execute(CLAIM_ALERTS, {"limit": limit, "lease_seconds": lease_seconds})
    return [Alert(row.alert_id, row.body, row.attempt) for row in rows]


async def drop_alert(session: Session, alert_id: UUID) -> None:
    """It has been told."""
    await session.execute(DROP_ALERT, {"alert_id": alert_id})


async def delay_alert(session: Session, alert_id: UUID, seconds: float) -> None:
    """It could not be told: again in so many seconds."""
    await session.execute(DELAY_ALERT, {"alert_id": alert_id, "seconds": seconds})


async def drop_old_alerts(session: Session, keep: timedelta) -> list[dict[str, Any]]:
    """Give up alerts that are older than that; returns what they would have told."""
    return [row.body for row in await session.execute(DROP_OLD_ALERTS, {"keep": keep})]


async def count_backlog(session: Session) -> Backlog:
    """How far behind notifier is."""
    rows = (await session.execute(BACKLOG)).all()
    oldest = max((float(row.oldest_due_seconds) for row in rows), default=0.0)
    endpoints: dict[EndpointState, int] = {row.state: row.endpoints for row in rows}
    return Backlog(endpoints, sum(row.failing for row in rows), max(0.0, oldest))


async def count_due(session: Session) -> int:
    """How many products are due, each at an active endpoint that does not rest."""
    due: int = (await session.execute(COUNT_DUE)).scalar_one()
    return due
