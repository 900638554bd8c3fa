"""Users: who signs in for a company."""

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.catalog.accounts import email_key
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
    update users set email = :email, email_key = :email_key, role = :role, disabled = :disabled
    where user_id = :user_id
""")
SET_PASSWORD = text("""
    update users set password_hash = :password_hash, password_version = password_version + 1 where user_id = :user_id
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


class EmailTakenError(Exception):
    """Somebody has this e-mail address already."""


async def add_user(session: Session, company_id: int, email: str, role: UserRole, password_hash: str) -> StoredUser:
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


async def change_user(session: Session, user: StoredUser) -> None:
    """Save a locked user's e-mail address, role and whether it is disabled; raises `EmailTakenError`."""
    values = user.model_dump(include={"user_id", "email", "role", "disabled"})
    try:
        await session.execute(CHANGE_USER, values | {"email_key": email_key(user.email)})
    except IntegrityError as error:
        if EMAIL_CONSTRAINT in str(error.orig):
            raise EmailTakenError from error
        raise


async def set_password(session: Session, user_id: int, password_hash: str) -> None:
    """Give a user a new password: sessions that began with the old one cannot be renewed."""
    await session.execute(SET_PASSWORD, {"user_id": user_id, "password_hash": password_hash})


async def rehash(session: Session, user_id: int, outdated_hash: str, password_hash: str) -> None:
    """Replace the hash of a password that stays the same."""
    values = {"user_id": user_id, "outdated_hash": outdated_hash, "password_hash": password_hash}
    await session.execute(REHASH, values)


async def remove_user(session: Session, user_id: int) -> None:
    """Forget a user."""
    await session.execute(REMOVE_USER, {"user_id": user_id})
