"""Users: the people of a company who sign in."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from services.catalog.accounts import (
    EMAIL_CHARACTERS,
    PASSWORD_CHARACTERS,
    USERS_PER_COMPANY,
    is_last_owner,
    normal_email,
)
from services.catalog.api.companies import no_company
from services.catalog.api.managing import managed_company
from services.catalog.api.requests import Calling, Cursor, Here, IdInPath, Limit, after, next_cursor
from services.catalog.fields import Body, Id, encodable
from services.catalog.passwords import hash_password
from services.catalog.store import users as store
from services.catalog.store.companies import lock_company
from services.catalog.store.users import StoredUser
from shared.access import Caller
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute
from shared.scopes import UserRole

router = APIRouter(prefix="/v1/users", route_class=OnceRoute)

Email = Annotated[str, StringConstraints(max_length=EMAIL_CHARACTERS), AfterValidator(normal_email)]
NewPassword = Annotated[
    SecretStr,
    Field(min_length=PASSWORD_CHARACTERS[0], max_length=PASSWORD_CHARACTERS[1]),
    AfterValidator(encodable),
]


class UserBody(Body):
    """A new user; the platform admin says of which company."""

    email: Email
    password: NewPassword
    role: UserRole
    company_id: Id | None = None


class UserChange(Body):
    """A change of a user: what is left out (or null) stays."""

    email: Email | None = None
    password: NewPassword | None = Field(None, description="For another user; your own: POST /v1/me/password.")
    role: UserRole | None = None
    disabled: bool | None = None


class User(BaseModel):
    """A user, without the password."""

    id: int
    company_id: int
    email: str
    role: UserRole
    disabled: bool

    @classmethod
    def of(cls, user: StoredUser) -> Self:
        """As it is shown."""
        return cls(id=user.user_id, **user.model_dump(include={"company_id", "email", "role", "disabled"}))


class Users(BaseModel):
    """A page of users."""

    items: list[User]
    next_cursor: str | None


@router.post("", status_code=201)
async def create_user(body: UserBody, caller: Calling, context: Here) -> User:
    """Add a user to a company: to its own with the scope `admin`, to any for the platform admin."""
    # Hashing is dear, so all that can be refused is refused before; what may have changed meanwhile is looked at again.
    async with context.database.transaction() as session:
        await _company_of_new_user(session, body, caller)
    password_hash = await hash_password(body.password)
    async with context.database.transaction() as session:
        company_id = await _company_of_new_user(session, body, caller)
        try:
            added = await store.add_user(session, caller.actor, company_id, body.email, body.role, password_hash)
        except store.EmailTakenError as error:
            raise _email_taken(body.email) from error
    return User.of(added)


@router.get("")
async def list_users(
    caller: Calling,
    context: Here,
    company_id: Annotated[Id | None, Query(description="For the platform admin")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Users:
    """A company's users; the platform admin sees those of all companies, or of `company_id`."""
    async with context.database.transaction() as session:
        of_company = company_id if caller.is_admin else await managed_company(session, caller, company_id)
        found = await store.list_users(session, of_company, after(cursor), limit + 1)
    return Users(
        items=[User.of(user) for user in found[:limit]],
        next_cursor=next_cursor((user.user_id for user in found), limit),
    )


@router.get("/{user_id}")
async def show_user(user_id: IdInPath, caller: Calling, context: Here) -> User:
    """One user of the company."""
    async with context.database.transaction() as session:
        found = await store.find_user(session, user_id, await _managed(session, caller))
    if found is None:
        raise _no_user(user_id)
    return User.of(found)


@router.patch("/{user_id}")
async def change_user(user_id: IdInPath, body: UserChange, caller: Calling, context: Here) -> User:
    """Change a user's e-mail address, role or password, or keep it out (`disabled`).

    Tokens it has stay valid until they expire, within minutes; they are not renewed, and manage nothing any more.
    """
    if body.password is not None and caller.signed_in is not None and caller.signed_in.user_id == user_id:
        raise ProblemError(403, "own_password", "Your own password: POST /v1/me/password, with the old one.")
    password_hash = None
    if body.password is not None:  # as above
        async with context.database.transaction() as session:
            await _changed(session, user_id, body, caller)
        password_hash = await hash_password(body.password)
    async with context.database.transaction() as session:
        before, changed = await _changed(session, user_id, body, caller)
        if password_hash is not None:
            changed = changed.with_password(password_hash)
        try:
            await store.change_user(session, caller.actor, before, changed)
        except store.EmailTakenError as error:
            raise _email_taken(changed.email) from error
    return User.of(changed)


@router.delete("/{user_id}", status_code=204)
async def remove_user(user_id: IdInPath, caller: Calling, context: Here) -> None:
    """Remove a user; its tokens stay valid until they expire, within minutes."""
    async with context.database.transaction() as session:
        user = await _lock(session, user_id, caller)
        await _refuse_for_last_owner(session, user, caller)
        await store.remove_user(session, caller.actor, user)


async def _managed(session: Session, caller: Caller) -> int | None:
    """The company whose users the caller may manage, `None` for all."""
    return None if caller.is_admin else await managed_company(session, caller)


async def _company_of_new_user(session: Session, body: UserBody, caller: Caller) -> int:
    """The company that the user is for; raises a problem where it may not be added."""
    company_id = await managed_company(session, caller, body.company_id)
    if not await lock_company(session, company_id):
        raise no_company(company_id)
    if await store.count_users(session, company_id) >= USERS_PER_COMPANY:
        detail = f"A company may have {USERS_PER_COMPANY} users; remove one that is not needed any more."
        raise ProblemError(409, "too_many_users", detail)
    await _refuse_taken(session, body.email, None)
    return company_id


async def _changed(session: Session, user_id: int, body: UserChange, caller: Caller) -> tuple[StoredUser, StoredUser]:
    """The user, locked, as it is and as it shall be; raises a problem where it may not be so."""
    before = await _lock(session, user_id, caller)
    changed = before.model_copy(update=body.model_dump(include={"email", "role", "disabled"}, exclude_none=True))
    if changed.role != "owner" or changed.disabled:
        await _refuse_for_last_owner(session, before, caller)
    await _refuse_taken(session, changed.email, user_id)
    return before, changed


async def _refuse_taken(session: Session, email: str, user_id: int | None) -> None:
    """Raise a 409 problem where somebody else than this user has the e-mail address."""
    found = await store.find_by_email(session, email)
    if found is not None and found.user_id != user_id:
        raise _email_taken(email)


async def _lock(session: Session, user_id: int, caller: Caller) -> StoredUser:
    found = await store.lock_user(session, user_id, await _managed(session, caller))
    if found is None:
        raise _no_user(user_id)
    return found


def _no_user(user_id: int) -> ProblemError:
    return ProblemError(404, "user_not_found", f"You have no user {user_id}.")


async def _refuse_for_last_owner(session: Session, user: StoredUser, caller: Caller) -> None:
    """A company does not lock itself out; the platform admin may do that to it."""
    if not caller.is_admin and is_last_owner(user.user_id, await store.find_owners(session, user.company_id)):
        detail = f"{user.email} is the last owner of the company: make somebody else an owner first."
        raise ProblemError(409, "last_owner", detail)


def _email_taken(email: str) -> ProblemError:
    detail = f"There is a user with the e-mail address {email} already."
    return ProblemError(409, "email_taken", detail, errors=[FieldError(field="email", detail=detail)])
