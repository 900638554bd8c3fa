"""Rows of a file that are one order together: whether they are, and what each is told when they are not. No I/O."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.orders.domain.orders import Line

# `errors` of a row that is wrong as a whole, or through others of its order.
WHOLE_ROW = "row"
LINE_FIELD = re.compile(r"lines\[(\d+)\]\.?(.*)")

# `(column, what is wrong)` of each row that is told something, by its number.
RowErrors = Mapping[int, Sequence[tuple[str, str]]]


class FileLine(NamedTuple):
    """A row: its number, and the line in which it begins, both from 1; of which order, and the line that it orders.

    `errors` are `(column, what is wrong)`; with any of them the rest may be missing.
    """

    number: int
    line: int
    external_ref: str | None = None
    placed_at: datetime | None = None
    product_id: int | None = None
    variant_sku: str | None = None
    quantity: int | None = None
    location: str | None = None
    errors: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class FileOrder:
    """The rows of one reference, wherever they stand in the file; of one that has too many of them only how many.

    `place` is the number of its first row: orders are accepted in that order.
    """

    place: int
    external_ref: str
    rows: int
    lines: Sequence[FileLine]

    @property
    def placed_at(self) -> datetime | None:
        """When it was placed, as the first row that says it has it."""
        return next((line.placed_at for line in self.lines if line.placed_at is not None), None)

    def ordered(self) -> tuple[Line, ...]:
        """Its lines, as they stand in the file. They must have no errors."""
        return tuple(
            Line(int(line.product_id or 0), line.variant_sku, int(line.quantity or 0), line.location)
            for line in self.lines
        )


def problems_of(order: FileOrder) -> RowErrors:
    """What is wrong with an order's rows by themselves and beside one another; empty when nothing is."""
    placed_at = order.placed_at
    problems: dict[int, list[tuple[str, str]]] = {}
    for line in order.lines:
        errors = list(line.errors)
        if line.placed_at not in {None, placed_at}:
            errors.append(("placed_at", f"an earlier row of this order says {placed_at}: they must say the same"))
        if errors:
            problems[line.number] = errors
    return problems


def errors_by_row(order: FileOrder, refusals: Sequence[tuple[str, str]]) -> RowErrors:
    """Why an order was refused, `(field like lines[0].product_id, detail)`, as what its rows are told.

    What is about no single line stands in the first row.
    """
    problems: dict[int, list[tuple[str, str]]] = {}
    for field, detail in refusals:
        of_line = LINE_FIELD.match(field)
        line = order.lines[int(of_line[1])] if of_line else order.lines[0]
        problems.setdefault(line.number, []).append(((of_line[2] if of_line else field) or WHOLE_ROW, detail))
    return problems


def told(order: FileOrder, problems: RowErrors) -> RowErrors:
    """`problems` of an order that is refused, and for its other rows that they are refused with those."""
    first = next(line for line in order.lines if line.number in problems)
    beside = [(WHOLE_ROW, f"the row in line {first.line} is of the same order, which is refused whole")]
    return {line.number: problems.get(line.number, beside) for line in order.lines}
