"""Companies, API keys and dropship connections; each is given as the event that tells its full state."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import TextClause, text

from services.catalog.store.ids import take_id
from shared.database import Session
from shared.events import Event
from shared.events.catalog import ApiKeyChanged, CompanyChanged, CompanyRole, ConnectionChanged, KeyRole
from shared.messaging.outbox import publish

E = TypeVar("E", bound=Event)

# Scopes are for a later step: today every key may do what its company may.
SCOPES = ("read", "write")
ADMIN_SCOPES = ("admin",)

ADD_COMPANY = text("""
    insert into companies (company_id, ref, display_name, role, oversell_policy, version)
    values (:company_id, :ref, :display_name, :role, :oversell_policy, 1)
    on conflict do nothing returning *
""")
FIND_COMPANY = text("select * from companies where company_id = :company_id")
LIST_COMPANIES = text("select * from companies where company_id > :after order by company_id limit :limit")
FIND_ROLES = text("select company_id, role from companies where company_id = any(cast(:company_ids as bigint[]))")

ADD_KEY = text("""
    insert into api_keys (key_id, key_sha256, company_id, role, scopes, expires_at, version)
    values (:key_id, :key_sha256, :company_id, :role, :scopes, :expires_at, 1)
    returning *
""")
LIST_KEYS = text("""
    select * from api_keys where company_id = :company_id and key_id > :after order by key_id limit :limit
""")
FIND_KEY = text("select * from api_keys where company_id = :company_id and key_id = :key_id")
REVOKE_KEY = text("""
    update api_keys set revoked_at = clock_timestamp(), version = version + 1
    where key_id = :key_id and revoked_at is null returning *
""")
# Replicas that start together make one key, not several.
LOCK_ADMIN_KEY = text("select pg_advisory_xact_lock(hashtext('basestock.catalog.admin_key'))")
COUNT_ADMIN_KEYS = text("""
    select count(*) from api_keys
    where role = 'admin' and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
""")

# A connection that has ended comes back under its old id, with a higher version.
CONNECT = text("""
    insert into connections as known
        (connection_id, supplier_id, retailer_id, external_ref, default_location, state, version)
    values (:connection_id, :supplier_id, :retailer_id, :external_ref, :default_location, 'active', 1)
    on conflict (supplier_id, retailer_id) do update set external_ref = excluded.external_ref,
        default_location = excluded.default_location, state = 'active', version = known.version + 1
    where known.state = 'ended'
    returning *
""")
LIST_CONNECTIONS = text("""
    select * from connections where connection_id > :after
        and (cast(:company_id as bigint) is null or cast(:company_id as bigint) in (supplier_id, retailer_id))
    order by connection_id limit :limit
""")
FIND_CONNECTION = text("""
    select * from connections where connection_id = :connection_id
        and (cast(:company_id as bigint) is null or cast(:company_id as bigint) in (supplier_id, retailer_id))
""")
END_CONNECTION = text("""
    update connections set state = 'ended', version = version + 1
    where connection_id = :connection_id and state <> 'ended' returning *
""")
# The admin's company is null, which no comparison finds.
FIND_CUT_OFF = text("""
    select p.product_id from products p
    where p.product_id = any(cast(:product_ids as bigint[])) and p.owner_id <> cast(:company_id as bigint)
        and not exists (
            select from connections c
            where c.supplier_id = p.owner_id and c.retailer_id = :company_id and c.state = 'active')
    order by array_position(cast(:product_ids as bigint[]), p.product_id) limit 1
""")


async def add_company(
    session: Session, given_id: int | None, *, ref: str, display_name: str, role: CompanyRole, oversell_policy: str
) -> CompanyChanged | None:
    """Add a company and publish it; `None` when its id or its ref is taken."""
    company_id = await take_id(session, "company_ids", given_id)
    values = {"ref": ref, "display_name": display_name, "role": role, "oversell_policy": oversell_policy}
    return await _change(session, CompanyChanged, ADD_COMPANY, {"company_id": company_id, **values})


async def find_company(session: Session, company_id: int) -> CompanyChanged | None:
    """A company, if it exists."""
    return next(iter(await _read(session, CompanyChanged, FIND_COMPANY, {"company_id": company_id})), None)


async def list_companies(session: Session, after: int, limit: int) -> list[CompanyChanged]:
    """Companies with ids above `after`, in the order of their ids."""
    return await _read(session, CompanyChanged, LIST_COMPANIES, {"after": after, "limit": limit})


async def find_roles(session: Session, company_ids: Collection[int]) -> dict[int, CompanyRole]:
    """`{company id: role}` of those that exist."""
    rows = await session.execute(FIND_ROLES, {"company_ids": sorted(company_ids)})
    return {row.company_id: row.role for row in rows}


async def add_key(
    session: Session, key_sha256: str, role: KeyRole, company_id: int | None, expires_at: datetime | None = None
) -> ApiKeyChanged:
    """Add the hash of a new API key and publish it; `company_id` is `None` for the platform admin's."""
    values = {
        "key_id": await take_id(session, "key_ids"),
        "key_sha256": key_sha256,
        "company_id": company_id,
        "role": role,
        "scopes": list(ADMIN_SCOPES if role == "admin" else SCOPES),
        "expires_at": expires_at,
    }
    (added,) = await _read(session, ApiKeyChanged, ADD_KEY, values)
    publish(session, added)
    return added


async def list_keys(session: Session, company_id: int, after: int, limit: int) -> list[ApiKeyChanged]:
    """A company's keys with ids above `after`, revoked ones too."""
    return await _read(session, ApiKeyChanged, LIST_KEYS, {"company_id": company_id, "after": after, "limit": limit})


async def revoke_key(session: Session, company_id: int, key_id: int) -> bool:
    """Revoke a company's key and publish that; says whether the company has such a key. Again is harmless."""
    found = await _read(session, ApiKeyChanged, FIND_KEY, {"company_id": company_id, "key_id": key_id})
    if found:
        await _change(session, ApiKeyChanged, REVOKE_KEY, {"key_id": key_id})
    return bool(found)


async def has_admin_key(session: Session) -> bool:
    """Whether there is a valid admin key; nobody else adds the first one before this transaction ends."""
    await session.execute(LOCK_ADMIN_KEY)
    count: int = (await session.execute(COUNT_ADMIN_KEYS)).scalar_one()
    return count > 0


async def connect(
    session: Session, supplier_id: int, retailer_id: int, external_ref: str | None, default_location: str | None
) -> ConnectionChanged | None:
    """Make (or make again) an active connection and publish it; `None` when there is one that has not ended."""
    values = {
        "connection_id": await take_id(session, "connection_ids"),
        "supplier_id": supplier_id,
        "retailer_id": retailer_id,
        "external_ref": external_ref,
        "default_location": default_location,
    }
    return await _change(session, ConnectionChanged, CONNECT, values)


async def list_connections(session: Session, company_id: int | None, after: int, limit: int) -> list[ConnectionChanged]:
    """A company's connections (all, for `None`) with ids above `after`."""
    values = {"company_id": company_id, "after": after, "limit": limit}
    return await _read(session, ConnectionChanged, LIST_CONNECTIONS, values)


async def find_connection(session: Session, connection_id: int, company_id: int | None) -> ConnectionChanged | None:
    """A connection of this company (of any, for `None`)."""
    values = {"connection_id": connection_id, "company_id": company_id}
    return next(iter(await _read(session, ConnectionChanged, FIND_CONNECTION, values)), None)


async def find_cut_off(session: Session, product_ids: Sequence[int], company_id: int | None) -> int | None:
    """The first of these products whose owner is not connected with this company (`None`, the admin, sees all)."""
    found = await session.execute(FIND_CUT_OFF, {"product_ids": list(product_ids), "company_id": company_id})
    return found.scalar_one_or_none()


async def end_connection(session: Session, connection_id: int, company_id: int | None) -> bool:
    """End a connection of this company (of any, for `None`) and publish that; says whether it has such a one."""
    found = await find_connection(session, connection_id, company_id)
    if found is not None:
        await _change(session, ConnectionChanged, END_CONNECTION, {"connection_id": connection_id})
    return found is not None


async def _read(session: Session, state: type[E], statement: TextClause, values: dict[str, Any]) -> list[E]:
    rows = (await session.execute(statement, values)).mappings()
    return [state.model_validate(dict(row)) for row in rows]


async def _change(session: Session, state: type[E], statement: TextClause, values: dict[str, Any]) -> E | None:
    """Run a statement that changes one row and returns it, or none; publish the row as it is now."""
    changed = next(iter(await _read(session, state, statement, values)), None)
    if changed is not None:
        publish(session, changed)
    return changed
