"""What was reserved for an order is there for it, and is reserved no more once the order is decided."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain.orders import Connection, Line, Order, decide, find_places
from services.inventory.domain.reservations import free, hold
from services.inventory.domain.stock import Cause, Item, Level, Location, Reserved, Stock
from shared.events.catalog import OversellPolicy

SUPPLIER, RETAILER = 1, 2
SMALL, MAIN, SHOP = 100, 10, 11
CAUSE = Cause("order", "order", "api", "order 1")
RESERVING = Cause("reserved", "reservation", "api", "")
ID = UUID(int=7)


def stock_of(policy: OversellPolicy, main: int, shop: int | None = None) -> Stock:
    levels = {MAIN: Level(main)} | ({} if shop is None else {SHOP: Level(shop)})
    locations = [Location(MAIN, "main")] + ([] if shop is None else [Location(SHOP, "shop")])
    return Stock({SMALL: Item(SMALL, SUPPLIER, "T01-S", 0, policy, levels=levels)}, {SUPPLIER: locations})


def order(quantity: int, *reserved: Reserved, location: str | None = None) -> Order:
    line = Line(1, quantity, location, SUPPLIER, SUPPLIER, ((SMALL, 1),))
    return Order(RETAILER, [line], CAUSE, {SUPPLIER: Connection(active=True)}, reserved=reserved)


def units(quantity: int, location_id: int = MAIN) -> Reserved:
    return Reserved(ID, 1, SMALL, location_id, quantity)


def test_reserving_and_freeing_touch_what_is_reserved_alone() -> None:
    stock = stock_of("deny", 10)
    hold(stock, [units(4)], RESERVING)
    level = stock.items[SMALL].levels[MAIN]
    assert (level.on_hand, level.reserved, level.available) == (10, 4, 6)
    free(stock, [units(4)], RESERVING._replace(kind="released"))
    assert (level.on_hand, level.reserved, level.available) == (10, 0, 10)
    assert [(one.cause.kind, one.cause.reference, one.reserved_delta) for one in stock.entries] == [
        ("reserved", "", 4),
        ("released", str(ID), -4),
    ]


def test_looking_for_places_changes_nothing_and_counts_what_is_missing() -> None:
    stock = stock_of("deny", 10)
    (place,) = find_places(order(13), stock)
    assert (place.shortfall, stock.entries) == (3, [])


def test_a_line_that_names_no_location_draws_where_its_units_are_reserved() -> None:
    stock = stock_of("deny", 10, shop=5)
    hold(stock, [units(5, SHOP)], RESERVING)
    (decided,) = decide(order(5, units(5, SHOP)), stock)
    assert [take.location_id for take in decided.takes] == [SHOP]


def test_a_line_that_names_another_location_draws_there_and_frees_what_was_reserved() -> None:
    stock = stock_of("deny", 10, shop=5)
    hold(stock, [units(5, SHOP)], RESERVING)
    (decided,) = decide(order(5, units(5, SHOP), location="main"), stock)
    assert [take.location_id for take in decided.takes] == [MAIN]
    assert stock.items[SMALL].levels[SHOP] == Level(5)


@given(
    st.sampled_from(["deny", "backorder"]),
    st.integers(1, 20),
    st.integers(0, 20),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_an_order_is_never_refused_what_it_had_reserved(
    policy: OversellPolicy, reserved: int, free_units: int, lost: int, wanted: int
) -> None:
    """Whatever was counted away since: only what it wants beyond what is reserved can be short."""
    stock = stock_of(policy, reserved + free_units)
    hold(stock, [units(reserved)], RESERVING)
    stock.move(SMALL, MAIN, RESERVING._replace(kind="manual"), on_hand=-lost)
    (decided,) = decide(order(wanted, units(reserved)), stock)
    level = stock.items[SMALL].levels[MAIN]
    fits = wanted <= max(reserved, reserved + free_units - lost)
    assert decided.outcome == ("allocated" if policy == "backorder" or fits else "short")
    assert level.reserved == 0
    assert level.on_hand == reserved + free_units - lost - (wanted if decided.outcome == "allocated" else 0)
