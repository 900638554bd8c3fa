"""The log of attempts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text

from services.notifier.domain.calls import Outcome
from services.notifier.tables import CallKind
from shared.database import Session

SHOWN = """
    select attempt_id, webhook_id, kind, product_ids, versions, at, duration_milliseconds, request_headers,
        request_body, status, response_body, error, detail, charged
    from attempts where endpoint_id = :endpoint_id
"""
# An index of failures is used where the statement says so, and no parameter.
OF_OUTCOME: Mapping[bool | None, str] = {None: "", True: "and error is null", False: "and error is not null"}
LIST_ATTEMPTS = {
    delivered: text(f"""{SHOWN}
      and attempt_id < :before and (kind = :kind or cast(:kind as text) is null) {condition}
      and (cast(:product_id as bigint) = any(product_ids) or cast(:product_id as bigint) is null)
      and (at >= :since or cast(:since as timestamptz) is null)
      and (at < :until or cast(:until as timestamptz) is null)
    order by attempt_id desc limit :limit
""")
    for delivered, condition in OF_OUTCOME.items()
}
FIND_ATTEMPT = text(f"{SHOWN} and attempt_id = :attempt_id")
FIND_BY_WEBHOOK_ID = text(f"{SHOWN} and attempt_id > :after and webhook_id = :webhook_id limit 1")
NEWEST_ID = text("""
    select attempt_id from attempts where endpoint_id = :endpoint_id order by attempt_id desc limit 1
""")
# Arrays of arrays must be rectangular, so each row's ids and versions travel as text.
LOG = text("""
    insert into attempts (endpoint_id, webhook_id, kind, product_ids, versions, at, duration_milliseconds,
        request_headers, request_body, status, response_body, error, detail, charged)
    select a.endpoint_id, a.webhook_id, a.kind, cast(a.product_ids as bigint[]), cast(a.versions as bigint[]),
        db_now() - make_interval(secs => a.seconds), round(a.seconds * 1000), cast(a.request_headers as jsonb),
        a.request_body, a.status, a.response_body, a.error, a.detail, a.charged
    from unnest(cast(:endpoint_ids as bigint[]), cast(:webhook_ids as text[]), cast(:kinds as text[]),
        cast(:product_ids as text[]), cast(:versions as text[]), cast(:seconds as double precision[]),
        cast(:request_headers as text[]), cast(:request_bodies as bytea[]), cast(:statuses as integer[]),
        cast(:response_bodies as text[]), cast(:errors as text[]), cast(:details as text[]),
        cast(:charged as boolean[]))
        as a (endpoint_id, webhook_id, kind, product_ids, versions, seconds, request_headers, request_body, status,
            response_body, error, detail, charged)
""")
FORGET = text("""
    delete from attempts where attempt_id in (
        select attempt_id from attempts where at < db_now() - make_interval(days => :keep_days)
        order by at limit :limit for update skip locked)
""")


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One line of the attempt log; `product_ids` and `versions` are parallel."""

    attempt_id: int
    webhook_id: str
    kind: CallKind
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
    charged: bool


@dataclass(frozen=True, slots=True)
class Made:
    """An attempt that was made: what was sent, and what came of it."""

    endpoint_id: int
    webhook_id: str
    kind: CallKind
    versions: Sequence[tuple[int, int]]
    request_headers: dict[str, str]
    request_body: bytes
    outcome: Outcome
    seconds: float


async def page_of_attempts(
    session: Session, endpoint_id: int, before: int, limit: int, wanted: Mapping[str, Any]
) -> list[LoggedAttempt]:
    """The endpoint's attempts with ids below `before`, newest first.

    `wanted` has `kind`, `delivered`, `product_id`, `since` and `until`, each `None` for any.
    """
    values = {"endpoint_id": endpoint_id, "before": before, "limit": limit, **wanted}
    rows = await session.execute(LIST_ATTEMPTS[values.pop("delivered")], values)
    return [LoggedAttempt(**row) for row in rows.mappings()]


async def find_attempt(session: Session, endpoint_id: int, attempt_id: int) -> LoggedAttempt | None:
    """The attempt, if it was one to this endpoint."""
    return await _find_one(session, FIND_ATTEMPT, {"endpoint_id": endpoint_id, "attempt_id": attempt_id})


async def newest_id(session: Session, endpoint_id: int) -> int:
    """The id of the endpoint's newest attempt, 0 if there was none."""
    return (await session.execute(NEWEST_ID, {"endpoint_id": endpoint_id})).scalar_one_or_none() or 0


async def find_by_webhook_id(session: Session, endpoint_id: int, webhook_id: str, after: int) -> LoggedAttempt | None:
    """The attempt with this webhook id, if one was made after the attempt `after`."""
    values = {"endpoint_id": endpoint_id, "webhook_id": webhook_id, "after": after}
    return await _find_one(session, FIND_BY_WEBHOOK_ID, values)


async def _find_one(session: Session, query: TextClause, values: dict[str, object]) -> LoggedAttempt | None:
    row = (await session.execute(query, values)).mappings().one_or_none()
    return None if row is None else LoggedAttempt(**row)


async def log_attempts(session: Session, attempts: Sequence[Made]) -> None:
    """Write the attempts into the log."""
    values: dict[str, list[Any]] = {
        "endpoint_ids": [made.endpoint_id for made in attempts],
        "webhook_ids": [made.webhook_id for made in attempts],
        "kinds": [made.kind for made in attempts],
        "product_ids": [_array(product_id for product_id, _ in made.versions) for made in attempts],
        "versions": [_array(version for _, version in made.versions) for made in attempts],
        "seconds": [made.seconds for made in attempts],
        "request_headers": [json.dumps(made.request_headers) for made in attempts],
        "request_bodies": [made.request_body for made in attempts],
        "statuses": [made.outcome.status for made in attempts],
        "response_bodies": [made.outcome.response_body for made in attempts],
        "errors": [made.outcome.error for made in attempts],
        "details": [made.outcome.detail for made in attempts],
        # A sample says nothing of how its endpoint is.
        "charged": [made.outcome.charged and made.kind not in {"ping", "test"} for made in attempts],
    }
    await session.execute(LOG, values)


async def forget_attempts(session: Session, keep_days: int, limit: int) -> int:
    """Delete at most `limit` attempts older than `keep_days`; returns how many went."""
    result = await session.execute(FORGET, {"keep_days": keep_days, "limit": limit})
    return int(result.rowcount)  # type: ignore[attr-defined] # a delete's result has it


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
