"""Endpoints as the API sees them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

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
IS_RETAILER = text("select 1 from companies where company_id = :company_id and role = 'retailer'")


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


async def is_retailer(session: Session, company_id: int) -> bool:
    """Whether there is a retailer with this id."""
    return (await session.execute(IS_RETAILER, {"company_id": company_id})).one_or_none() is not None
