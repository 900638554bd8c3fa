"""SQL of publishers: which company a user of the broker sends orders for."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from shared.database import Session

# A user that never was a publisher is the company that has its name for a ref.
SELLERS = text("""
    select amqp_user, case when p.amqp_user is null then c.company_id when p.removed_at is null then p.company_id end
        as company_id
    from unnest(cast(:users as text[])) as u (amqp_user)
    left join publishers p using (amqp_user) left join companies c on c.ref = amqp_user
""")
USERS = text("""
    select amqp_user from publishers where company_id = :company_id
    union all
    select ref from companies
    where company_id = :company_id and not exists (select from publishers where amqp_user = ref)
""")
# Of two that add one name at once the second waits, and finds the first's.
ADD = text("""
    insert into publishers (amqp_user, company_id, created_at) values (:amqp_user, :company_id, :created_at)
    on conflict (amqp_user) do update
        set removed_at = null, created_at = case when publishers.removed_at is null then publishers.created_at
            else excluded.created_at end
        where publishers.company_id = excluded.company_id
    returning xmax = 0 as is_new
""")
REF_OF_ANOTHER = text("""
    select company_id from companies
    where ref = :amqp_user and company_id <> :company_id
        and not exists (select from publishers where amqp_user = :amqp_user)
""")
PUBLISHERS = text("""
    select amqp_user, company_id, created_at from publishers
    where removed_at is null and (cast(:amqp_user as text) is null or amqp_user = :amqp_user)
        and (cast(:company_id as bigint) is null or company_id = :company_id)
    order by amqp_user
""")
REMOVE = text("""
    update publishers set removed_at = :removed_at where amqp_user = :amqp_user and removed_at is null
    returning amqp_user
""")


async def find_sellers(session: Session, users: Collection[str]) -> dict[str, int]:
    """`{AMQP user: the company it sends for}` of those that send for one that is known here."""
    rows = await session.execute(SELLERS, {"users": sorted(users)})
    return {row.amqp_user: row.company_id for row in rows if row.company_id is not None}


async def find_users(session: Session, company_id: int) -> list[str]:
    """The AMQP users whose messages are this company's, also those that were removed."""
    return list((await session.execute(USERS, {"company_id": company_id})).scalars())


async def find_company_with_ref(session: Session, amqp_user: str, company_id: int) -> int | None:
    """Another company than this one whose own user this is, by its ref; `None` if it was a publisher before that."""
    found: int | None = (
        await session.execute(REF_OF_ANOTHER, {"amqp_user": amqp_user, "company_id": company_id})
    ).scalar_one_or_none()
    return found


async def add_publisher(session: Session, amqp_user: str, company_id: int, now: datetime) -> bool | None:
    """Add a publisher, or have one that was removed again: whether it is new; `None` if it is another company's."""
    values = {"amqp_user": amqp_user, "company_id": company_id, "created_at": now}
    is_new: bool | None = (await session.execute(ADD, values)).scalar_one_or_none()
    return is_new


async def find_publishers(
    session: Session, *, amqp_user: str | None = None, company_id: int | None = None
) -> Sequence[Any]:
    """Publishers by name, that one, or all of a company, or all."""
    return (await session.execute(PUBLISHERS, {"amqp_user": amqp_user, "company_id": company_id})).all()


async def remove_publisher(session: Session, amqp_user: str, now: datetime) -> bool:
    """Whether it was there to be removed."""
    rows = await session.execute(REMOVE, {"amqp_user": amqp_user, "removed_at": now})
    return rows.scalar_one_or_none() is not None
