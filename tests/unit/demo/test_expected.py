"""The second opinion: worked out from the file alone, by code that shares nothing with what it judges."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

from demo import expected
from demo.expected import expected_levels, start_quantity
from demo.orders_file import read_orders_file
from demo.plan import assortment_of, messages_of

LINES = """InvoiceNo{0}StockCode{0}Description{0}Quantity{0}InvoiceDate{0}UnitPrice
536365{0}85123A{0}HEART{0}6{0}1/12/2010 08:26{0}1
536365{0}85123a{0}HEART{0}1{0}1/12/2010 08:26{0}1
536365{0}85123A{0}HEART{0}4{0}1/12/2010 08:26{0}1
536366{0}POST{0}POSTAGE{0}1{0}1/12/2010 08:26{0}1
536367{0}71053{0}damaged{0}-8{0}1/12/2010 08:26{0}0
C536368{0}85123A{0}HEART{0}-3{0}1/12/2010 08:26{0}1
C536368{0}71053{0}LANTERN{0}2{0}1/12/2010 08:26{0}1
536369{0}22139{0}HOLDER{0}0{0}1/12/2010 08:26{0}1
"""


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), (",", "utf-8")])
def test_a_level_is_the_start_less_what_was_sold_plus_what_came_back(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(LINES.format(separator), encoding=encoding)
    assert expected_levels(path) == {
        "85123A": start_quantity("85123A") - 6 - 4 + 3,
        "85123a": start_quantity("85123a") - 1,
        "71053": start_quantity("71053") + 8 + 2,
        "22139": start_quantity("22139"),
    }


def test_starts_are_positive_the_same_every_time_and_differ_between_codes() -> None:
    assert start_quantity("85123A") == 773
    assert start_quantity("85123a") == 1013
    assert len({start_quantity(str(code)) for code in range(10000, 10100)}) > 80


def test_it_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(expected.__file__).read_text(encoding="utf-8"))
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    imported += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_on_the_real_orders_it_agrees_with_what_the_replay_is_about_to_send() -> None:
    path = Path(expected.__file__).parent / "data" / "online-retail.csv"
    lines = read_orders_file(path).lines
    levels = Counter({code: start_quantity(code) for code in assortment_of(lines).stock})
    for message in messages_of(lines):
        for code, quantity in message.lines:
            levels[code] += -quantity if message.kind == "order" else quantity
    assert {code: level for code, level in levels.items() if code[0].isdigit()} == expected_levels(path)
