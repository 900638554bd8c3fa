"""Hashing passwords: argon2id, in threads of its own, so that the event loop goes on meanwhile."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pydantic import SecretStr

from services.catalog.accounts import prepared_password

# The library's parameters: RFC 9106's second recommendation (64 MiB, three passes, four lanes).
HASHER = PasswordHasher()
# One takes 64 MiB and a core for a while.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="argon2")


async def hash_password(password: SecretStr) -> str:
    """The hash to be stored, with its parameters and its salt in it."""
    prepared = prepared_password(password.get_secret_value())
    return await asyncio.get_running_loop().run_in_executor(_THREADS, HASHER.hash, prepared)


async def is_password(stored_hash: str | None, password: SecretStr) -> bool:
    """Whether the password is the one that was hashed. For `None` it never is, which takes just as long to find out."""
    prepared = prepared_password(password.get_secret_value())
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _verify, stored_hash, prepared)


def is_outdated(stored_hash: str) -> bool:
    """Whether the hash was made with other parameters than those of today."""
    return HASHER.check_needs_rehash(stored_hash)


@cache
def _nobodys_hash(hasher: PasswordHasher) -> str:
    return hasher.hash(secrets.token_bytes())


def _verify(stored_hash: str | None, prepared: bytes) -> bool:
    nobodys = _nobodys_hash(HASHER)  # made on the first call, whoever's that is
    try:
        return HASHER.verify(stored_hash or nobodys, prepared) and stored_hash is not None
    except VerifyMismatchError:
        return False
