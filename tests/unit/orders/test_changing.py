"""Amending, cancelling and taking back by quantities: what is settled stays, and no unit is in two places."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orders.domain.changing import (
    LineChange,
    amend,
    amend_refusals,
    cancel,
    cancel_refusals,
    take_back,
    unknown_lines,
    whole_cancel_refusals,
)
from services.orders.domain.life import StoredLine, StoredOrder
from services.orders.domain.orders import ReturnedLine

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHIRTS = StoredLine(1, 102, "T01-S", 5, None, outcome="allocated")
MUG = StoredLine(2, 200, None, 1, None, outcome="allocated")


def order(*lines: StoredLine) -> StoredOrder:
    return StoredOrder(UUID(int=1), 2, "R-1", "api", "open", NOON, 1, 1, 1, lines)


def change(line_id: int, quantity: int | None = None, location: str | None = None) -> LineChange:
    return LineChange("lines[0]", line_id, quantity, location)


def back(quantity: int, product_id: int = 102, variant_sku: str | None = "T01-S") -> ReturnedLine:
    return ReturnedLine(product_id, variant_sku, quantity, None, restock=True)


def test_an_amendment_states_a_quantity_anew() -> None:
    (line,) = amend(order(SHIRTS._replace(cancelled=2)), [change(1, 4, "annex")], []).lines
    assert (line.quantity, line.cancelled, line.wanted, line.location) == (4, 2, 2, "annex")


def test_a_line_sent_back_as_it_is_shown_changes_nothing() -> None:
    shown = order(SHIRTS._replace(cancelled=2, assigned=1))
    assert (amend_refusals(shown, [change(1, 5)]), amend(shown, [change(1, 5)], [])) == ([], shown)


def test_nothing_is_added_to_what_is_on_its_way() -> None:
    assert amend_refusals(order(SHIRTS), [], added=1) == []
    assert [one.field for one in amend_refusals(order(SHIRTS._replace(fulfilled=1)), [], added=1)] == ["lines"]


def test_added_lines_are_numbered_on() -> None:
    amended = amend(order(SHIRTS, MUG), [], [MUG._replace(line_id=1), MUG._replace(line_id=2)])
    assert [line.line_id for line in amended.lines] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("line", "wanted", "field"),
    [
        (SHIRTS._replace(cancelled=5), change(1, 3), "lines[0].line_id"),
        (SHIRTS._replace(assigned=2, fulfilled=1), change(1, 2), "lines[0].quantity"),
        (SHIRTS._replace(fulfilled=1), change(1, location="annex"), "lines[0]"),
        (SHIRTS._replace(assigned=1), change(1, 6), "lines[0]"),
        (SHIRTS._replace(returned=3), change(1, 2), "lines[0].quantity"),
        (SHIRTS._replace(cancelled=2), change(1, 2), "lines[0].quantity"),
    ],
)
def test_what_is_settled_is_not_amended(line: StoredLine, wanted: LineChange, field: str) -> None:
    assert [refusal.field for refusal in amend_refusals(order(line), [wanted])] == [field]


def test_down_to_what_is_settled_a_line_can_be_amended() -> None:
    assert amend_refusals(order(SHIRTS._replace(assigned=2, fulfilled=1)), [change(1, 3)]) == []


def test_a_line_is_named_once_and_must_be_there() -> None:
    assert [one.field for one in unknown_lines(order(SHIRTS), [change(1), change(1), change(9)])] == [
        "lines[0].line_id",
        "lines[0].line_id",
    ]


def test_the_last_units_cancelled_cancel_the_order() -> None:
    one_left = cancel(order(SHIRTS, MUG), {1: 5})
    assert (one_left.state, one_left.status) == ("open", "allocated")
    assert cancel(one_left, {2: 1}).state == "cancelled"


def test_an_order_of_which_all_was_sent_cannot_be_cancelled() -> None:
    (refusal,) = whole_cancel_refusals(order(SHIRTS._replace(fulfilled=4, failed=1)))
    assert "nothing is left to cancel" in refusal.detail


def test_what_comes_back_is_of_the_first_lines_of_its_product() -> None:
    twice = order(SHIRTS._replace(quantity=2), MUG, SHIRTS._replace(line_id=3, quantity=2))
    now, units, refusals = take_back(twice, [back(3)])
    assert (units, [line.returned for line in now.lines], refusals) == ({1: 2, 3: 1}, [2, 0, 1], [])


@pytest.mark.parametrize(
    "line",
    [
        SHIRTS._replace(quantity=3),
        SHIRTS._replace(cancelled=2),
        SHIRTS._replace(failed=2),
        SHIRTS._replace(assigned=2),
        SHIRTS._replace(returned=2),
        SHIRTS._replace(variant_sku="T01-L"),
    ],
)
def test_what_cannot_have_been_sent_does_not_come_back(line: StoredLine) -> None:
    *_, refusals = take_back(order(line), [back(2), back(2)])
    assert refusals[-1].field == "lines[1].quantity"
    assert take_back(order(SHIRTS._replace(fulfilled=4)), [back(2), back(2)])[2] == []


WHAT = ["amend", "cancel", "cancel all", "assign", "fulfil", "fail", "return"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["amend", "cancel", "cancel all", "assign", "fulfil", "fail", "return"]), st.integers(1, 7)
    ),
    max_size=12,
)


@given(STEPS)
def test_each_unit_is_in_one_place_whatever_happens(steps: list[tuple[str, int]]) -> None:
    whole = order(SHIRTS)
    for what, units in steps:
        whole = _after(whole, what, units)
        (line,) = whole.lines
        settled = (line.assigned, line.fulfilled, line.failed)
        assert min(line.cancelled, line.returned, line.open, *settled) >= 0
        back_unsent = max(0, line.returned - line.fulfilled)
        assert line.cancelled + sum(settled) + back_unsent + line.open == line.quantity
        assert line.returned <= line.wanted


def _after(whole: StoredOrder, what: str, units: int) -> StoredOrder:  # noqa: PLR0911 - a step each
    """The order after a step, or as it was if that is refused; fulfillment bounds its own."""
    (line,) = whole.lines
    if whole.state == "cancelled" and what != "return":
        return whole
    if what == "amend":
        wanted = [change(1, units)]
        return whole if amend_refusals(whole, wanted) else amend(whole, wanted, [])
    if what == "cancel":
        return whole if cancel_refusals(whole, [change(1, units)]) else cancel(whole, {1: units})
    if what == "cancel all":
        return whole if whole_cancel_refusals(whole) else cancel(whole, {1: line.open})._replace(state="cancelled")
    if what == "return":
        now, _, refusals = take_back(whole, [back(units)])
        return whole if refusals else now
    moved = min(units, line.open if what == "assign" else line.assigned)
    if what == "assign":
        return whole._replace(lines=(line._replace(assigned=line.assigned + moved),))
    name = "fulfilled" if what == "fulfil" else "failed"
    fields = {"assigned": line.assigned - moved, name: getattr(line, name) + moved}
    return whole._replace(lines=(StoredLine(**(line._asdict() | fields)),))
