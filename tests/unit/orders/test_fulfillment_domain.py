"""Which units of an order may be assigned, and how requests stand: pure decisions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.orders.domain.fulfillment import (
    Part,
    RefusedError,
    Request,
    RequestItem,
    RequestState,
    assign,
    choose,
    fingerprint,
    settle,
)
from services.orders.domain.life import StoredLine, StoredOrder

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SUPPLIER, OTHER = 1, 4


def line(line_id: int, supplier_id: int | None = SUPPLIER, place: str = "main", **more: Any) -> StoredLine:  # noqa: ANN401 - units
    takes = ({"product_id": 100, "location": place, "quantity": 4},)
    return StoredLine(line_id, 102, None, 4, None, supplier_id=supplier_id, outcome="allocated", takes=takes)._replace(
        **more
    )


def order(*lines: StoredLine) -> StoredOrder:
    return StoredOrder(UUID(int=1), 2, "R-1", "api", "open", NOON, 3, 2, 3, lines)


def request(*items: RequestItem) -> Request:
    return Request(UUID(int=7), SUPPLIER, UUID(int=1), "main", None, b"", items)


@pytest.mark.parametrize(
    ("whole", "supplier_id", "parts", "code"),
    [
        (order(line(1))._replace(state="cancelled"), SUPPLIER, None, "order_cancelled"),
        (order(line(1))._replace(version=4), SUPPLIER, None, "not_decided"),
        (order(line(1)._replace(outcome=None)), SUPPLIER, [Part(1, 1)], "not_decided"),
        (order(line(1), line(2)._replace(outcome="parked")), SUPPLIER, None, "not_decided"),
        (order(line(1)._replace(outcome="short")), SUPPLIER, None, "short"),
        (order(line(1)._replace(outcome="refused")), None, None, "refused"),
        (order(line(1, cancelled=2, failed=1, fulfilled=1)), SUPPLIER, None, "nothing_open"),
        (order(line(1, cancelled=4)), SUPPLIER, [Part(1, 1)], "nothing_open"),
        (order(line(1, cancelled=2)), SUPPLIER, [Part(1, 3)], "too_many_units"),
        (order(line(1, OTHER), line(2)), SUPPLIER, [Part(1, 1)], "unknown_line"),
        (order(line(1, None)), None, [Part(1, 1)], "unknown_line"),
        (order(line(1)), SUPPLIER, [Part(1, 1), Part(1, 1)], "unknown_line"),
        (order(line(1, OTHER), line(2)), None, None, "several_suppliers"),
        (order(line(1), line(2, place="shelf")), SUPPLIER, None, "several_locations"),
    ],
)
def test_what_cannot_be_assigned(
    whole: StoredOrder, supplier_id: int | None, parts: Sequence[Part] | None, code: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        choose(whole, supplier_id, parts, None)
    assert refused.value.code == code
    assert str(refused.value)


def test_what_is_chosen_where_nothing_is_named() -> None:
    whole = order(line(1, assigned=1), line(2, OTHER), line(3, place="shelf"), line(4, cancelled=4))
    assert choose(whole, SUPPLIER, None, "main") == (SUPPLIER, "main", {1: 3})
    assert choose(whole, None, [Part(2, None)], None) == (OTHER, "main", {2: 4})
    assert choose(whole, SUPPLIER, [Part(1, 2), Part(3, None)], "attic") == (SUPPLIER, "attic", {1: 2, 3: 4})


def test_an_untracked_line_is_sent_from_where_it_says_else_from_main() -> None:
    untracked = line(1)._replace(outcome="untracked", takes=())
    assert choose(order(untracked), SUPPLIER, None, None).location == "main"
    assert choose(order(untracked._replace(location="shelf")), SUPPLIER, None, None).location == "shelf"


def test_units_go_from_open_to_assigned_to_what_became_of_them() -> None:
    whole = assign(order(line(1)), {1: 3})
    assert (whole.lines[0].open, whole.lines[0].assigned) == (1, 3)
    asked = request(RequestItem(1, 3))
    whole, asked, units = settle(whole, asked, "failed", [Part(1, 1)])
    assert (units, asked.items[0].assigned, asked.state) == ({1: 1}, 2, "open")
    whole, asked, units = settle(whole, asked, "completed", None)
    assert (units, asked.state) == ({1: 2}, "partly_completed")
    assert (whole.lines[0].assigned, whole.lines[0].fulfilled, whole.lines[0].failed, whole.lines[0].open) == (
        *(0, 2, 1),
        1,
    )
    with pytest.raises(RefusedError, match="is partly_completed"):
        settle(whole, asked, "completed", None)


@pytest.mark.parametrize(
    ("items", "state"),
    [
        ([RequestItem(1, 2), RequestItem(2, 1, completed=1)], "open"),
        ([RequestItem(1, 2, completed=2)], "completed"),
        ([RequestItem(1, 2, failed=2)], "failed"),
        ([RequestItem(1, 2, failed=2), RequestItem(2, 1, completed=1)], "partly_completed"),
    ],
)
def test_how_a_request_stands(items: Sequence[RequestItem], state: RequestState) -> None:
    assert request(*items).state == state


def test_the_same_request_whatever_the_order_of_its_items() -> None:
    def of(*parts: Part, location: str | None = None) -> bytes:
        return fingerprint(UUID(int=1), parts, location)

    assert of(Part(1, 2), Part(2, 1)) == of(Part(2, 1), Part(1, 2))
    assert len({of(Part(1, 2)), of(Part(1, 1)), of(Part(1, None)), of(Part(1, 2), location="main")}) == 4
    assert fingerprint(UUID(int=1), None, None) != of(Part(1, 2))
    # The same line twice, with and without a number, can be told apart and is refused elsewhere.
    assert of(Part(1, None), Part(1, 2))
