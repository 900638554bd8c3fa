"""The payload format `stock_level`, byte for byte."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from services.notifier.stock_level import CALL_BYTES, StockNow, body, fitting, item
from shared.linked_products import Linked, LinkedPart

STOCK = StockNow(
    product_id=100,
    sku="T01-S",
    available=10,
    told_available=12,
    version=7,
    changes=2,
    occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


def test_the_base_stock_product_comes_first_then_what_draws_on_it() -> None:
    small = LinkedPart(300, "T01", "T01-S", [{"name": "Size", "value": "Small"}])
    whole = LinkedPart(301, "CASE", "", [])
    assert json.loads(body([item(STOCK, Linked([small, whole]))])) == {
        "stock": [
            {
                "quantity_available": 10,
                "linked": [
                    {"product": {"id": 100, "sku": "T01-S"}, "variant": None},
                    {
                        "product": {"id": 300, "sku": "T01"},
                        "variant": {"attribute_1": {"name": "Size", "value": "Small"}, "sku": "T01-S"},
                    },
                    {"product": {"id": 301, "sku": "CASE"}, "variant": None},
                ],
                "version": 7,
                "occurred_at": "2026-01-02T03:04:05.000000Z",
                "previous_quantity_available": 12,
                "changes": 2,
            }
        ]
    }


def test_the_seeds_fields_come_first_and_in_their_order() -> None:
    start = '{"stock":[{"quantity_available":10,"linked":[{"product":{"id":100,"sku":"T01-S"},"variant":null}'
    assert body([item(STOCK, Linked())]).decode().startswith(start)


def test_the_articles_misspelt_key_is_there_for_those_who_read_it() -> None:
    start = b'{"quantity_available":10,"quantity_availble":10,"linked":['
    assert item(STOCK, Linked(), legacy_key=True).startswith(start)
    assert b"availble" not in item(STOCK, Linked())


def test_attributes_are_numbered_in_their_order() -> None:
    part = LinkedPart(300, "T01", "T01-S-R", [{"name": "Size", "value": "Small"}, {"name": "Colour", "value": "Röd"}])
    variant = json.loads(item(STOCK, Linked([part])))["linked"][1]["variant"]
    assert list(variant) == ["attribute_1", "attribute_2", "sku"]
    assert variant["attribute_2"] == {"name": "Colour", "value": "Röd"}


def test_as_many_items_go_into_a_call_as_fit_with_its_frame_and_commas() -> None:
    asked = []

    def items() -> Iterator[bytes]:
        for number in range(200):
            asked.append(number)
            yield b"x" * 2621

    fit = list(fitting(items()))
    assert len(body(fit)) <= CALL_BYTES < len(body([*fit, fit[0]]))
    assert len(asked) == len(fit) + 1, "no more are rendered than fit, and one"
    assert list(fitting([b"x" * (CALL_BYTES - 12)])) == [b"x" * (CALL_BYTES - 12)]


def test_an_item_always_fits_into_a_call_and_says_what_it_leaves_out() -> None:
    long = [{"name": "n" * 200, "value": "v" * 200}] * 20
    others = [LinkedPart(n, "T", f"T-{n}", long) for n in range(100)]
    own = [LinkedPart(n, "T", f"T-{n}", long, is_own=True) for n in range(100, 110)]
    told = item(STOCK, Linked([*others, *own]))
    assert len(body([told])) <= CALL_BYTES
    (only,) = json.loads(body([told]))["stock"]
    ids = [part["product"]["id"] for part in only["linked"][1:]]
    assert only["linked_more"] is True
    assert ids == sorted(ids)
    assert set(range(100, 110)) <= set(ids), "its own are told"
    assert "linked_more" not in json.loads(item(STOCK, Linked(own)))
