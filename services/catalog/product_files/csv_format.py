"""CSV: one row per product, variant and component of a link; rows with the same type and SKU are one product."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.catalog.domain import Component, Product
from services.catalog.product_files.cells import attributes_cell, attributes_of
from services.catalog.product_files.names import Name
from services.catalog.product_files.rows import ERRORS_LIMIT, WHOLE_ROW, ReadRow, refused, row_of
from shared.csv_files import (
    BLANKS,
    CsvRecords,
    Record,
    column_errors,
    escaped,
    has_surrogate,
    header_error,
    names_of,
    unescaped,
)
from shared.errors import FieldError

PRODUCT_COLUMNS = ("type", "sku", "name", "barcode", "visibility", "base_type", "base_sku", "base_id")
LINK_COLUMNS = ("variant_sku", "attributes", "stock_type", "stock_sku", "stock_id", "quantity")
EXPORTED_COLUMNS = (*PRODUCT_COLUMNS, *LINK_COLUMNS)
COLUMNS = ("id", *EXPORTED_COLUMNS)
NUMBERS = {"id", "base_id", "stock_id", "quantity"}
# What columns are called in the fields of a row.
FIELDS = {"base_id": "base_product_id"}
FIELD_COLUMNS = {"base_product_id": "base_id"}
LINK_FIELD_COLUMNS = {"product_id": "stock_id", "sku": "stock_sku", "type": "stock_type", "quantity": "quantity"}
LINK_FIELD = re.compile(r"(?:base_stock_product_id|components(?:\[\d+\])?(?:\.(\w+))?)$")
COMPONENT_FIELD = re.compile(r"components\[(\d+)\]")
VARIANT_FIELD = re.compile(r"variants(?:\[(\d+)\])?\.?")


class CsvReader:
    """Reads a file of products piece by piece; columns in any order."""

    def __init__(self) -> None:
        """Begin a file."""
        self._records = CsvRecords()
        self._rows = 0
        self._columns: tuple[str, ...] | None = None

    def feed(self, piece: bytes) -> list[ReadRow]:
        """The rows that are complete with this next piece. Raises `FileError`."""
        return self._read(self._records.feed(piece))

    def end(self) -> list[ReadRow]:
        """The last row, where the file does not end with a line feed. Raises `FileError` for a file without header."""
        return self._read(self._records.end())

    def _read(self, records: Sequence[Record]) -> list[ReadRow]:
        rows: list[ReadRow] = []
        for record in records:
            if self._columns is None:
                self._columns = _columns(record)
                continue
            self._rows += 1
            rows.append(_row(self._rows, record.line, self._columns, record.cells, record.problem))
        return rows


def _columns(header: Record) -> tuple[str, ...]:
    names = names_of(header)
    errors = column_errors(names, COLUMNS)
    errors += [
        FieldError(field=name, detail=f"the column {name!r} is missing")
        for name in ("type", "sku")
        if name not in names
    ]
    if errors:
        raise header_error(errors[:ERRORS_LIMIT])
    return names


def _row(number: int, line: int, columns: Sequence[str], cells: Sequence[str], problem: str) -> ReadRow:
    if not problem and any(cell.strip(BLANKS) for cell in cells[len(columns) :]):
        problem = f"there are {len(cells)} cells, but {len(columns)} columns"
    if not problem and any(has_surrogate(cell) for cell in cells):
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
