"""API keys: their hashes, what they may do, and when they were last used."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import text

from services.catalog.store.audit import Change, State, record
from services.catalog.store.ids import take_id
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, KeyRole
from shared.messaging.outbox import publish

# One that would have expired already is not added.
ADD_KEY = text("""
    insert into api_keys (key_id, key_sha256, company_id, role, label, scopes, expires_at, version)
    select key.*, 1 from (values (cast(:key_id as bigint), cast(:key_sha256 as text), cast(:company_id as bigint),
        cast(:role as text), cast(:label as text), cast(:scopes as text[]), cast(:expires_at as timestamptz)
    )) as key (key_id, key_sha256, company_id, role, label, scopes, expires_at)
    where key.expires_at is null or key.expires_at > clock_timestamp()
    returning *
""")
LIST_KEYS = text("""
    select * from api_keys where company_id = :company_id and key_id > :after order by key_id limit :limit
""")
LOCK_KEY = text("select * from api_keys where company_id = :company_id and key_id = :key_id for no key update")
FIND_BY_ID = text("select * from api_keys where key_id = :key_id")
REVOKE_KEY = text("""
    update api_keys set revoked_at = clock_timestamp(), changed_at = clock_timestamp(), version = version + 1
    where key_id = :key_id and revoked_at is null returning *
""")
LOCK_ADMIN_KEYS = text("""
    select * from api_keys where role = 'admin' and revoked_at is null order by key_id for no key update
""")
# Three consumers and the service itself note uses at the same time: the locks are taken in one order.
LOCK_KEYS = text("""
    select key_id from api_keys where key_id = any(cast(:key_ids as bigint[])) order by key_id for no key update
""")
NOTE_USES = text("""
    update api_keys k set last_used_at = u.used_at
    from unnest(cast(:key_ids as bigint[]), cast(:used_at as timestamptz[])) as u (key_id, used_at)
    where k.key_id = u.key_id and (k.last_used_at is null or k.last_used_at < u.used_at)
""")
# Replicas that start together make one key, not several.
LOCK_ADMIN_KEY = text("select pg_advisory_xact_lock(hashtext('basestock.catalog.admin_key'))")
# `null` is the platform admin.
COUNT_LIVE_KEYS = text("""
    select count(*) from api_keys where company_id is not distinct from cast(:company_id as bigint)
        and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
""")


class StoredKey(BaseModel):
    """An API key as it is kept, without its hash."""

    key_id: int
    company_id: int | None
    role: KeyRole
    label: str | None
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    version: int

    @property
    def said(self) -> State:
        """What the audit trail says of it."""
        return self.model_dump(mode="json", include={"role", "label", "scopes", "expires_at", "revoked_at"})


async def add_key(  # noqa: PLR0913 - each is a column
    session: Session,
    actor: str,
    key_sha256: str,
    role: KeyRole,
    company_id: int | None,
    scopes: Sequence[str],
    *,
    label: str | None = None,
    expires_at: datetime | None = None,
) -> StoredKey | None:
    """Add the hash of a new API key and publish it; `None`, and nothing done, when it would have expired already.

    `company_id` is `None` for the platform admin's.
    """
    values = {
        "key_id": await take_id(session, "key_ids"),
        "key_sha256": key_sha256,
        "company_id": company_id,
        "role": role,
        "label": label,
        "scopes": list(scopes),
        "expires_at": expires_at,
    }
    added = (await session.execute(ADD_KEY, values)).mappings().one_or_none()
    return None if added is None else await _tell(session, actor, "api_key_created", None, added)


async def count_live_keys(session: Session, company_id: int | None) -> int:
    """How many keys a company (the platform admin, for `None`) has that are accepted."""
    count: int = (await session.execute(COUNT_LIVE_KEYS, {"company_id": company_id})).scalar_one()
    return count


async def list_keys(session: Session, company_id: int, after: int, limit: int) -> list[StoredKey]:
    """A company's keys with ids above `after`, revoked ones too."""
    rows = await session.execute(LIST_KEYS, {"company_id": company_id, "after": after, "limit": limit})
    return [StoredKey.model_validate(dict(row)) for row in rows.mappings()]


async def find_key(session: Session, key_id: int) -> StoredKey | None:
    """An API key of anybody, if it exists."""
    row = (await session.execute(FIND_BY_ID, {"key_id": key_id})).mappings().one_or_none()
    return None if row is None else StoredKey.model_validate(dict(row))


async def revoke_key(session: Session, actor: str, company_id: int, key_id: int) -> bool:
    """Revoke a company's key and publish that; says whether the company has such a key. Again is harmless."""
    found = await session.execute(LOCK_KEY, {"company_id": company_id, "key_id": key_id})
    before = found.mappings().one_or_none()
    if before is None:
        return False
    revoked = (await session.execute(REVOKE_KEY, {"key_id": key_id})).mappings().one_or_none()
    if revoked is not None:
        await _tell(session, actor, "api_key_revoked", StoredKey.model_validate(dict(before)), revoked)
    return True


async def _tell(
    session: Session, actor: str, action: str, before: StoredKey | None, row: Mapping[Any, Any]
) -> StoredKey:
    """Publish and record what a key is now."""
    publish(session, ApiKeyChanged.model_validate(dict(row)))
    key = StoredKey.model_validate(dict(row))
    was = None if before is None else before.said
    await record(session, actor, Change(key.company_id, action, f"api key {key.key_id}", was, key.said))
    return key


async def revoke_admin_keys(session: Session, actor: str) -> None:
    """Revoke all of the platform admin's keys and publish that; nobody adds one before this transaction ends."""
    await session.execute(LOCK_ADMIN_KEY)
    for before in (await session.execute(LOCK_ADMIN_KEYS)).mappings().all():
        (revoked,) = (await session.execute(REVOKE_KEY, {"key_id": before["key_id"]})).mappings().all()
        await _tell(session, actor, "api_key_revoked", StoredKey.model_validate(dict(before)), revoked)


async def note_uses(session: Session, uses: Mapping[int, datetime]) -> None:
    """Keep when keys (by id) were last used, where that is later than what is known."""
    key_ids = sorted(uses)
    await session.execute(LOCK_KEYS, {"key_ids": key_ids})
    await session.execute(NOTE_USES, {"key_ids": key_ids, "used_at": [uses[key_id] for key_id in key_ids]})


async def has_admin_key(session: Session) -> bool:
    """Whether there is a valid admin key; nobody else adds the first one before this transaction ends."""
    await session.execute(LOCK_ADMIN_KEY)
    return await count_live_keys(session, None) > 0
