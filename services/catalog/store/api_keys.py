"""API keys: their hashes; each is given as the event that tells its full state."""

from datetime import datetime

from sqlalchemy import text

from services.catalog.store.ids import take_id
from services.catalog.store.states import change_state, read_states
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, KeyRole
from shared.messaging.outbox import publish

# Scopes are for a later step: today every key may do what its company may.
SCOPES = ("read", "write")
ADMIN_SCOPES = ("admin",)

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
    update api_keys set revoked_at = clock_timestamp(), changed_at = clock_timestamp(), version = version + 1
    where key_id = :key_id and revoked_at is null returning *
""")
# Replicas that start together make one key, not several.
LOCK_ADMIN_KEY = text("select pg_advisory_xact_lock(hashtext('basestock.catalog.admin_key'))")
COUNT_ADMIN_KEYS = text("""
    select count(*) from api_keys
    where role = 'admin' and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
""")


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
    (added,) = await read_states(session, ApiKeyChanged, ADD_KEY, values)
    publish(session, added)
    return added


async def list_keys(session: Session, company_id: int, after: int, limit: int) -> list[ApiKeyChanged]:
    """A company's keys with ids above `after`, revoked ones too."""
    return await read_states(
        session, ApiKeyChanged, LIST_KEYS, {"company_id": company_id, "after": after, "limit": limit}
    )


async def revoke_key(session: Session, company_id: int, key_id: int) -> bool:
    """Revoke a company's key and publish that; says whether the company has such a key. Again is harmless."""
    found = await read_states(session, ApiKeyChanged, FIND_KEY, {"company_id": company_id, "key_id": key_id})
    if found:
        await change_state(session, ApiKeyChanged, REVOKE_KEY, {"key_id": key_id})
    return bool(found)


async def has_admin_key(session: Session) -> bool:
    """Whether there is a valid admin key; nobody else adds the first one before this transaction ends."""
    await session.execute(LOCK_ADMIN_KEY)
    count: int = (await session.execute(COUNT_ADMIN_KEYS)).scalar_one()
    return count > 0
