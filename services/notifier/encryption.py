"""Secrets at rest: what calls are signed with, and what endpoints ask us to send, is kept encrypted (Fernet).

The keys are the setting `webhook_encryption_key`: the first encrypts, all of them decrypt. They must outlive every
start: without them no endpoint can be called.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

# Secrets of so many endpoints stay decrypted in memory, a few for each.
CACHED_SECRETS = 65_536
# A secret in clear, as they were kept before there was a key; nothing that Fernet makes begins like this.
CLEAR_PREFIX = "whsec_"
NO_KEY = (
    "notifier needs BASESTOCK_WEBHOOK_ENCRYPTION_KEY, which webhook secrets are encrypted with: make one with "
    "`openssl rand -hex 32`, give it to every replica, and keep it, as without it no endpoint can be called."
)


class UnreadableSecretError(ValueError):
    """A secret was encrypted with a key that we do not have."""


class Vault:
    """Encrypts and decrypts; made by `vault_of`."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        """Encrypt with the first of `keys`, decrypt with any. Raises `RuntimeError`, in words, without one."""
        if not keys:
            raise RuntimeError(NO_KEY)
        fernets = [Fernet(_fernet_key(key)) for key in keys]
        self._newest, self._all = fernets[0], MultiFernet(fernets)
        self.decrypt = lru_cache(CACHED_SECRETS)(self._decrypt)

    def encrypt(self, secret: str) -> str:
        """What may be stored of a secret."""
        return self._newest.encrypt(secret.encode()).decode()

    def renewed(self, stored: str) -> str:
        """A stored secret as the newest key has it; raises `UnreadableSecretError`."""
        try:
            self._newest.decrypt(stored)
        except InvalidToken:
            return self.encrypt(self._decrypt(stored))
        return stored

    def _decrypt(self, stored: str) -> str:
        """A stored secret in clear; raises `UnreadableSecretError`."""
        if stored.startswith(CLEAR_PREFIX):
            return stored
        try:
            return self._all.decrypt(stored).decode()
        except InvalidToken as error:
            message = "it is encrypted with a key that is not in BASESTOCK_WEBHOOK_ENCRYPTION_KEY"
            raise UnreadableSecretError(message) from error


@lru_cache(maxsize=8)
def vault_of(keys: tuple[SecretStr, ...]) -> Vault:
    """The vault of these keys, the same for all who ask; raises `RuntimeError`, in words, without a key."""
    return Vault(keys)


def _fernet_key(key: SecretStr) -> bytes:
    """The 32 bytes that Fernet wants, of a text of any length."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.get_secret_value().encode()).digest())
