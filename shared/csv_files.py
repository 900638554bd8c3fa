"""CSV files of any service, read piece by piece: what separates cells, where a row ends, which text is a formula."""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.errors import FieldError

MEDIA_TYPE = "text/csv"
DELIMITERS = ",;\t"
# The first line of what Excel shall open, and writes.
SEPARATOR = re.compile(r"sep=([,;\t])\s*$", re.IGNORECASE)
# A field longer than this is a quotation mark that was never closed (the csv module's own limit on fields).
RECORD_LIMIT_CHARACTERS = 2**20
# Not all that Python takes for blank: what a text begins with shall come back.
BLANKS = " \t\r\n"
# A spreadsheet takes text that begins so for a formula, and runs it.
FORMULA = re.compile(r"'*[=+\-@\t\r]")
ESCAPED_FORMULA = re.compile(r"'+[=+\-@\t\r]")


class FileError(ValueError):
    """The file as a whole cannot be read; the text says why, `errors` which columns are meant."""

    def __init__(self, message: str, errors: tuple[FieldError, ...] = ()) -> None:
        """Keep what the answer will say."""
        super().__init__(message)
        self.errors = errors


def escaped(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before `=`, `+`, `-`, `@`, tab and CR."""
    return f"'{text}" if FORMULA.match(text) else text


def unescaped(cell: str) -> str:
    """The text again, exactly; text that was never escaped is left as it is."""
    return cell[1:] if ESCAPED_FORMULA.match(cell) else cell


def has_surrogate(text: str) -> bool:
    """Whether this was read from bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def names_of(header: "Record") -> tuple[str, ...]:
    """The columns' names, in lower case. Raises `FileError` for a header that is not UTF-8 or no CSV."""
    names = [cell.strip().lower() for cell in header.cells]
    while names and not names[-1]:  # a spreadsheet fills up what stands below
        names.pop()
    # Their names could be neither shown nor stored; in UTF-16 every other character is zero.
    if any("\x00" in name or has_surrogate(name) for name in names):
        message = "The header is not UTF-8: save the file as CSV in UTF-8 (UTF-16 and Latin-1 cannot be read)."
        raise FileError(message, (FieldError(field="header", detail=message),))
    if header.problem:
        raise header_error([FieldError(field="header", detail=header.problem)])
    return tuple(names)


def column_errors(names: Sequence[str], columns: Sequence[str]) -> list[FieldError]:
    """What is wrong with these names of columns, where there are only `columns`, each at most once."""
    listed = ", ".join(columns)
    errors = [
        FieldError(field=name or "header", detail=f"there is no column {name!r}; there are {listed}")
        for name in names
        if name not in columns
    ]
    twice = sorted({name for name in names if name in columns and names.count(name) > 1})
    return errors + [FieldError(field=name, detail=f"the column {name!r} is there more than once") for name in twice]


def unreadable(cells: Sequence[str], columns: int) -> str | None:
    """Why a row's cells are of no use as a whole, under so many columns; `None` where they are."""
    if len(cells) > columns and any(cell.strip() for cell in cells[columns:]):
        return f"there are {len(cells)} cells, but {columns} columns"
    together = "".join(cells)
    if not together.isascii() and has_surrogate(together):  # most are, and that is known without a copy
        return "this is not UTF-8"
    return "there is a character U+0000 in it" if "\x00" in together else None


def header_error(errors: Sequence[FieldError]) -> FileError:
    """A file whose header has these errors."""
    return FileError(f"The header cannot be read: {'; '.join(error.detail for error in errors)}.", tuple(errors))


class Record(NamedTuple):
    """The cells of a row that begins in this line, from 1, or why they cannot be read."""

    line: int
    cells: list[str]
    problem: str = ""


class CsvRecords:
    """Reads a file piece by piece: UTF-8 with or without BOM; commas, semicolons or tabs. Empty lines are passed over.

    The first record is the header.
    """

    def __init__(self) -> None:
        """Begin a file."""
        # What is not UTF-8 spoils its row, not the file.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self._rest = ""
        self._lines = 0
        self._delimiter, self._is_said = ",", False
        self._has_begun = False

    @property
    def next_line(self) -> int:
        """The line, from 1, in which the next record begins."""
        return self._lines + 1

    def feed(self, piece: bytes) -> list[Record]:
        """The records that are complete with this next piece. Raises `FileError`."""
        text = self._rest + self._decoder.decode(piece)
        complete, line_feed, rest = text.rpartition("\n")
        lines = [f"{line}\n" for line in complete.split("\n")] if line_feed else []
        records, left = self._read(lines, is_end=False)
        self._rest = "".join(left) + rest
        if len(self._rest) > RECORD_LIMIT_CHARACTERS:
            message = f"The row in line {self._lines + 1} does not end: is a quotation mark never closed?"
            raise FileError(message)
        return records

    def end(self) -> list[Record]:
        """The last record, where the file does not end with a line feed. Raises `FileError` for an empty file."""
        text = self._rest + self._decoder.decode(b"", final=True)
        records, _ = self._read([f"{line}\n" for line in text.split("\n")] if text else [], is_end=True)
        if not self._has_begun:
            message = "The file is empty: it needs a header with the columns' names."
            raise FileError(message)
        return records

    def _to_header(self, lines: list[str]) -> list[str]:
        """The lines from the header on; learns what separates the cells from `sep=;` before it, or from itself."""
        for index, line in enumerate(lines):
            said = SEPARATOR.match(line)
            if said:
                self._delimiter, self._is_said = said[1], True
            elif line.strip(BLANKS):
                if not self._is_said:
                    self._delimiter = max(DELIMITERS, key=line.count)
                return lines[index:]
            self._lines += 1
        return []

    def _read(self, lines: list[str], *, is_end: bool) -> tuple[list[Record], list[str]]:
        """The records of these lines, and the lines of one that is not complete."""
        if not self._has_begun:
            lines = self._to_header(lines)
        source = _Lines(lines)
        reader = csv.reader(source, delimiter=self._delimiter, strict=True)
        records: list[Record] = []
        taken = 0
        while True:
            line = self._lines + 1
            try:
                cells = next(reader)
            except StopIteration:
                return records, []
            except csv.Error as error:
                if source.ran_out and not is_end:
                    return records, lines[taken:]
                cells, problem = [], _in_words(error, line, line + reader.line_num - taken - 1)
            else:
                problem = ""
            self._lines, taken = self._lines + reader.line_num - taken, reader.line_num
            if cells or problem:
                self._has_begun = True
                records.append(Record(line, cells, problem))


class _Lines:
    """Lines for a csv reader; notes when it asked for more than there are."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = iter(lines)
        self.ran_out = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ran_out = True
            raise StopIteration
        return line


def _in_words(error: csv.Error, first_line: int, last_line: int) -> str:
    if "field limit" in str(error) or "end of data" in str(error):
        return f"a quotation mark is never closed: lines {first_line} to {last_line} were taken for one cell"
    return f"this is no CSV: {error}"
