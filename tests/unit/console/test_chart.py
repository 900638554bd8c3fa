"""Which days of an item a chart has."""

from typing import Any

from services.console.pages.inventory.chart import LEAST_DAYS, drawn_days

NOTHING = {"closing_available": 0, "units_sold": 0, "units_received": 0}


def days_of(*levels: int) -> list[dict[str, Any]]:
    return [NOTHING | {"day": at, "closing_available": level} for at, level in enumerate(levels)]


def test_an_item_is_drawn_from_its_first_day_on() -> None:
    drawn = drawn_days(days_of(*[0] * 40, *[7] * 50))
    assert (drawn[0]["day"], len(drawn)) == (40, 50)


def test_a_new_item_has_two_weeks_in_which_its_first_days_can_be_told_apart() -> None:
    assert len(drawn_days(days_of(*[0] * 89, 7))) == LEAST_DAYS
    assert len(drawn_days(days_of(*[0] * 90))) == LEAST_DAYS


def test_an_item_that_was_out_all_the_time_until_it_was_sold_is_drawn_from_the_sale_on() -> None:
    days = days_of(*[0] * 90)
    days[30] |= {"units_sold": 2, "units_received": 2}
    assert drawn_days(days)[0]["day"] == 30
