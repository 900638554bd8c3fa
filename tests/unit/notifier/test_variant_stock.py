"""The payload format `variant_stock`: the Enad page's own examples, key for key."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.notifier.domain.variants import event_webhook_id, is_asked_for, update_source
from services.notifier.variant_stock import VariantNow, delta_event, state_event
from shared.linked_products import LinkedPart

STOCK = VariantNow(
    product_id=100,
    sku="VAR-123",
    location="main",
    quantity=100,
    told_quantity=95,
    occurred_at=datetime(2024, 2, 12, 12, 0, tzinfo=UTC),
    causes=("order", "manual"),
)
PARENT = [LinkedPart(90, "CASE", "", []), LinkedPart(102, "T01", "T01-S", [{"name": "Size", "value": "Small"}])]


def test_an_update_has_the_pages_fields_and_their_order() -> None:
    assert state_event(STOCK, PARENT) == (
        b'{"event_type":"variant_stock.updated","payload":{"inventory_id":"main:100","product_parent_id":"102",'
        b'"product_variant_id":"100","product_variant_number":"VAR-123","quantity":100,'
        b'"inventory_date":"2024-02-12T12:00:00.000000Z","update_source":"manual","available_online":true,'
        b'"stock_updated":true}}'
    )


def test_a_deletion_has_the_first_four() -> None:
    assert state_event(replace(STOCK, quantity=None), PARENT) == (
        b'{"event_type":"variant_stock.deleted","payload":{"inventory_id":"main:100","product_parent_id":"102",'
        b'"product_variant_id":"100","product_variant_number":"VAR-123"}}'
    )


def test_a_delta_has_the_pages_fields_and_says_both_numbers_by_their_names() -> None:
    assert delta_event(STOCK, "change") == (
        b'{"event_type":"variant_stock_delta.updated","payload":{"inventory_id":"main:100",'
        b'"product_variant_number":"VAR-123","quantity":5,"available_online":true,"delta":5,"quantity_after":100}}'
    )


def test_quantity_of_a_delta_is_the_total_where_that_is_what_the_endpoint_reads() -> None:
    payload = json.loads(delta_event(replace(STOCK, quantity=0), "total"))["payload"]
    assert (payload["quantity"], payload["delta"], payload["quantity_after"]) == (0, -95, 0)
    assert payload["available_online"] is False


def test_what_is_stocked_nowhere_counts_as_none_in_a_delta() -> None:
    first = json.loads(delta_event(replace(STOCK, told_quantity=None), "change"))["payload"]
    gone = json.loads(delta_event(replace(STOCK, quantity=None), "change"))["payload"]
    assert (first["quantity"], gone["quantity"]) == (100, -95)


def test_without_a_parent_it_is_its_own_and_a_repeat_changes_nothing() -> None:
    payload = json.loads(state_event(replace(STOCK, quantity=0, told_quantity=0), PARENT[:1]))["payload"]
    assert (payload["product_parent_id"], payload["available_online"], payload["stock_updated"]) == (
        "100",
        False,
        False,
    )


@pytest.mark.parametrize(
    ("causes", "source"),
    [
        (["manual", "order_cancelled"], "order"),
        (["order", "external_reset"], "import"),
        (["csv_import"], "import"),
        (["manual"], "manual"),
        (["expired"], "system"),
        ([], "system"),
    ],
)
def test_where_a_change_came_from_is_told_by_its_last_cause(causes: list[str], source: str) -> None:
    assert update_source(causes) == source


def test_deltas_are_for_those_who_ask() -> None:
    assert is_asked_for(None, 5)
    assert is_asked_for(None, None)
    assert not is_asked_for(["variant_stock_delta.updated"], 5)
    assert is_asked_for(["variant_stock.deleted"], None)
    assert not is_asked_for(["variant_stock.deleted"], 5)


def test_no_two_events_share_an_id() -> None:
    events = [
        (7, "variant_stock", 100, "main", "3"),
        (7, "variant_stock_delta", 100, "main", "3"),
        (7, "variant_stock", 100, "shop", "3"),
        (7, "variant_stock", 100, "main", "4"),
        (8, "variant_stock", 100, "main", "3"),
        (7, "variant_stock", 101, "main", "3"),
    ]
    ids = [event_webhook_id(*event) for event in events]
    assert len(set(ids)) == len(events)
    assert event_webhook_id(*events[0]) == ids[0]
    assert not any("." in one for one in ids)
