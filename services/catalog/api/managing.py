"""Who manages a company, its keys, users and settings: asked of the database, as tokens only say what once was so."""

from dataclasses import replace

from services.catalog.store.users import StoredUser, lock_user
from shared.access import BEARER, Caller
from shared.database import Session
from shared.errors import ProblemError
from shared.scopes import ADMIN, scopes_of_role
from shared.tokens import SignedIn


async def managed_company(session: Session, caller: Caller, named: int | None = None) -> int:
    """The company whose keys, users or settings the call is about, as `Caller.company` says it.

    A signed-in user is read again, and neither it nor its company's users change before the transaction ends: who was
    disabled, demoted or removed cannot undo that with a token which is still valid.

    Raises a 403 problem unless the caller has the scope `admin` (a user: in its token and by its role today), and a 401
    problem for a user whose sessions have ended.
    """
    caller.require_scope(ADMIN)
    if caller.signed_in is not None:
        user = await lock_user(session, caller.signed_in.user_id, caller.signed_in.company_id)
        if user is None or not is_still(user, caller.signed_in):
            why = "The user was removed or disabled, or has a new password since"
            raise session_ended(why)
        replace(caller, scopes=scopes_of_role(user.role)).require_scope(ADMIN)
    return caller.company(named)


def is_still(user: StoredUser, signed_in: SignedIn) -> bool:
    """Whether a session's user may go on with it: enabled, and with the password that it began with."""
    return not user.disabled and user.password_version == signed_in.password_version


def session_ended(why: str) -> ProblemError:
    """The 401 problem of a token that is still valid and whose user may not go on."""
    return ProblemError(401, "session_ended", f"{why}: sign in again.", headers=BEARER)
