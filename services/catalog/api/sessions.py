"""Signing in, and who one is."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from services.catalog.accounts import EMAIL_CHARACTERS, PASSWORD_CHARACTERS, SESSION_HOURS, may_be_renewed
from services.catalog.api.companies import Company
from services.catalog.api.managing import is_still, session_ended
from services.catalog.api.requests import Anyone, Here
from services.catalog.api.users import NewPassword, User
from services.catalog.fields import Body, encodable
from services.catalog.passwords import WAITING_TO_SIGN_IN, hash_password, is_outdated, is_password
from services.catalog.store import password_attempts, users
from services.catalog.store.companies import find_company
from services.catalog.store.users import StoredUser
from shared import clock
from shared.access import BEARER, Caller
from shared.errors import FieldError, ProblemError
from shared.events.catalog import KeyRole
from shared.service_context import Context
from shared.tokens import SignedIn, sign_token

router = APIRouter(prefix="/v1")

SIGN_IN_PATH = "/v1/sessions"
# Whoever signs in has no key yet.
SIGN_IN_LIMIT_BYTES = 16 * 1024

GivenPassword = Annotated[SecretStr, Field(max_length=PASSWORD_CHARACTERS[1]), AfterValidator(encodable)]


class SignIn(Body):
    """Who one says one is."""

    email: Annotated[str, StringConstraints(max_length=EMAIL_CHARACTERS, pattern=r"^[^\x00]*@[^\x00]*$")]
    password: GivenPassword


class PasswordChange(Body):
    """A new password for oneself."""

    old_password: GivenPassword
    new_password: NewPassword


class Session(BaseModel):
    """A user's token, for `Authorization: Bearer ...` at every service until it expires."""

    token: str
    expires_at: datetime
    user: User


class Me(BaseModel):
    """Who calls: an API key, a user, or the platform admin (neither may be set, and no company is)."""

    actor: str
    role: KeyRole
    scopes: list[str]
    company: Company | None
    key_id: int | None
    user: User | None


@router.post("/sessions", status_code=201)
async def sign_in(body: SignIn, context: Here) -> Session:
    """Sign in with e-mail address and password, without a key. The token is valid for minutes: renew it in time."""
    _require_secret(context)
    async with context.database.transaction() as session:
        user = await users.find_by_email(session, body.email)
    if not await _is_password_of(user, body.email, body.password, context) or user is None or user.disabled:
        detail = "No user has this e-mail address and this password, or it is disabled."
        raise ProblemError(401, "sign_in_refused", detail, headers=BEARER)
    new_hash = (
        await hash_password(body.password, waiting=WAITING_TO_SIGN_IN) if is_outdated(user.password_hash) else None
    )
    async with context.database.transaction() as session:
        await password_attempts.forget_attempts(session, body.email)
        if new_hash is not None:
            await users.rehash(session, user.user_id, user.password_hash, new_hash)
    return _session_of(user, clock.utc_now(), context)


@router.post("/sessions/refresh", status_code=201)
async def refresh(caller: Anyone, context: Here) -> Session:
    """A new token for one that has not expired, while its user is enabled and the password is the same."""
    now = clock.utc_now()
    signed_in = _signed_in(caller)
    async with context.database.transaction() as session:
        user = await users.find_user(session, signed_in.user_id, signed_in.company_id)
    if user is None or not is_still(user, signed_in):
        why = "The user was removed or disabled, or has a new password since"
        raise session_ended(why)
    if not may_be_renewed(signed_in.began_at, now):
        why = f"A session lasts for {SESSION_HOURS} hours"
        raise session_ended(why)
    return _session_of(user, signed_in.began_at, context)


@router.get("/me")
async def show_me(caller: Anyone, context: Here) -> Me:
    """Who calls, for which company, and what that may do: for any key and any user, whatever its scopes."""
    async with context.database.transaction() as session:
        company = None if caller.company_id is None else await find_company(session, caller.company_id)
        user = caller.signed_in and await users.find_user(session, caller.signed_in.user_id, caller.company_id)
    return Me(
        actor=caller.actor,
        role=caller.role,
        scopes=list(caller.scopes),
        company=company and Company.of(company),
        key_id=caller.key_id,
        user=user and User.of(user),
    )


@router.post("/me/password", status_code=201)
async def change_own_password(body: PasswordChange, caller: Anyone, context: Here) -> Session:
    """Change one's own password; other sessions end within minutes, and this one goes on with the new token."""
    signed_in = _signed_in(caller)
    async with context.database.transaction() as session:
        user = await users.find_user(session, signed_in.user_id, signed_in.company_id)
    if user is None or not is_still(user, signed_in):
        why = "The user was removed or disabled, or has a new password since"
        raise session_ended(why)
    if not await _is_password_of(user, user.email, body.old_password, context):
        detail = "This is not your password."
        errors = [FieldError(field="old_password", detail=detail)]
        raise ProblemError(403, "wrong_password", detail, errors=errors)
    new_hash = await hash_password(body.new_password, waiting=WAITING_TO_SIGN_IN)
    async with context.database.transaction() as session:
        await password_attempts.forget_attempts(session, user.email)
        now = await users.lock_user(session, user.user_id, user.company_id)
        if now is None or not is_still(now, signed_in):
            why = "The user was removed or disabled, or got another password just now"
            raise session_ended(why)
        await users.set_password(session, user.user_id, new_hash)
    changed = now.model_copy(update={"password_version": now.password_version + 1})
    return _session_of(changed, clock.utc_now(), context)


async def _is_password_of(user: StoredUser | None, email: str, password: SecretStr, context: Context) -> bool:
    """Whether the password is right; whether the user exists shows neither in the answer nor in the time it takes.

    Raises a 429 problem when too many passwords were tried.
    """
    async with context.database.transaction() as session:
        wait_seconds = await password_attempts.count_attempt(session, email)
    if wait_seconds is not None:
        detail = f"Too many passwords were tried: try again in {wait_seconds} s."
        raise ProblemError(429, "too_many_attempts", detail, headers={"Retry-After": str(wait_seconds)})
    return await is_password(None if user is None else user.password_hash, password)


def _session_of(user: StoredUser, began_at: datetime, context: Context) -> Session:
    _require_secret(context)
    signed_in = SignedIn(
        user_id=user.user_id,
        company_id=user.company_id,
        company_role=user.company_role,
        role=user.role,
        password_version=user.password_version,
        began_at=began_at,
    )
    settings = context.settings
    token, expires_at = sign_token(signed_in, settings.token_secret[0], clock.utc_now(), settings.token_minutes)
    return Session(token=token, expires_at=expires_at, user=User.of(user))


def _require_secret(context: Context) -> None:
    if not context.settings.token_secret:
        detail = "Nobody can sign in yet: set BASESTOCK_TOKEN_SECRET, to the same for all services."
        raise ProblemError(503, "no_token_secret", detail)


def _signed_in(caller: Caller) -> SignedIn:
    if caller.signed_in is None:
        raise ProblemError(403, "not_signed_in", f"This is for users with a session; you are {caller.actor}.")
    return caller.signed_in
