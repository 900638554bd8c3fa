"""How an order and its lines stand, told from quantities and from inventory's decision."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.orders.domain.life import Status, StoredLine, StoredOrder, UnknownOrderError, decided, status_of
from shared.events.inventory import LineDecision, OrderAllocated, Take

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
THREE = StoredLine(1, 102, "T01-S", 3, None)
DRAWN = THREE._replace(outcome="allocated", takes=({"product_id": 100, "location": "main", "quantity": 3},))
ORDER = StoredOrder(UUID(int=1), 2, "R-1", "api", "open", NOON, 1, 0, 0, (THREE, StoredLine(2, 200, None, 1, None)))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (THREE, "received"),
        (DRAWN, "allocated"),
        (THREE._replace(outcome="refused"), "short"),
        (THREE._replace(outcome="parked", waits_for=100), "parked"),
        (THREE._replace(outcome="untracked"), "untracked"),
        (DRAWN._replace(assigned=3), "allocated"),
        (DRAWN._replace(assigned=2, fulfilled=1), "partly_fulfilled"),
        (DRAWN._replace(fulfilled=3), "fulfilled"),
        (DRAWN._replace(fulfilled=2, cancelled=1), "fulfilled"),
        (DRAWN._replace(fulfilled=2, failed=1), "fulfilled"),
        (DRAWN._replace(failed=1), "allocated"),
        (DRAWN._replace(failed=3), "failed"),
        (DRAWN._replace(cancelled=2, failed=1), "failed"),
        (DRAWN._replace(cancelled=3), "cancelled"),
        (DRAWN._replace(fulfilled=3, returned=2), "fulfilled"),
        (DRAWN._replace(fulfilled=3, returned=3), "returned"),
        (DRAWN._replace(returned=3), "returned"),
    ],
)
def test_a_line_stands_as_its_quantities_say(line: StoredLine, status: Status) -> None:
    assert line.status == status


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["received", "allocated"], "received"),
        (["allocated", "untracked"], "allocated"),
        (["untracked", "untracked"], "untracked"),
        (["allocated", "parked"], "parked"),
        (["allocated", "parked", "short"], "short"),
        (["failed", "fulfilled"], "failed"),
        (["fulfilled", "allocated"], "partly_fulfilled"),
        (["returned", "allocated"], "partly_fulfilled"),
        (["fulfilled", "untracked"], "fulfilled"),
        (["fulfilled", "cancelled"], "fulfilled"),
        (["returned", "fulfilled"], "fulfilled"),
        (["cancelled", "cancelled"], "cancelled"),
    ],
)
def test_an_order_stands_as_its_worst_line(lines: list[Status], status: Status) -> None:
    assert status_of(lines) == status


def decision(*lines: LineDecision, version: int = 1) -> OrderAllocated:
    return OrderAllocated(order_id=ORDER.order_id, order_version=version, decision=1, lines=lines)


def test_a_decision_says_what_each_line_drew_and_of_whom() -> None:
    drew = LineDecision(
        line_id=1, outcome="allocated", takes=(Take(product_id=100, location="main", quantity=3),), supplier_id=1
    )
    waits = LineDecision(line_id=2, outcome="parked", reason="product 200 is not known yet", waits_for=200)
    order = decided(ORDER, decision(drew, waits))
    assert (order.decision, order.decided_version, order.status) == (1, 1, "parked")
    assert order.lines[0].takes == ({"product_id": 100, "location": "main", "quantity": 3},)
    assert (order.lines[1].waits_for, order.lines[1].supplier_id) == (200, None)
    assert order.parts() == {1: "allocated"}


def test_a_line_that_a_decision_does_not_name_holds_nothing() -> None:
    order = decided(ORDER._replace(version=2, lines=(DRAWN, DRAWN._replace(line_id=2))), decision(version=2))
    assert [(line.outcome, line.takes) for line in order.lines] == [(None, ()), (None, ())]


def test_a_decision_on_a_line_that_nobody_made_is_refused() -> None:
    with pytest.raises(UnknownOrderError, match="7 of "):
        decided(ORDER, decision(LineDecision(line_id=7, outcome="allocated")))
