"""CSV: one row per product, variant and component of a link; rows with the same type and SKU are one product."""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.catalog.domain import Component, Product
from services.catalog.product_files.cells import attributes_cell, attributes_of, escaped, unescaped
from services.catalog.product_files.names import Name
from services.catalog.product_files.rows import ERRORS_LIMIT, WHOLE_ROW, FileError, ReadRow, refused, row_of
from shared.errors import FieldError

MEDIA_TYPE = "text/csv"
PRODUCT_COLUMNS = ("type", "sku", "name", "barcode", "visibility", "base_type", "base_sku", "base_id")
LINK_COLUMNS = ("variant_sku", "attributes", "stock_type", "stock_sku", "stock_id", "quantity")
EXPORTED_COLUMNS = (*PRODUCT_COLUMNS, *LINK_COLUMNS)
COLUMNS = ("id", *EXPORTED_COLUMNS)
NUMBERS = {"id", "base_id", "stock_id", "quantity"}
DELIMITERS = ",;\t"
# The first line of what Excel shall open, and writes.
SEPARATOR = re.compile(r"sep=([,;\t])\s*$", re.IGNORECASE)
# A field longer than this is a quotation mark that was never closed (the csv module's own limit on fields).
RECORD_LIMIT_CHARACTERS = 2**20

# Not all that Python takes for blank: what a text begins with shall come back.
BLANKS = " \t\r\n"

# What columns are called in the fields of a row.
FIELDS = {"base_id": "base_product_id"}
FIELD_COLUMNS = {"base_product_id": "base_id"}
LINK_FIELD_COLUMNS = {"product_id": "stock_id", "sku": "stock_sku", "type": "stock_type", "quantity": "quantity"}
LINK_FIELD = re.compile(r"(?:base_stock_product_id|components(?:\[\d+\])?(?:\.(\w+))?)$")
COMPONENT_FIELD = re.compile(r"components\[(\d+)\]")
VARIANT_FIELD = re.compile(r"variants(?:\[(\d+)\])?\.?")


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


class CsvReader:
    """Reads a file piece by piece: UTF-8 with or without BOM; commas, semicolons or tabs; columns in any order."""

    def __init__(self) -> None:
        """Begin a file."""
        # What is not UTF-8 spoils its row, not the file.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self._rest = ""
        self._lines = self._rows = 0
        self._delimiter, self._is_said = ",", False
        self._columns: tuple[str, ...] | None = None

    def feed(self, piece: bytes) -> list[ReadRow]:
        """The rows that are complete with this next piece. Raises `FileError`."""
        text = self._rest + self._decoder.decode(piece)
        complete, line_feed, rest = text.rpartition("\n")
        lines = [f"{line}\n" for line in complete.split("\n")] if line_feed else []
        rows, left = self._read(lines, is_end=False)
        self._rest = "".join(left) + rest
        if len(self._rest) > RECORD_LIMIT_CHARACTERS:
            message = f"The row in line {self._lines + 1} does not end: is a quotation mark never closed?"
            raise FileError(message)
        return rows

    def end(self) -> list[ReadRow]:
        """The last row, where the file does not end with a line feed. Raises `FileError` for a file without header."""
        text = self._rest + self._decoder.decode(b"", final=True)
        rows, _ = self._read([f"{line}\n" for line in text.split("\n")] if text else [], is_end=True)
        if self._columns is None:
            message = "The file is empty: it needs a header with the columns' names."
            raise FileError(message)
        return rows

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

    def _read(self, lines: list[str], *, is_end: bool) -> tuple[list[ReadRow], list[str]]:
        """The rows of these lines, and the lines of a row that is not complete."""
        if self._columns is None:
            lines = self._to_header(lines)
        source = _Lines(lines)
        records = csv.reader(source, delimiter=self._delimiter, strict=True)
        rows: list[ReadRow] = []
        taken = 0
        while True:
            line = self._lines + 1
            try:
                cells = next(records)
            except StopIteration:
                return rows, []
            except csv.Error as error:
                if source.ran_out and not is_end:
                    return rows, lines[taken:]
                cells, problem = [], _in_words(error, line, line + records.line_num - taken - 1)
            else:
                problem = ""
            self._lines, taken = self._lines + records.line_num - taken, records.line_num
            if self._columns is None:
                if cells or problem:
                    self._columns = _columns(cells, problem)
            elif cells or problem:
                self._rows += 1
                rows.append(_row(self._rows, line, self._columns, cells, problem))


def _in_words(error: csv.Error, first_line: int, last_line: int) -> str:
    if "field limit" in str(error) or "end of data" in str(error):
        return f"a quotation mark is never closed: lines {first_line} to {last_line} were taken for one cell"
    return f"this is no CSV: {error}"


def _columns(cells: Sequence[str], problem: str) -> tuple[str, ...]:
    names = [cell.strip().lower() for cell in cells]
    while names and not names[-1]:  # a spreadsheet fills up what stands below
        names.pop()
    if any(_is_broken(name) for name in names):
        # Their names could be neither shown nor stored.
        message = "The header is not UTF-8: save the file as CSV in UTF-8 (UTF-16 and Latin-1 cannot be read)."
        raise FileError(message, (FieldError(field="header", detail=message),))
    errors = [
        FieldError(field=name or "header", detail=f"there is no column {name!r}; there are {', '.join(COLUMNS)}")
        for name in names
        if name not in COLUMNS
    ]
    errors += [
        FieldError(field=name, detail=f"the column {name!r} is there more than once")
        for name in sorted({name for name in names if name in COLUMNS and names.count(name) > 1})
    ]
    errors += [
        FieldError(field=name, detail=f"the column {name!r} is missing")
        for name in ("type", "sku")
        if name not in names
    ]
    if problem:
        errors = [FieldError(field="header", detail=problem)]
    if errors:
        shown = errors[:ERRORS_LIMIT]
        message = f"The header cannot be read: {'; '.join(error.detail for error in shown)}."
        raise FileError(message, tuple(shown))
    return tuple(names)


def _has_surrogate(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _is_broken(name: str) -> bool:
    """Whether a column's name comes from other bytes than UTF-8; in UTF-16 every other one is zero."""
    return "\x00" in name or _has_surrogate(name)


def _row(number: int, line: int, columns: Sequence[str], cells: Sequence[str], problem: str) -> ReadRow:
    if not problem and any(cell.strip(BLANKS) for cell in cells[len(columns) :]):
        problem = f"there are {len(cells)} cells, but {len(columns)} columns"
    if not problem and any(_has_surrogate(cell) for cell in cells):
        problem = "this is not UTF-8"
    given = dict(zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=False))
    texts = {name: (cell if name in NUMBERS else unescaped(cell)).strip(BLANKS) for name, cell in given.items()}
    if problem:
        return refused(number, line, texts, (FieldError(field=WHOLE_ROW, detail=problem),))
    try:
        said = _said(texts)
    except _CellError as error:
        return refused(number, line, texts, error.errors)
    read = row_of(number, line, json.dumps(said, ensure_ascii=False))
    errors = tuple(FieldError(field=column_of(item.field), detail=item.detail) for item in read.errors)
    return ReadRow(number, line, read.type, read.sku, read.said, read.body, errors)


class _CellError(ValueError):
    """A cell that cannot stand there."""

    def __init__(self, cell: tuple[str, str]) -> None:
        """`cell` is the column's name and what is wrong."""
        column, detail = cell
        super().__init__(detail)
        self.errors = (FieldError(field=column, detail=detail),)


# What is wrong with cells.
ATTRIBUTES = "attributes"
LONELY_ATTRIBUTES = (ATTRIBUTES, "attributes are those of a variant: name it in variant_sku")
LONELY_LINK = "this says nothing without stock_sku or stock_id beside it"


def _said(texts: Mapping[str, str]) -> dict[str, Any]:
    """A row's cells as the fields of `ProductRow`; a column that is there and empty takes away what it could name.

    An empty name, visibility or base is left out instead: no product is without.
    """
    said: dict[str, Any] = {FIELDS.get(name, name): texts[name] for name in ("id", *PRODUCT_COLUMNS) if texts.get(name)}
    if "barcode" in texts:
        said["barcode"] = texts["barcode"] or None
    visibility = texts.get("visibility", "")
    if visibility and visibility not in {"private", "connected"}:
        said["visibility"] = [part.strip() for part in visibility.split("|")]
    link: dict[str, Any] = {"components": _components(texts)} if {"stock_sku", "stock_id"} & texts.keys() else {}
    variant_sku = texts.get("variant_sku", "")
    if not variant_sku and texts.get("attributes"):
        raise _CellError(LONELY_ATTRIBUTES)
    if "variant_sku" in texts:
        said["variants"] = []
    if not variant_sku:
        return said | link
    variant = {"sku": variant_sku, **link}
    if "attributes" in texts:
        try:
            variant["attributes"] = attributes_of(texts["attributes"])
        except ValueError as error:
            raise _CellError((ATTRIBUTES, str(error))) from error
    return said | ({"components": []} if link else {}) | {"variants": [variant]}


def _components(texts: Mapping[str, str]) -> list[dict[str, str]]:
    component = {field: texts[column] for field, column in LINK_FIELD_COLUMNS.items() if texts.get(column)}
    if component and not component.keys() & {"sku", "product_id"}:
        raise _CellError((LINK_FIELD_COLUMNS[min(component)], LONELY_LINK))
    return [component] if component else []


def merged(bodies: Sequence[str]) -> tuple[dict[str, Any], dict[int, list[FieldError]]]:
    """The rows of one product as one; and what does not fit, by the row's place among them.

    Fields of the product may stand in any row, and must not differ; variants and components follow one another.
    """
    product: dict[str, Any] = {}
    errors: dict[int, list[FieldError]] = {}
    variants: dict[str, dict[str, Any]] = {}
    has_variants = False
    for place, body in enumerate(bodies):
        said = json.loads(body)
        if "variants" in said:
            has_variants = True
            for variant in said.pop("variants"):
                known = variants.setdefault(variant["sku"], {})
                errors.setdefault(place, []).extend(_merge(known, variant))
        errors.setdefault(place, []).extend(_merge(product, said))
    if has_variants:
        product["variants"] = list(variants.values())
    return product, {place: found for place, found in errors.items() if found}


def _merge(known: dict[str, Any], said: Mapping[str, Any]) -> Iterator[FieldError]:
    for field, value in said.items():
        if field == "components":
            known.setdefault(field, []).extend(value)
        elif not known.get(field):
            known[field] = value
        elif value and value != known[field]:
            yield FieldError(
                field=column_of(field), detail="an earlier row of this product says something else; leave it empty here"
            )


class Places:
    """Which of the rows of one product its fields stand in."""

    def __init__(self, bodies: Sequence[str]) -> None:
        """Read the rows."""
        # By the SKU of a variant ('': the product itself): its rows, and the row of each of its components.
        self._rows: dict[str, list[int]] = {}
        self._components: dict[str, list[int]] = {}
        for place, body in enumerate(bodies):
            sku, components = _variant_and_components(body)
            self._rows.setdefault(sku, []).append(place)
            self._components.setdefault(sku, []).extend([place] * components)
        self._variant_skus = [sku for sku in self._rows if sku]

    def of(self, field: str) -> int:
        """The row's place among them, for a field like `variants[1].components[0].sku`."""
        variant, component = VARIANT_FIELD.match(field), COMPONENT_FIELD.search(field)
        sku = self._variant_skus[int(variant[1])] if variant and variant[1] else ""
        return self._components[sku][int(component[1])] if component else self._rows.get(sku, [0])[0]


def _variant_and_components(body: str) -> tuple[str, int]:
    """The variant that a row is about ('': the product itself), and how many components it names."""
    said = json.loads(body)
    about = next(iter(said.get("variants", ())), said)
    return about["sku"] if about is not said else "", len(about.get("components", ()))


def column_of(field: str) -> str:
    """The column of a field, like `variants[1].components[0].sku`."""
    is_variant = VARIANT_FIELD.match(field)
    inside = field[is_variant.end() :] if is_variant else field
    if is_link := LINK_FIELD.match(inside):
        return LINK_FIELD_COLUMNS.get(is_link[1] or "", "stock_sku")
    first = re.split(r"[.\[]", inside)[0]
    if is_variant:
        return "attributes" if first == "attributes" else "variant_sku"
    return FIELD_COLUMNS.get(first, first)


def csv_of(products: Iterable[Product], names: Mapping[int, Name], *, with_header: bool) -> bytes:
    """These products as rows; `names` has every product that they refer to."""
    text = io.StringIO()
    writer = csv.DictWriter(text, EXPORTED_COLUMNS, restval="", lineterminator="\r\n")
    if with_header:
        writer.writeheader()
    for product in products:
        for row in _rows(product, names):
            writer.writerow({name: value if name in NUMBERS else escaped(value) for name, value in row.items()})
    return text.getvalue().encode()


def _rows(product: Product, names: Mapping[int, Name]) -> Iterator[dict[str, str]]:
    """A product's fields stand in its first row, a variant's attributes in its first."""
    key = {"type": product.type, "sku": product.sku}
    first = key | _product_cells(product, names)
    for link in _link_cells(product.components, names):
        yield first | link
        first = key
    for variant in product.variants:
        cells = {"variant_sku": variant.sku, "attributes": attributes_cell(variant.attributes)}
        for link in _link_cells(variant.components, names) or [{}]:
            yield first | cells | link
            first, cells = key, {"variant_sku": variant.sku}
    if not product.components and not product.variants:
        yield first


def _product_cells(product: Product, names: Mapping[int, Name]) -> dict[str, str]:
    is_word = isinstance(product.visibility, str)
    cells = {
        "name": product.name,
        "barcode": product.barcode or "",
        "visibility": str(product.visibility) if is_word else "|".join(map(str, product.visibility)),
    }
    if product.base_product_id is None:
        return cells
    base = names[product.base_product_id]
    if base.owner_id == product.owner_id:
        return cells | {"base_type": base.type, "base_sku": base.sku}
    return cells | {"base_id": str(product.base_product_id)}


def _link_cells(components: Sequence[Component], names: Mapping[int, Name]) -> list[dict[str, str]]:
    targets = [(names[component.product_id], component.quantity) for component in components]
    return [
        {
            # A SKU alone means the product of type stock (rule 9).
            "stock_type": "" if target.type == "stock" else target.type,
            "stock_sku": target.sku,
            "quantity": str(quantity),
        }
        for target, quantity in targets
    ]
