"""Reads order lines in the shape of the UCI "Online Retail" data set: its several editions, and files like it.

Editions differ in the separator (`;` or `,`), the decimal sign, the encoding and the order of day and month. All are
read as they are; what had to be guessed is said in `remarks`. A line that cannot be read ends the reading: a verdict
over part of a file would be none.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice")
ANYTHING = re.compile(r".+", re.DOTALL)
INTEGER = re.compile(r"-?[0-9]{1,9}")
PRICE = re.compile(r"-?[0-9]+([.,][0-9]+)?")
SLASHED_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2}) ([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
MONTHS = 12
CENTURY = 2000


class OrdersFileError(RuntimeError):
    """The file is not one of order lines; the text says where and what to change."""


@dataclass(frozen=True, slots=True)
class FileLine:
    """One line of the file: `quantity` is negative for what came back, `placed_at` is taken as UTC."""

    number: int
    invoice: str
    stock_code: str
    description: str
    quantity: int
    placed_at: datetime
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class OrdersFile:
    """All lines of a file, in its order, and what the reader had to guess (sentences)."""

    lines: tuple[FileLine, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of a line, not understood yet."""

    number: int
    cells: dict[str, str]

    def cell(self, column: str, pattern: re.Pattern[str], expected: str) -> str:
        """The text in `column`; raises `OrdersFileError` when it is not as `pattern`, which `expected` describes."""
        text = self.cells[column]
        if not pattern.fullmatch(text):
            raise OrdersFileError(self.complaint(column, expected))
        return text

    def complaint(self, column: str, expected: str) -> str:
        return f"line {self.number}, column {column}: {self.cells[column]!r} is not {expected}"


def read_orders_file(path: Path) -> OrdersFile:
    """Read all order lines of the file at `path`.

    Columns by name, in any order: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice; others are
    ignored. Raises `OrdersFileError`, with line and column, for anything that cannot be read.
    """
    remarks: list[str] = []
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise OrdersFileError(message) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        remarks.append("The file is not UTF-8; it was read as Latin-1.")
    try:
        rows = list(_rows(text))
        if not rows:
            message = "there are no order lines in it"
            raise OrdersFileError(message)  # noqa: TRY301 - so that the file's name is added in one place
        month_first, remark = _month_first(rows)
        lines = tuple(_line(row, month_first=month_first) for row in rows)
    except (OrdersFileError, csv.Error) as error:
        message = f"{path}: {error}"
        raise OrdersFileError(message) from error
    return OrdersFile(lines, (*remarks, *remark))


def _rows(text: str) -> Iterator[_Row]:
    separator = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        found = ", ".join(header) or "an empty line"
        message = f"line 1: no column {', '.join(missing)}; the header is: {found}"
        raise OrdersFileError(message)
    for cells in reader:
        if not cells:  # an empty line
            continue
        if len(cells) != len(header):
            message = f"line {reader.line_num}: {len(cells)} cells where the header has {len(header)}"
            raise OrdersFileError(message)
        yield _Row(reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True)))


def _line(row: _Row, *, month_first: bool) -> FileLine:
    return FileLine(
        number=row.number,
        invoice=row.cell("InvoiceNo", ANYTHING, "an invoice number"),
        stock_code=row.cell("StockCode", ANYTHING, "a stock code"),
        description=row.cells["Description"],
        quantity=int(row.cell("Quantity", INTEGER, "a whole number of units")),
        placed_at=_date(row, month_first=month_first),
        unit_price=Decimal(row.cell("UnitPrice", PRICE, "a price like 2,55 or 2.55").replace(",", ".")),
    )


def _date(row: _Row, *, month_first: bool) -> datetime:
    """The line's date in the file's style; ISO dates need none."""
    text = row.cells["InvoiceDate"]
    slashed = SLASHED_DATE.fullmatch(text)
    try:
        if not slashed:
            read = datetime.fromisoformat(text)
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        first, second, year, hour, minute, seconds = (int(part or 0) for part in slashed.groups())
        day, month = (second, first) if month_first else (first, second)
        return datetime(year if year > CENTURY else CENTURY + year, month, day, hour, minute, seconds, tzinfo=UTC)
    except ValueError as error:
        style = "m/d/yyyy" if month_first else "d/m/yyyy"
        expected = f"a date ({style} h:mm, as in the rest of the file, or ISO 8601)"
        raise OrdersFileError(row.complaint("InvoiceDate", expected)) from error


def _month_first(rows: list[_Row]) -> tuple[bool, tuple[str, ...]]:
    """Whether slashed dates are m/d/yyyy, and a remark where the file does not say: decided over the whole file."""
    dates = [(row, match) for row in rows if (match := SLASHED_DATE.fullmatch(row.cells["InvoiceDate"]))]
    day_first = next((row for row, match in dates if int(match[1]) > MONTHS), None)
    month_first = next((row for row, match in dates if int(match[2]) > MONTHS), None)
    if day_first and month_first:
        message = (
            f"column InvoiceDate: line {day_first.number} ({day_first.cells['InvoiceDate']!r}) puts the day first, "
            f"line {month_first.number} ({month_first.cells['InvoiceDate']!r}) the month; write all in one style"
        )
        raise OrdersFileError(message)
    if day_first or month_first or not dates:
        return month_first is not None, ()
    # Both can be read. Orders of a file follow one another: the reading that takes less time for them is likelier.
    likely = _span(dates, month_first=True) < _span(dates, month_first=False)
    style = "m/d/yyyy" if likely else "d/m/yyyy"
    return likely, (f"No date in the file says whether day or month comes first; it was read as {style}.",)


def _span(dates: list[tuple[_Row, re.Match[str]]], *, month_first: bool) -> timedelta:
    read = [_date(row, month_first=month_first) for row, _ in dates]
    return max(read) - min(read)
