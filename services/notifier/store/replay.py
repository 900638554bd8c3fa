"""Replay: mark what an endpoint has been told, so that it is told again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from shared.database import Session

# Told as of the newest state and in its window: what is marked has no old bytes.
MARK = text("""
    update slots set dirty = true, acked_version = 0, told_available = null
    where endpoint_id = :endpoint_id and kind <> 'variant_stock_delta'
      and (cast(:product_ids as bigint[]) is null or product_id = any(cast(:product_ids as bigint[])))
      and (cast(:since as timestamptz) is null or acked_at >= :since)
""")


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many slots were marked, and how many deltas were left as they are."""

    marked: int
    deltas_left: int


async def replay(
    session: Session, endpoint_id: int, *, since: datetime | None, product_ids: Sequence[int] | None
) -> Replayed:
    """Have the endpoint told again what it was told since then, or these products, or everything."""
    values = {"endpoint_id": endpoint_id, "since": since, "product_ids": product_ids}
    result = await session.execute(MARK, values)
    return Replayed(int(result.rowcount), 0)  # type: ignore[attr-defined] # an update's result has it
