"""Signatures by Standard Webhooks 1.0 (symmetric, `v1`): https://github.com/standard-webhooks/standard-webhooks."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
# The specification asks for 24 to 64; 32 is the width of the hash.
SECRET_BYTES = 32


def new_secret() -> str:
    """A new endpoint secret, `whsec_` and base64 of random bytes, to be shown once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(secrets_: Sequence[str], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt at `timestamp` (unix seconds) to send exactly `body`.

    Each of the secrets signs, in their order: whoever verifies with one of them is content.
    """
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets_),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"
