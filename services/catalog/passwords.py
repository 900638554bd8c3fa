"""Hashing passwords: argon2id, in threads of its own, so that the event loop goes on meanwhile."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pydantic import SecretStr

from services.catalog.accounts import prepared_password
from shared.errors import ProblemError

# The library's parameters: RFC 9106's second recommendation (64 MiB, three passes, four lanes).
HASHER = PasswordHasher()
# One takes 64 MiB and a core for a while.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="argon2")
# A second or so for the last of them. Who gives users passwords leaves room for those who sign in.
WAITING_TO_MANAGE, WAITING_TO_SIGN_IN = 10, 20
_under_way: set[object] = set()

T = TypeVar("T")


async def hash_password(password: SecretStr, *, waiting: int = WAITING_TO_MANAGE) -> str:
    """The hash to be stored, with its parameters and its salt in it; a 429 problem where `waiting` are under way."""
    return await _in_turn(HASHER.hash, prepared_password(password.get_secret_value()), waiting=waiting)


async def is_password(stored_hash: str | None, password: SecretStr) -> bool:
    """Whether the password is the one that was hashed. For `None` it never is, which takes just as long to find out.

    Raises a 429 problem where `WAITING_TO_SIGN_IN` are under way.
    """
    prepared = prepared_password(password.get_secret_value())
    return await _in_turn(_verify, stored_hash, prepared, waiting=WAITING_TO_SIGN_IN)


def is_outdated(stored_hash: str) -> bool:
    """Whether the hash was made with other parameters than those of today."""
    return HASHER.check_needs_rehash(stored_hash)


@cache
def _nobodys_hash(hasher: PasswordHasher) -> str:
    return hasher.hash(secrets.token_bytes())


async def _in_turn(work: Callable[..., T], *arguments: object, waiting: int) -> T:
    if len(_under_way) >= waiting:
        detail = "Too many passwords are being looked at: nothing was done, send this again in a moment."
        raise ProblemError(429, "too_many_passwords", detail, headers={"Retry-After": "1"})
    one = object()
    _under_way.add(one)
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)
    finally:
        _under_way.discard(one)


def _verify(stored_hash: str | None, prepared: bytes) -> bool:
    nobodys = _nobodys_hash(HASHER)  # made on the first call, whoever's that is
    try:
        return HASHER.verify(stored_hash or nobodys, prepared) and stored_hash is not None
    except VerifyMismatchError:
        return False
