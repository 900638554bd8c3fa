"""Statements of what was there at a version or a moment: how they are given, and what the ledger says of since then."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from services.inventory.domain.stock import Stock
from services.inventory.domain.writing import Since, since
from services.inventory.store import ledger as store
from shared.database import Session

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
VERSION_LIMIT = 2**63
HOW_MOMENT = "state a time with its offset like 2026-11-24T02:00:00Z (in a URL + is written %2B)"
HOW = "state a version of the item (a whole number), or a time with its offset like 2026-11-24T02:00:00+01:00"


def parse(value: object) -> int | datetime:
    """A version of an item, or a moment in UTC, as they stand in a body or a file; raises `ValueError`."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < VERSION_LIMIT:
        return value
    if isinstance(value, str) and RFC_3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            message = f"there is no such time: {HOW}"
            raise ValueError(message) from error
    raise ValueError(HOW)


def parse_moment(value: object) -> datetime:
    """A moment in UTC, as it stands in a query; raises `ValueError`."""
    moment = parse(value)
    if isinstance(moment, datetime):
        return moment
    raise ValueError(HOW_MOMENT)


AsOf = Annotated[
    int | datetime,
    PlainValidator(parse),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "date-time"}]}),
]

Moment = Annotated[datetime, PlainValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})]

# A level by product id and location id, and what a statement on it is as of; `None` is now.
Asked = tuple[int, int, int | datetime | None]


async def as_of_now(session: Session) -> Since:
    """For statements of what is there at this moment, on levels that are locked already."""
    return Since(await store.now(session), is_now=True)


async def look_up(session: Session, stock: Stock, asked: Sequence[Asked]) -> list[Since | str]:
    """What happened since each of these, at items that are locked in `stock`; or why a statement cannot be as of then.

    In the order of `asked`, for `domain.writing.state`. Two queries for however many; none where nothing is asked.
    """
    if not asked:
        return []
    now = await store.now(session)
    found = iter(
        await store.find_moved(
            session,
            [
                store.Asked(product_id, location_id, *((as_of, None) if isinstance(as_of, int) else (None, as_of)))
                for product_id, location_id, as_of in asked
                if as_of is not None
            ],
        )
    )
    return [
        Since(now, is_now=True) if as_of is None else since(as_of, next(found), stock.items[product_id].version, now)
        for product_id, _, as_of in asked
    ]
