"""How often passwords were tried lately: counted before they are looked at, in the database, for all replicas."""

from sqlalchemy import text

from services.catalog.accounts import (
    ATTEMPTS_IN_ALL,
    ATTEMPTS_IN_ALL_SECONDS,
    ATTEMPTS_PER_EMAIL,
    ATTEMPTS_PER_EMAIL_SECONDS,
    email_key,
)
from shared.database import Session

ALL_TOGETHER = ""
COUNT_ATTEMPT = text("""
    insert into password_attempts as known (email_key, attempts, window_ends_at)
    values (:email_key, 1, clock_timestamp() + make_interval(secs => :window_seconds))
    on conflict (email_key) do update set
        attempts = case when known.window_ends_at > clock_timestamp() then known.attempts + 1 else 1 end,
        window_ends_at = case when known.window_ends_at > clock_timestamp() then known.window_ends_at
            else excluded.window_ends_at end
    returning attempts, ceil(extract(epoch from window_ends_at - clock_timestamp())) as left_seconds
""")
FORGET_ATTEMPTS = text("delete from password_attempts where email_key = :email_key")
# Addresses that nobody has could be tried for ever.
FORGET_OLD = text("delete from password_attempts where window_ends_at < clock_timestamp() and email_key <> ''")


async def count_attempt(session: Session, email: str) -> int | None:
    """Count an attempt for this e-mail address; seconds to wait where there were too many, `None` where it may go on.

    Whoever counts holds the row of all together, so nobody meets anybody else at the other rows.
    """
    wait_seconds = await _count(session, ALL_TOGETHER, ATTEMPTS_IN_ALL, ATTEMPTS_IN_ALL_SECONDS)
    if wait_seconds is None:
        await session.execute(FORGET_OLD)
        wait_seconds = await _count(session, email_key(email), ATTEMPTS_PER_EMAIL, ATTEMPTS_PER_EMAIL_SECONDS)
    return wait_seconds


async def forget_attempts(session: Session, email: str) -> None:
    """The right password was given: the next slips of this user begin anew."""
    await session.execute(FORGET_ATTEMPTS, {"email_key": email_key(email)})


async def _count(session: Session, key: str, limit: int, window_seconds: int) -> int | None:
    row = (await session.execute(COUNT_ATTEMPT, {"email_key": key, "window_seconds": window_seconds})).one()
    return max(1, int(row.left_seconds)) if row.attempts > limit else None
