"""The contracts between services: CloudEvents 1.0, structured JSON, single or batch.

Each module holds the events of one producer, and only that producer constructs them. `catalogue()` knows them all.
Source of the format: https://github.com/cloudevents/spec (v1.0, JSON and JSON batch).
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
# Ours have 36; every id must fit into the key of the inbox, whose index takes 2,704 bytes.
EVENT_ID_CHARACTERS = 200


class EventError(ValueError):
    """A message that is not an event we understand; the text says what is wrong, for whoever sent it."""


class Event(BaseModel):
    """Base of all events: frozen, and open to fields that a newer producer adds.

    Class variables: `name` is the routing key (`inventory.stock_changed`), `schema_version` the contract's version,
    `heard_by` the services whose queues are bound to it. `urgent` ones wait behind nothing else: they have queues and a
    relay of their own, and so no order with the other events of their producer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: ClassVar[str]
    schema_version: ClassVar[int] = 1
    heard_by: ClassVar[tuple[str, ...]] = ()
    urgent: ClassVar[bool] = False

    # The CloudEvents `id` it came with (empty for an event that has not travelled), and its W3C trace. Beside the
    # fields, like a cached property: pydantic's private attributes would triple the cost of making an event.
    event_id: ClassVar[str] = ""
    traceparent: ClassVar[str | None] = None

    @abstractmethod
    def subject(self) -> str:
        """The id of the thing the event is about."""

    @abstractmethod
    def sequence(self) -> int:
        """The thing's version: of two events with one subject the higher is the newer."""

    def received_as(self, event_id: str, traceparent: str | None) -> Self:
        """Remember the envelope it came in; returns itself."""
        self.__dict__.update(event_id=event_id, traceparent=traceparent)
        return self

    @classmethod
    def producer(cls) -> str:
        """The service that publishes it."""
        return cls.name.partition(".")[0]

    @classmethod
    def queue_of(cls, hearer: str) -> str:
        """The name of the queue in which this service hears it."""
        return f"{hearer}.{cls.producer()}{'.urgent' if cls.urgent else ''}"

    @classmethod
    def cloudevents_type(cls) -> str:
        """The CloudEvents `type`, e.g. `basestock.inventory.stock_changed.v1`."""
        return f"basestock.{cls.name}.v{cls.schema_version}"


def encode(event: Event, event_id: str, time: datetime, traceparent: str | None) -> bytes:
    """The event as one structured CloudEvent; `sequence` is zero padded, as the extension's order is of strings."""
    # What events have in common is rendered once; the data is serialised by its own model, last.
    own = (
        f'"id":{_quoted(event_id)},"subject":{_quoted(event.subject())},"time":{_rendered(time)},'
        f'"sequence":"{event.sequence():020d}"{_member_of_trace(traceparent)},"data":'
    )
    data = event.__pydantic_serializer__.to_json(event)
    return b"".join((_envelope_start(type(event)), own.encode(), data, b"}"))


def _quoted(text: str) -> str:
    return to_json(text).decode()


@lru_cache(maxsize=8)
def _rendered(time: datetime) -> str:
    """The same for all that is encoded together."""
    return to_json(time).decode()


@lru_cache(maxsize=8)
def _member_of_trace(traceparent: str | None) -> str:
    return f',"traceparent":{_quoted(traceparent)}' if traceparent else ""


@cache
def _envelope_start(event_type: type[Event]) -> bytes:
    """The constant members of an event's envelope, open for more."""
    constants = {
        "specversion": "1.0",
        "source": f"/basestock/{event_type.producer()}",
        "type": event_type.cloudevents_type(),
        "datacontenttype": "application/json",
    }
    return to_json(constants)[:-1] + b","


def encode_batch(encoded: Sequence[bytes]) -> bytes:
    """Several encoded CloudEvents as one JSON batch."""
    return b"[" + b",".join(encoded) + b"]"


def decode(content_type: str, body: bytes, known: dict[str, type[Event]]) -> list[Event]:
    """The events of a message, each remembering its envelope.

    `known` maps CloudEvents types to models (`types_by_wire_name`). Raises `EventError` for anything that is not a
    CloudEvent of a known type with valid data.
    """
    if content_type not in {SINGLE, BATCH}:
        message = f"content type {content_type!r} is neither {SINGLE} nor {BATCH}"
        raise EventError(message)
    try:
        parsed = from_json(body)
    except ValueError as error:
        message = f"the body is not JSON: {error}"
        raise EventError(message) from error
    if content_type == SINGLE:
        return [_event(parsed, known)]
    if not isinstance(parsed, list):
        message = "a CloudEvents batch must be a JSON array"
        raise EventError(message)
    return [_event(item, known) for item in parsed]


def _event(envelope: Any, known: dict[str, type[Event]]) -> Event:  # noqa: ANN401 - JSON from outside
    if not isinstance(envelope, dict):
        message = "a CloudEvent must be a JSON object"
        raise EventError(message)
    event_id, wire_name = envelope.get("id"), envelope.get("type")
    if not isinstance(event_id, str) or not event_id:
        message = "the CloudEvent has no id"
        raise EventError(message)
    # JSON can spell NUL, which no text in PostgreSQL holds (lone surrogates it cannot: they are refused as no JSON).
    if len(event_id) > EVENT_ID_CHARACTERS or "\0" in event_id:
        message = f"CloudEvent {event_id[:EVENT_ID_CHARACTERS]!r}: its id has {len(event_id)} characters; "
        message += f"at most {EVENT_ID_CHARACTERS} are allowed, and NUL is not among them"
        raise EventError(message)
    model = known.get(wire_name) if isinstance(wire_name, str) else None
    if model is None:
        message = f"CloudEvent {event_id}: unknown type {wire_name!r}; known here: {', '.join(sorted(known))}"
        raise EventError(message)
    traceparent = envelope.get("traceparent")
    try:
        event = model.model_validate(envelope.get("data"))
    except ValidationError as error:
        problems = "; ".join(f"{field_path(item['loc']) or 'data'}: {item['msg']}" for item in error.errors())
        message = f"CloudEvent {event_id} ({wire_name}): {problems}"
        raise EventError(message) from error
    return event.received_as(event_id, traceparent if isinstance(traceparent, str) else None)


def field_path(location: Sequence[int | str]) -> str:
    """Pydantic's location as people write it: `("lines", 0, "quantity")` is `lines[0].quantity`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def types_by_wire_name(events: Iterable[type[Event]]) -> dict[str, type[Event]]:
    """`{CloudEvents type: model}` of these events."""
    return {event.cloudevents_type(): event for event in events}


@cache
def catalogue() -> tuple[type[Event], ...]:
    """Every event of every producer, in the order of their names."""
    from shared.events import catalog, inventory, notifier, orders  # noqa: PLC0415 - they import this module

    found = [
        member
        for module in (catalog, inventory, notifier, orders)
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Event) and "name" in vars(member)
    ]
    return tuple(sorted(found, key=lambda event: event.name))


def json_schema(event: type[Event]) -> dict[str, Any]:
    """The JSON schema of the event's data, as the contract snapshots hold it."""
    return TypeAdapter(event).json_schema()
