"""`basestock broker` as an operator runs it, and what the user that it makes may do at a real RabbitMQ."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from shared.messaging.rabbitmq import RabbitBus
from shared.private_rabbitmq import RabbitNode
from tests.end_to_end.system import ADMIN_KEY, RETAILER, SUPPLIER, System, delete_queues, eventually, running_system
from tests.end_to_end.test_command_line import output_of

ADMIN = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}
Attempt = Callable[[AbstractChannel], Awaitable[object]]
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitNode]:
    """A broker with its management API."""
    with RabbitNode(management=True) as started:
        yield started


@dataclass
class Shop:
    """The system on that broker, and the command that makes publishers."""

    system: System
    node: RabbitNode

    async def broker(self, *arguments: str, **environment: str) -> tuple[int, str]:
        given = ADMIN | {
            "BASESTOCK_BROKER_URL": self.node.url,
            "BASESTOCK_BROKER_MANAGEMENT_URL": str(self.node.management_url),
            "BASESTOCK_URL": self.system.url,
        }
        return await output_of("broker", *arguments, **(given | environment))

    async def add(self, name: str, company: int, *options: str) -> str:
        """The URL of a new publisher."""
        status, said = await self.broker("add-publisher", name, "--company", str(company), "--json", *options)
        assert status == 0, said
        url: str = json.loads(said.splitlines()[0])["url"]
        return url


@pytest.fixture
async def shop(node: RabbitNode, database_dsn: str) -> AsyncIterator[Shop]:
    await delete_queues(node.url)
    bus = RabbitBus(node.url, publish_timeout_seconds=10, heartbeat_seconds=10)
    try:
        async with running_system(database_dsn, bus, "retailer-a") as system:
            yield Shop(system, node)
    finally:
        await bus.close()


def order(ref: str, **line: object) -> dict[str, object]:
    return {"external_ref": ref, "lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 1} | line]}


async def send(url: str, body: object, *, user: str | None, **more: Any) -> None:  # noqa: ANN401 - AMQP's
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await publish(channel, body, user=user, **more)


async def publish(channel: Any, body: object, *, user: str | None, **more: Any) -> None:  # noqa: ANN401 - AMQP's
    exchange = await channel.get_exchange(more.pop("exchange", "basestock.intake"), ensure=False)
    topic = more.pop("routing_key", "orders.submitted")
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = aio_pika.Message(sent, content_type="application/json", user_id=user, **more)
    await exchange.publish(message, routing_key=topic)


async def orders_of(system: System) -> list[tuple[int, str]]:
    rows = await system.rows("orders", "select seller_id, external_ref from orders order by external_ref")
    return [(row.seller_id, row.external_ref) for row in rows]


def _of(queue: str, do: Callable[[Any], Awaitable[Any]]) -> Attempt:
    async def attempt(channel: AbstractChannel) -> object:
        return await do(await channel.get_queue(queue, ensure=False))

    return attempt


async def _ignore(_: AbstractIncomingMessage) -> None:
    pass


# As somebody else, elsewhere, under another topic of the same exchange; making things; reading and emptying queues.
FORBIDDEN: list[Attempt] = [
    lambda channel: publish(channel, order("A-2"), user="basestock"),
    lambda channel: publish(channel, order("A-2"), user="till-7", exchange="basestock.events"),
    lambda channel: publish(channel, order("A-2"), user="till-7", exchange="", routing_key="inventory.orders"),
    lambda channel: publish(channel, order("A-2"), user="till-7", routing_key="orders.other"),
    lambda channel: channel.declare_queue("mine"),
    lambda channel: channel.declare_queue("replies.till-7"),
    lambda channel: channel.declare_exchange("mine"),
    *(
        _of(queue, do)
        for queue in ("orders.submitted", "orders.submitted.dead", "inventory.orders")
        for do in (
            lambda queue: queue.get(fail=False),
            lambda queue: queue.consume(_ignore),
            lambda queue: queue.purge(),
            lambda queue: queue.delete(),
        )
    ),
]


async def test_the_printed_url_sends_orders_of_the_company_and_nothing_else(shop: Shop) -> None:
    url = await shop.add("till-7", RETAILER)
    await send(url, order("A-1"), user="till-7", message_id="m-1")

    async def it_is_there() -> bool:
        return await orders_of(shop.system) == [(RETAILER, "A-1")]

    await eventually("the order is the company's", it_is_there)
    for attempt in FORBIDDEN:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            with pytest.raises(AMQPError):
                await attempt(channel)
    assert await orders_of(shop.system) == [(RETAILER, "A-1")]


async def test_who_asks_is_answered_over_direct_reply_to(shop: Shop) -> None:
    url = await shop.add("till-8", RETAILER)
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        answers: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        direct = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
        await direct.consume(answers.put, no_ack=True)

        async def asked(body: object, number: str) -> tuple[str | None, dict[str, Any]]:
            await publish(channel, body, user="till-8", message_id="m", reply_to=DIRECT_REPLY_TO, correlation_id=number)
            async with asyncio.timeout(20):
                answer = await answers.get()
            said: dict[str, Any] = json.loads(answer.body)
            return answer.correlation_id, said

        number, created = await asked(order("A-1"), "q-1")
        assert (number, created["result"], created["external_ref"], created["errors"]) == ("q-1", "created", "A-1", [])
        number, existing = await asked(order("A-1"), "q-2")
        assert (number, existing["result"], existing["order_id"]) == ("q-2", "existing", created["order_id"])
        number, refused = await asked(order("A-2", quantity=0), "q-3")
        assert (number, refused["result"], refused["order_id"]) == ("q-3", "refused", None)
        assert refused["errors"] == [{"field": "lines[0].quantity", "detail": "Input should be greater than 0"}]
        number, conflict = await asked(order("A-1", quantity=5), "q-4")
        assert (number, conflict["errors"][0]["field"]) == ("q-4", "external_ref")
        assert answers.empty()
    answer = await shop.system.retailer.get(f"/v1/dead-letters/{refused['rejection_id']}")
    assert (answer.status, answer.body["reason"]) == (200, "lines[0].quantity: Input should be greater than 0")

    # Whoever has gone is no error, and holds up nobody.
    await send(url, order("A-3"), user="till-8", message_id="m", reply_to="replies.till-8", correlation_id="1")

    async def all_told() -> bool:
        return len(await orders_of(shop.system)) == 2 and not await shop.system.rows("orders", "select 1 from outbox")

    await eventually("the outbox runs empty", all_told)


async def test_answers_are_written_into_no_queue_of_ours(shop: Shop, node: RabbitNode) -> None:
    url = await shop.add("till-9", RETAILER)
    async with await aio_pika.connect(node.url) as connection, connection.channel() as channel:
        victim = await channel.declare_queue("victim", auto_delete=False)
        own = await channel.declare_queue("replies.till-9")
        try:
            for reply_to in ("victim", "replies.till-9"):
                await send(url, order("A-1"), user="till-9", message_id="m", reply_to=reply_to, correlation_id="1")

            async def answered() -> bool:
                return bool(
                    (await channel.declare_queue("replies.till-9", passive=True)).declaration_result.message_count
                )

            await eventually("the answer that is allowed is there", answered)
            assert (await channel.declare_queue("victim", passive=True)).declaration_result.message_count == 0
        finally:
            await victim.delete(if_empty=False)
            await own.delete(if_empty=False)


async def test_what_breaks_off_is_repeated_and_what_is_removed_is_gone(shop: Shop, node: RabbitNode) -> None:
    status, said = await shop.broker(
        "add-publisher", "till-1", "--company", "2", BASESTOCK_BROKER_MANAGEMENT_URL="http://127.0.0.1:9"
    )
    assert (status, "Traceback" in said, "does not answer" in said) == (1, False, True), said
    url = await shop.add("till-1", RETAILER)
    # The user is there, but has no rights yet: as when the command broke off.
    node.ctl("clear_permissions", "till-1")
    again = await shop.add("till-1", RETAILER)
    assert again != url
    status, said = await shop.broker("add-publisher", "till-1", "--company", "2")
    assert (status, "--new-password" in said) == (1, True), said
    newest = await shop.add("till-1", RETAILER, "--new-password")
    for old in (url, again):
        with pytest.raises(Exception, match="ACCESS_REFUSED"):
            await aio_pika.connect(old)
    status, said = await shop.broker("list-publishers", "--json")
    assert [(one["amqp_user"], one["company_id"]) for one in json.loads(said)] == [("till-1", RETAILER)]

    status, said = await shop.broker("remove-publisher", "till-1")
    assert status == 0, said
    with pytest.raises(Exception, match="ACCESS_REFUSED"):
        await aio_pika.connect(newest)
    assert (await shop.broker("remove-publisher", "till-1"))[0] == 1
    assert (await shop.broker("list-publishers", "--json"))[1].splitlines()[0] == "[]"


@pytest.mark.parametrize(
    ("name", "company", "words"),
    [
        ("basestock", SUPPLIER, "which is no publisher's"),
        ("supplier-a", RETAILER, "The name supplier-a is the ref of company 1"),
        ("no/name", RETAILER, "is no name for a publisher"),
        ("till-3", 77, "No company 77 is known"),
    ],
)
async def test_mistakes_are_told_in_words(shop: Shop, name: str, company: int, words: str) -> None:
    status, said = await shop.broker("add-publisher", name, "--company", str(company))
    assert (status, "Traceback" in said) == (1, False), said
    assert words in said
    assert name not in shop.node.ctl("list_users").split() or name == "basestock"


async def test_what_is_refused_is_listed_and_redriven_by_command(shop: Shop) -> None:
    """With the company's own key, as it would: the product comes after the order that its seller may not sell yet."""
    url = await shop.add("till-5", RETAILER)
    body = {"external_ref": "A-1", "lines": [{"product_id": 900, "quantity": 1}]}
    await shop.system.admin.post("/v1/companies", {"id": 9, "ref": "supplier-z", "name": "Z", "role": "supplier"})
    product = {"id": 900, "owner_id": 9, "sku": "Z", "name": "Z", "type": "stock"}
    assert (await shop.system.admin.post("/v1/products", product)).status == 201

    async def known() -> bool:
        return bool(await shop.system.rows("orders", "select 1 from products where product_id = 900"))

    await eventually("orders knows the product", known)
    await send(url, body, user="till-5", message_id="m-1")

    async def refused() -> bool:
        return bool(await shop.system.rows("orders", "select 1 from dead_letters"))

    await eventually("the order is refused", refused)
    key = (
        await shop.system.admin.post(f"/v1/companies/{RETAILER}/api-keys", {"scopes": ["orders:read", "orders:write"]})
    ).body["key"]

    async def may_call() -> bool:
        return bool(
            await shop.system.rows("orders", "select 1 from api_keys where scopes = '{orders:read,orders:write}'")
        )

    await eventually("orders knows the key", may_call)
    environment = {"BASESTOCK_KEY": key, "BASESTOCK_URL": shop.system.url}
    status, said = await output_of("dead-letters", "list", "--json", **environment)
    letter = json.loads(said.splitlines()[0])
    assert (status, letter["user_id"], letter["queue"]) == (0, "till-5", "orders.submitted"), said
    status, said = await output_of("dead-letters", "redrive", "--all", **environment)
    assert (status, "neither company 2's own" in said, "1 failed again" in said) == (1, True, True), said

    connection = {"supplier_id": 9, "retailer_id": RETAILER}
    assert (await shop.system.admin.post("/v1/connections", connection)).status == 201

    async def connected() -> bool:
        return bool(await shop.system.rows("orders", "select 1 from connections where supplier_id = 9"))

    await eventually("orders knows the connection", connected)
    status, said = await output_of("dead-letters", "redrive", letter["id"], "--json", **environment)
    assert (status, json.loads(said.splitlines()[0])["redriven"]) == (0, True), said
    assert await orders_of(shop.system) == [(RETAILER, "A-1")]
    status, said = await output_of(
        "dead-letters", "list", "--service", "inventory", **ADMIN, BASESTOCK_URL=shop.system.url
    )
    assert (status, said.strip()) == (0, ""), said
    assert (await output_of("dead-letters", "redrive", letter["id"], **environment))[0] == 1
