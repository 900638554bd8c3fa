"""CSV of orders: a row for each line of an order, and rows with the same reference are one order."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from pydantic import Field, ValidationError, field_validator

from services.orders.domain.imports import WHOLE_ROW, FileLine
from services.orders.submissions import LineBody, in_utc
from shared.csv_files import (
    CsvRecords,
    FileError,
    Record,
    column_errors,
    header_error,
    names_of,
    unescaped,
    unreadable,
)
from shared.errors import FieldError, field_errors

COLUMNS = ("external_ref", "placed_at", "product_id", "variant_sku", "quantity", "location")
VALUES = attrgetter(*COLUMNS)
NEEDED = ("external_ref", "product_id", "quantity")
NUMBERS = ("product_id", "quantity")
FILE_LIMIT_ROWS = 2_000_000
# Of a number: Python takes long for those with very many.
DIGITS_LIMIT = 19
HEADER_ERRORS_LIMIT, ERROR_LIMIT_CHARACTERS, SHOWN_CHARACTERS = 100, 500, 50
MOMENT_EXAMPLE = "2026-01-31T12:00:00Z"


class _Row(LineBody):
    """A row, within the limits of an order over HTTP."""

    external_ref: str = Field(min_length=1, max_length=200)
    placed_at: datetime | None = None

    _in_utc = field_validator("placed_at")(in_utc)


class OrderReader:
    """Reads a file piece by piece; columns in any order.

    A row that names no order that can be read may be one of the order before it, or of the one behind it: neither
    shall be accepted without a line that it has. So it counts to the one before, and the one behind is told of it.
    """

    def __init__(self) -> None:
        """Begin a file."""
        self._records = CsvRecords()
        self._columns: tuple[str, ...] | None = None
        self._is_over = False
        self._ref: str | None = None
        self._nameless_line: int | None = None
        self.rows = 0

    def feed(self, piece: bytes) -> list[FileLine]:
        """The rows that are complete with this next piece.

        Raises `FileError` for a header that cannot be read, and for too many rows. Where a row does not end, what
        stands before it is good: it is the last one, and tells that nothing behind it could be read.
        """
        if self._is_over:
            return []
        try:
            records = self._records.feed(piece)
        except FileError as error:
            if self._columns is None:
                raise
            self._is_over = True
            records = [Record(self._records.next_line, [], f"{error} Nothing behind it could be read")]
        return self._read(records)

    def end(self) -> list[FileLine]:
        """The last row, where the file does not end with a line feed. Raises `FileError` for a file without header."""
        return [] if self._is_over else self._read(self._records.end())

    def _read(self, records: Sequence[Record]) -> list[FileLine]:
        lines = []
        for record in records:
            if self._columns is None:
                self._columns = _columns(record)
                continue
            if not record.problem and not any(cell.strip() for cell in record.cells):
                continue  # a spreadsheet leaves rows of nothing but separators below its table
            self.rows += 1
            lines.append(self._beside_others(_line(self.rows, record, self._columns)))
        if self.rows > FILE_LIMIT_ROWS:
            message = f"The file has more than {FILE_LIMIT_ROWS:,} rows: send it in several files. Nothing was changed."
            raise FileError(message)
        return lines

    def _beside_others(self, line: FileLine) -> FileLine:
        """The row, with what a nameless one makes of it and of its neighbours."""
        if line.external_ref is None:
            self._nameless_line = line.line
            return line._replace(external_ref=self._ref)
        if self._nameless_line is not None and line.external_ref != self._ref:
            detail = f"the row in line {self._nameless_line} cannot be read, and may be one of this order"
            line = line._replace(errors=(*line.errors, (WHOLE_ROW, detail)))
        self._ref, self._nameless_line = line.external_ref, None
        return line


def _columns(header: Record) -> tuple[str, ...]:
    names = names_of(header)
    errors = column_errors(names, COLUMNS)
    errors += [FieldError(field=name, detail=f"the column {name!r} is missing") for name in NEEDED if name not in names]
    if errors:
        raise header_error(
            [
                FieldError(field=error.field[:200], detail=error.detail[:ERROR_LIMIT_CHARACTERS])
                for error in errors[:HEADER_ERRORS_LIMIT]
            ]
        )
    return names


def _line(number: int, record: Record, columns: Sequence[str]) -> FileLine:
    problem = record.problem or unreadable(record.cells, len(columns))
    if problem:
        return FileLine(number, record.line, errors=((WHOLE_ROW, problem),))
    said: dict[str, Any] = {}
    errors: list[tuple[str, str]] = []
    for name, cell in zip(columns, record.cells, strict=False):
        try:
            said[name] = _value(name, cell.strip())
        except ValueError as error:
            errors.append((name, str(error)))
    wrong = {name for name, _ in errors}
    errors += [(name, "the cell is empty") for name in NEEDED if said.get(name) is None and name not in wrong]
    if not errors:
        try:
            row = _Row.model_validate(said)
        except ValidationError as error:
            errors = [(one.field, one.detail) for one in field_errors(error.errors())]
        else:
            return FileLine(number, record.line, *VALUES(row))
    ref = None if any(name == "external_ref" for name, _ in errors) else said["external_ref"]
    return FileLine(number, record.line, ref, errors=tuple(errors))


def _value(name: str, cell: str) -> object:
    """What a cell says, `None` when it is empty; raises `ValueError` with what is wrong with it."""
    if not cell:
        return None
    if name in NUMBERS:
        digits = cell.removeprefix("-").removeprefix("+")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_LIMIT):
            message = f"{cell[:SHOWN_CHARACTERS]!r} is no whole number"
            raise ValueError(message)
        return int(cell)
    if name == "placed_at":
        try:
            return datetime.fromisoformat(cell)
        except ValueError as error:
            message = f"{cell[:SHOWN_CHARACTERS]!r} is no moment, like {MOMENT_EXAMPLE}"
            raise ValueError(message) from error
    return unescaped(cell).strip() or None
