"""CSV of stock as it is: the two columns that can be edited and imported again, and more on request."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shared.csv_files import escaped

DEFAULT_COLUMNS = ("sku", "quantity_available")
# In this order behind the two.
MORE_COLUMNS = ("location", "barcode", "name", "on_hand", "allocated", "id")
TEXTS = {"sku", "location", "barcode", "name"}


def columns_of(asked: str) -> tuple[str, ...]:
    """The columns of an export with these more, separated by commas. Raises `ValueError` for one that is not known."""
    names = {name.strip() for name in asked.split(",")} - {""}
    unknown = sorted(names - {*DEFAULT_COLUMNS, *MORE_COLUMNS})
    if unknown:
        message = f"There is no column {unknown[0]!r}; there are {', '.join((*DEFAULT_COLUMNS, *MORE_COLUMNS))}."
        raise ValueError(message)
    return (*DEFAULT_COLUMNS, *(name for name in MORE_COLUMNS if name in names))


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows with the values of these columns as lines of a file; numbers are never escaped, text always."""
    cells: list[Callable[[Any], Any]] = [_text_cell if name in TEXTS else _same for name in columns]
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerows([[cell(value) for cell, value in zip(cells, row, strict=True)] for row in rows])
    return output.getvalue().encode()


def header_of(columns: Sequence[str]) -> bytes:
    """The first line."""
    return f"{','.join(columns)}\r\n".encode()


def _text_cell(value: str | None) -> str:
    return escaped(value or "")


def _same(value: int) -> int:
    return value
