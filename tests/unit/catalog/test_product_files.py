"""Files of products: what goes out comes in again, whatever it is; what cannot be read is told by row and column."""

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.catalog.domain import Component, Product, Variant, Visibility
from services.catalog.import_batch import refused_by
from services.catalog.product_files import csv_format, ndjson
from services.catalog.product_files import rows as rows_module
from services.catalog.product_files.csv_format import CsvReader
from services.catalog.product_files.names import Directory, Name, Named
from services.catalog.product_files.ndjson import NdjsonReader
from services.catalog.product_files.proposals import proposal_of
from services.catalog.product_files.rows import Count, ProductRow, ReadRow
from services.catalog.store.imports import FileProduct, RowResult
from shared import clock
from shared.csv_files import FileError
from shared.events.catalog import ProductType

OWNER, SUPPLIER = 1, 2

TARGETS = {
    100: Name(OWNER, "stock", "T01-S"),
    101: Name(OWNER, "stock", "T01-s"),
    200: Name(OWNER, "stock", "S7"),
    202: Name(OWNER, "stock_customisable", "S7"),
    203: Name(OWNER, "stock_customisable", "=1+1"),
    300: Name(OWNER, "virtual", "T01"),
    102: Name(OWNER, "customisable", "T01"),
    900: Name(SUPPLIER, "customisable", "T01"),
    901: Name(SUPPLIER, "customisable", "T02"),
    902: Name(SUPPLIER, "stock", "T02"),
}
DIRECTORY = Directory(
    stock={
        sku: [
            Named(id_, name.type, OWNER) for id_, name in TARGETS.items() if name.sku == sku and name.owner_id == OWNER
        ]
        for sku in {name.sku for name in TARGETS.values()}
    },
    bases={
        sku: [Named(id_, name.type, name.owner_id) for id_, name in TARGETS.items() if name.sku == sku]
        for sku in {name.sku for name in TARGETS.values()}
    },
)
STOCK = [100, 101, 200, 202, 203]


def read_rows(reader: CsvReader | NdjsonReader, content: bytes, piece_bytes: int = 10**9) -> list[ReadRow]:
    rows = []
    for start in range(0, len(content), piece_bytes):
        rows += reader.feed(content[start : start + piece_bytes])
    return rows + reader.end()


def products_of(rows: Sequence[ReadRow], *, is_csv: bool) -> list[Product]:
    """What the rows make of an empty company."""
    bodies: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        assert row.said is not None, row.errors
        assert row.body is not None
        bodies.setdefault((row.said.type, row.said.sku), []).append(row.body)
    products = []
    for of_one in bodies.values():
        if is_csv:
            merged, errors = csv_format.merged(of_one)
            assert not errors
            said = ProductRow.model_validate(merged)
        else:
            said = ProductRow.model_validate_json(of_one[0])
        proposal = proposal_of(said, OWNER, None, DIRECTORY)
        assert not proposal.violations
        products.append(proposal.product)
    return products


# Everything that the API takes as a text, formulas and separators among it.
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12),
    st.text(st.sampled_from("=+-@'|\\;,\"\r\n\tA 1:"), min_size=1, max_size=8),
).map(lambda text: ProductRow.model_validate({"type": "stock", "sku": f"x{text}x"}).sku[1:-1].strip() or "x")
components = st.lists(
    st.builds(Component, st.sampled_from(STOCK), st.integers(1, 1_000_000)),
    max_size=3,
    unique_by=lambda item: item.product_id,
).map(tuple)
variants = st.lists(
    st.builds(
        Variant,
        texts,
        st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
        components,
    ),
    max_size=3,
    unique_by=lambda item: item.sku,
).map(tuple)
visibilities: st.SearchStrategy[Visibility] = st.one_of(
    st.sampled_from(["private", "connected"]),
    st.sets(st.integers(1, 2**62), min_size=1, max_size=3).map(sorted).map(tuple),
)


@st.composite
def products(draw: st.DrawFn) -> Product:
    type_: ProductType = draw(
        st.sampled_from(["stock", "customisable", "stock_customisable", "configurable_stock", "virtual"])
    )
    own = draw(st.booleans())
    has_link = type_ == "customisable" and own
    has_variants = type_ in {"customisable", "configurable_stock"} and not has_link
    return Product(
        owner_id=OWNER,
        type=type_,
        sku=draw(texts),
        name=draw(texts),
        barcode=draw(st.none() | texts),
        base_product_id=draw(st.sampled_from([102, 300, 900, 901])) if type_ == "virtual" else None,
        components=draw(components) if has_link else (),
        variants=draw(variants) if has_variants else (),
        visibility=draw(visibilities),
    )


product_sets = st.lists(products(), max_size=5, unique_by=lambda item: (item.type, item.sku))


@given(product_sets, st.integers(1, 50))
@settings(deadline=None)
def test_products_come_back_from_csv_as_they_were(assortment: list[Product], piece_bytes: int) -> None:
    content = csv_format.csv_of(assortment, TARGETS, with_header=True)
    assert products_of(read_rows(CsvReader(), content, piece_bytes), is_csv=True) == assortment


@given(product_sets, st.integers(1, 50))
@settings(deadline=None)
def test_products_come_back_from_ndjson_as_they_were(assortment: list[Product], piece_bytes: int) -> None:
    content = ndjson.ndjson_of(assortment, TARGETS)
    assert products_of(read_rows(NdjsonReader(), content, piece_bytes), is_csv=False) == assortment


@given(product_sets)
@settings(deadline=None)
def test_no_cell_of_text_is_a_formula(assortment: list[Product]) -> None:
    content = csv_format.csv_of(assortment, TARGETS, with_header=True).decode()
    for row in csv.DictReader(io.StringIO(content, newline="")):
        assert not [cell for cell in row.values() if cell and cell[0] in "=+-@"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_columns_stand_in_any_order_and_rows_of_one_product_make_one(delimiter: str, mark: bytes) -> None:
    lines = [
        ["stock_sku", "quantity", "sku", "type", "name", "variant_sku", "attributes"],
        ["T01-S", "", "T01", "customisable", "T-shirt, printed", "T01-S", "Size=Small|Colour=Red"],
        ["T01-s", "", "T01", "customisable", "", "T01-s", "Size=small"],
        ["S7", "2", "T01", "customisable", "", "T01-s", ""],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(lines)
    (shirt,) = products_of(read_rows(CsvReader(), mark + text.getvalue().encode(), 7), is_csv=True)
    assert shirt == Product(
        OWNER,
        "customisable",
        "T01",
        "T-shirt, printed",
        variants=(
            Variant("T01-S", (("Size", "Small"), ("Colour", "Red")), (Component(100),)),
            Variant("T01-s", (("Size", "small"),), (Component(101), Component(200, 2))),
        ),
    )


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("type,sku,nmae", "nmae"),
        ("type,sku,sku", "sku"),
        ("sku,name", "type"),
        ("", None),
        ('"type,sku', "header"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_by_column(header: str, field: str | None) -> None:
    with pytest.raises(FileError) as refused:
        read_rows(CsvReader(), header.encode())
    assert [error.field for error in refused.value.errors] == ([field] if field else [])


@pytest.mark.parametrize(
    ("before", "delimiter", "after"),
    [
        (b"\r\n \n", ";", ""),
        (b"sep=;\r\n", ";", ""),
        (b"\xef\xbb\xbfSEP=,\n", ",", ""),
        (b"\nsep=\t\n", "\t", ""),
        (b"", ";", ";;"),
        (b"", ",", ", ,"),
    ],
)
def test_a_header_is_read_as_spreadsheets_write_it(before: bytes, delimiter: str, after: str) -> None:
    header, row = delimiter.join(["type", "sku", "name"]), delimiter.join(["stock", "A", '"a;,;,;"'])
    content = before + f"{header}{after}\r\n{row}{after}\r\n".encode()
    (read,) = read_rows(CsvReader(), content, 3)
    assert read.said == ProductRow(type="stock", sku="A", name="a;,;,;")
    assert read.line == 2 + before.count(b"\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_header_that_is_not_utf_8_is_refused_in_words_that_can_be_sent(encoding: str) -> None:
    with pytest.raises(FileError, match="not UTF-8") as refused:
        read_rows(CsvReader(), "type,sku,größe\nstock,A,1\n".encode(encoding))
    assert [error.field for error in refused.value.errors] == ["header"]


def test_a_header_of_very_many_columns_is_told_a_hundred_errors() -> None:
    with pytest.raises(FileError) as refused:
        read_rows(CsvReader(), b"type,sku" + b",x" * 1000)
    assert len(refused.value.errors) == 100


@pytest.mark.parametrize(
    ("limit", "rows", "words"),
    [
        ("FILE_LIMIT_ROWS", ["stock,A", "stock,B", "stock,C"], "more than 2 rows"),
        ("UNREADABLE_LIMIT_ROWS", ["stock,", "stock,A", "shirt,B", "stock,C", "stock,"], "line 6 .sku: "),
    ],
)
def test_a_file_of_too_many_rows_or_too_many_that_cannot_be_read_is_refused(
    limit: str, rows: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, limit, 2)
    read = read_rows(CsvReader(), "\n".join(["type,sku", *rows]).encode())
    count = Count()
    count.add(read[:-1])
    with pytest.raises(FileError, match=words):
        count.add(read[-1:])


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"type": "shirt"}, "type"),
        ({"sku": ""}, "sku"),
        ({"quantity": "2"}, "quantity"),
        ({"stock_sku": "T01-S", "quantity": "many"}, "quantity"),
        ({"stock_sku": "T01-S", "stock_id": "100"}, "stock_sku"),
        ({"stock_sku": "T01-S", "stock_type": "virtual"}, "stock_type"),
        ({"variant_sku": "A", "stock_id": "-1"}, "stock_id"),
        ({"variant_sku": "A", "attributes": "Small"}, "attributes"),
        ({"attributes": "Size=Small"}, "attributes"),
        ({"base_id": "x"}, "base_id"),
        ({"base_type": "virtual"}, "row"),
        ({"visibility": "public"}, "visibility"),
        ({"name": "\udcff"}, "row"),
        ({"name": "a" * 201}, "name"),
        ({"name": "a" * 200_000}, "row"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_its_line_and_spoils_no_other(cells: dict[str, str], field: str) -> None:
    good = {"type": "customisable", "sku": "S8", "name": "A\nthing"}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, csv_format.COLUMNS, restval="")
    writer.writeheader()
    writer.writerows([good, good | cells, good])
    content = text.getvalue().encode("utf-8", "surrogateescape")
    first, bad, last = read_rows(CsvReader(), content, 100)
    assert (bad.number, bad.line, {error.field for error in bad.errors}) == (2, 4, {field})
    assert (first.line, last.number, first.errors, last.errors) == (2, 3, (), ())
    assert first.said == last.said


def test_a_quotation_mark_that_is_never_closed_is_told_and_what_follows_it_is_read() -> None:
    good = "stock,A,thing\r\n"
    content = "type,sku,name\r\n" + good + 'stock,B,"thing\r\n' + good * 20_000
    rows = read_rows(CsvReader(), content.encode(), 65_536)
    (bad,) = [row for row in rows if row.errors]
    assert (bad.number, bad.line) == (2, 3)
    words = r"a quotation mark is never closed: lines 3 to (\d+) were taken for one cell"
    told = re.fullmatch(words, bad.errors[0].detail)
    assert told
    assert rows[2].line == int(told[1]) + 1
    assert len(rows) > 10_000


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{oops", "row"),
        (b"[]", "row"),
        (b'{"type": "stock", "sku": "A", "name": "\xff"}', "row"),
        (b'{"type": "stock", "sku": "A", "nmae": "x"}', "nmae"),
        (b'{"type": "stock", "sku": "A", "a\\u0000b": "x"}', "a\\u0000b"),
        (b'{"type": "stock", "sku": "A", "' + b"a" * 1000 + b'": "x"}', "a" * 200),
        (b'{"type": "stock", "sku": "A", "components": [{"quantity": 2}]}', "components[0]"),
        (b'{"type": "stock", "sku": "A", "components": [{"sku": "B", "quantity": true}]}', "components[0].quantity"),
        (b'{"type": "stock", "sku": "A", "id": true}', "id"),
        (b'{"type": "stock", "sku": "A", "base_stock_sku": "B", "components": []}', "row"),
        (b'{"type": "stock", "sku": "A", "base_stock_type": "stock"}', "row"),
        (b'{"type": "stock", "sku": "A", "variants": [{"sku": "B", "base_stock_type": "stock"}]}', "variants[0]"),
    ],
)
def test_a_line_that_cannot_be_read_is_told(line: bytes, field: str) -> None:
    good = b'{"type": "stock", "sku": "A"}'
    first, bad, last = read_rows(NdjsonReader(), b"\xef\xbb\xbf" + good + b"\r\n\n" + line + b"\n" + good, 5)
    assert [error.field for error in bad.errors] == [field]
    assert (bad.number, bad.line, last.number, last.line) == (2, 3, 3, 4)
    assert first.said == last.said == ProductRow(type="stock", sku="A")


def test_a_bad_row_is_known_by_its_product_where_that_can_be_read() -> None:
    (row,) = read_rows(NdjsonReader(), b'{"type": "stock", "sku": " A ", "name": 7}')
    (other,) = read_rows(NdjsonReader(), b'{"type": "shirt", "sku": "A"}')
    assert (row.type, row.sku, row.said) == ("stock", "A", None)
    assert (other.type, other.sku) == (None, None)


def said(**fields: Any) -> ProductRow:  # noqa: ANN401 - JSON
    return ProductRow.model_validate_json(json.dumps({"type": "customisable", "sku": "T01", **fields}))


SHIRT = Product(
    OWNER,
    "customisable",
    "T01",
    "Shirt",
    102,
    barcode="4006381333931",
    variants=(Variant("T01-S", (("Size", "Small"),), (Component(100),), 7), Variant("T01-L", (), (Component(101),), 8)),
    visibility="connected",
    version=3,
)


def test_what_is_left_out_stays_as_it_is() -> None:
    assert proposal_of(said(), OWNER, SHIRT, DIRECTORY).product == SHIRT
    new_name = proposal_of(said(name="New", barcode=None, variants=[{"sku": "T01-S"}]), OWNER, SHIRT, DIRECTORY).product
    assert (new_name.name, new_name.barcode, new_name.visibility) == ("New", None, "connected")
    assert new_name.variants == SHIRT.variants[:1]
    unlinked = proposal_of(said(variants=[{"sku": "T01-S", "components": []}]), OWNER, SHIRT, DIRECTORY).product
    assert unlinked.variants == (Variant("T01-S", (("Size", "Small"),), (), 7),)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (said(), "name"),
        (said(name="x", base_stock_sku="t01-S"), "components[0].sku"),
        (said(name="x", base_stock_sku="T01-S", base_stock_type="stock_customisable"), "components[0].sku"),
        (
            said(name="x", variants=[{"sku": "A", "components": [{"sku": "S7"}, {"sku": "S8"}]}]),
            "variants[0].components[1].sku",
        ),
        (said(name="x", base_sku="T02"), "base_sku"),
        (said(name="x", base_sku="T01", base_type="stock"), "base_sku"),
    ],
)
def test_names_that_lead_nowhere_or_to_several_products_are_refused(row: ProductRow, field: str) -> None:
    proposal = proposal_of(row, OWNER, None, DIRECTORY)
    assert [violation.field for violation in proposal.violations] == [field]


def test_a_sku_means_stock_first_and_case_counts() -> None:
    def target(**link: str) -> tuple[Component, ...]:
        return proposal_of(said(name="x", **link), OWNER, None, DIRECTORY).product.components

    assert target(base_stock_sku="S7") == (Component(200),)
    assert target(base_stock_sku="S7", base_stock_type="stock_customisable") == (Component(202),)
    assert (target(base_stock_sku="T01-S"), target(base_stock_sku="T01-s")) == ((Component(100),), (Component(101),))


def test_the_place_of_a_field_is_the_row_and_the_column_it_stands_in() -> None:
    lines = "type,sku,variant_sku,stock_sku\n" + "".join(
        f"customisable,T01,{variant},{stock}\n" for variant, stock in [("A", "1"), ("B", "2"), ("A", "3"), ("", "4")]
    )
    bodies = [row.body or "" for row in read_rows(CsvReader(), lines.encode())]
    for field, place, column in [
        ("variants[0].components[1].sku", 2, "stock_sku"),
        ("variants[1].base_stock_product_id", 1, "stock_sku"),
        ("variants[1].sku", 1, "variant_sku"),
        ("variants[0].attributes", 0, "attributes"),
        ("components[0].product_id", 3, "stock_id"),
        ("components", 3, "stock_sku"),
        ("base_product_id", 3, "base_id"),
        ("name", 3, "name"),
    ]:
        assert (csv_format.Places(bodies).of(field), csv_format.column_of(field)) == (place, column), field


def refusal_of(bodies: Sequence[str], violations: int) -> list[RowResult]:
    """What the rows of a product are told whose variants each lead nowhere."""
    item = FileProduct(1, 1, "customisable", range(1, len(bodies) + 1), bodies, [[] for _ in bodies])
    errors = [(f"variants[{index}].components[0].sku", "there is none") for index in range(violations)]
    return refused_by(item, "csv", errors)


def test_the_rows_of_a_refused_product_are_read_once_and_told_a_hundred_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = "type,sku,variant_sku,stock_sku\n" + "".join(f"customisable,T01,V{n},none\n" for n in range(1000))
    bodies = [row.body or "" for row in read_rows(CsvReader(), lines.encode())]
    read: list[str] = []
    loads = json.loads

    def read_once(body: str) -> object:
        read.append(body)
        return loads(body)

    monkeypatch.setattr(json, "loads", read_once)

    rows = refusal_of(bodies, 1000)

    assert len(read) == len(bodies)
    assert [error.detail for error in rows[0].errors] == ["there is none", "900 more errors of this product"]
    assert [[error.field for error in row.errors] for row in (rows[99], rows[100])] == [["stock_sku"], ["row"]]
    assert [len(row.errors) for row in refusal_of(bodies, 100)] == [1] * 1000


def test_a_product_of_very_many_rows_is_put_together_in_linear_time() -> None:
    component = '{"components": [{"sku": "S7", "quantity": "1"}]}'
    started = clock.monotonic()
    product, errors = csv_format.merged([component] * 100_000)
    assert (len(product["components"]), errors) == (100_000, {})
    # Linear it takes a second even on a busy machine, quadratic most of a minute.
    assert clock.monotonic() - started < 15


def test_the_owners_own_product_is_the_base_before_one_of_its_suppliers() -> None:
    def base(**named: str) -> int | None:
        row = ProductRow.model_validate({"type": "virtual", "sku": "V", "name": "V", **named})
        return proposal_of(row, OWNER, None, DIRECTORY).product.base_product_id

    assert base(base_sku="T01", base_type="customisable") == 102
    assert base(base_sku="T02", base_type="stock") == 902
    assert base(base_sku="T01") is None, "two of its own"


def test_a_sku_of_a_product_that_the_file_names_and_is_refused_does_not_mean_another() -> None:
    without_stock = {"S7": [item for item in DIRECTORY.stock["S7"] if item.type != "stock"]}
    directory = Directory(without_stock, DIRECTORY.bases, frozenset({("stock", "S7"), ("virtual", "T02")}))
    by_type = said(name="x", base_stock_sku="S7", base_stock_type="stock_customisable")
    assert proposal_of(by_type, OWNER, None, directory).product.components == (Component(202),)
    for row in (
        said(name="x", base_stock_sku="S7"),
        ProductRow.model_validate({"type": "virtual", "sku": "V", "name": "V", "base_sku": "T02"}),
    ):
        assert len(proposal_of(row, OWNER, None, directory).violations) == 1
