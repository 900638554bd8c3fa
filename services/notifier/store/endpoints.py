"""Endpoints as the API sees them, and the log of attempts."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.notifier.domain import Outcome
from shared.database import Session

ADD = text("""
    insert into endpoints (company_id, url, secret, window_seconds, state, version, created_at)
    values (:company_id, :url, :secret, :window_seconds, 'active', 1, db_now())
    returning endpoint_id, company_id, url, window_seconds, state, reason, version, created_at
""")
# Until the transaction ends nobody else adds one for the company; it may have no row in this schema yet.
LOCK_COMPANY = text("""
    select pg_advisory_xact_lock(hashtextextended('basestock.notifier.company.' || cast(:company_id as bigint), 0))
""")
COUNT = text("select count(*) from endpoints where company_id = :company_id")
LIST = text("""
    select endpoint_id, company_id, url, window_seconds, state, reason, version, created_at from endpoints
    where company_id = :company_id and endpoint_id > :after order by endpoint_id limit :limit
""")
# A null company is the platform admin, who may see all.
FIND = text("""
    select endpoint_id, company_id, url, window_seconds, state, reason, version, created_at from endpoints
    where endpoint_id = :endpoint_id and (company_id = :company_id or cast(:company_id as bigint) is null)
""")
REMOVE = text("""
    delete from endpoints
    where endpoint_id = :endpoint_id and (company_id = :company_id or cast(:company_id as bigint) is null)
    returning endpoint_id
""")
DISABLE = text("""
    update endpoints set state = 'disabled', reason = :reason, version = version + 1
    where endpoint_id = any(cast(:endpoint_ids as bigint[])) and state = 'active'
""")
IS_RETAILER = text("select 1 from companies where company_id = :company_id and role = 'retailer'")
LIST_ATTEMPTS = text("""
    select attempt_id, webhook_id, product_ids, versions, at, duration_milliseconds, request_headers, request_body,
        status, response_body, error, detail
    from attempts where endpoint_id = :endpoint_id and attempt_id < :before order by attempt_id desc limit :limit
""")
# Arrays of arrays must be rectangular, so each row's ids and versions travel as text.
LOG = text("""
    insert into attempts (endpoint_id, webhook_id, product_ids, versions, at, duration_milliseconds, request_headers,
        request_body, status, response_body, error, detail)
    select a.endpoint_id, a.webhook_id, cast(a.product_ids as bigint[]), cast(a.versions as bigint[]),
        db_now() - make_interval(secs => a.seconds), round(a.seconds * 1000), cast(a.request_headers as jsonb),
        a.request_body, a.status, a.response_body, a.error, a.detail
    from unnest(cast(:endpoint_ids as bigint[]), cast(:webhook_ids as text[]), cast(:product_ids as text[]),
        cast(:versions as text[]), cast(:seconds as double precision[]), cast(:request_headers as text[]),
        cast(:request_bodies as bytea[]), cast(:statuses as integer[]), cast(:response_bodies as text[]),
        cast(:errors as text[]), cast(:details as text[]))
        as a (endpoint_id, webhook_id, product_ids, versions, seconds, request_headers, request_body, status,
            response_body, error, detail)
""")
FORGET = text("""
    delete from attempts where attempt_id in (
        select attempt_id from attempts where at < db_now() - make_interval(days => :keep_days)
        order by at limit :limit for update skip locked)
""")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint without its secret."""

    endpoint_id: int
    company_id: int
    url: str
    window_seconds: int
    state: str
    reason: str | None
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One line of the attempt log; `product_ids` and `versions` are parallel."""

    attempt_id: int
    webhook_id: str
    product_ids: list[int]
    versions: list[int]
    at: datetime
    duration_milliseconds: int
    request_headers: dict[str, str]
    request_body: bytes
    status: int | None
    response_body: str | None
    error: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """An attempt that was made: what was sent, and what came of it."""

    endpoint_id: int
    webhook_id: str
    versions: Sequence[tuple[int, int]]
    request_headers: dict[str, str]
    request_body: bytes
    outcome: Outcome
    seconds: float


async def add(session: Session, company_id: int, url: str, secret: str, window_seconds: int) -> Endpoint:
    """Add an active endpoint."""
    values = {"company_id": company_id, "url": url, "secret": secret, "window_seconds": window_seconds}
    return Endpoint(**(await session.execute(ADD, values)).mappings().one())


async def count_and_lock(session: Session, company_id: int) -> int:
    """How many endpoints the company has; none is added by others until the transaction ends."""
    await session.execute(LOCK_COMPANY, {"company_id": company_id})
    return int((await session.execute(COUNT, {"company_id": company_id})).scalar_one())


async def page(session: Session, company_id: int, after: int, limit: int) -> list[Endpoint]:
    """The company's endpoints with ids above `after`, in their order."""
    rows = await session.execute(LIST, {"company_id": company_id, "after": after, "limit": limit})
    return [Endpoint(**row) for row in rows.mappings()]


async def find(session: Session, endpoint_id: int, company_id: int | None) -> Endpoint | None:
    """The endpoint, if it is this company's; `None` as company finds anybody's."""
    found = await session.execute(FIND, {"endpoint_id": endpoint_id, "company_id": company_id})
    row = found.mappings().one_or_none()
    return None if row is None else Endpoint(**row)


async def remove(session: Session, endpoint_id: int, company_id: int | None) -> bool:
    """Remove the endpoint and its slots, if it is this company's; says whether it was there."""
    found = await session.execute(REMOVE, {"endpoint_id": endpoint_id, "company_id": company_id})
    return found.one_or_none() is not None


async def disable(session: Session, endpoint_ids: Sequence[int], reason: str) -> None:
    """Call these no more; their slots stay as they are."""
    if endpoint_ids:
        await session.execute(DISABLE, {"endpoint_ids": sorted(endpoint_ids), "reason": reason})


async def is_retailer(session: Session, company_id: int) -> bool:
    """Whether there is a retailer with this id."""
    return (await session.execute(IS_RETAILER, {"company_id": company_id})).one_or_none() is not None


async def page_of_attempts(session: Session, endpoint_id: int, before: int, limit: int) -> list[LoggedAttempt]:
    """The endpoint's attempts with ids below `before`, newest first."""
    rows = await session.execute(LIST_ATTEMPTS, {"endpoint_id": endpoint_id, "before": before, "limit": limit})
    return [LoggedAttempt(**row) for row in rows.mappings()]


async def log_attempts(session: Session, attempts: Sequence[Made]) -> None:
    """Write the attempts into the log."""
    values: dict[str, list[Any]] = {
        "endpoint_ids": [made.endpoint_id for made in attempts],
        "webhook_ids": [made.webhook_id for made in attempts],
        "product_ids": [_array(product_id for product_id, _ in made.versions) for made in attempts],
        "versions": [_array(version for _, version in made.versions) for made in attempts],
        "seconds": [made.seconds for made in attempts],
        "request_headers": [json.dumps(made.request_headers) for made in attempts],
        "request_bodies": [made.request_body for made in attempts],
        "statuses": [made.outcome.status for made in attempts],
        "response_bodies": [made.outcome.response_body for made in attempts],
        "errors": [made.outcome.error for made in attempts],
        "details": [made.outcome.detail for made in attempts],
    }
    await session.execute(LOG, values)


async def forget_attempts(session: Session, keep_days: int, limit: int) -> int:
    """Delete at most `limit` attempts older than `keep_days`; returns how many went."""
    result = await session.execute(FORGET, {"keep_days": keep_days, "limit": limit})
    return int(result.rowcount)  # type: ignore[attr-defined] # a delete's result has it


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
