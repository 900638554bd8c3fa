"""Which stock an order takes: the seeds' products and rules 8 to 14."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain.orders import Connection, Decided, Line, Order, Taking, decide, refusal
from services.inventory.domain.returns import restock
from services.inventory.domain.stock import LEVEL_LIMIT, Cause, Item, Level, Location, Stock
from shared.events.catalog import OversellPolicy

SUPPLIER, RETAILER, STRANGER = 1, 2, 3
MAIN, SHOP, DISPLAY = 10, 11, 12
CAUSE = Cause("order", "order", "api", "R-1001")
CONNECTED = {SUPPLIER: Connection(active=True)}

SMALL, LARGE, CASE = 100, 101, 200
ON_102_SMALL = ((SMALL, 1),)
ON_102_LARGE = ((LARGE, 1),)


def stock_of(policy: OversellPolicy = "backorder", **on_hand: int) -> Stock:
    """`stock_of(T01_S=10)`: everything in `main`."""
    ids = {"T01_S": SMALL, "T01_L": LARGE, "S7": CASE}
    items = {
        ids[name]: Item(ids[name], SUPPLIER, name, 0, policy, levels={MAIN: Level(quantity)})
        for name, quantity in on_hand.items()
    }
    return Stock(items, {SUPPLIER: [Location(MAIN, "main")]})


def line(components: tuple[tuple[int, int], ...], quantity: int, line_id: int = 1, location: str | None = None) -> Line:
    return Line(line_id, quantity, location, SUPPLIER, SUPPLIER, components)


def order(*lines: Line, held: tuple[Taking, ...] = (), seller_id: int = RETAILER) -> Order:
    return Order(seller_id, lines, CAUSE, CONNECTED if seller_id == RETAILER else {}, held)


def on_hand(stock: Stock) -> dict[int, int]:
    return {
        product_id: sum(level.on_hand for level in item.levels.values()) for product_id, item in stock.items.items()
    }


class TestTheSeedsProducts:
    def test_an_order_for_102_small_lowers_100_and_nothing_else(self) -> None:
        stock = stock_of(T01_S=10, T01_L=10, S7=10)
        (decided,) = decide(order(line(ON_102_SMALL, 2)), stock)
        assert on_hand(stock) == {SMALL: 8, LARGE: 10, CASE: 10}
        assert decided == Decided(1, "allocated", (Taking(1, SMALL, MAIN, 2),))
        (entry,) = stock.entries
        assert (entry.product_id, entry.on_hand_delta, entry.on_hand, entry.line_id) == (SMALL, -2, 8, 1)

    def test_the_retailers_own_version_300_lowers_100_likewise(self) -> None:
        stock = stock_of(T01_S=10, T01_L=10)
        own_version = Line(1, 3, None, owner_id=RETAILER, supplier_id=SUPPLIER, components=ON_102_SMALL)
        (decided,) = decide(order(own_version), stock)
        assert decided.outcome == "allocated"
        assert on_hand(stock) == {SMALL: 7, LARGE: 10}

    def test_two_lines_of_one_variant_both_count(self) -> None:
        stock = stock_of(T01_S=10)
        decide(order(line(ON_102_SMALL, 2, 1), line(ON_102_SMALL, 2, 2)), stock)
        assert on_hand(stock) == {SMALL: 6}
        assert [(entry.line_id, entry.on_hand) for entry in stock.entries] == [(1, 8), (2, 6)]

    def test_a_kit_takes_each_component_times_its_quantity(self) -> None:
        stock = stock_of(T01_S=10, S7=10)
        (decided,) = decide(order(line(((SMALL, 2), (CASE, 1)), 3)), stock)
        assert on_hand(stock) == {SMALL: 4, CASE: 7}
        assert decided.takes == (Taking(1, SMALL, MAIN, 6, per_unit=2), Taking(1, CASE, MAIN, 3))

    def test_a_line_without_any_link_is_untracked_and_blocks_nothing(self) -> None:
        stock = stock_of(T01_S=1)
        outcomes = decide(order(line((), 5, 1), line(ON_102_SMALL, 1, 2)), stock)
        assert [decided.outcome for decided in outcomes] == ["untracked", "allocated"]

    def test_a_parked_line_says_what_it_waits_for_and_the_others_go_on(self) -> None:
        stock = stock_of(T01_S=1)
        outcomes = decide(order(Line(1, 1, parked="product 777 is not known yet"), line(ON_102_SMALL, 1, 2)), stock)
        assert [decided.outcome for decided in outcomes] == ["parked", "allocated"]
        assert outcomes[0].reason == "product 777 is not known yet"


class TestOversell:
    def test_backorder_takes_below_zero_and_says_how_much_is_missing(self) -> None:
        stock = stock_of(T01_S=3)
        outcomes = decide(order(line(ON_102_SMALL, 2, 1), line(ON_102_SMALL, 5, 2)), stock)
        assert on_hand(stock) == {SMALL: -4}
        assert [(decided.outcome, decided.shortfall) for decided in outcomes] == [("allocated", 0), ("allocated", 4)]

    def test_deny_sums_the_lines_before_the_check(self) -> None:
        stock = stock_of("deny", T01_S=3)
        outcomes = decide(order(line(ON_102_SMALL, 2, 1), line(ON_102_SMALL, 2, 2)), stock)
        assert on_hand(stock) == {SMALL: 3}, "each line alone would fit; both do not"
        assert stock.entries == []
        assert [(decided.outcome, decided.takes, decided.shortfall) for decided in outcomes] == [
            ("short", (), 0),
            ("short", (), 1),
        ]
        assert "T01_S" in (outcomes[0].reason or "")

    def test_deny_takes_all_or_nothing_of_a_supplier(self) -> None:
        stock = stock_of("deny", T01_S=3, S7=100)
        outcomes = decide(order(line(((CASE, 1),), 1, 1), line(ON_102_SMALL, 4, 2)), stock)
        assert on_hand(stock) == {SMALL: 3, CASE: 100}
        assert [decided.outcome for decided in outcomes] == ["short", "short"]

    def test_another_suppliers_lines_are_decided_by_themselves(self) -> None:
        stock = stock_of("deny", T01_S=3)
        stock.items[900] = Item(900, 9, "X", 0, "deny", levels={90: Level(5)})
        stock.locations = {**stock.locations, 9: [Location(90, "main")]}
        both = {**CONNECTED, 9: Connection(active=True)}
        lines = [line(ON_102_SMALL, 4, 1), Line(2, 5, None, 9, 9, ((900, 1),))]
        outcomes = decide(Order(RETAILER, lines, CAUSE, both), stock)
        assert [decided.outcome for decided in outcomes] == ["short", "allocated"]
        assert on_hand(stock) == {SMALL: 3, 900: 0}

    def test_orders_of_one_batch_are_decided_one_after_the_other(self) -> None:
        stock = stock_of("deny", T01_S=5)
        outcomes = [decide(order(line(ON_102_SMALL, 3)), stock)[0].outcome for _ in range(2)]
        assert outcomes == ["allocated", "short"]
        assert on_hand(stock) == {SMALL: 2}

    def test_safety_stock_allocations_and_reservations_cannot_be_sold(self) -> None:
        stock = stock_of("deny", T01_S=10)
        stock.items[SMALL].levels[MAIN] = Level(10, allocated=3, reserved=2, safety_stock=4)
        assert [decide(order(line(ON_102_SMALL, quantity)), stock)[0].outcome for quantity in (2, 1)] == [
            "short",
            "allocated",
        ]

    def test_what_comes_late_of_a_short_supplier_takes_nothing_either(self) -> None:
        stock = stock_of("deny", T01_S=5)
        late = order(line(ON_102_SMALL, 1))._replace(short_suppliers=frozenset({SUPPLIER}))
        assert decide(late, stock)[0].outcome == "short"
        assert on_hand(stock) == {SMALL: 5}

    @pytest.mark.parametrize(
        ("drawn", "said"),
        [
            (frozenset[int](), "nothing is taken from supplier 1"),
            (
                frozenset({SUPPLIER}),
                "nothing is taken from supplier 1 for this line; the lines decided before keep what they took",
            ),
        ],
    )
    def test_a_late_line_that_is_short_says_what_the_others_keep(self, drawn: frozenset[int], said: str) -> None:
        late = order(line(ON_102_SMALL, 6))._replace(drawn_suppliers=drawn)
        assert decide(late, stock_of("deny", T01_S=5))[0].reason == f"not enough of T01_S (100): {said}"


class TestTheLimitOfALevel:
    """More than 10^15 units are no stock: the line is refused, and the database never asked."""

    @pytest.mark.parametrize("policy", ["backorder", "deny"])
    def test_a_line_that_would_go_beyond_it_is_refused_and_the_others_go_on(self, policy: OversellPolicy) -> None:
        stock = stock_of(policy, T01_S=5, S7=5)
        stock.items[SMALL].levels[MAIN].on_hand = 5 - LEVEL_LIMIT
        kit = line(((CASE, 1), (SMALL, 6)), 1, 1)
        outcomes = decide(order(kit, line(((CASE, 1),), 2, 2)), stock)
        assert [(decided.outcome, decided.takes) for decided in outcomes] == [
            ("refused", ()),
            ("allocated", (Taking(2, CASE, MAIN, 2),)),
        ]
        assert outcomes[0].reason == "that many units would take a stock level beyond 1,000,000,000,000,000 units"
        assert on_hand(stock) == {SMALL: 5 - LEVEL_LIMIT, CASE: 3}

    def test_the_lines_of_an_order_count_together(self) -> None:
        stock = stock_of(T01_S=0)
        half = ((SMALL, LEVEL_LIMIT // 2),)
        outcomes = decide(order(*(line(half, 1, number) for number in (1, 2, 3))), stock)
        assert [decided.outcome for decided in outcomes] == ["allocated", "allocated", "refused"]
        assert on_hand(stock) == {SMALL: -LEVEL_LIMIT}

    def test_a_refused_line_stays_refused_when_the_others_are_short(self) -> None:
        stock = stock_of("deny", T01_S=1)
        outcomes = decide(order(line(((SMALL, LEVEL_LIMIT),), 2, 1), line(ON_102_SMALL, 2, 2)), stock)
        assert [decided.outcome for decided in outcomes] == ["refused", "short"]

    def test_nothing_of_a_return_goes_beyond_it(self) -> None:
        stock = stock_of(T01_S=1, S7=1)
        back = line(((CASE, 1), (SMALL, LEVEL_LIMIT)), 1)
        assert "beyond" in (restock(RETAILER, back, CONNECTED, stock, CAUSE) or "")
        assert on_hand(stock) == {SMALL: 1, CASE: 1}


class TestTheDifference:
    """A newer version of an order is decided against what the order holds."""

    HELD = (Taking(1, SMALL, MAIN, 4),)

    @pytest.mark.parametrize(("asked", "left"), [(4, 6), (1, 9), (7, 3), (10, 0)])
    def test_another_quantity_moves_only_the_difference(self, asked: int, left: int) -> None:
        stock = stock_of("deny", T01_S=6)
        (decided,) = decide(order(line(ON_102_SMALL, asked), held=self.HELD), stock)
        assert decided.outcome == "allocated"
        assert on_hand(stock) == {SMALL: left}
        assert [entry.on_hand_delta for entry in stock.entries] == ([] if asked == 4 else [4 - asked])

    def test_a_cancelled_order_gives_back_exactly_what_it_holds(self) -> None:
        stock = stock_of(T01_S=6)
        assert decide(order(held=self.HELD), stock) == []
        assert on_hand(stock) == {SMALL: 10}

    def test_too_much_under_deny_gives_all_back(self) -> None:
        stock = stock_of("deny", T01_S=6)
        (decided,) = decide(order(line(ON_102_SMALL, 11), held=self.HELD), stock)
        assert (decided.outcome, decided.shortfall) == ("short", 1)
        assert on_hand(stock) == {SMALL: 10}

    def test_what_others_overdrew_is_not_held_against_it(self) -> None:
        stock = stock_of("deny", T01_S=-5)
        (decided,) = decide(order(line(ON_102_SMALL, 3), held=self.HELD), stock)
        assert decided.outcome == "allocated"
        assert on_hand(stock) == {SMALL: -4}

    def test_a_line_that_holds_stock_is_not_refused_when_the_connection_has_ended(self) -> None:
        stock = stock_of(T01_S=6)
        again = order(line(ON_102_SMALL, 4), held=self.HELD)._replace(connections={})
        assert decide(again, stock)[0].outcome == "allocated"

    def test_a_line_whose_product_has_become_unknown_keeps_what_it_holds(self) -> None:
        stock = stock_of(T01_S=6)
        (decided,) = decide(order(Line(1, 9, parked="product 102 has no variant 'T01-S'"), held=self.HELD), stock)
        assert (decided.outcome, decided.takes) == ("parked", self.HELD)
        assert on_hand(stock) == {SMALL: 6}


class TestWhoMayOrder:
    """Rule 10."""

    @pytest.mark.parametrize(
        ("seller", "owner", "supplier", "connections", "allowed"),
        [
            (SUPPLIER, SUPPLIER, SUPPLIER, {}, True),
            (RETAILER, SUPPLIER, SUPPLIER, {SUPPLIER: Connection(active=True)}, True),
            (RETAILER, SUPPLIER, SUPPLIER, {SUPPLIER: Connection(active=False)}, False),
            (RETAILER, SUPPLIER, SUPPLIER, {}, False),
            (RETAILER, RETAILER, SUPPLIER, {SUPPLIER: Connection(active=True)}, True),
            (RETAILER, RETAILER, SUPPLIER, {}, False),
            (RETAILER, RETAILER, RETAILER, {}, True),
            (RETAILER, STRANGER, SUPPLIER, {SUPPLIER: Connection(active=True)}, False),
            (SUPPLIER, RETAILER, SUPPLIER, {}, False),
        ],
    )
    def test_own_products_and_those_of_connected_suppliers(
        self, seller: int, owner: int, supplier: int, connections: dict[int, Connection], *, allowed: bool
    ) -> None:
        asked = Line(1, 1, None, owner, supplier, ON_102_SMALL)
        assert (refusal(seller, asked, connections) is None) is allowed

    def test_a_refused_line_takes_nothing_and_the_others_go_on(self) -> None:
        stock = stock_of(T01_S=5)
        foreign = Line(2, 1, None, STRANGER, STRANGER, ((SMALL, 1),), product_id=5)
        outcomes = decide(order(line(ON_102_SMALL, 1, 1), foreign), stock)
        assert [decided.outcome for decided in outcomes] == ["allocated", "refused"]
        assert on_hand(stock) == {SMALL: 4}
        # Whose it is, is none of the seller's business.
        said = "product 5 is not yours, nor of a supplier you have an active connection with"
        assert outcomes[1].reason == said

    def test_what_orders_has_checked_is_not_asked_again(self) -> None:
        stock = stock_of(T01_S=5)
        checked = line(ON_102_SMALL, 1)._replace(checked=True)
        assert decide(order(checked)._replace(connections={}), stock)[0].outcome == "allocated"


class TestWhere:
    """A line draws from one location."""

    @staticmethod
    def stock(main: int, shop: int, display: int = 0) -> Stock:
        levels = {MAIN: Level(main), SHOP: Level(shop), DISPLAY: Level(display)}
        places = [Location(SHOP, "shop"), Location(DISPLAY, "display", salable=False), Location(MAIN, "main")]
        return Stock({SMALL: Item(SMALL, SUPPLIER, "T01-S", 0, "backorder", levels=levels)}, {SUPPLIER: places})

    @pytest.mark.parametrize(
        ("named", "default", "quantity", "drawn_from"),
        [
            ("main", "shop", 1, MAIN),
            ("display", None, 1, DISPLAY),
            (None, "main", 1, MAIN),
            (None, "gone", 1, SHOP),
            (None, None, 2, SHOP),
            (None, None, 3, MAIN),
            (None, None, 9, MAIN),
        ],
    )
    def test_its_own_else_the_connections_else_the_first_with_enough_else_main(
        self, named: str | None, default: str | None, quantity: int, drawn_from: int
    ) -> None:
        stock = self.stock(main=5, shop=2, display=100)
        asked = Order(
            RETAILER,
            [line(ON_102_SMALL, quantity, location=named)],
            CAUSE,
            {SUPPLIER: Connection(active=True, default_location=default)},
        )
        (decided,) = decide(asked, stock)
        assert [taking.location_id for taking in decided.takes] == [drawn_from]

    def test_an_unknown_location_is_refused(self) -> None:
        (decided,) = decide(order(line(ON_102_SMALL, 1, location="moon")), self.stock(5, 5))
        assert (decided.outcome, decided.reason) == ("refused", "the supplier has no location 'moon'")

    def test_a_line_stays_where_it_holds_stock(self) -> None:
        stock = self.stock(main=5, shop=5)
        decide(order(line(ON_102_SMALL, 2), held=(Taking(1, SMALL, MAIN, 1),)), stock)
        assert {location: level.on_hand for location, level in stock.items[SMALL].levels.items()} == {
            MAIN: 4,
            SHOP: 5,
            DISPLAY: 0,
        }

    def test_a_line_that_names_another_location_moves_entirely(self) -> None:
        stock = self.stock(main=5, shop=5)
        decide(order(line(ON_102_SMALL, 1, location="shop"), held=(Taking(1, SMALL, MAIN, 1),)), stock)
        assert {location: level.on_hand for location, level in stock.items[SMALL].levels.items()} == {
            MAIN: 6,
            SHOP: 4,
            DISPLAY: 0,
        }


class TestReturns:
    def test_returned_units_go_to_main_by_their_links(self) -> None:
        stock = stock_of(T01_S=1, S7=1)
        assert restock(RETAILER, line(((SMALL, 2), (CASE, 1)), 2), CONNECTED, stock, CAUSE) is None
        assert on_hand(stock) == {SMALL: 5, CASE: 3}

    def test_goods_may_come_back_after_the_connection_has_ended(self) -> None:
        stock = stock_of(T01_S=1)
        assert restock(RETAILER, line(ON_102_SMALL, 1), {SUPPLIER: Connection(active=False)}, stock, CAUSE) is None
        assert on_hand(stock) == {SMALL: 2}

    def test_a_stranger_cannot_raise_a_suppliers_stock(self) -> None:
        stock = stock_of(T01_S=1)
        back = line(ON_102_SMALL, 1)._replace(product_id=102)
        said = "product 102 is not yours, nor of a supplier you ever had a connection with"
        assert restock(STRANGER, back, {}, stock, CAUSE) == said
        assert on_hand(stock) == {SMALL: 1}

    def test_an_unknown_location_is_refused(self) -> None:
        stock = stock_of(T01_S=1)
        assert "moon" in (restock(SUPPLIER, line(ON_102_SMALL, 1, location="moon"), {}, stock, CAUSE) or "")
        assert on_hand(stock) == {SMALL: 1}


class Step(NamedTuple):
    """A version of one of a few orders, as any order of events may bring them."""

    number: int
    lines: list[tuple[int, int, str | None]]


PRODUCTS = (SMALL, LARGE, CASE)
LINES = st.lists(
    st.tuples(st.sampled_from(PRODUCTS), st.integers(1, 6), st.sampled_from([None, None, "main", "shop"])), max_size=4
)
STEPS = st.lists(st.builds(Step, st.integers(1, 4), LINES), max_size=12)
STARTS = st.fixed_dictionaries({(product, place): st.integers(0, 12) for product in PRODUCTS for place in (MAIN, SHOP)})


@given(st.sampled_from(["deny", "backorder"]), STARTS, STEPS)
def test_any_orders_conserve_stock_and_never_oversell_under_deny(
    policy: OversellPolicy, start: dict[tuple[int, int], int], steps: list[Step]
) -> None:
    places = [Location(SHOP, "shop"), Location(MAIN, "main")]
    items = {
        product: Item(
            product, SUPPLIER, str(product), 0, policy, levels={p: Level(start[product, p]) for p in (MAIN, SHOP)}
        )
        for product in PRODUCTS
    }
    stock = Stock(items, {SUPPLIER: places})
    held: dict[int, tuple[Taking, ...]] = {}
    for step in steps:
        lines = [line(((product, 1),), quantity, n, place) for n, (product, quantity, place) in enumerate(step.lines)]
        outcomes = decide(order(*lines, held=held.get(step.number, ())), stock)
        held[step.number] = tuple(taking for decided in outcomes for taking in decided.takes)
        assert len({decided.outcome for decided in outcomes}) <= 1, "one supplier: all or nothing"
    taken: Counter[tuple[int, int]] = Counter()
    for takings in held.values():
        for taking in takings:
            taken[taking.product_id, taking.location_id] += taking.quantity
    entered: Counter[tuple[int, int]] = Counter()
    for entry in stock.entries:
        entered[entry.product_id, entry.location_id] += entry.on_hand_delta
    for (product, place), initial in start.items():
        level = stock.items[product].levels[place].on_hand
        assert level == initial - taken[product, place] == initial + entered[product, place]
        assert policy == "backorder" or level >= 0
