"""Values of stock as Ka-ching's stock import has them, in JSON or CSV; and what is wrong with what cannot be read."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from services.inventory.domain.external_imports import Operation, Value
from services.inventory.writing import UNITS_LIMIT
from shared.csv_files import CsvRecords, FileError, Record, has_surrogate, names_of, unescaped
from shared.errors import FieldError, ProblemError
from shared.events import field_path

VALUES_LIMIT = 10_000
TOLD_LIMIT = 100
NAME_LIMIT_CHARACTERS = 200
SHOWN_CHARACTERS = 50
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
# Takes the item out of stock: none are on hand.
DASH = "-"
DIGITS_LIMIT = 20
QUANTITIES = ("quantity", "adjustment")
COLUMNS = ("product_id", "variant_id", *QUANTITIES)
A_NUMBER = f"a whole number of units, from {-UNITS_LIMIT:,} to {UNITS_LIMIT:,}"


class _Object(list[tuple[str, Any]]):
    """A JSON object: its members, those too that are there twice."""


class _Number(str):
    """A number that is no whole one, or a far too long one, as it is written."""

    __slots__ = ()


class _Read(NamedTuple):
    """What was read so far, and what is wrong with the rest, by field."""

    values: list[Value]
    errors: list[FieldError]

    def refuse(self, field: str, detail: str) -> None:
        """Note an error; of very many only the first are told."""
        if len(self.errors) < TOLD_LIMIT:
            self.errors.append(FieldError(field=field or "body", detail=detail))


def read_json(body: bytes, operation: Operation) -> list[Value]:
    """The values of `{location: {product: number, product: {variant: number}}}`; raises a 422 problem."""
    try:
        whole = json.loads(
            body, object_pairs_hook=_Object, parse_float=_Number, parse_int=_parse_int, parse_constant=_no_json
        )
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        detail = f"This is not JSON: {why}. Nothing was changed."
        raise _unreadable(detail) from error
    read = _Read([], [])
    for location, products in _members(whole, (), read, "an object of locations"):
        for product, number in _members(products, (location,), read, "an object of products"):
            if isinstance(number, _Object):
                for variant, of_variant in _members(number, (location, product), read, "an object of variants"):
                    _add(read, (location, product, variant), of_variant, operation)
            else:
                _add(read, (location, product), number, operation)
    return _checked(read)


def read_csv(body: bytes, location: str, operation: Operation | None) -> list[Value]:
    """The values of `product_id[,variant_id],quantity` or `...,adjustment`, all at this location; raises a 422 problem.

    Without an `operation` the column says what the numbers are.
    """
    records = CsvRecords()
    try:
        header, *rows = [*records.feed(body), *records.end()]
        names = _columns(header)
    except FileError as error:
        raise ProblemError(422, "invalid_values", str(error), errors=error.errors) from error
    does: Operation = operation or ("adjust" if "adjustment" in names else "reset")
    if does == "reset" and "adjustment" in names:
        detail = "The file has adjustments, and the query says adjustment=false. Nothing was changed."
        raise _unreadable(detail, "adjustment")
    read = _Read([], [])
    for record in rows:
        if record.problem or any(cell.strip() for cell in record.cells):
            _read_row(read, record, names, location, does)
    return _checked(read)


def _checked(read: _Read) -> list[Value]:
    """The values, if all is well; raises a 422 problem that names each field."""
    if not read.values and not read.errors:
        read.refuse("body", "there is no value in it")
    if read.errors:
        detail = "; ".join(f"{one.field}: {one.detail}" for one in read.errors[:3])
        raise ProblemError(422, "invalid_values", f"{detail}. Nothing was changed.", errors=read.errors)
    if len(read.values) > VALUES_LIMIT:
        detail = f"These are {len(read.values):,} values: send {VALUES_LIMIT:,} at most at a time. Nothing was changed."
        raise _unreadable(detail)
    return read.values


def _unreadable(detail: str, field: str = "body") -> ProblemError:
    return ProblemError(422, "invalid_values", detail, errors=[FieldError(field=field, detail=detail)])


def _parse_int(digits: str) -> int | _Number:
    return int(digits) if len(digits) <= DIGITS_LIMIT else _Number(digits)


def _no_json(constant: str) -> NoReturn:
    message = f"{constant} is no number in JSON"
    raise ValueError(message)


def _members(of: object, path: tuple[str, ...], read: _Read, what: str) -> Iterator[tuple[str, Any]]:
    """The members of an object that must have some; what is wrong with it, or with their names, is noted."""
    if not isinstance(of, _Object):
        read.refuse(_field(path), f"this must be {what}")
        return
    if not of:
        read.refuse(_field(path), f"this is {what}, and there is none in it")
    seen: set[str] = set()
    for name, member in of:
        problem = "this is there twice" if name in seen else _problem_of(name)
        seen.add(name)
        if problem:
            read.refuse(_field((*path, name)), problem)
        else:
            yield name, member


def _problem_of(name: str) -> str | None:
    if not name:
        return "the name is empty"
    if len(name) > NAME_LIMIT_CHARACTERS:
        return f"the name is longer than {NAME_LIMIT_CHARACTERS} characters"
    if "\x00" in name or any("\ud800" <= character <= "\udfff" for character in name):
        return "the name has characters in it that are none"
    return None


def _field(path: Sequence[str]) -> str:
    """The path as it can be said again, whatever its names are."""
    return field_path([part[:NAME_LIMIT_CHARACTERS].encode(errors="replace").decode() for part in path])


def _add(read: _Read, path: tuple[str, ...], number: object, operation: Operation) -> None:
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    if operation == "remove":
        if not is_whole and not isinstance(number, _Number):
            read.refuse(_field(path), "there must be a number, whichever")
            return
        quantity = 0
    elif isinstance(number, int) and is_whole and abs(number) <= UNITS_LIMIT:
        quantity = number
    else:
        read.refuse(_field(path), f"this must be {A_NUMBER}")
        return
    place = len(read.values) + 1
    location, product, *variant = path
    read.values.append(Value(place, place, location, product, "".join(variant), operation, quantity))


def _columns(header: Record) -> tuple[str, ...]:
    names = names_of(header)
    problem = None
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is not None:
        problem = f"there is no column {unknown[:SHOWN_CHARACTERS]!r}; there are {', '.join(COLUMNS)}"
    elif len(set(names)) < len(names):
        problem = "a column is there more than once"
    elif "product_id" not in names:
        problem = "the column product_id is missing"
    elif sum(name in QUANTITIES for name in names) != 1:
        problem = "there must be one column that says how much: quantity or adjustment"
    if problem is not None:
        message = f"The header cannot be read: {problem}."
        raise FileError(message, (FieldError(field="header", detail=problem),))
    return names


def _read_row(read: _Read, record: Record, names: Sequence[str], location: str, does: Operation) -> None:
    line = f"lines[{record.line}]"
    cells = [cell.strip() for cell in record.cells]
    if record.problem or (len(cells) > len(names) and any(cells[len(names) :])):
        read.refuse(line, record.problem or f"there are {len(cells)} cells, but {len(names)} columns")
        return
    said = dict(zip(names, cells, strict=False))
    product, variant = (unescaped(said.get(name, "")).strip() for name in ("product_id", "variant_id"))
    column = next(name for name in names if name in QUANTITIES)
    for name, text in (("product_id", product), ("variant_id", variant or "none")):
        problem = "this is not UTF-8" if has_surrogate(text) else _problem_of(text)
        if problem:
            read.refuse(f"{line}.{name}", problem)
            return
    cell = said.get(column, "")
    operation, quantity = ("reset", 0) if cell == DASH and does != "remove" else (does, _quantity(cell, does))
    if quantity is None:
        read.refuse(f"{line}.{column}", f"this must be {A_NUMBER}, or {DASH} for none on hand")
        return
    read.values.append(Value(len(read.values) + 1, record.line, location, product, variant, operation, quantity))


def _quantity(cell: str, does: Operation) -> int | None:
    """The units in a cell, `None` where there are none; of a removal whatever is there is passed over."""
    if does == "remove":
        return 0
    return int(cell) if WHOLE_NUMBER.fullmatch(cell) and abs(int(cell)) <= UNITS_LIMIT else None
