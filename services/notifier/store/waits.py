"""How long an endpoint's slots wait for what it was before: for a window from now, and no longer."""

from sqlalchemy import text

from services.notifier.store.due import WINDOW_SECONDS
from services.notifier.store.parts import next_slots
from shared.database import Session

# From the first product on, whatever it was at.
ASK_TO_SHORTEN = text(
    f"""
    update endpoints e set shorten_after = 0, shorten_to_seconds = {WINDOW_SECONDS}
    where e.endpoint_id = :endpoint_id
"""  # noqa: S608 - constants
)
# The last call to it ended before now, so that a whole window from now keeps P1 whatever it waited for. What is under
# way waits as it was claimed, what is parked for its connection.
SHORTEN = text("""
    with longer as (
        select s.product_id, s.location, s.kind, now.next_at
        from slots s, (
            select db_now() as at, db_now() + make_interval(secs => shorten_to_seconds) as next_at
            from endpoints where endpoint_id = :endpoint_id) now
        where s.endpoint_id = :endpoint_id and s.product_id > :after and s.product_id <= :last_id
          and s.not_before > now.next_at and s.not_before < 'infinity' and coalesce(s.lease_until <= now.at, true)
        order by s.product_id, s.location, s.kind for no key update of s
    )
    update slots s set not_before = longer.next_at from longer
    where s.endpoint_id = :endpoint_id and s.product_id = longer.product_id and s.location = longer.location
      and s.kind = longer.kind
""")
SHORTENED = text("""
    update endpoints set shorten_after = cast(:reached as bigint),
        shorten_to_seconds = case when cast(:reached as bigint) is not null then shorten_to_seconds end
    where endpoint_id = :endpoint_id
""")
SHORTEN_WAIT_OF_FEED = text("""
    update feeds f set not_before = least(f.not_before,
        db_now() + make_interval(secs => greatest(e.window_seconds, coalesce(1 / e.calls_per_second, 0))))
    from endpoints e
    where f.endpoint_id = :endpoint_id and e.endpoint_id = f.endpoint_id
      and coalesce(f.lease_until <= db_now(), true)
""")


async def ask_to_shorten(session: Session, endpoint_id: int, floor_seconds: int) -> None:
    """Have nothing of a locked endpoint wait longer than its window from now; of its slots, after the commit.

    `floor_seconds` is the platform's window.
    """
    await session.execute(ASK_TO_SHORTEN, {"endpoint_id": endpoint_id, "floor_seconds": floor_seconds})
    await session.execute(SHORTEN_WAIT_OF_FEED, {"endpoint_id": endpoint_id})


async def shorten_some(session: Session, endpoint_id: int, after: int, slots: int) -> None:
    """Do a part of what a locked endpoint was asked for, above `after`: so many slots."""
    part = await next_slots(session, endpoint_id, after, slots)
    await session.execute(SHORTEN, {"endpoint_id": endpoint_id} | part.values)
    await session.execute(SHORTENED, {"endpoint_id": endpoint_id, "reached": part.reached})
