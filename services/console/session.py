"""Who is signed in to the console: an encrypted cookie that holds the credential, so that no server has to remember it.

The cookie is sealed with Fernet (AES and HMAC, from `cryptography`), under a key derived from the secret that signs
users' tokens: whoever has neither can read nor make one. A user's token in it lives for minutes and is renewed while a
page is open; an API key stays in it for `KEY_HOURS`.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import jwt
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

COOKIE = "basestock_session"
# A working day. A user's session has the platform's own end, which catalog keeps.
KEY_HOURS = 12


@dataclass(frozen=True, slots=True)
class Credential:
    """What the API is called with: a user's token, or an API key."""

    kind: Literal["user", "key"]
    secret: str

    @property
    def holder(self) -> str:
        """Whose it is, the same for all tokens of a user; nothing can be done with it."""
        whose = self.secret
        if self.kind == "user":
            with suppress(jwt.InvalidTokenError, KeyError):
                whose = jwt.decode(self.secret, options={"verify_signature": False})["sub"]
        return hashlib.blake2b(f"{self.kind} {whose}".encode(), digest_size=12).hexdigest()

    @property
    def renew_at(self) -> datetime | None:
        """When half of a token's time is over; `None` of a key, and of what is no token."""
        times = self._times()
        return times and datetime.fromtimestamp(sum(times) / 2, UTC)

    @property
    def ends_at(self) -> datetime | None:
        """When all of a token's time is over; `None` likewise."""
        times = self._times()
        return times and datetime.fromtimestamp(times[1], UTC)

    def _times(self) -> tuple[float, float] | None:
        """From when and until when a token is good."""
        if self.kind == "key":
            return None
        try:
            # Not ours to verify: each service does, with each call.
            claims = jwt.decode(self.secret, options={"verify_signature": False})
            return float(claims["iat"]), float(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            return None


class Sealer:
    """Seals credentials into cookies and opens them again; older secrets still open."""

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        """Use the first of these secrets to seal; raises `ValueError` without any."""
        self._fernet = MultiFernet([Fernet(_key(secret)) for secret in secrets])

    def seal(self, credential: Credential) -> str:
        """The cookie's value."""
        return self._fernet.encrypt(json.dumps(asdict(credential)).encode()).decode()

    def open(self, cookie: str | None) -> Credential | None:
        """The credential in a cookie, unless it is not ours or too old."""
        try:
            opened = self._fernet.decrypt((cookie or "").encode(), ttl=KEY_HOURS * 3600)
        except InvalidToken:
            return None
        return Credential(**json.loads(opened))


def _key(secret: SecretStr) -> bytes:
    # The secret is hard to guess (Settings asks for 32 characters): it needs no slow hash.
    return base64.urlsafe_b64encode(
        hashlib.blake2b(secret.get_secret_value().encode(), digest_size=32, person=b"basestockconsole").digest()
    )
