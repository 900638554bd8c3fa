"""Order files come in several editions: each is read as it is, and what cannot be read is named by line and column."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from demo.orders_file import OrdersFileError, read_orders_file

HEADER = "InvoiceNo;StockCode;Description;Quantity;InvoiceDate;UnitPrice;CustomerID;Country"


@pytest.fixture
def order_file(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def with_dates(*dates: str) -> str:
    return "\n".join([HEADER, *(f"536365;71053;LANTERN;6;{date};3,39;17850;France" for date in dates)])


def refusal(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OrdersFileError) as refused:
        read_orders_file(path)
    return str(refused.value)


def test_the_edition_with_semicolons_decimal_commas_and_a_byte_order_mark(order_file: Path) -> None:
    order_file.write_text(f"{HEADER}\n536365;85123A;HEART;-6;31/12/2010 08:26;2,55;17850;UK\n", encoding="utf-8-sig")
    (line,) = read_orders_file(order_file).lines
    assert (line.number, line.invoice, line.stock_code, line.description) == (2, "536365", "85123A", "HEART")
    assert line.quantity == -6
    assert line.unit_price == Decimal("2.55")
    assert line.placed_at == datetime(2010, 12, 31, 8, 26, tzinfo=UTC)


def test_the_edition_with_commas_decimal_points_quotes_and_american_dates(order_file: Path) -> None:
    order_file.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\r\n"
        '536365,22139,"HOLDER, ""LARGE""",6,12/31/2010 8:26,2.55,17850,United Kingdom\r\n',
        encoding="utf-8",
    )
    (line,) = read_orders_file(order_file).lines
    assert line.description == 'HOLDER, "LARGE"'
    assert line.unit_price == Decimal("2.55")
    assert line.placed_at == datetime(2010, 12, 31, 8, 26, tzinfo=UTC)


def test_columns_are_found_by_name_whatever_their_order(order_file: Path) -> None:
    order_file.write_text(
        "UnitPrice,Quantity,StockCode,InvoiceNo,InvoiceDate,Description\n1,2,10002,7,2010-12-01 08:26:05,X\n\n",
        encoding="utf-8",
    )
    (line,) = read_orders_file(order_file).lines
    assert (line.invoice, line.stock_code, line.quantity) == ("7", "10002", 2)
    assert line.placed_at == datetime(2010, 12, 1, 8, 26, 5, tzinfo=UTC)


def test_a_file_that_is_not_utf_8_is_read_as_latin_1_and_says_so(order_file: Path) -> None:
    order_file.write_bytes(with_dates("2010-12-01 08:26").replace("LANTERN", "£1 LANTERN").encode("latin-1"))
    read = read_orders_file(order_file)
    assert read.lines[0].description == "£1 LANTERN"
    assert read.remarks == ("The file is not UTF-8; it was read as Latin-1.",)


def test_one_date_past_the_twelfth_settles_the_style_of_the_whole_file(order_file: Path) -> None:
    order_file.write_text(with_dates("1/2/2010 08:26", "13/2/2010 08:26"), encoding="utf-8")
    assert [line.placed_at.month for line in read_orders_file(order_file).lines] == [2, 2]
    order_file.write_text(with_dates("1/2/2010 8:26", "1/13/10 8:26"), encoding="utf-8")
    read = read_orders_file(order_file)
    assert [line.placed_at.month for line in read.lines] == [1, 1]
    assert read.lines[1].placed_at.year == 2010
    assert read.remarks == ()


@pytest.mark.parametrize(
    ("dates", "month", "style"),
    [
        (("1/12/2010 08:26", "5/12/2010 08:26"), 12, "d/m/yyyy"),
        (("12/1/2010 8:26", "12/5/2010 8:26"), 12, "m/d/yyyy"),
        (("2/3/2010 8:26", "2/3/2010 9:26"), 3, "d/m/yyyy"),
    ],
)
def test_dates_that_do_not_tell_are_read_as_the_shorter_period_and_it_is_said(
    order_file: Path, dates: tuple[str, ...], month: int, style: str
) -> None:
    order_file.write_text(with_dates(*dates), encoding="utf-8")
    read = read_orders_file(order_file)
    assert {line.placed_at.month for line in read.lines} == {month}
    assert len(read.remarks) == 1
    assert style in read.remarks[0]


def test_a_file_that_mixes_the_styles_is_refused_naming_both_lines(order_file: Path) -> None:
    message = refusal(order_file, with_dates("13/2/2010 08:26", "1/2/2010 08:26", "2/13/2010 08:26"))
    assert "line 2 ('13/2/2010 08:26') puts the day first, line 4 ('2/13/2010 08:26') the month" in message


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("536365;71053;X;six;1/12/2010 08:26;3,39;1;F", "line 3, column Quantity: 'six' is not a whole number"),
        ("536365;71053;X;1.000;1/12/2010 08:26;3,39;1;F", "line 3, column Quantity: '1.000' is not a whole number"),
        ("536365;71053;X;6;1/12/2010 08:26;1.234,5;1;F", "line 3, column UnitPrice: '1.234,5' is not a price"),
        (
            "536365;71053;X;6;31/2/2010 08:26;3,39;1;F",
            "line 3, column InvoiceDate: '31/2/2010 08:26' is not a date (d/m",
        ),
        ("536365;71053;X;6;yesterday;3,39;1;F", "line 3, column InvoiceDate: 'yesterday' is not a date"),
        ("536365;;X;6;1/12/2010 08:26;3,39;1;F", "line 3, column StockCode: '' is not a stock code"),
        ("536365;71053;X;6;1/12/2010 08:26;3,39;1", "line 3: 7 cells where the header has 8"),
    ],
)
def test_a_line_that_cannot_be_read_ends_the_reading_and_is_named(order_file: Path, line: str, complaint: str) -> None:
    message = refusal(order_file, f"{with_dates('13/12/2010 08:26')}\n{line}\n")
    assert message.startswith(f"{order_file}: {complaint}")


def test_a_file_without_the_columns_says_which_are_missing_and_what_it_found(order_file: Path) -> None:
    message = refusal(order_file, "Invoice,StockCode\n1,2\n")
    assert "no column InvoiceNo, Description, Quantity, InvoiceDate, UnitPrice" in message
    assert "the header is: Invoice, StockCode" in message


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_is_no_order_file(order_file: Path, content: str) -> None:
    assert "the header is: an empty line" in refusal(order_file, content)


def test_a_header_alone_holds_no_orders(order_file: Path) -> None:
    assert "there are no order lines in it" in refusal(order_file, HEADER)
