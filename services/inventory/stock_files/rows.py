"""CSV of stock as suppliers send it: rows that name an item, a quantity and, if they like, a location and a reason."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.inventory.domain.imports import Writes
from services.inventory.writing import UNITS_LIMIT
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
from shared.errors import FieldError

NAMES = ("id", "sku", "barcode")
QUANTITIES: tuple[Writes, ...] = ("quantity_available", "on_hand", "adjustment")
# Of our own export; they are not read.
PASSED_OVER = ("name", "allocated")
FIELDS: Mapping[str, str] = {"id": "product_id", **dict.fromkeys(QUANTITIES, "quantity")}
COLUMNS = (*NAMES, *QUANTITIES, "location", "reason", *PASSED_OVER)
# A file of more rows is refused, and one of which so many cannot be read: it is another kind of file.
FILE_LIMIT_ROWS = 2_000_000
UNREADABLE_LIMIT_ROWS = 100_000
TEXT_LIMIT_CHARACTERS = 200
ID_LIMIT = 2**63
SHOWN_CHARACTERS = 50
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,15}")
ID = re.compile(r"[0-9]{1,19}")
# `errors` of a row that is wrong as a whole.
WHOLE_ROW = "row"


class Row(NamedTuple):
    """A row: its number, and the line in which it begins, both from 1; which item it names, where, and how much.

    `errors` are `(column, what is wrong)`; with any of them the rest may be missing.
    """

    number: int
    line: int
    product_id: int | None = None
    sku: str | None = None
    barcode: str | None = None
    location: str | None = None
    quantity: int | None = None
    reason: str | None = None
    errors: tuple[tuple[str, str], ...] = ()


class StockReader:
    """Reads a file piece by piece; columns in any order, of the three quantities exactly one."""

    def __init__(self) -> None:
        """Begin a file; `writes` is known once its header has been read."""
        self._records = CsvRecords()
        self._header: tuple[str, ...] | None = None
        self.writes: Writes | None = None
        self.rows = self._unreadable = 0

    def feed(self, piece: bytes) -> list[Row]:
        """The rows that are complete with this next piece. Raises `FileError`."""
        return self._read(self._records.feed(piece))

    def end(self) -> list[Row]:
        """The last row, where the file does not end with a line feed. Raises `FileError` for a file without header."""
        return self._read(self._records.end())

    def _read(self, records: Sequence[Record]) -> list[Row]:
        rows = []
        for record in records:
            if self._header is None:
                self._header, self.writes = _columns(record)
                continue
            if not record.problem and not any(cell.strip() for cell in record.cells):
                continue  # a spreadsheet leaves rows of nothing but separators below its table
            self.rows += 1
            row = _row(self.rows, record, self._header)
            self._unreadable += bool(row.errors)
            rows.append(row)
        self._check_counts(rows)
        return rows

    def _check_counts(self, rows: Sequence[Row]) -> None:
        if self.rows > FILE_LIMIT_ROWS:
            message = f"The file has more than {FILE_LIMIT_ROWS:,} rows: send it in several files. Nothing was changed."
            raise FileError(message)
        if self._unreadable > UNREADABLE_LIMIT_ROWS:
            last = next(row for row in reversed(rows) if row.errors)
            field, detail = last.errors[0]
            message = (
                f"More than {UNREADABLE_LIMIT_ROWS:,} rows cannot be read, like the one in line {last.line} "
                f"({field}: {detail}). Nothing was changed."
            )
            raise FileError(message)


def _columns(header: Record) -> tuple[tuple[str, ...], Writes]:
    names = names_of(header)
    problems = [(error.field, error.detail) for error in column_errors(names, COLUMNS)]
    if not {*names} & {*NAMES}:
        problems.append(("sku", "no column says which item a row is about: sku, barcode or id"))
    quantities = [name for name in QUANTITIES if name in names]
    if not quantities:
        problems.append(("quantity_available", f"no column says how much: one of {', '.join(QUANTITIES)}"))
    elif len(quantities) > 1:
        both = " and ".join(quantities)
        problems.append((quantities[1], f"{both} may say different things: leave only the one that shall be written"))
    if problems:
        raise header_error([FieldError(field=field[:200], detail=detail[:500]) for field, detail in problems[:100]])
    return names, quantities[0]


def _row(number: int, record: Record, header: Sequence[str]) -> Row:
    problem = record.problem or unreadable(record.cells, len(header))
    if problem:
        return Row(number, record.line, errors=((WHOLE_ROW, problem),))
    errors: list[tuple[str, str]] = []
    said: dict[str, Any] = {}
    for name, cell in zip(header, record.cells, strict=False):
        if name not in PASSED_OVER:
            said[FIELDS.get(name, name)] = _value(name, cell.strip(), errors)
    if not errors:
        if said.get("quantity") is None:
            errors.append((next(name for name in header if name in QUANTITIES), "the quantity is missing"))
        if all(said.get(name) is None for name in ("product_id", "sku", "barcode")):
            errors.append((next(name for name in header if name in NAMES), "which item is this? The cell is empty"))
    return Row(number, record.line, **said, errors=tuple(errors))


def _value(name: str, cell: str, errors: list[tuple[str, str]]) -> int | str | None:
    """What a cell says; what is wrong with it goes to `errors`."""
    if not cell:
        return None
    if name in QUANTITIES:
        return _quantity(name, cell, errors)
    if name == "id":
        return _id(cell, errors)
    value = unescaped(cell).strip()
    if len(value) > TEXT_LIMIT_CHARACTERS:
        errors.append((name, f"this is longer than {TEXT_LIMIT_CHARACTERS} characters"))
    return value[:TEXT_LIMIT_CHARACTERS] or None


def _quantity(name: str, cell: str, errors: list[tuple[str, str]]) -> int | None:
    if not WHOLE_NUMBER.fullmatch(cell):
        errors.append((name, f"{cell[:SHOWN_CHARACTERS]!r} is no whole number"))
    elif abs(int(cell)) > UNITS_LIMIT:
        errors.append((name, f"{cell} is beyond {UNITS_LIMIT:,} units"))
    else:
        return int(cell)
    return None


def _id(cell: str, errors: list[tuple[str, str]]) -> int | None:
    if ID.fullmatch(cell) and 0 < int(cell) < ID_LIMIT:
        return int(cell)
    errors.append(("id", f"{cell[:SHOWN_CHARACTERS]!r} is no product id"))
    return None
