"""The payload format `stock_level`, byte for byte."""

import json
from datetime import UTC, datetime

from services.notifier.stock_level import StockNow, body, item
from shared.linked_products import LinkedPart

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
    assert json.loads(body([item(STOCK, [small, whole])])) == {
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
    assert body([item(STOCK, [])]).decode().startswith(start)


def test_the_articles_misspelt_key_is_there_for_those_who_read_it() -> None:
    start = b'{"quantity_available":10,"quantity_availble":10,"linked":['
    assert item(STOCK, [], legacy_key=True).startswith(start)
    assert b"availble" not in item(STOCK, [])


def test_attributes_are_numbered_in_their_order() -> None:
    part = LinkedPart(300, "T01", "T01-S-R", [{"name": "Size", "value": "Small"}, {"name": "Colour", "value": "Röd"}])
    variant = json.loads(item(STOCK, [part]))["linked"][1]["variant"]
    assert list(variant) == ["attribute_1", "attribute_2", "sku"]
    assert variant["attribute_2"] == {"name": "Colour", "value": "Röd"}
