"""Users: who signs in for a company."""

from typing import Self

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.catalog.accounts import email_key
from services.catalog.store.audit import Change, State, record
from shared.database import Session
from shared.events.catalog import CompanyRole
from shared.scopes import UserRole

EMAIL_CONSTRAINT = "uq_users_email_key"
COLUMNS = "u.user_id, u.company_id, u.email, u.role, u.disabled, u.password_hash, u.password_version"

ADD_USER = text("""
    insert into users (company_id, email, email_key, role, password_hash)
    values (:company_id, :email, :email_key, :role, :password_hash)
    on conflict (email_key) do nothing returning user_id
""")
FIND_USER = text(f"""
    select {COLUMNS}, c.role as company_role from users u join companies c using (company_id)
    where u.user_id = :user_id and (cast(:company_id as bigint) is null or u.company_id = :company_id)
""")  # noqa: S608 - our own columns
FIND_BY_EMAIL = text(f"""
    select {COLUMNS}, c.role as company_role from users u join companies c using (company_id)
    where u.email_key = :email_key
""")  # noqa: S608 - our own columns
LIST_USERS = text(f"""
    select {COLUMNS}, c.role as company_role from users u join companies c using (company_id)
    where u.user_id > :after and (cast(:company_id as bigint) is null or u.company_id = :company_id)
    order by u.user_id limit :limit
""")  # noqa: S608 - our own columns
# The company too: of two owners who remove each other at the same time the second waits, and finds itself the last.
LOCK_USER = text(f"{FIND_USER.text} for no key update of c, u")
FIND_OWNERS = text("select user_id from users where company_id = :company_id and role = 'owner' and not disabled")
COUNT_USERS = text("select count(*) from users where company_id = :company_id")
CHANGE_USER = text("""
    update users set email = :email, email_key = :email_key, role = :role, disabled = :disabled,
        password_hash = :password_hash, password_version = :password_version
    where user_id = :user_id
""")
# The same password under newer parameters; unless it was changed meanwhile.
REHASH = text("""
    update users set password_hash = :password_hash where user_id = :user_id and password_hash = :outdated_hash
""")
REMOVE_USER = text("delete from users where user_id = :user_id")


class StoredUser(BaseModel):
    """A user as it is kept, and the role of its company."""

    user_id: int
    company_id: int
    company_role: CompanyRole
    email: str
    role: UserRole
    disabled: bool
    password_hash: str
    password_version: int

    def with_password(self, password_hash: str) -> Self:
        """The user with a new password: sessions that began with the old one cannot be renewed."""
        return self.model_copy(update={"password_hash": password_hash, "password_version": self.password_version + 1})

    @property
    def said(self) -> State:
        """What the audit trail says of it."""
        return self.model_dump(include={"email", "role", "disabled", "password_version"})


class EmailTakenError(Exception):
    """Somebody has this e-mail address already."""


async def add_user(
    session: Session, actor: str, company_id: int, email: str, role: UserRole, password_hash: str
) -> StoredUser:
    """Add a user to a company that exists; raises `EmailTakenError`."""
    values = {
        "company_id": company_id,
        "email": email,
        "email_key": email_key(email),
        "role": role,
        "password_hash": password_hash,
    }
    user_id = (await session.execute(ADD_USER, values)).scalar_one_or_none()
    if user_id is None:
        raise EmailTakenError
    found = await find_user(session, user_id, company_id)
    assert found is not None  # noqa: S101 - it was just added
    await record(session, actor, Change(company_id, "user_created", f"user {user_id}", None, found.said))
    return found


async def find_user(session: Session, user_id: int, company_id: int | None) -> StoredUser | None:
    """A user of this company (of any, for `None`)."""
    row = (await session.execute(FIND_USER, {"user_id": user_id, "company_id": company_id})).mappings().one_or_none()
    return None if row is None else StoredUser.model_validate(dict(row))


async def find_by_email(session: Session, email: str) -> StoredUser | None:
    """The user with this e-mail address, however it is spelt."""
    row = (await session.execute(FIND_BY_EMAIL, {"email_key": email_key(email)})).mappings().one_or_none()
    return None if row is None else StoredUser.model_validate(dict(row))


async def list_users(session: Session, company_id: int | None, after: int, limit: int) -> list[StoredUser]:
    """A company's users (everybody, for `None`) with ids above `after`."""
    rows = await session.execute(LIST_USERS, {"company_id": company_id, "after": after, "limit": limit})
    return [StoredUser.model_validate(dict(row)) for row in rows.mappings()]


async def lock_user(session: Session, user_id: int, company_id: int | None) -> StoredUser | None:
    """The same; nobody else changes users of its company before this transaction ends."""
    row = (await session.execute(LOCK_USER, {"user_id": user_id, "company_id": company_id})).mappings().one_or_none()
    return None if row is None else StoredUser.model_validate(dict(row))


async def find_owners(session: Session, company_id: int) -> list[int]:
    """The ids of a company's owners who are not disabled."""
    return list((await session.execute(FIND_OWNERS, {"company_id": company_id})).scalars())


async def count_users(session: Session, company_id: int) -> int:
    """How many users a company has."""
    count: int = (await session.execute(COUNT_USERS, {"company_id": company_id})).scalar_one()
    return count


async def change_user(session: Session, actor: str, before: StoredUser, wanted: StoredUser) -> None:
    """Save a locked user (`before`) as it is `wanted`, its password too; raises `EmailTakenError`."""
    values = wanted.model_dump(exclude={"company_id", "company_role"}) | {"email_key": email_key(wanted.email)}
    try:
        await session.execute(CHANGE_USER, values)
    except IntegrityError as error:
        if EMAIL_CONSTRAINT in str(error.orig):
            raise EmailTakenError from error
        raise
    change = Change(wanted.company_id, "user_changed", f"user {wanted.user_id}", before.said, wanted.said)
    await record(session, actor, change)


async def rehash(session: Session, user_id: int, outdated_hash: str, password_hash: str) -> None:
    """Replace the hash of a password that stays the same."""
    values = {"user_id": user_id, "outdated_hash": outdated_hash, "password_hash": password_hash}
    await session.execute(REHASH, values)


async def remove_user(session: Session, actor: str, user: StoredUser) -> None:
    """Remove a locked user."""
    await session.execute(REMOVE_USER, {"user_id": user.user_id})
    await record(session, actor, Change(user.company_id, "user_removed", f"user {user.user_id}", user.said, None))
