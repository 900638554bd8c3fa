"""The events on the wire: schemas change on purpose only, and every body ever sent must parse for ever."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.events import (
    BATCH,
    SINGLE,
    Event,
    EventError,
    catalogue,
    decode,
    encode,
    encode_batch,
    json_schema,
    types_by_wire_name,
)
from shared.events.catalog import CompanyChanged
from tests.contract.snapshots import BODIES, body_file, schema_file

KNOWN = types_by_wire_name(catalogue())
ANY_TIME = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("event", catalogue(), ids=lambda event: event.name)
def test_the_schema_is_the_agreed_one(event: type[Event]) -> None:
    stored = json.loads(schema_file(event.cloudevents_type()).read_text())
    assert json_schema(event) == stored, "changed on purpose? then: python -m tests.contract.snapshots"


def without_additions(after: Any, before: Any) -> Any:  # noqa: ANN401 - any JSON
    """`after` without the fields that `before` has not: those that were added since."""
    if isinstance(after, dict) and isinstance(before, dict):
        return {key: without_additions(value, before[key]) for key, value in after.items() if key in before}
    if isinstance(after, list) and isinstance(before, list) and len(after) == len(before):
        return [without_additions(*pair) for pair in zip(after, before, strict=True)]
    return after


@pytest.mark.parametrize("stored", sorted(BODIES.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_body_still_parses(stored) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - a path
    (event,) = decode(SINGLE, stored.read_bytes(), KNOWN)
    assert event.cloudevents_type() == stored.stem
    # Written again it says the same, and at most more: nothing of it was dropped or reinterpreted.
    again = json.loads(encode(event, event.event_id, ANY_TIME, event.traceparent))
    before = json.loads(stored.read_bytes())
    assert without_additions(again["data"], before["data"]) == before["data"]
    assert (again["subject"], again["sequence"]) == (before["subject"], before["sequence"])


def test_every_event_has_a_stored_body() -> None:
    assert [event.name for event in catalogue() if not body_file(event.cloudevents_type()).exists()] == []


def company(**changes: object) -> CompanyChanged:
    fields = {"company_id": 1, "ref": "supplier-a", "display_name": "Supplier A", "role": "supplier", "version": 1}
    return CompanyChanged.model_validate(fields | changes)


def test_a_batch_is_an_array_of_the_same_events() -> None:
    encoded = [encode(company(company_id=number), f"e{number}", ANY_TIME, None) for number in (1, 2)]
    events = decode(BATCH, encode_batch(encoded), KNOWN)
    assert [(event.event_id, event.subject()) for event in events] == [("e1", "1"), ("e2", "2")]


def test_fields_of_a_newer_producer_are_ignored() -> None:
    envelope = json.loads(encode(company(), "e1", ANY_TIME, None))
    envelope["data"]["favourite_colour"] = "green"
    (event,) = decode(SINGLE, json.dumps(envelope).encode(), KNOWN)
    assert event.model_dump() == company().model_dump()


def test_sequence_sorts_as_a_string() -> None:
    sequences = [
        json.loads(encode(company(version=version), "e", ANY_TIME, None))["sequence"] for version in (9, 10, 10**15)
    ]
    assert sequences == sorted(sequences)


def test_the_trace_travels_with_the_event() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    (event,) = decode(SINGLE, encode(company(), "e1", ANY_TIME, trace), KNOWN)
    assert event.traceparent == trace


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        (BATCH, b"{}", "must be a JSON array"),
        (SINGLE, b"[]", "must be a JSON object"),
        (SINGLE, b"\xff\xfe", "not JSON"),
        (SINGLE, b'{"id": 5, "type": "x"}', "has no id"),
        (SINGLE, b'{"id": "e1", "type": "basestock.catalog.company_changed.v1", "data": null}', "data"),
        (SINGLE, b'{"id": "e1", "type": ["x"]}', "unknown type"),
        (SINGLE, b'{"id": "e\\u0000", "type": "basestock.catalog.company_changed.v1"}', "NUL"),
        (SINGLE, b'{"id": "%s", "type": "x"}' % (b"e" * 201), "201 characters"),
        (SINGLE, b'{"id": "\\ud800", "type": "x"}', "not JSON"),
    ],
)
def test_what_is_no_event_is_refused_in_words(content_type: str, body: bytes, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        decode(content_type, body, KNOWN)
