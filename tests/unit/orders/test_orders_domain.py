"""What is the same order, and who may sell what: the decisions, without I/O."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest

from services.orders.domain.orders import (
    Line,
    Refusal,
    ReturnedLine,
    SubmittedOrder,
    SubmittedReturn,
    check_ordered,
    check_returned,
    was_checked,
)
from shared.catalog_view import Link

SUPPLIER, RETAILER, STRANGER = 1, 2, 3
SMALL = Line(102, "T01-S", 2, None)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ORDER = SubmittedOrder(UUID(int=1), RETAILER, "R-1", "api", NOON, (SMALL, Line(200, None, 1, "main")))
BACK = SubmittedReturn(UUID(int=1), RETAILER, "B-1", "api", None, NOON, (ReturnedLine(102, "T01-S", 1, None, True),))


def supplied(**more: object) -> Link:
    """A part of the supplier's that draws on product 100."""
    return replace(Link(owner_id=SUPPLIER, supplier_id=SUPPLIER, components=((100, 1),)), **more)  # type: ignore[arg-type] # named by each test


@pytest.mark.parametrize(
    "again",
    [
        replace(ORDER, order_id=uuid4()),
        replace(ORDER, source="amqp"),
        replace(ORDER, placed_at=NOON.astimezone(timezone(timedelta(hours=5)))),
    ],
    ids=["with a new id", "another way in", "in another time zone"],
)
def test_the_same_order_again_has_the_same_fingerprint(again: SubmittedOrder) -> None:
    assert again.fingerprint() == ORDER.fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, placed_at=NOON + timedelta(seconds=1)),
        replace(ORDER, placed_at=None),
        replace(ORDER, lines=ORDER.lines[:1]),
        replace(ORDER, lines=(replace(SMALL, quantity=3), ORDER.lines[1])),
        replace(ORDER, lines=(replace(SMALL, product_id=103), ORDER.lines[1])),
        replace(ORDER, lines=(replace(SMALL, variant_sku="T01-L"), ORDER.lines[1])),
        replace(ORDER, lines=(replace(SMALL, location="main"), ORDER.lines[1])),
        replace(ORDER, lines=(replace(SMALL, variant_sku=None, location="T01-S"), ORDER.lines[1])),
    ],
    ids=["later", "no time", "fewer lines", "quantity", "product", "variant", "location", "variant as location"],
)
def test_another_order_has_another_fingerprint(other: SubmittedOrder) -> None:
    assert other.fingerprint() != ORDER.fingerprint()


def test_fingerprints_stay_as_they_are_stored() -> None:
    # Databases hold them: one that comes out differently turns every repeated order into a conflict.
    assert ORDER.fingerprint().hex() == "9c54f60be88a36b2a5480e259d7110327be9d71d2a735aa5e149b35e8b6e57ad"
    assert BACK.fingerprint().hex() == "5f7790941f3fb2943ceab18e7355d614808f5aec41264a5dfe5acca1f2a819c1"


def test_a_return_is_another_one_when_it_restocks_or_names_an_order() -> None:
    kept_out = replace(BACK, lines=(replace(BACK.lines[0], restock=False),))
    of_an_order = replace(BACK, order_id=UUID(int=7))
    assert len({BACK.fingerprint(), kept_out.fingerprint(), of_an_order.fingerprint()}) == 3


def test_a_retailer_sells_its_own_products_and_those_of_connected_suppliers() -> None:
    own_version = Link(owner_id=RETAILER, supplier_id=SUPPLIER, components=((100, 1),))
    own = Link(owner_id=RETAILER, supplier_id=RETAILER)
    lines = [SMALL, Line(300, "T01-S", 1, None), Line(400, None, 1, None)]
    links = {lines[0].part: supplied(), lines[1].part: own_version, lines[2].part: own}
    assert check_ordered(lines, links, RETAILER, {SUPPLIER}) == []


def test_a_supplier_sells_its_own_products() -> None:
    assert check_ordered([SMALL], {SMALL.part: supplied()}, SUPPLIER, set()) == []


@pytest.mark.parametrize(
    "link",
    [
        supplied(),
        Link(owner_id=RETAILER, supplier_id=SUPPLIER, components=((100, 1),)),
        Link(owner_id=STRANGER, supplier_id=RETAILER),
        supplied(removed=True),
        supplied(components=(), reason="product 102 has no variant 'X'"),
    ],
    ids=["a supplier's", "its own version of it", "a stranger's version", "removed too", "wrong variant too"],
)
def test_without_a_connection_only_the_product_is_refused_and_nothing_told_about_it(link: Link) -> None:
    detail = "product 102 is neither company 2's own nor of a supplier with which it "
    for check, ending in ((check_ordered, "has an active connection"), (check_returned, "ever had a connection")):
        refusal = Refusal("lines[0].product_id", detail + ending, passing=True)
        assert check([SMALL], {SMALL.part: link}, RETAILER, set()) == [refusal]


def test_a_removed_product_cannot_be_ordered_but_may_come_back() -> None:
    links = {ORDER.lines[1].part: supplied(removed=True), SMALL.part: supplied()}
    detail = "product 200, or one that it is a version of, was removed: nobody can order it"
    refusal = Refusal("lines[1].product_id", detail)
    assert check_ordered(ORDER.lines, links, RETAILER, {SUPPLIER}) == [refusal]
    assert check_returned(ORDER.lines, links, RETAILER, {SUPPLIER}) == []


def test_a_wrong_variant_of_a_known_product_is_refused() -> None:
    links = {SMALL.part: supplied(components=(), waits_for=102, reason="product 102 has no variant 'T01-S'")}
    refusal = Refusal("lines[0].variant_sku", "product 102 has no variant 'T01-S'")
    assert check_ordered([SMALL], links, RETAILER, {SUPPLIER}) == [refusal]


def test_an_unknown_product_is_accepted_to_be_parked() -> None:
    links = {SMALL.part: Link(waits_for=102, reason="product 102 is not known yet")}
    assert check_ordered([SMALL], links, RETAILER, set()) == []
    assert not was_checked(links[SMALL.part])
    assert was_checked(supplied())
