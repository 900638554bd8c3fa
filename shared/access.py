"""Who is calling: API keys, checked in every service against its own copy of their hashes, and tokens of users.

A key is `bsk_` and 32 random bytes; only its SHA-256 is stored or sent (a random key needs no slow hash). A token is
what catalog signed for a user who gave the right password. Neither, no answer: every route but signing in, health,
metrics and the documents depends on `caller_of(service)`, which also asks for the scope that the request needs. The
routes of KornitX's API also take a key as that vendor has it sent, with the ref of its company: `Basic REF:KEY`; those
of Ka-ching's take both in the query, `account=REF&apikey=KEY`.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import Request
from pydantic import SecretStr
from sqlalchemy import text
from starlette.datastructures import QueryParams

from shared.database import Session
from shared.errors import ProblemError
from shared.events.catalog import KeyRole
from shared.idempotency import once_of
from shared.rate_limit import count_request
from shared.scopes import ALL_SCOPES, implied_scopes, needed_scope, scopes_of_role
from shared.service_context import Context, context_of
from shared.tokens import SignedIn, TokenError, read_token

KEY_PREFIX = "bsk_"
DOTS_IN_A_TOKEN = 2
FIND_KEY = text("""
    select key_id, company_id, role, scopes, key_sha256, clock_timestamp() as used_at from api_keys
    where key_sha256 = :key_sha256 and revoked_at is null
      and (expires_at is null or expires_at > clock_timestamp())
""")
FIND_REF = text("select ref from companies where company_id = :company_id")


class Presented(NamedTuple):
    """What a request presents: a key or token; by `Basic` or in the query, whose key it says it is, by the ref."""

    secret: str
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever presented a valid key or token. `company_id` is `None` for the platform admin only.

    `role` is the company's, or `admin`; `scopes` are all that it has, those that others imply too. `key_id` is `None`
    for users and for the platform admin's key that is a setting; `signed_in` is what a user's token says.
    """

    company_id: int | None
    role: KeyRole
    scopes: tuple[str, ...]
    key_id: int | None = None
    signed_in: SignedIn | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it is the platform admin."""
        return self.role == "admin"

    @property
    def actor(self) -> str:
        """Who acts, for records: `key 17`, `user 5` or `platform admin`."""
        if self.signed_in is not None:
            return f"user {self.signed_in.user_id}"
        return "platform admin" if self.key_id is None else f"key {self.key_id}"

    def company(self, named: int | None = None) -> int:
        """The company the call is for: the caller's own, or for the admin the one `named` in the request.

        Raises a 403 problem when a company names another one, 422 when the admin names none.
        """
        if self.company_id is None:
            if named is None:
                raise ProblemError(422, "company_required", "The platform admin must say which company this is for.")
            return named
        if named is not None and named != self.company_id:
            raise ProblemError(403, "foreign_company", f"You may not act for company {named}.")
        return self.company_id

    def require(self, *roles: KeyRole) -> None:
        """Raise a 403 problem unless the caller is the admin or has one of `roles`."""
        if not self.is_admin and self.role not in roles:
            wanted = " or ".join(roles) if roles else "platform admin"
            raise ProblemError(403, "forbidden", f"This is for a {wanted}; you are a {self.role}.")

    def require_scope(self, scope: str) -> None:
        """Raise a 403 problem that names `scope`, unless the caller has it."""
        if scope not in self.scopes:
            detail = f"This needs the scope {scope}, which you do not have; you have: {', '.join(self.scopes)}."
            raise ProblemError(403, "missing_scope", detail)


def new_key() -> str:
    """A new API key, to be shown once."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"


def sha256_of(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


# What a 401 answer says of how to do better (RFC 9110, 11.6.1).
BEARER = {"WWW-Authenticate": "Bearer"}
NO_KEY = ProblemError(
    401, "no_key", "Send your API key (bsk_...) or a session's token as `Authorization: Bearer ...`.", headers=BEARER
)


NEITHER = ProblemError(
    401,
    "invalid_token",
    "This is neither an API key (bsk_...) nor a session's token (POST /v1/sessions).",
    headers=BEARER,
)
NO_PAIR = ProblemError(
    401,
    "no_key",
    "After `Basic` send the ref of your company and an API key of its: REF:bsk_..., in clear or in base64.",
    headers={"WWW-Authenticate": 'Bearer, Basic realm="Basestock", charset="UTF-8"'},
)
NO_QUERY_KEY = ProblemError(
    401,
    "no_key",
    "Send the ref of your company as `account` and an API key of its (bsk_...) as `apikey` in the query, or the key as "
    "`Authorization: Bearer ...`.",
    headers=BEARER,
)


def refusal_of(
    authorization: str, admin_key: SecretStr | None, *, takes_basic: bool = False, query: QueryParams | None = None
) -> ProblemError | None:
    """Why an `Authorization` header is refused by its looks alone, 401; `None` where it may hold a key or a token.

    Only routes that say `takes_basic` take a company's ref and key there. `query` is given for those that take them in
    the query; it counts where there is no header.
    """
    if query is not None and not authorization:
        return NO_QUERY_KEY if _in_query(query) is None else None
    scheme, _, rest = authorization.partition(" ")
    presented = rest.strip()
    if takes_basic and scheme.lower() == "basic":
        return NO_PAIR if _ref_and_key(presented) is None else None
    if scheme.lower() != "bearer" or not presented:
        return NO_KEY
    may_be_a_token = presented.count(".") == DOTS_IN_A_TOKEN
    if presented.startswith(KEY_PREFIX) or may_be_a_token or _is_admin_key(presented, admin_key):
        return None
    return NEITHER


def _ref_and_key(credentials: str) -> Presented | None:
    """`REF:KEY`, in clear as KornitX prints it or in base64 as RFC 7617 has it; `None` where it is neither."""
    sent = credentials.encode("latin-1")  # the bytes of the header
    try:
        pair = sent if b":" in sent else base64.b64decode(sent, validate=True)
        ref, _, key = pair.decode().rpartition(":")
    except ValueError:
        return None
    return Presented(key, ref) if ref and key.startswith(KEY_PREFIX) else None


def _in_query(query: QueryParams) -> Presented | None:
    """`account=REF&apikey=KEY`, as Ka-ching has it; `None` where one is missing or is none."""
    ref, key = query.get("account", ""), query.get("apikey", "")
    return Presented(key, ref) if ref and key.startswith(KEY_PREFIX) else None


def _presented(authorization: str, query: QueryParams | None) -> Presented:
    """What a request that is not refused presents."""
    in_query = None if query is None or authorization else _in_query(query)
    if in_query is not None:
        return in_query
    scheme, _, rest = authorization.partition(" ")
    pair = _ref_and_key(rest.strip()) if scheme.lower() == "basic" else None
    return pair or Presented(rest.strip())


def _is_admin_key(presented: str, admin_key: SecretStr | None) -> bool:
    if admin_key is None:
        return False
    return hmac.compare_digest(sha256_of(presented), sha256_of(admin_key.get_secret_value()))


def caller_of(
    service: str, *, any_scope: bool = False, takes_basic: bool = False, takes_query_key: bool = False
) -> Callable[[Request], Awaitable[Caller]]:
    """The dependency of a service's routes that says who calls.

    Answers 401 without a valid key or token, 429 where it calls too often, and 403 without the scope that the request's
    method needs, unless the route is for callers of `any_scope`. A route that `takes_basic` must also be named in its
    service's `basic_paths`, one that `takes_query_key` in its `query_key_paths`. A request with an `Idempotency-Key`
    begins here.
    """

    async def caller(request: Request) -> Caller:
        context = context_of(service)(request)
        authorization = request.headers.get("authorization", "")
        query = request.query_params if takes_query_key else None
        refusal = refusal_of(authorization, context.settings.admin_key, takes_basic=takes_basic, query=query)
        if refusal is not None:
            raise refusal
        found = await _authenticate(context, _presented(authorization, query))
        count_request(request, context.settings, found.actor)
        if not any_scope:
            found.require_scope(needed_scope(service, request.method))
        once = once_of(request)
        if once is not None:
            await once.begin(request, context.database, found.company_id, found.actor)
        return found

    return caller


async def _authenticate(context: Context, presented: Presented) -> Caller:
    secret, ref = presented
    if ref is None and _is_admin_key(secret, context.settings.admin_key):
        return Caller(company_id=None, role="admin", scopes=ALL_SCOPES)
    presented_sha256 = sha256_of(secret)
    if not secret.startswith(KEY_PREFIX):
        return _caller_by_token(context, secret)
    async with context.database.transaction() as session:
        row = (await session.execute(FIND_KEY, {"key_sha256": presented_sha256})).one_or_none()
        known_ref = ref if row is None or ref is None else await _find_ref(session, row.company_id)
    if row is None or not hmac.compare_digest(row.key_sha256, presented_sha256):
        detail = "This API key is not known, has expired or was revoked."
        raise ProblemError(401, "unknown_key", detail, headers=BEARER)
    if ref is not None and not hmac.compare_digest((known_ref or "").encode(), ref.encode()):
        raise ProblemError(401, "unknown_key", "This API key is none of the company with that ref.", headers=BEARER)
    context.key_uses[row.key_id] = row.used_at
    return Caller(company_id=row.company_id, role=row.role, scopes=implied_scopes(row.scopes), key_id=row.key_id)


async def _find_ref(session: Session, company_id: int | None) -> str | None:
    """The company's ref; `None` for the platform admin, which is no company."""
    ref: str | None = (await session.execute(FIND_REF, {"company_id": company_id})).scalar_one_or_none()
    return ref


def _caller_by_token(context: Context, token: str) -> Caller:
    if not context.settings.token_secret:
        detail = (
            f"This is no API key (bsk_...), and {context.service} accepts no tokens of sessions: set "
            "BASESTOCK_TOKEN_SECRET, to the same for all services."
        )
        raise ProblemError(401, "tokens_not_accepted", detail, headers=BEARER)
    try:
        user = read_token(token, context.settings.token_secret)
    except TokenError as error:
        detail = f"This token is not accepted: {error}. Sign in again (POST /v1/sessions)."
        raise ProblemError(401, error.code, detail, headers=BEARER) from error
    return Caller(company_id=user.company_id, role=user.company_role, scopes=scopes_of_role(user.role), signed_in=user)
