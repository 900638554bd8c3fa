"""Files of orders: what their rows say, which order each is of, and what becomes of those that cannot be read."""

from datetime import UTC, datetime

import pytest

from services.orders import order_files
from services.orders.domain.imports import FileLine, FileOrder, errors_by_row, problems_of, told
from services.orders.domain.orders import Line
from services.orders.order_files import OrderReader
from shared.csv_files import FileError

HEADER = "external_ref,placed_at,product_id,variant_sku,quantity,location\n"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def read(content: str | bytes, piece_bytes: int = 7) -> list[FileLine]:
    content = content.encode() if isinstance(content, str) else content
    reader = OrderReader()
    lines: list[FileLine] = []
    for start in range(0, len(content), piece_bytes):
        lines += reader.feed(content[start : start + piece_bytes])
    return lines + reader.end()


def errors(content: str | bytes) -> list[tuple[int, str | None, list[tuple[str, str]]]]:
    return [(line.line, line.external_ref, [*line.errors]) for line in read(content) if line.errors]


class TestRows:
    def test_a_row_is_a_line_of_an_order(self) -> None:
        lines = read(HEADER + "R-1,2026-01-31T13:00:00+01:00,102,T01-S,2,shop\nR-1,,102, T01-L ,+1,\n")
        assert lines == [
            FileLine(1, 2, "R-1", NOON, 102, "T01-S", 2, "shop"),
            FileLine(2, 3, "R-1", None, 102, "T01-L", 1, None),
        ]

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbfexternal_ref;product_id;quantity\r\n\xc3\x84-1;100;2\r\n",
            b"quantity\tproduct_id\texternal_ref\n2\t100\t\xc3\x84-1",
            b'sep=;\nEXTERNAL_REF;Product_Id;Quantity;;\n"\xc3\x84-1"; 100 ;2;;\n;;;;\n\n',
        ],
    )
    def test_files_as_programs_write_them(self, content: bytes) -> None:
        (line,) = read(content)
        assert (line.external_ref, line.product_id, line.quantity, line.errors) == ("Ä-1", 100, 2, ())

    def test_a_reference_that_a_spreadsheet_would_run_is_as_it_was_before_it_was_escaped(self) -> None:
        assert [line.external_ref for line in read("external_ref,product_id,quantity\n'=R1,1,1\n'R2,1,1\n")] == [
            "=R1",
            "'R2",
        ]

    @pytest.mark.parametrize(
        ("cells", "field", "detail"),
        [
            ("R-1,yesterday,1,,1,", "placed_at", "'yesterday' is no moment, like 2026-01-31T12:00:00Z"),
            ("R-1,2026,1,,1,", "placed_at", "'2026' is no moment, like 2026-01-31T12:00:00Z"),
            (
                "R-1,2026-01-31T12:00:00,1,,1,",
                "placed_at",
                "Value error, needs a time zone, like 2026-01-31T12:00:00Z",
            ),
            ("R-1,0026-01-31T12:00:00Z,1,,1,", "placed_at", "Value error, must not be before 1900"),
            ("R-1,,T01,,1,", "product_id", "'T01' is no whole number"),
            ("R-1,,0,,1,", "product_id", "Input should be greater than 0"),
            ("R-1,,,,1,", "product_id", "the cell is empty"),
            ("R-1,,1,,1.5,", "quantity", "'1.5' is no whole number"),
            ("R-1,,1,,-1,", "quantity", "Input should be greater than 0"),
            ("R-1,,1,,1000001,", "quantity", "Input should be less than or equal to 1000000"),
            (f"R-1,,1,,{'9' * 5000},", "quantity", f"{'9' * 50!r} is no whole number"),
            ("R-1,,1,,,", "quantity", "the cell is empty"),
            ("R-1,,1", "quantity", "the cell is empty"),
            (f"R-1,,1,{'x' * 201},1,", "variant_sku", "String should have at most 200 characters"),
            (f"R-1,,1,,1,{'x' * 101}", "location", "String should have at most 100 characters"),
        ],
    )
    def test_what_is_wrong_is_told_by_column_and_counts_to_its_order(self, cells: str, field: str, detail: str) -> None:
        assert errors(f"{HEADER}{cells}\n") == [(2, "R-1", [(field, detail)])]

    def test_all_that_is_wrong_with_a_row_is_told_at_once(self) -> None:
        assert errors(f"{HEADER}R-1,x,y,,,\n") == [
            (
                2,
                "R-1",
                [
                    ("placed_at", "'x' is no moment, like 2026-01-31T12:00:00Z"),
                    ("product_id", "'y' is no whole number"),
                    ("quantity", "the cell is empty"),
                ],
            )
        ]


class TestHeaders:
    @pytest.mark.parametrize(
        ("header", "fields"),
        [
            ("external_ref,product_id", ["quantity"]),
            ("external_ref,product_id,quantity,colour", ["colour"]),
            ("external_ref,product_id,quantity,quantity", ["quantity"]),
            ("order,article,units", ["order", "article", "units", "external_ref", "product_id", "quantity"]),
            ("", []),
        ],
    )
    def test_a_header_that_is_not_understood_is_refused_with_all_of_its_columns(
        self, header: str, fields: list[str]
    ) -> None:
        with pytest.raises(FileError) as refused:
            read(header)
        assert [error.field for error in refused.value.errors] == fields

    def test_a_file_has_so_many_rows_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(order_files, "FILE_LIMIT_ROWS", 2)
        assert len(read(HEADER + "R-1,,1,,1,\n" * 2)) == 2
        with pytest.raises(FileError, match="more than 2 rows"):
            read(HEADER + "R-1,,1,,1,\n" * 3)


class TestNamelessRows:
    """A row that names no order may be a line of either neighbour: neither is accepted without it."""

    def test_it_is_refused_with_the_order_before_it_and_the_one_behind_it(self) -> None:
        content = HEADER + "R-1,,1,,1,\nR-2,,1,,1,\n,,1,,5,\nR-3,,1,,1,\nR-3,,1,,1,\nR-4,,1,,1,\n"
        behind = ("row", "the row in line 4 cannot be read, and may be one of this order")
        assert errors(content) == [
            (4, "R-2", [("external_ref", "the cell is empty")]),
            (5, "R-3", [behind]),
        ]

    def test_between_rows_of_one_order_only_that_one_is_refused(self) -> None:
        content = HEADER + 'R-1,,1,,1,\nR-1,,1,,1,,"more"\nR-1,,1,,1,\nR-2,,1,,1,\n'
        assert errors(content) == [(3, "R-1", [("row", "there are 7 cells, but 6 columns")])]

    def test_the_first_of_a_file_is_of_no_order(self) -> None:
        assert errors(HEADER + ",,1,,1,\n")[0][1] is None

    @pytest.mark.parametrize(
        ("cells", "detail"),
        [
            (b"R\xff,,1,,1,", "this is not UTF-8"),
            (b"R\x00,,1,,1,", "there is a character U+0000 in it"),
            (b"R" * 201 + b",,1,,1,", "String should have at most 200 characters"),
            (b'"R-1"x,,1,,1,', "this is no CSV: ',' expected after '\"'"),
        ],
    )
    def test_other_names_that_cannot_be_read(self, cells: bytes, detail: str) -> None:
        ((_, ref, (error,)),) = errors(HEADER.encode() + b"R-1,,1,,1,\n" + cells + b"\n")
        assert (ref, error[1]) == ("R-1", detail)

    def test_a_quotation_mark_that_is_never_closed_takes_nothing_that_stood_before(self) -> None:
        content = HEADER + "R-1,,1,,1,\nR-2,,1,,1,\n" + '"R-3,,1,,1,\n' + "R-4,,1,,1,\n" * 3
        good, *bad = read(content)
        assert (good.external_ref, good.errors) == ("R-1", ())
        assert [(line.external_ref, bool(line.errors)) for line in bad] == [("R-2", False), ("R-2", True)]
        assert "never closed: lines 4 to 8" in bad[1].errors[0][1]

    def test_nor_does_a_row_that_does_not_end(self) -> None:
        content = HEADER + "R-1,,1,,1,\nR-2,,1,,1,\n" + "R-3," * 2**19 + "\nR-4,,1,,1,\n"
        lines = read(content, piece_bytes=65_536)
        assert [(line.line, line.external_ref, bool(line.errors)) for line in lines] == [
            (2, "R-1", False),
            (3, "R-2", False),
            (4, "R-2", True),
        ]
        assert lines[-1].errors[0][1].startswith("The row in line 4 does not end")
        assert lines[-1].errors[0][1].endswith("Nothing behind it could be read")


def order(*lines: FileLine) -> FileOrder:
    return FileOrder(1, "R-1", len(lines), lines)


class TestRowsTogether:
    def test_the_moment_may_stand_in_any_of_the_rows(self) -> None:
        both = order(FileLine(1, 2, "R-1", None, 102, "T01-S", 2), FileLine(2, 3, "R-1", NOON, 102, None, 1, "shop"))
        assert problems_of(both) == {}
        assert both.placed_at == NOON
        assert both.ordered() == (Line(102, "T01-S", 2, None), Line(102, None, 1, "shop"))

    def test_rows_that_say_different_moments_are_told_where(self) -> None:
        late = datetime(2026, 2, 1, tzinfo=UTC)
        both = order(FileLine(1, 2, "R-1", NOON, 102, None, 1), FileLine(2, 3, "R-1", late, 102, None, 1))
        problems = problems_of(both)
        assert {number: [field for field, _ in found] for number, found in problems.items()} == {2: ["placed_at"]}
        assert "2026-01-31 12:00:00+00:00" in problems[2][0][1]

    def test_each_row_of_a_refused_order_says_why(self) -> None:
        three = order(*(FileLine(number, number + 1, "R-1", None, 102, None, 1) for number in (4, 5, 6)))
        problems = errors_by_row(three, [("lines[1].product_id", "no"), ("lines[1].quantity", "never")])
        beside = [("row", "the row in line 6 is of the same order, which is refused whole")]
        assert told(three, problems) == {4: beside, 5: [("product_id", "no"), ("quantity", "never")], 6: beside}
        assert errors_by_row(three, [("external_ref", "taken")]) == {4: [("external_ref", "taken")]}
