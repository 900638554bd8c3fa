"""Stock that people and their systems write: levels, settings, and what is not stocked any more."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from services.inventory.domain.stock import Cause, Level, Stock

# What a version is as of that was there before the first entry of the ledger.
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


class Moved(NamedTuple):
    """What the ledger says of a level after a version of its item, or a moment.

    `seen_at` is when the last entry of the item until then was made. `on_hand` and `available` are the units that moved
    since, statements apart; `removed` says whether the item was removed from the location. Of the entries since that
    state what is there, `entry_id` is the one as of the latest moment, `entry_as_of`.
    """

    seen_at: datetime | None
    on_hand: int
    available: int
    removed: bool
    entry_id: int | None
    entry_as_of: datetime | None


class Since(NamedTuple):
    """The moment that a statement is as of, and what happened after it; see `Moved`.

    With `is_now` it is as of the moment of its writing, so nothing has happened since.
    """

    as_of: datetime
    on_hand: int = 0
    available: int = 0
    removed: bool = False
    entry_id: int | None = None
    entry_as_of: datetime | None = None
    is_now: bool = False


class Superseded(NamedTuple):
    """A later statement, which wins: as of when, and its entry, if it made any difference then and is stored."""

    as_of: datetime
    entry_id: int | None


def since(as_of: int | datetime, moved: Moved, item_version: int, now: datetime) -> Since | str:
    """What a statement as of this version or moment has to reckon with; or why there can be none: it is yet to come.

    `item_version` and `now`, of the ledger's clock, are those under the item's lock. A version is as of when it came;
    the version of now is as of now, since nothing has changed what was seen.
    """
    if isinstance(as_of, datetime):
        if as_of > now:
            return f"{as_of.isoformat()} is in the future: it is {now.isoformat()} here"
        moment = as_of
    elif as_of > item_version:
        return f"there is no version {as_of} yet: the item is at version {item_version}"
    else:
        moment = now if as_of == item_version else moved.seen_at or BEFORE_ALL
    return Since(moment, *moved[1:])


def state(  # noqa: PLR0913 - what is stated, where, as of when and why
    stock: Stock,
    product_id: int,
    location_id: int,
    since: Since,
    cause: Cause,
    *,
    on_hand: int | None = None,
    available: int | None = None,
) -> Superseded | None:
    """State how many units were on hand, or available, at a level as of a moment: one of the two (rule 12).

    Units that have moved since come on top, so that the level is as if it had been written in time. Where what was
    there at a later moment is known already nothing changes: returns that later statement.
    """
    level = stock.level(product_id, location_id)
    last = level.stated_as_of
    if last is not None and last > since.as_of and not since.is_now:
        return Superseded(last, since.entry_id if since.entry_as_of == last else None)
    if on_hand is not None:
        delta = on_hand + moved_on_hand(level, since) - level.on_hand
    elif available is not None:
        delta = available + moved_available(level, since) - level.available
    else:
        message = "one of on_hand and available must be stated"
        raise ValueError(message)
    # The clock may have been set back.
    level.stated_as_of = since.as_of if last is None else max(last, since.as_of)
    stock.restated.add((product_id, location_id))
    if not since.removed:
        _list_again(stock, product_id, location_id, cause)
    stock.move(product_id, location_id, cause, on_hand=delta, stated_as_of=level.stated_as_of)
    return None


def moved_on_hand(level: Level, since: Since) -> int:
    """Units that have come since then, statements apart."""
    return 0 if since.is_now else since.on_hand + level.moved_on_hand


def moved_available(level: Level, since: Since) -> int:
    """Units that have become available since then, statements apart."""
    return 0 if since.is_now else since.available + level.moved_available


def adjust(stock: Stock, product_id: int, location_id: int, delta: int, cause: Cause) -> None:
    """Let so many units come, or go; a location that the item was removed from stocks it again, even at 0."""
    _list_again(stock, product_id, location_id, cause)
    stock.move(product_id, location_id, cause, on_hand=delta)


def _list_again(stock: Stock, product_id: int, location_id: int, cause: Cause) -> None:
    level = stock.level(product_id, location_id)
    if level.removed:
        level.removed = False
        stock.restate(product_id, location_id, cause._replace(kind="relisted"))


def remove(stock: Stock, product_id: int, location_id: int | None, cause: Cause) -> None:
    """Stock the item no more at this location, or anywhere (rule 16); what is removed already stays so.

    No unit goes: orders that were taken still hold theirs.
    """
    for one, level in sorted(stock.items[product_id].levels.items()):
        if location_id in {None, one} and not level.removed:
            level.removed = True
            stock.restate(product_id, one, cause)


def change_settings(stock: Stock, product_id: int, location_id: int, changes: Mapping[str, Any], cause: Cause) -> None:
    """Set these attributes of the item, and `safety_stock` of its level at the location.

    Entered as one change, whose reason says what was and what is; no change where all is so already.
    """
    item, level = stock.items[product_id], stock.level(product_id, location_id)
    told = []
    for name, value in changes.items():
        changed: Any = level if name == "safety_stock" else item
        before = getattr(changed, name)
        if before != value:
            setattr(changed, name, value)
            told.append(f"{name.removeprefix('own_')} {_said(before)} -> {_said(value)}")
    if told:
        stock.restate(product_id, location_id, cause._replace(reason=", ".join(told)))


def _said(value: object) -> str:
    return "none" if value is None else str(value)
