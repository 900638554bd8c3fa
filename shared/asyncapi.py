"""The AsyncAPI 3 document of the messages, made from the contracts: what is sent, what is heard, and in which form.

It is written from Basestock's side: who sends us orders does what `receive` says we do, who listens does `send`.
Source of the format: https://www.asyncapi.com/docs/reference/specification/v3.0.0 and the AMQP 0-9-1 binding 0.3.0.
"""

from collections.abc import Collection, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from shared.events import BATCH, EVENT_ID_CHARACTERS, SINGLE, Event, catalogue
from shared.events.catalog import ApiKeyChanged
from shared.events.key_use import ApiKeyUse
from shared.events.orders import OrderSubmitted
from shared.messaging.bus import EVENTS_EXCHANGE, INTAKE_EXCHANGE

Document = dict[str, Any]

PATH = "/asyncapi.json"
INTAKE_TOPIC = "orders.submitted"
PLAIN = "application/json"
BINDING_VERSION = "0.3.0"
PERSISTENT = 2
SCHEMAS = "#/components/schemas/"

OVERVIEW = """Messages of Basestock over RabbitMQ, from its side: where it receives, an order system sends; where
it sends, a program of the platform may listen with a queue of its own, bound to the exchange by the channel's address.
Operations tagged `internal` are between its services. The exchange of events carries those of all companies: a company
outside hears of its own by webhook and over HTTP."""
SENDER = """AMQP property `user_id`: the user you are connected as, which RabbitMQ validates; it says who the seller is.
`message_id`: your own, the same when you send again (CloudEvents have their `id`). Publish persistent and mandatory,
and wait for the confirm: without one send the same again, which counts once. A message that is refused is set aside
with the reason."""

# So that examples read like orders and stock, where the type alone says little.
EXAMPLES: dict[str, Any] = {
    "external_ref": "R-1001",
    "ref": "retailer-a",
    "display_name": "Retailer A",
    "title": "T-shirt with a print",
    "sku": "T01-S",
    "variant_sku": "T01-S",
    "product_id": 102,
    "base_stock_product_id": 100,
    "seller_id": 2,
    "location": "main",
    "quantity": 2,
    "field": "lines[0].quantity",
    "detail": "Input should be greater than 0",
    "key_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
BY_FORMAT = {"uuid": "01a20fc1-791b-713e-a8b5-19041f07495a", "date-time": "2026-11-22T09:30:00Z"}
BY_TYPE: dict[str, Any] = {"integer": 1, "number": 1, "string": "order", "boolean": True, "null": None}


def document(services: Sequence[str]) -> Document:
    """What these services publish and hear; orders also hears order systems."""
    sent = [event for event in catalogue() if event.producer() in services and event is not OrderSubmitted]
    queues: dict[str, list[type[Event]]] = {}
    for event in catalogue():
        for hearer in set(event.heard_by) & set(services):
            queues.setdefault(event.queue_of(hearer), []).append(event)
    takes_orders = OrderSubmitted.producer() in services
    known = {*sent, *(event for events in queues.values() for event in events)}
    parts = _Parts([event for event in catalogue() if event in known or (takes_orders and event is OrderSubmitted)])
    for event in sent:
        parts.add_topic(event)
    for queue, messages in sorted(queues.items()):
        parts.add_queue(queue, messages)
    if takes_orders:
        parts.add_intake()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Basestock", "version": "1", "description": f"{OVERVIEW}\n\nOf: {', '.join(services)}."},
        "defaultContentType": SINGLE,
        "servers": {"broker": _server()},
        "channels": parts.channels,
        "operations": parts.operations,
        "components": {
            "messages": parts.messages,
            "schemas": parts.schemas,
            "securitySchemes": {
                "user": {"type": "userPassword", "description": "A user of RabbitMQ that the platform made for you."}
            },
        },
    }


def _server() -> Document:
    return {
        "host": "{broker}",
        "protocol": "amqp",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ 3.10 or newer. With TLS the URL begins with amqps.",
        "variables": {"broker": {"default": "localhost:5672", "description": "Name and port, as the platform says"}},
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    }


class _Parts:
    """The pieces of a document over `events`, added to one by one."""

    def __init__(self, events: Sequence[type[Event]]) -> None:
        _, definitions = models_json_schema(
            [(event, "validation") for event in events], ref_template=f"{SCHEMAS}{{model}}"
        )
        self.schemas: Document = definitions["$defs"]
        self.messages: Document = {}
        self.channels: Document = {}
        self.operations: Document = {}
        for event in events:
            self._add_messages(event)

    def add_topic(self, event: type[Event]) -> None:
        """The channel and the operation of an event that is sent."""
        self._add_channel(event.name, event.name, _topic_of(EVENTS_EXCHANGE), _names(event))
        is_internal = issubclass(event, ApiKeyUse | ApiKeyChanged)
        self._add_operation("send", event.name, _words(event), "internal" if is_internal else "public")

    def add_queue(self, queue: str, events: Collection[type[Event]]) -> None:
        """The channel and the operation of a queue that is heard."""
        binding = {"is": "queue", "queue": {"name": queue, "durable": True, "exclusive": False, "autoDelete": False}}
        names = [name for event in events for name in _names(event)]
        self._add_channel(f"queue.{queue}", queue, binding, names)
        topics = ", ".join(event.name for event in events)
        words = f"Bound to exchange {EVENTS_EXCHANGE} by {topics}."
        self._add_operation("receive", f"queue.{queue}", words, "internal")

    def add_intake(self) -> None:
        """Where order systems publish."""
        names = [f"{OrderSubmitted.name}.plain", *_names(OrderSubmitted)]
        self._add_channel(INTAKE_TOPIC, INTAKE_TOPIC, _topic_of(INTAKE_EXCHANGE), names)
        words = (
            f"Orders that order systems publish to exchange {INTAKE_EXCHANGE}, routing key {INTAKE_TOPIC}.\n\n{SENDER}"
        )
        self._add_operation("receive", INTAKE_TOPIC, words, "public", mandatory=True)

    def _add_messages(self, event: type[Event]) -> None:
        data, envelope = event.__name__, f"{event.__name__}CloudEvent"
        example = _envelope_example(event, self._example({"$ref": f"{SCHEMAS}{data}"}))
        self.schemas[envelope] = _envelope(event, f"{SCHEMAS}{data}")
        array = {"type": "array", "minItems": 1, "items": {"$ref": f"{SCHEMAS}{envelope}"}}
        single, batch = _names(event)
        self._add_message(single, event, SINGLE, {"$ref": f"{SCHEMAS}{envelope}"}, example)
        self._add_message(batch, event, BATCH, array, [example])
        if event is OrderSubmitted:
            self._add_message(f"{event.name}.plain", event, PLAIN, {"$ref": f"{SCHEMAS}{data}"}, example["data"])

    def _add_message(self, name: str, event: type[Event], content_type: str, payload: Document, example: Any) -> None:  # noqa: ANN401 - JSON; a message's parts
        self.messages[name] = {
            "name": event.cloudevents_type(),
            "title": name,
            "summary": _words(event).partition("\n")[0],
            "contentType": content_type,
            "payload": payload,
            "examples": [{"name": "example", "payload": example}],
        }

    def _add_channel(self, key: str, address: str, binding: Document, messages: Sequence[str]) -> None:
        self.channels[key] = {
            "address": address,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            "bindings": {"amqp": {**binding, "bindingVersion": BINDING_VERSION}},
        }

    def _add_operation(self, action: str, channel: str, words: str, tag: str, *, mandatory: bool = False) -> None:
        binding: Document = {"deliveryMode": PERSISTENT, "bindingVersion": BINDING_VERSION}
        if mandatory:
            binding["mandatory"] = True
        self.operations[f"{action}.{channel}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": words.partition("\n")[0],
            "description": words,
            "tags": [{"name": tag}],
            "bindings": {"amqp": binding},
            "messages": [
                {"$ref": f"#/channels/{channel}/messages/{name}"} for name in self.channels[channel]["messages"]
            ],
        }

    def _example(self, schema: Document, field: str = "") -> Any:  # noqa: ANN401 - any JSON
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].removeprefix(SCHEMAS)]
        if "anyOf" in schema:
            return self._example(schema["anyOf"][0], field)
        if "const" in schema or "enum" in schema:
            return schema.get("const") or schema["enum"][0]
        if schema.get("type") == "object":
            return {name: self._example(one, name) for name, one in schema["properties"].items()}
        if schema.get("type") == "array":
            return [self._example(schema["items"])]
        if field in EXAMPLES:
            return EXAMPLES[field]
        return BY_FORMAT.get(schema.get("format", ""), BY_TYPE[schema["type"]])


def _topic_of(exchange: str) -> Document:
    return {"is": "routingKey", "exchange": {"name": exchange, "type": "topic", "durable": True, "autoDelete": False}}


def _names(event: type[Event]) -> tuple[str, str]:
    return f"{event.name}.single", f"{event.name}.batch"


def _words(event: type[Event]) -> str:
    return "\n".join(line.strip() for line in (event.__doc__ or "").splitlines())


def _envelope(event: type[Event], data: str) -> Document:
    """A CloudEvent around the data; of what we hear only the members that CloudEvents requires have to be there."""
    is_ours = event is not OrderSubmitted
    source: Document = {"const": f"/basestock/{event.producer()}"} if is_ours else {"minLength": 1}
    required = ["specversion", "id", "source", "type", "data"]
    return {
        "type": "object",
        "required": [*required, *(["subject", "time", "sequence", "datacontenttype"] if is_ours else [])],
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": {"type": "string", "minLength": 1, "maxLength": EVENT_ID_CHARACTERS},
            "source": {"type": "string", **source},
            "type": {"type": "string", "const": event.cloudevents_type()},
            "subject": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "sequence": {
                "type": "string",
                "pattern": "^[0-9]{20}$",
                "description": "The newer of one subject is higher",
            },
            "datacontenttype": {"type": "string", "const": PLAIN},
            "traceparent": {"type": "string"},
            "data": {"$ref": data},
        },
    }


def _envelope_example(event: type[Event], data: Any) -> Document:  # noqa: ANN401 - any JSON
    envelope = {
        "specversion": "1.0",
        "id": "0193512c-7f00-7c3a-8a11-2f6c1d0a9b03",
        "source": f"/basestock/{event.producer()}",
        "type": event.cloudevents_type(),
        "datacontenttype": PLAIN,
        "data": data,
    }
    if event is OrderSubmitted:
        return envelope | {"source": "/shop/eu"}
    return envelope | {"subject": "1", "time": BY_FORMAT["date-time"], "sequence": f"{1:020d}"}
