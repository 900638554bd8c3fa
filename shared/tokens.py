"""Tokens of signed-in users: JSON Web Tokens (RFC 7519) that every service verifies by itself.

Catalog signs them; whoever has the secret (`BASESTOCK_TOKEN_SECRET`) can check one without asking anybody. Why they are
signed with a shared secret, and live for minutes: docs/decisions/0009-users-sign-in-for-short-lived-tokens.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
from pydantic import SecretStr

from shared.events.catalog import CompanyRole
from shared.scopes import UserRole

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "basestock"
CLAIMS = ("iss", "aud", "iat", "exp", "sub", "auth_time", "company_id", "company_role", "role", "password_version")
# How far the clocks of two of our machines may differ.
LEEWAY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a token says of its user; `began_at` is when the password was given, which renewals do not change."""

    user_id: int
    company_id: int
    company_role: CompanyRole
    role: UserRole
    password_version: int
    began_at: datetime


class TokenError(Exception):
    """A token that is not accepted, in words and as a `code` for programs."""

    def __init__(self, *, expired: bool = False) -> None:
        """Say whether it was valid once."""
        super().__init__("it has expired" if expired else "it is not valid")
        self.code = "token_expired" if expired else "invalid_token"


def sign_token(user: SignedIn, secret: SecretStr, issued_at: datetime, minutes: int) -> tuple[str, datetime]:
    """A token for this user and when it expires: `minutes` after `issued_at`."""
    expires_at = issued_at.replace(microsecond=0) + timedelta(minutes=minutes)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
        "sub": str(user.user_id),
        "auth_time": int(user.began_at.timestamp()),
        "company_id": user.company_id,
        "company_role": user.company_role,
        "role": user.role,
        "password_version": user.password_version,
    }
    return jwt.encode(claims, secret.get_secret_value(), ALGORITHM), expires_at


def read_token(token: str, secrets: Sequence[SecretStr]) -> SignedIn:
    """What a token says, if one of these secrets signed it and it has not expired; raises `TokenError`."""
    for secret in secrets:
        try:
            claims = jwt.decode(
                token,
                secret.get_secret_value(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": list(CLAIMS), "strict_aud": True},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidTokenError as error:
            raise TokenError(expired=isinstance(error, jwt.ExpiredSignatureError)) from error
        return SignedIn(
            user_id=int(claims["sub"]),
            company_id=claims["company_id"],
            company_role=claims["company_role"],
            role=claims["role"],
            password_version=claims["password_version"],
            began_at=datetime.fromtimestamp(claims["auth_time"], UTC),
        )
    raise TokenError
