"""Secrets of endpoints, as they are stored: encrypted, and for how long the older ones sign."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from shared.database import Session

# By the database's clock: those whose time is over, or that are to end now, are forgotten.
KEPT = """
    select coalesce(jsonb_agg(jsonb_build_object('secret', kept.secret, 'expires_at', kept.expires_at)
        order by kept.place), '[]') as old_secrets
    from (
        select 0 as place, e.secret, db_now() + make_interval(hours => :overlap_hours) as expires_at
        union all
        select o.place, o.one ->> 'secret', least(cast(o.one ->> 'expires_at' as timestamptz),
            db_now() + make_interval(hours => :overlap_hours))
        from jsonb_array_elements(e.old_secrets) with ordinality as o (one, place)) as kept
    where kept.expires_at > db_now()
"""
COUNT_KEPT = text(
    f"""
    select jsonb_array_length(k.old_secrets) from endpoints e cross join lateral ({KEPT}) k
    where e.endpoint_id = :endpoint_id
"""  # noqa: S608 - constants
)
ROTATE = text(
    f"""
    update endpoints e set secret = :secret, version = version + 1, old_secrets = ({KEPT})
    where e.endpoint_id = :endpoint_id
"""  # noqa: S608 - constants
)
FIND_STORED = text("""
    select endpoint_id, secret, old_secrets, auth_header_value from endpoints where endpoint_id > :after
    order by endpoint_id limit :limit for no key update
""")
KEEP_STORED = text("""
    update endpoints set secret = :secret, old_secrets = cast(:old_secrets as jsonb),
        auth_header_value = :auth_header_value
    where endpoint_id = :endpoint_id
""")


@dataclass(frozen=True, slots=True)
class StoredSecrets:
    """All that is encrypted of an endpoint."""

    endpoint_id: int
    secret: str
    old_secrets: Sequence[dict[str, str]]
    auth_header_value: str | None


async def count_kept(session: Session, endpoint_id: int, overlap_hours: int) -> int:
    """How many older secrets a rotation now would leave valid."""
    values = {"endpoint_id": endpoint_id, "overlap_hours": overlap_hours}
    return int((await session.execute(COUNT_KEPT, values)).scalar_one())


async def rotate(session: Session, endpoint_id: int, secret: str, overlap_hours: int) -> None:
    """Sign with `secret` (encrypted) from now on; those before it sign too, for `overlap_hours` at most."""
    values = {"endpoint_id": endpoint_id, "secret": secret, "overlap_hours": overlap_hours}
    await session.execute(ROTATE, values)


async def find_stored(session: Session, after: int, limit: int) -> list[StoredSecrets]:
    """What is stored of the endpoints with ids above `after`, in their order; they are locked."""
    rows = await session.execute(FIND_STORED, {"after": after, "limit": limit})
    return [StoredSecrets(**row) for row in rows.mappings()]


async def keep_stored(session: Session, stored: StoredSecrets) -> None:
    """Store this of a locked endpoint, which stays at its version: nothing changed for anybody."""
    values = {
        "endpoint_id": stored.endpoint_id,
        "secret": stored.secret,
        "old_secrets": json.dumps(list(stored.old_secrets)),
        "auth_header_value": stored.auth_header_value,
    }
    await session.execute(KEEP_STORED, values)
