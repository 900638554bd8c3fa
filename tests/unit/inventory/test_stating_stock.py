"""Statements of what is there, of now or of a moment before: they end as if they had come in time."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain.stock import Cause, Entry, Item, Level, Location, Stock
from services.inventory.domain.writing import BEFORE_ALL, Moved, Since, adjust, remove, since, state

SMALL, MAIN = 100, 1
START = datetime(2026, 11, 24, tzinfo=UTC)
CAUSE = Cause("manual", "key 7", "api", "key 7")


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


class Logged(NamedTuple):
    """An entry as the ledger keeps it."""

    entry: Entry
    item_version: int
    occurred_at: datetime


@dataclass
class Shelf:
    """One item at one location with its ledger: each change is a transaction of its own, a second after the last."""

    level: Level = field(default_factory=Level)
    version: int = 0
    second: int = 0
    ledger: list[Logged] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return at(self.second)

    def begin(self) -> Stock:
        """A second later, lock the item."""
        self.second += 1
        self.level.moved_on_hand = self.level.moved_available = 0
        item = Item(SMALL, 1, "T01-S", self.version, "backorder", levels={MAIN: self.level})
        return Stock({SMALL: item}, {1: [Location(MAIN, "main")]})

    def commit(self, stock: Stock) -> None:
        if stock.entries:
            self.version += 1
        self.ledger += [Logged(entry, self.version, self.now) for entry in stock.entries]

    def moved(self, as_of: int | datetime) -> Moved:
        """What the store would say."""
        seen = [
            one
            for one in self.ledger
            if (one.occurred_at <= as_of if isinstance(as_of, datetime) else one.item_version <= as_of)
        ]
        after = self.ledger[len(seen) :]
        movements = [one.entry for one in after if one.entry.stated_as_of is None]
        stated = [one.entry.stated_as_of for one in after if one.entry.stated_as_of is not None]
        return Moved(
            seen[-1].occurred_at if seen else None,
            sum(entry.on_hand_delta for entry in movements),
            sum(entry.on_hand_delta - entry.allocated_delta for entry in movements),
            any(entry.cause.kind == "removed" for entry in movements),
            None,
            max(stated, default=None),
        )

    def move(self, on_hand: int, allocated: int) -> None:
        stock = self.begin()
        stock.move(SMALL, MAIN, CAUSE, on_hand=on_hand, allocated=allocated)
        self.commit(stock)

    def state(self, kind: str, units: int, as_of: int | datetime | None = None) -> object:
        stock = self.begin()
        found = Since(self.now, is_now=True) if as_of is None else self.since(as_of)
        stated = {"on_hand": units} if kind == "on_hand" else {"available": units}
        superseded = state(stock, SMALL, MAIN, found, CAUSE, **stated)
        self.commit(stock)
        return superseded

    def since(self, as_of: int | datetime) -> Since:
        found = since(as_of, self.moved(as_of), self.version, self.now)
        assert isinstance(found, Since), found
        return found


def test_units_sold_since_the_count_stay_sold() -> None:
    shelf = Shelf(Level(10))
    shelf.move(-2, 0)
    counted = shelf.now
    shelf.move(-3, 0)
    assert shelf.state("on_hand", 20, counted) is None
    assert shelf.level.on_hand == 17


def test_a_later_statement_wins_also_where_it_made_no_difference() -> None:
    shelf = Shelf(Level(10))
    counted = shelf.now
    shelf.state("on_hand", 10)
    assert (shelf.version, shelf.level.stated_as_of) == (0, at(1))
    superseded = shelf.state("on_hand", 8, counted)
    assert superseded is not None
    assert shelf.level.on_hand == 10


def test_a_correction_by_an_older_statement_is_no_movement() -> None:
    shelf = Shelf(Level(10))
    shelf.move(-1, 0)
    first = shelf.now
    shelf.move(-1, 0)
    second = shelf.now
    shelf.state("on_hand", 30, first)
    assert shelf.level.on_hand == 29
    shelf.state("on_hand", 50, second)
    assert shelf.level.on_hand == 50


def test_a_version_is_as_of_when_it_came_and_that_of_now_as_of_now() -> None:
    shelf = Shelf(Level(10))
    assert shelf.since(0).as_of == shelf.now
    shelf.move(-1, 0)
    shelf.move(-1, 0)
    assert (shelf.since(0).as_of, shelf.since(1).as_of, shelf.since(2).as_of) == (BEFORE_ALL, at(1), shelf.now)
    assert shelf.since(1).on_hand == -1


@pytest.mark.parametrize(("as_of", "why"), [(at(3), "is in the future: it is"), (3, "there is no version 3 yet")])
def test_nothing_can_be_as_of_what_is_to_come(as_of: int | datetime, why: str) -> None:
    shelf = Shelf(Level(10))
    shelf.move(-1, 0)
    shelf.move(-1, 0)
    found = since(as_of, shelf.moved(as_of), shelf.version, shelf.now)
    assert isinstance(found, str)
    assert why in found


def test_what_was_removed_since_is_not_listed_again_by_an_older_statement() -> None:
    shelf = Shelf(Level(10))
    stock = shelf.begin()
    counted = at(0)
    remove(stock, SMALL, MAIN, CAUSE._replace(kind="removed"))
    shelf.commit(stock)
    shelf.state("on_hand", 4, counted)
    assert (shelf.level.on_hand, shelf.level.removed) == (4, True)
    shelf.state("on_hand", 5)
    assert (shelf.level.on_hand, shelf.level.removed) == (5, False)


def test_rows_of_one_request_come_one_after_the_other() -> None:
    shelf = Shelf(Level(10))
    counted = shelf.now
    stock = shelf.begin()
    adjust(stock, SMALL, MAIN, 5, CAUSE)
    state(stock, SMALL, MAIN, shelf.since(counted), CAUSE, on_hand=8)
    assert shelf.level.on_hand == 13, "the five came after the count"
    state(stock, SMALL, MAIN, Since(shelf.now, is_now=True), CAUSE, on_hand=7)
    assert shelf.level.on_hand == 7
    assert state(stock, SMALL, MAIN, shelf.since(counted), CAUSE, on_hand=8) is not None


def test_a_clock_that_was_set_back_takes_no_statement_of_now_away() -> None:
    shelf = Shelf(Level(10, stated_as_of=at(100)))
    assert shelf.state("on_hand", 8) is None
    assert (shelf.level.on_hand, shelf.level.stated_as_of) == (8, at(100))


class Happening(NamedTuple):
    """A movement of units, or a statement that is written when so many others have happened."""

    what: Literal["move", "on_hand", "available"]
    units: int
    allocated: int
    late: int


HAPPENINGS = st.lists(
    st.builds(
        Happening,
        st.sampled_from(["move", "move", "on_hand", "available"]),
        st.integers(-20, 20),
        st.integers(0, 3),
        st.integers(0, 6),
    ),
    max_size=12,
)
# Between two that happen; what is written in between takes a second each.
APART_SECONDS = 100


@given(HAPPENINGS)
def test_statements_that_come_late_end_as_if_they_had_come_in_time(happenings: list[Happening]) -> None:
    prompt, late = Shelf(Level(10)), Shelf(Level(10))
    writes: list[tuple[int, int, Happening]] = []
    for number, one in enumerate(happenings, 1):
        happens = number * APART_SECONDS
        if one.what == "move":
            prompt.move(one.units, one.allocated)
            writes.append((happens, happens, one))
        else:
            prompt.state(one.what, one.units)
            writes.append((happens + one.late * APART_SECONDS + 5, happens, one))
    for written, happened, one in sorted(writes, key=lambda write: write[0]):
        late.second = max(late.second, written)
        if one.what == "move":
            late.move(one.units, one.allocated)
        else:
            late.state(one.what, one.units, at(happened))
    assert (late.level.on_hand, late.level.allocated) == (prompt.level.on_hand, prompt.level.allocated)


@given(st.lists(st.integers(-20, 20), max_size=8), st.integers(0, 8), st.integers(-20, 20))
def test_a_statement_as_of_a_version_is_one_as_of_when_it_was_the_newest(
    moves: list[int], version: int, units: int
) -> None:
    moves = [one for one in moves if one]
    version = min(version, len(moves))
    shelf = Shelf(Level(10))
    for one in moves:
        shelf.move(one, 0)
    shelf.state("on_hand", units, version)
    assert shelf.level.on_hand == units + sum(moves[version:])
