"""What is decided about users and their passwords: pure functions and limits.

Why these limits: docs/decisions/0009-users-sign-in-for-short-lived-tokens.md.
"""

import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta

from email_validator import EmailNotValidError, validate_email

EMAIL_CHARACTERS = 254
PASSWORD_CHARACTERS = (12, 200)
# Beyond any shop we know; without a bound one company could fill what all of them share.
USERS_PER_COMPANY, KEYS_PER_COMPANY = 500, 100
# Somebody who works all day gives the password once; who stole a token has it until the evening at most.
SESSION_HOURS = 12
# Of one user a few slips, and about 2,900 guesses a day; of all together more than sign in at nine o'clock.
ATTEMPTS_PER_EMAIL, ATTEMPTS_PER_EMAIL_SECONDS = 10, 300
ATTEMPTS_IN_ALL, ATTEMPTS_IN_ALL_SECONDS = 300, 60


def normal_email(address: str) -> str:
    """An e-mail address in its one spelling: Unicode NFC, the domain in lower case and not in Punycode.

    Raises `ValueError`, in words, for what is no address. Nobody is asked whether mail arrives there.
    """
    try:
        return validate_email(address.strip(), check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error


def email_key(address: str) -> str:
    """What two spellings of one user's e-mail address have in common: `Ann@Shop.example` is `ann@shop.example`.

    RFC 5321 would tell the case of the local part apart; no provider does, and people do not.
    """
    try:
        address = normal_email(address)
    except ValueError:
        address = unicodedata.normalize("NFC", address.strip())
    return address.casefold()


def prepared_password(password: str) -> bytes:
    """The password as it is hashed: what looks the same is the same, on every keyboard (NFKC, NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password).encode()


def is_last_owner(user_id: int, owner_ids: Collection[int]) -> bool:
    """Whether nobody would be left to manage the company without this one of its (enabled) owners."""
    return set(owner_ids) == {user_id}


def may_be_renewed(began_at: datetime, now: datetime) -> bool:
    """Whether a session that began then may go on without the password."""
    return now < began_at + timedelta(hours=SESSION_HOURS)
