"""The checker's own test: it passes a run that went well, and names what is wrong with each one that was doctored."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.fault.books import Books, Document, Endpoint, Entry, Level
from tests.fault.checker import Told, Verdict, judge
from tests.fault.journal import Journal, Operation

SUPPLIER, RETAILER = 1, 2
CUP, PLATE, MAIN = 100, 101, 7
URL = "http://127.0.0.1:9/stock"
WINDOW_SECONDS = 2
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def entry(product_id: int, version: int, kind: str, reference: str, delta: int, on_hand: int) -> Entry:
    """A change of on hand at noon and as many seconds as its version."""
    return Entry(
        product_id=product_id,
        location_id=MAIN,
        item_version=version,
        kind=kind,
        reference=reference,
        line_id=None if kind == "manual" else 1,
        reason=reference if kind == "manual" else None,
        deltas=(delta, 0, 0),
        after=(on_hand, 0, 0),
        occurred_at=NOON + timedelta(seconds=version),
    )


def counted(product_id: int) -> Operation:
    return Operation("adjustment", SUPPLIER, f"count {product_id}", {product_id: 10}, sent=1, acknowledged=1)


def good_operations() -> list[Operation]:
    """Two counts, an order that was sent twice, a return, and an order that was given up and never arrived."""
    return [
        counted(CUP),
        counted(PLATE),
        Operation("order", RETAILER, "A-1", {CUP: -3}, sent=2, acknowledged=1, ids={"order-1"}),
        Operation("return", RETAILER, "A-1", {CUP: 1}, sent=1, acknowledged=1, ids={"return-1"}),
        Operation("order", RETAILER, "A-2", {CUP: -5}, sent=1),
    ]


GOOD_BOOKS = Books(
    ledger=(
        entry(CUP, 1, "manual", f"count {CUP}", 10, 10),
        entry(CUP, 2, "order", "order-1", -3, 7),
        entry(CUP, 3, "returned", "return-1", 1, 8),
        entry(PLATE, 1, "manual", f"count {PLATE}", 10, 10),
    ),
    levels={(CUP, MAIN): Level(8, 0, 0, 0), (PLATE, MAIN): Level(10, 0, 0, 2)},
    versions={CUP: 3, PLATE: 1},
    suppliers={CUP: SUPPLIER, PLATE: SUPPLIER},
    documents=(Document("order", RETAILER, "A-1", "order-1"), Document("return", RETAILER, "A-1", "return-1")),
    takings={(CUP, MAIN): 3},
    completed={},
    allocating={},
    reserving={},
    endpoints=(Endpoint(5, URL, NOON, frozenset({SUPPLIER})),),
    attempts=((5, CUP, 1), (5, PLATE, 1), (5, CUP, 3)),
    aside=(),
)
GOOD_TOLD = (
    Told(URL, CUP, 50.0, 50.0, 1, 10),
    Told(URL, PLATE, 50.0, 50.0, 1, 8),
    Told(URL, CUP, 52.0, 52.0, 3, 8),
)


@dataclass(slots=True)
class Run:
    """A run that went well, to be doctored."""

    books: Books = GOOD_BOOKS
    told: Sequence[Told] = GOOD_TOLD
    operations: list[Operation] = field(default_factory=good_operations)

    def verdict(self) -> Verdict:
        journal = Journal()
        for operation in self.operations:
            journal.enter(operation)
        return judge(self.books, journal, self.told, WINDOW_SECONDS)

    def with_ledger(self, *ledger: Entry) -> "Run":
        self.books = replace(self.books, ledger=ledger)
        return self


def only_violation(verdict: Verdict, promise: str) -> str:
    """The one sentence on the one promise that was broken."""
    assert list(verdict.violations) == [promise], verdict
    (sentence,) = verdict.violations[promise]
    return sentence


def test_a_run_that_went_well_has_no_problems() -> None:
    verdict = Run().verdict()
    assert verdict.problems() == []
    assert (verdict.ok, verdict.absent) == (4, 1)
    assert str(verdict) == "4 ok, 0 lost, 0 duplicated, 0 invented"


def test_p1_a_call_within_the_window_is_seen() -> None:
    run = Run(told=[*GOOD_TOLD[:2], GOOD_TOLD[2]._replace(arrived_at=51.9)])
    assert "again after 1.900 s" in only_violation(run.verdict(), "P1")


def test_p1_a_call_that_waited_for_a_busy_receiver_is_no_violation() -> None:
    first, other, second = GOOD_TOLD
    run = Run(told=[first._replace(arrived_after=49.8), other, second._replace(arrived_at=51.9)])
    assert run.verdict().problems() == []


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (GOOD_TOLD[:2], f"10 of product {CUP}"),
        (GOOD_TOLD[1:2], f"0 of product {CUP}"),
        ((GOOD_TOLD[0], GOOD_TOLD[2]), f"-2 of product {PLATE}"),
    ],
    ids=["the last change is missing", "one product was never told", "nor one with safety stock"],
)
def test_p2_an_endpoint_that_does_not_know_the_last_state_is_seen(told: Sequence[Told], believed: str) -> None:
    assert f"believes that {believed}" in only_violation(Run(told=told).verdict(), "P2")


def test_p2_an_endpoint_that_missed_nothing_need_not_be_told() -> None:
    later = GOOD_BOOKS.endpoints[0]._replace(created_at=NOON + timedelta(minutes=1))
    assert Run(replace(GOOD_BOOKS, endpoints=(later,)), told=()).verdict().problems() == []


def test_p2_a_retailer_that_is_not_connected_need_not_be_told() -> None:
    stranger = GOOD_BOOKS.endpoints[0]._replace(supplier_ids=frozenset())
    assert Run(replace(GOOD_BOOKS, endpoints=(stranger,)), told=()).verdict().problems() == []


def test_p3_an_older_version_after_a_newer_is_seen() -> None:
    late = Told(URL, CUP, 55.0, 55.0, 1, 10)
    again = Told(URL, CUP, 58.0, 58.0, 3, 8)
    sentence = only_violation(Run(told=[*GOOD_TOLD, late, again]).verdict(), "P3")
    assert f"version 1 of product {CUP} after version 3" in sentence


def test_p3_a_state_that_was_never_committed_is_seen() -> None:
    run = Run(told=[GOOD_TOLD[0]._replace(available=9), *GOOD_TOLD[1:]])
    assert "told that 9" in only_violation(run.verdict(), "P3")
    run = Run(told=[GOOD_TOLD[0]._replace(version=2), *GOOD_TOLD[1:]])
    assert "the ledger says 7" in only_violation(run.verdict(), "P3")


def test_p3_attempts_that_go_back_are_seen() -> None:
    run = Run(replace(GOOD_BOOKS, attempts=((5, CUP, 3), (6, CUP, 1), (5, CUP, 2))))
    assert "endpoint 5 was sent version 2" in only_violation(run.verdict(), "P3")


def test_p4_an_acknowledged_order_without_a_trace_is_lost() -> None:
    run = Run()
    run.operations[-1].acknowledged = 1
    verdict = run.verdict()
    assert verdict.lost == ["order 'A-2' of company 2 was acknowledged and is not there"]
    assert verdict.absent == 0


def test_p4_an_order_without_its_effect_is_lost() -> None:
    run = Run()
    run.operations[2].effect = {CUP: -3, PLATE: -1}
    (sentence,) = run.verdict().lost
    assert "should have changed {100: -3, 101: -1}, it changed {100: -3}" in sentence


def test_p4_an_adjustment_that_was_acknowledged_and_not_made_is_lost() -> None:
    run = Run()
    run.operations.append(Operation("adjustment", SUPPLIER, "found two", {CUP: 2}, sent=1, acknowledged=1))
    (sentence,) = run.verdict().lost
    assert "acknowledged 1 times, applied 0 times" in sentence


def test_p4_an_effect_twice_is_duplicated() -> None:
    ledger = [*GOOD_BOOKS.ledger[:2], entry(CUP, 3, "order", "order-1", -3, 4), GOOD_BOOKS.ledger[2]]
    (sentence,) = Run().with_ledger(*ledger).verdict().duplicated
    assert "order 'A-1' of company 2 has more than one effect" in sentence


def test_p4_an_adjustment_made_more_often_than_sent_is_duplicated() -> None:
    again = entry(PLATE, 2, "manual", f"count {PLATE}", 10, 20)
    (sentence,) = Run().with_ledger(*GOOD_BOOKS.ledger, again).verdict().duplicated
    assert "sent 1 times, applied 2 times" in sentence


def test_p4_what_no_client_sent_is_invented() -> None:
    run = Run()
    del run.operations[3]
    assert run.verdict().invented == ["return 'A-1' of company 2: no client ever sent it"]


@pytest.mark.parametrize("kind", ["order", "count"])
def test_p4_a_ledger_entry_of_nobody_is_invented(kind: str) -> None:
    (sentence,) = Run().with_ledger(*GOOD_BOOKS.ledger, entry(PLATE, 2, kind, "?", -1, 9)).verdict().invented
    assert "reference='?'" in sentence


def test_p4_an_adjustment_of_other_units_is_invented() -> None:
    run = Run().with_ledger(*GOOD_BOOKS.ledger[:3], entry(PLATE, 1, "manual", f"count {PLATE}", 11, 11))
    (sentence,) = run.verdict().invented
    assert "changed something else than {101: 10}" in sentence


def test_p4_dead_letters_are_seen() -> None:
    run = Run(replace(GOOD_BOOKS, aside=("inventory has a dead letter",)))
    assert only_violation(run.verdict(), "P4") == "inventory has a dead letter"


def test_p5_a_level_that_the_ledger_does_not_explain_is_seen() -> None:
    run = Run(replace(GOOD_BOOKS, levels={**GOOD_BOOKS.levels, (CUP, MAIN + 1): Level(1, 0, 0, 1)}))
    assert "(1, 0, 0), the ledger explains (0, 0, 0)" in "".join(run.verdict().violations["P5"])


def test_p5_an_entry_that_does_not_add_up_is_seen() -> None:
    wrong = GOOD_BOOKS.ledger[1]._replace(after=(6, 0, 0))
    run = Run().with_ledger(GOOD_BOOKS.ledger[0], wrong, *GOOD_BOOKS.ledger[2:])
    assert "that makes (7, 0, 0)" in only_violation(run.verdict(), "P5")


def test_p5_a_version_without_its_change_is_seen() -> None:
    run = Run(replace(GOOD_BOOKS, versions={CUP: 4, PLATE: 1}))
    assert f"product {CUP} has version 4, its 3 changes end at [1, 2, 3]" in only_violation(run.verdict(), "P5")


def test_p5_takings_that_no_order_explains_are_seen() -> None:
    run = Run(replace(GOOD_BOOKS, takings={(CUP, MAIN): 4}))
    assert "orders hold 4" in only_violation(run.verdict(), "P5")


def sold_and_sent() -> Books:
    """The order's three cups are allocated, one of them has left, and one more is reserved and released again."""
    ordered = GOOD_BOOKS.ledger[1]._replace(deltas=(0, 3, 0), after=(10, 3, 0))
    came_back = GOOD_BOOKS.ledger[2]._replace(after=(11, 3, 0))
    left = entry(CUP, 4, "fulfilled", "order-1", 0, 0)._replace(deltas=(-1, -1, 0), after=(10, 2, 0))
    held = [
        entry(CUP, version, kind, "reservation-1", 0, 0)._replace(deltas=(0, 0, units), after=(10, 2, after))
        for version, kind, units, after in ((5, "reserved", 1, 1), (6, "released", -1, 0), (7, "reserved", 1, 1))
    ]
    return replace(
        GOOD_BOOKS,
        ledger=(GOOD_BOOKS.ledger[0], ordered, came_back, left, *held, GOOD_BOOKS.ledger[3]),
        levels={**GOOD_BOOKS.levels, (CUP, MAIN): Level(10, 2, 1, 0)},
        versions={CUP: 7, PLATE: 1},
        takings={(CUP, MAIN): 2},
        completed={(CUP, MAIN): 1},
        allocating={(CUP, MAIN): 2},
        reserving={(CUP, MAIN): 1},
    )


LATER_TOLD = (*GOOD_TOLD, Told(URL, CUP, 56.0, 56.0, 7, 7))


def test_p5_what_is_allocated_sent_and_reserved_adds_up() -> None:
    assert Run(sold_and_sent(), told=LATER_TOLD).verdict().problems() == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"completed": {}}, "orders hold 2 of product 100 at location 7 and 0 have left, they took 3"),
        ({"takings": {}, "completed": {(CUP, MAIN): 4}}, "0 of product 100 at location 7 and 4 have left, they took 3"),
        ({"allocating": {(CUP, MAIN): 3}}, "2 of product 100 at location 7 are allocated, somebody holds 3 of them"),
        ({"reserving": {}}, "1 of product 100 at location 7 are reserved, somebody holds 0 of them"),
    ],
)
def test_p5_what_nobody_holds_is_seen(wrong: dict[str, dict[tuple[int, int], int]], sentence: str) -> None:
    run = Run(replace(sold_and_sent(), **wrong), told=LATER_TOLD)  # type: ignore[arg-type] # all of them mappings
    assert sentence in only_violation(run.verdict(), "P5")


def test_p4_what_left_for_an_order_of_nobody_is_invented() -> None:
    books = sold_and_sent()
    ledger = [one._replace(reference="?") if one.kind == "fulfilled" else one for one in books.ledger]
    (sentence,) = Run(replace(books, ledger=ledger), told=LATER_TOLD).verdict().invented
    assert "reference='?'" in sentence


def test_p6_two_orders_under_one_reference_are_seen() -> None:
    twin = Document("order", RETAILER, "A-1", "order-2")
    run = Run(replace(GOOD_BOOKS, documents=[*GOOD_BOOKS.documents, twin]))
    assert "is there 2 times" in only_violation(run.verdict(), "P6")


def test_p6_an_answer_with_another_id_is_seen() -> None:
    run = Run()
    run.operations[2].ids.add("order-9")
    assert "answered with ['order-1', 'order-9']" in only_violation(run.verdict(), "P6")
