"""Who is calling: API keys, checked in every service against its own copy of their hashes.

A key is `bsk_` and 32 random bytes; only its SHA-256 is stored or sent (a random key needs no slow hash). No key, no
answer: every route but health, metrics and the documents depends on `caller_of(service)`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy import text

from shared.errors import ProblemError
from shared.events.catalog import KeyRole
from shared.rate_limit import counted
from shared.service_context import context_of

FIND_KEY = text("""
    select key_id, company_id, role, scopes, key_sha256 from api_keys
    where key_sha256 = :key_sha256 and revoked_at is null
      and (expires_at is null or expires_at > clock_timestamp())
""")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever presented a valid key. `company_id` is `None` for the platform admin only."""

    key_id: int
    company_id: int | None
    role: KeyRole
    scopes: tuple[str, ...]

    @property
    def is_admin(self) -> bool:
        """Whether it is the platform admin."""
        return self.role == "admin"

    def company(self, named: int | None = None) -> int:
        """The company the call is for: the caller's own, or for the admin the one `named` in the request.

        Raises a 403 problem when a company names another one, 422 when the admin names none.
        """
        if self.company_id is None:
            if named is None:
                raise ProblemError(422, "company_required", "The platform admin must say which company this is for.")
            return named
        if named is not None and named != self.company_id:
            raise ProblemError(403, "foreign_company", f"This key may not act for company {named}.")
        return self.company_id

    def require(self, *roles: KeyRole) -> None:
        """Raise a 403 problem unless the caller is the admin or has one of `roles`."""
        if not self.is_admin and self.role not in roles:
            wanted = " or ".join(roles) if roles else "platform admin"
            raise ProblemError(403, "forbidden", f"This is for a {wanted} key; yours is a {self.role} key.")


def new_key() -> str:
    """A new API key, to be shown once."""
    return f"bsk_{secrets.token_urlsafe(32)}"


def sha256_of(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


NO_KEY = ProblemError(
    401, "no_key", "Send your API key as `Authorization: Bearer bsk_...`.", headers={"WWW-Authenticate": "Bearer"}
)


def is_key_presented(authorization: str) -> bool:
    """Whether an `Authorization` header holds something that may be a key."""
    scheme, _, key = authorization.partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


def _presented_key(request: Request) -> str:
    authorization = request.headers.get("authorization", "")
    if not is_key_presented(authorization):
        raise NO_KEY
    return authorization.partition(" ")[2].strip()


def caller_of(service: str) -> Callable[[Request], Awaitable[Caller]]:
    """The dependency of a service's routes: says who calls; 401 without a valid key, 429 where it calls too often."""

    async def caller(request: Request) -> Caller:
        context = context_of(service)(request)
        presented = sha256_of(_presented_key(request))
        admin_key = context.settings.admin_key
        if admin_key and hmac.compare_digest(presented, sha256_of(admin_key.get_secret_value())):
            return Caller(key_id=0, company_id=None, role="admin", scopes=("admin",))
        async with context.database.transaction() as session:
            row = (await session.execute(FIND_KEY, {"key_sha256": presented})).one_or_none()
        if row is None or not hmac.compare_digest(row.key_sha256, presented):
            raise ProblemError(
                401,
                "unknown_key",
                "This API key is not known, has expired or was revoked.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Caller(key_id=row.key_id, company_id=row.company_id, role=row.role, scopes=tuple(row.scopes))

    return counted(service, caller)
