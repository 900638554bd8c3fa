"""Endpoints as the API sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from services.notifier.store.waits import ask_to_shorten
from services.notifier.tables import DeltaSemantics, EndpointState, Format
from shared.database import Session

# What a company says of its endpoint; `format` stays as it is.
OPTIONS = (
    "url",
    "window_seconds",
    "auth_header_name",
    "auth_header_value",
    "legacy_key",
    "delta_semantics",
    "dotted_names",
    "early_retry",
    "event_types",
    "supplier_ids",
    "product_ids",
    "only",
    "calls_at_once",
    "calls_per_second",
)
SHOWN = """
    e.endpoint_id, e.company_id, e.format, e.url, e.window_seconds, e.auth_header_name, e.legacy_key, e.delta_semantics,
    e.dotted_names, e.early_retry, e.event_types, e.supplier_ids, e.product_ids, e.only, e.calls_at_once,
    e.calls_per_second, e.replay_after is not null as is_replaying, e.state, e.reason, e.failing_since, e.failures,
    case when e.next_call_at > db_now() then e.next_call_at end as next_call_at,
    array(select cast(o ->> 'expires_at' as timestamptz) from jsonb_array_elements(e.old_secrets) as o
        where cast(o ->> 'expires_at' as timestamptz) > db_now() order by 1 desc) as old_secrets_until,
    (select f.acked_timestamp from feeds f where f.endpoint_id = e.endpoint_id) as acked_timestamp,
    e.version, e.created_at
"""
# A null company is the platform admin, who may see all.
OWN = "(e.company_id = :company_id or cast(:company_id as bigint) is null)"
# Until the transaction ends nobody else adds one for the company; it may have no row in this schema yet.
LOCK_COMPANY = text("""
    select pg_advisory_xact_lock(hashtextextended('basestock.notifier.company.' || cast(:company_id as bigint), 0))
""")
COUNT = text("select count(*) from endpoints where company_id = :company_id")
LIST = text(
    f"""
    select {SHOWN} from endpoints e
    where {OWN} and endpoint_id > :after
      and (state = :state or cast(:state as text) is null) and (format = :format or cast(:format as text) is null)
    order by endpoint_id limit :limit
"""  # noqa: S608 - constants
)
FIND = text(
    f"select {SHOWN} from endpoints e where e.endpoint_id = :endpoint_id and {OWN}"  # noqa: S608 - constants
)
LOCK = text(
    f"select e.endpoint_id from endpoints e where e.endpoint_id = :endpoint_id and {OWN} for no key update"  # noqa: S608 - constants
)
REMOVE = text(
    f"""
    delete from endpoints e where e.endpoint_id = :endpoint_id and {OWN} returning e.endpoint_id
"""  # noqa: S608 - constants
)
SET_STATE = text("""
    update endpoints set state = :state, failing_since = null, failures = 0, warned = 0, next_call_at = '-infinity',
        version = version + 1
    where endpoint_id = :endpoint_id and state <> :state
""")
# So that a retailer that comes back is not called with all of its backlog at once, and not together with others.
ENABLE = text("""
    update endpoints set state = 'active', reason = null, failing_since = null, failures = 0, warned = 0,
        products_per_call = 100, backlog_until = db_now(), version = version + 1,
        next_call_at = db_now() + make_interval(secs => random() * :start_within_seconds)
    where endpoint_id = :endpoint_id
""")
# At once, whatever failed before.
RETRY_FEED = text("update feeds set not_before = db_now(), attempt = 0 where endpoint_id = :endpoint_id")
FIND_ROLE = text("select role from companies where company_id = :company_id")

# What is waited for by these.
WAITED_BY = {"url", "window_seconds", "calls_per_second"}
START_WITHIN_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint without its secrets; `old_secrets_until` says how long each older one signs, newest first."""

    endpoint_id: int
    company_id: int
    format: Format
    url: str
    window_seconds: int
    auth_header_name: str | None
    legacy_key: bool
    delta_semantics: DeltaSemantics
    dotted_names: bool
    early_retry: bool
    event_types: list[str] | None
    supplier_ids: list[int] | None
    product_ids: list[int] | None
    only: list[str] | None
    calls_at_once: int
    calls_per_second: float | None
    is_replaying: bool
    state: EndpointState
    reason: str | None
    failing_since: datetime | None
    failures: int
    next_call_at: datetime | None
    old_secrets_until: list[datetime]
    acked_timestamp: int | None
    version: int
    created_at: datetime


async def add(
    session: Session,
    company_id: int,
    url: str,
    secret: str,
    window_seconds: int = 0,
    *,
    format_: Format = "stock_level",
    **options: object,
) -> Endpoint:
    """Add an active endpoint; `secret` is encrypted, `options` are others of `OPTIONS`."""
    given = {"company_id": company_id, "format": format_, "secret": secret, "url": url}
    values = given | {"window_seconds": window_seconds} | _known(options)
    columns = ", ".join(f'"{name}"' for name in values)  # `only` is a word of SQL
    statement = f"""
        insert into endpoints ({columns}, state, version, created_at)
        values ({", ".join(f":{name}" for name in values)}, 'active', 1, db_now()) returning endpoint_id
    """  # noqa: S608 - names of columns
    endpoint_id = (await session.execute(text(statement), values)).scalar_one()
    added = await find(session, endpoint_id, company_id)
    assert added is not None  # noqa: S101 - it was added just now
    return added


async def change(session: Session, endpoint_id: int, options: Mapping[str, object], floor_seconds: int) -> None:
    """Set these of `OPTIONS` of a locked endpoint; `floor_seconds` is the platform's window.

    What waits because of what the endpoint was before waits no longer than a window from now.
    """
    sets = ", ".join(f'"{name}" = :{name}' for name in _known(options))
    if WAITED_BY & set(options):
        sets += ", next_call_at = '-infinity'"
    statement = f"update endpoints set {sets}, version = version + 1 where endpoint_id = :endpoint_id"  # noqa: S608 - names of columns
    await session.execute(text(statement), {**options, "endpoint_id": endpoint_id})
    if WAITED_BY & set(options):
        await ask_to_shorten(session, endpoint_id, floor_seconds)


def _known(options: Mapping[str, object]) -> dict[str, object]:
    unknown = set(options) - set(OPTIONS)
    assert not unknown, unknown  # noqa: S101 - they become names of columns
    return dict(options)


async def count_and_lock(session: Session, company_id: int) -> int:
    """How many endpoints the company has; none is added by others until the transaction ends."""
    await session.execute(LOCK_COMPANY, {"company_id": company_id})
    return int((await session.execute(COUNT, {"company_id": company_id})).scalar_one())


async def page(
    session: Session,
    company_id: int | None,
    after: int,
    limit: int,
    *,
    state: EndpointState | None = None,
    format_: Format | None = None,
) -> list[Endpoint]:
    """The company's endpoints (`None`: all there are) with ids above `after`, in their order."""
    wanted = {"company_id": company_id, "after": after, "limit": limit, "state": state, "format": format_}
    rows = await session.execute(LIST, wanted)
    return [Endpoint(**row) for row in rows.mappings()]


async def find(session: Session, endpoint_id: int, company_id: int | None) -> Endpoint | None:
    """The endpoint, if it is this company's; `None` as company finds anybody's."""
    found = await session.execute(FIND, {"endpoint_id": endpoint_id, "company_id": company_id})
    row = found.mappings().one_or_none()
    return None if row is None else Endpoint(**row)


async def find_and_lock(session: Session, endpoint_id: int, company_id: int | None) -> Endpoint | None:
    """As `find`, and nobody changes or calls it until the transaction ends."""
    await session.execute(LOCK, {"endpoint_id": endpoint_id, "company_id": company_id})
    return await find(session, endpoint_id, company_id)


async def remove(session: Session, endpoint_id: int, company_id: int | None) -> bool:
    """Remove the endpoint and its slots, if it is this company's; says whether it was there."""
    found = await session.execute(REMOVE, {"endpoint_id": endpoint_id, "company_id": company_id})
    return found.one_or_none() is not None


async def set_state(session: Session, endpoint_id: int, state: EndpointState) -> None:
    """Pause a locked endpoint, or go on."""
    await session.execute(SET_STATE, {"endpoint_id": endpoint_id, "state": state})


async def enable(session: Session, endpoint_id: int, floor_seconds: int) -> None:
    """Call a locked endpoint again, as if it had never failed, and slowly with what is due now.

    `floor_seconds` is the platform's window: nothing waits longer than its window from now.
    """
    await session.execute(ENABLE, {"endpoint_id": endpoint_id, "start_within_seconds": START_WITHIN_SECONDS})
    await ask_to_shorten(session, endpoint_id, floor_seconds)
    await session.execute(RETRY_FEED, {"endpoint_id": endpoint_id})


async def find_role(session: Session, company_id: int) -> str | None:
    """`supplier` or `retailer`; `None` where there is no such company (yet)."""
    role: str | None = (await session.execute(FIND_ROLE, {"company_id": company_id})).scalar_one_or_none()
    return role
