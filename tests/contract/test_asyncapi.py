"""The AsyncAPI document: valid to AsyncAPI's own parser, complete, and true to what the services declare."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.types import Message

from services.all_in_one import SERVICES
from services.orders import intake
from services.orders.submissions import OrderBody
from shared.asyncapi import INTAKE_TOPIC, PLAIN, document
from shared.database import Database
from shared.events import BATCH, SINGLE, Event, catalogue, decode, types_by_wire_name
from shared.events.orders import OrderSubmitted
from shared.http import create_app
from shared.messaging.bus import EVENTS_EXCHANGE, INTAKE_EXCHANGE
from shared.messaging.consumer import sources_of
from shared.messaging.in_process import InProcessBus
from shared.service import Service, queues_of_hearers
from shared.service_context import Context
from shared.settings import Settings
from tests.contract.snapshots import body_file
from tests.node_packages import NODE, beside_packages, program

NAMES = [service.name for service in SERVICES]
WHOLE = document(NAMES)
Validate = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def validate(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validate]:
    """Ask AsyncAPI's parser about documents, one process for all, as it takes seconds to start; see validate.mjs."""
    script = beside_packages(NODE / "validate.mjs", npm_packages, tmp_path_factory.mktemp("node"))
    command = [program("node"), str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parser:

        def ask(candidate: dict[str, Any]) -> dict[str, Any]:
            assert parser.stdin is not None
            assert parser.stdout is not None
            print(json.dumps(candidate), file=parser.stdin, flush=True)
            said: dict[str, Any] = json.loads(parser.stdout.readline())
            return said

        yield ask


def valid(schema: dict[str, Any], value: object) -> list[str]:
    whole = {**schema, "components": WHOLE["components"]}
    validator = jsonschema_rs.Draft7Validator(whole, validate_formats=True)
    return [error.message for error in validator.iter_errors(value)]


@pytest.mark.parametrize("names", [NAMES, *([name] for name in NAMES)], ids="-".join)
def test_asyncapis_own_parser_finds_it_valid(validate: Validate, names: list[str]) -> None:
    said = validate(document(names))
    assert said["errors"] == []
    assert said["messages"] is not None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda whole: whole.pop("info"), "info"),
        (lambda whole: whole["operations"]["receive.orders.submitted"].update(action="publish"), "action"),
        (lambda whole: whole["channels"]["orders.submitted"]["bindings"]["amqp"].update({"is": "topic"}), "amqp"),
        (lambda whole: whole["components"]["schemas"].pop("OrderSubmitted"), "OrderSubmitted"),
    ],
    ids=["without info", "unknown action", "unknown kind of channel", "missing schema"],
)
def test_the_parser_refuses_a_wrong_document(
    validate: Validate, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    wrong = json.loads(json.dumps(WHOLE))
    change(wrong)
    said = validate(wrong)
    assert said["errors"] != [] or said["messages"] is None
    assert complaint in "\n".join(said["errors"])


@pytest.mark.parametrize("event", catalogue(), ids=lambda event: event.name)
def test_every_event_is_in_it_with_its_schema(event: type[Event]) -> None:
    messages = WHOLE["components"]["messages"]
    single, batch = messages[f"{event.name}.single"], messages[f"{event.name}.batch"]
    assert (single["name"], single["contentType"], batch["contentType"]) == (event.cloudevents_type(), SINGLE, BATCH)
    stored = json.loads(body_file(event.cloudevents_type()).read_bytes())
    assert (valid(single["payload"], stored), valid(batch["payload"], [stored])) == ([], [])
    schema = WHOLE["components"]["schemas"][event.__name__]
    assert schema["properties"].keys() == event.model_fields.keys()
    incomplete = {**stored, "data": {}}
    assert valid(single["payload"], incomplete), "data without its required fields must not pass"


@pytest.mark.parametrize("name", WHOLE["components"]["messages"])
def test_examples_are_what_they_explain(name: str) -> None:
    message = WHOLE["components"]["messages"][name]
    for example in message["examples"]:
        assert valid(message["payload"], example["payload"]) == []
        body = json.dumps(example["payload"]).encode()
        if message["contentType"] == PLAIN:
            OrderBody.model_validate_json(body)
        else:
            assert decode(message["contentType"], body, types_by_wire_name(catalogue()))


def test_it_names_the_queues_and_topics_that_services_declare() -> None:
    declared = {source.queue for service in SERVICES for source in sources_of(service.name, service.subscriptions, 1)}
    declared |= {queue for service in SERVICES for queue in queues_of_hearers(service.name, 1)}
    bindings = {key: channel["bindings"]["amqp"] for key, channel in WHOLE["channels"].items()}
    queues = {one["queue"]["name"] for one in bindings.values() if one["is"] == "queue"}
    topics = {key: one["exchange"]["name"] for key, one in bindings.items() if one["is"] == "routingKey"}
    assert queues == {queue.name for queue in declared}
    assert topics == {event.name: EVENTS_EXCHANGE for event in catalogue() if event is not OrderSubmitted} | {
        INTAKE_TOPIC: INTAKE_EXCHANGE
    }


async def test_orders_are_taken_where_it_says() -> None:
    settings = Settings(dsn="postgresql://nobody@127.0.0.1:1/none", _env_file=None)
    database, bus = Database("orders", settings.dsn_of("orders"), pool_size=1), InProcessBus(publish_timeout_seconds=1)
    try:
        (source,) = intake.sources(Context("orders", settings, database, bus))
    finally:
        await bus.close()
        await database.close()
    assert (source.queue.exchange, source.queue.topics) == (INTAKE_EXCHANGE, (INTAKE_TOPIC,))
    channel = WHOLE["channels"][INTAKE_TOPIC]
    messages = [WHOLE["components"]["messages"][name] for name in channel["messages"]]
    assert {message["contentType"] for message in messages} == {PLAIN, SINGLE, BATCH}


async def answer_of(services: Sequence[Service], path: str) -> tuple[int, Any]:
    """Status and JSON that an app of these services answers without a key."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}
    await create_app(services, {})(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


async def test_each_service_serves_its_own_and_all_in_one_serves_all() -> None:
    for services in (SERVICES, *((service,) for service in SERVICES)):
        names = [service.name for service in services]
        assert await answer_of(services, "/asyncapi.json") == (200, document(names))
    assert INTAKE_TOPIC not in document(["catalog"])["channels"]
    assert set(document(["orders"])["operations"]) == {
        *(f"send.{event.name}" for event in catalogue() if event.producer() == "orders" and event != OrderSubmitted),
        *(f"receive.queue.orders.{name}" for name in ("catalog", "catalog.urgent", "inventory")),
        f"receive.{INTAKE_TOPIC}",
    }
