"""From lines to products and messages: which code is a product, what is a variant, what is sent twice."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from demo.orders_file import FileLine, OrdersFileError
from demo.plan import LINES_PER_MESSAGE, Message, assortment_of, messages_of, sending_sequence, without_one_order

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)


def sold(invoice: str, stock_code: str, quantity: int, description: str = "") -> FileLine:
    return FileLine(2, invoice, stock_code, description, quantity, NOON, Decimal(1))


def orders(count: int) -> list[Message]:
    return [Message("order", str(index), NOON, (("71053", 1),)) for index in range(count)]


def test_every_code_that_starts_with_a_digit_is_a_stock_product_and_the_others_have_no_level() -> None:
    codes = ["71053", "84029G", "POST", "D", "M", "m", "DOT", "C2", "BANK CHARGES", "AMAZONFEE", "gift_0001_20"]
    assortment = assortment_of([sold("1", code, 1) for code in codes])
    assert assortment.stock == ("71053", "84029G")
    assert set(assortment.untracked) == set(codes) - {"71053", "84029G"}
    assert assortment.styles == {}, "one lettered code makes no style"


def test_two_lettered_codes_of_one_stem_are_variants_of_a_style_beside_a_plain_code_of_that_stem() -> None:
    assortment = assortment_of([sold("1", code, 1) for code in ["84029G", "84029E", "84029", "15056BL", "71053A"]])
    assert assortment.styles == {"84029": ("84029E", "84029G")}
    assert assortment.style_of == {"84029E": "84029", "84029G": "84029"}
    assert "84029" in assortment.stock


def test_codes_that_differ_only_in_case_are_two_products_and_two_variants() -> None:
    assortment = assortment_of([sold("1", "85123A", 1), sold("1", "85123a", 1)])
    assert assortment.stock == ("85123A", "85123a")
    assert assortment.styles == {"85123": ("85123A", "85123a")}


def test_a_product_is_called_by_its_first_description_else_by_its_code() -> None:
    assortment = assortment_of(
        [sold("1", "1", 1), sold("2", "1", 1, "LANTERN"), sold("3", "1", 1, "?"), sold("3", "2", 1)]
    )
    assert assortment.names == {"1": "LANTERN", "2": "2"}


def test_an_invoice_is_one_order_and_names_a_code_as_often_as_the_file_does() -> None:
    (message,) = messages_of([sold("536365", "71053", 6), sold("536365", "22139", 1), sold("536365", "71053", 2)])
    assert (message.kind, message.reference) == ("order", "536365")
    assert message.lines == (("71053", 6), ("22139", 1), ("71053", 2))


def test_negative_lines_and_cancellations_come_back_as_returns_of_positive_units() -> None:
    messages = messages_of([sold("5", "71053", 6), sold("5", "22139", -3), sold("C6", "71053", -2), sold("C6", "D", 1)])
    assert [(message.kind, message.reference, message.lines) for message in messages] == [
        ("order", "5", (("71053", 6),)),
        ("return", "5", (("22139", 3),)),
        ("return", "C6", (("71053", 2), ("D", 1))),
    ]


def test_lines_of_no_units_say_nothing() -> None:
    assert messages_of([sold("5", "71053", 0)]) == []


def test_an_invoice_too_long_for_one_message_goes_as_several_and_loses_no_line() -> None:
    messages = messages_of([sold("5", str(number), 1) for number in range(2 * LINES_PER_MESSAGE + 1)])
    assert [message.reference for message in messages] == ["5", "5/2", "5/3"]
    assert [code for message in messages for code, _ in message.lines] == [
        str(number) for number in range(2 * LINES_PER_MESSAGE + 1)
    ]


def test_five_percent_of_the_messages_are_sent_twice_and_none_is_lost() -> None:
    messages = orders(200)
    sent = Counter(message.reference for message in sending_sequence(messages, twice_share=0.05, window=50, seed=1))
    assert set(sent) == {message.reference for message in messages}
    assert Counter(sent.values()) == {1: 190, 2: 10}


def test_even_a_small_file_has_a_message_sent_twice() -> None:
    assert len(sending_sequence(orders(3), twice_share=0.05, window=50, seed=1)) == 4
    assert sending_sequence([], twice_share=0.05, window=50, seed=1) == []


def test_messages_are_shuffled_among_their_neighbours_only_and_each_time_alike() -> None:
    messages = orders(200)
    sequence = sending_sequence(messages, twice_share=0, window=10, seed=1)
    first_place: dict[int, int] = {}
    for place, message in enumerate(sequence):
        first_place.setdefault(int(message.reference), place)
    assert list(first_place) != sorted(first_place), "they are out of order"
    assert all(abs(place - number) <= 11 for number, place in first_place.items()), "one window, and the one sent twice"
    assert sequence == sending_sequence(messages, twice_share=0, window=10, seed=1)


def test_the_withheld_message_is_an_order_that_would_lower_a_level() -> None:
    postage = Message("order", "postage", NOON, (("POST", 1),))
    back = Message("return", "back", NOON, (("71053", 1),))
    order = Message("order", "order", NOON, (("POST", 1), ("71053", 1)))
    assert without_one_order([postage, back, order]) == ([postage, back], order)
    with pytest.raises(OrdersFileError, match="no order in the file"):
        without_one_order([postage, back])
