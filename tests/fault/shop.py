"""A small shop on a plant: each kind of work that brings a process past its crash points, journalled.

Clients ask again, under the same reference, until they have an answer; who publishes to the broker is confirmed by it
and sends its message twice.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aiohttp
import asyncpg
from aio_pika.abc import AbstractChannel

from shared import clock
from shared.messaging.bus import INTAKE_EXCHANGE
from shared.private_rabbitmq import USER
from tests.app import Answer, Client
from tests.end_to_end.system import RETAILER, SUPPLIER, System, with_seeds
from tests.fault.journal import ANSWER_SECONDS, PAUSE_SECONDS, Journal, Operation, submit, submit_until_acknowledged
from tests.fault.plant import ADMIN_KEY, Plant

# Base stock products of the seeds, and how each is ordered.
PARTS: Mapping[int, dict[str, object]] = {
    100: {"product_id": 102, "variant_sku": "T01-S"},
    101: {"product_id": 102, "variant_sku": "T01-L"},
    200: {"product_id": 201},
    202: {"product_id": 202},
}
SELLER = USER  # RabbitMQ's on a plant, and so Retailer A's ref
NO_SUCH_VARIANT: dict[str, object] = {"product_id": 102, "variant_sku": "T01-HUGE", "quantity": 1}
PRODUCTS_AT_ONCE = 4


@dataclass(slots=True)
class Shop:
    """Retailer A and Supplier A at work. `bad_messages` are the ids of those that must become dead letters."""

    plant: Plant
    system: System
    channel: AbstractChannel
    journal: Journal = field(default_factory=Journal)
    bad_messages: set[str] = field(default_factory=set)
    endpoint_urls: set[str] = field(default_factory=set)
    _closed: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _stock_ids: Iterator[int] = field(default_factory=lambda: cycle(PARTS))

    async def trade(self) -> None:
        """Orders by both doors, a return and a stock adjustment, all at once and of the same base stock product."""
        stock_id = next(self._stock_ids)
        part = PARTS[stock_id]
        ordered = self._operation("order", {stock_id: -2}, {"lines": [{**part, "quantity": 2}]})
        returned = self._operation("return", {stock_id: 1}, {"lines": [{**part, "quantity": 1, "restock": True}]})
        counted = self._operation("adjustment", {stock_id: 5}, {"adjustment": 5})
        published = self._operation("order", {stock_id: -3}, {"lines": [{**part, "quantity": 3}]})
        retailer = self.system.retailer
        async with asyncio.TaskGroup() as clients:
            clients.create_task(submit_until_acknowledged(ordered, retailer))
            clients.create_task(submit_until_acknowledged(ordered, retailer))
            clients.create_task(submit_until_acknowledged(returned, retailer))
            # Sent again it would count again: without an answer it may have happened or not.
            clients.create_task(submit(counted, self.system.supplier))
            clients.create_task(self._publish_twice(published))

    async def take_back(self) -> None:
        """A return ahead of trade: it has no versions, which make the second copy of an order's message harmless."""
        stock_id = next(self._stock_ids)
        lines = [{**PARTS[stock_id], "quantity": 1, "restock": True}]
        returned = self._operation("return", {stock_id: 1}, {"lines": lines})
        await submit_until_acknowledged(returned, self.system.retailer)
        await self.trade()

    async def count_stock(self) -> None:
        """One adjustment of each base stock product: no later change of it makes up for one that is lost."""
        counted = [self._operation("adjustment", {stock_id: 5}, {"adjustment": 5}) for stock_id in PARTS]
        await asyncio.gather(*(submit(operation, self.system.supplier) for operation in counted))

    async def list_products(self) -> None:
        """New products, and for each an order that comes at the same time: whoever does not know it yet must wait."""
        async with asyncio.TaskGroup() as clients:
            for _ in range(PRODUCTS_AT_ONCE):
                product_id = 10_000 + next(self._numbers)
                clients.create_task(self._list_product(product_id))
                lines = [{"product_id": product_id, "quantity": 1}]
                ordered = self._operation("order", {product_id: -1}, {"lines": lines})
                clients.create_task(submit_until_acknowledged(ordered, self.system.retailer))

    async def _list_product(self, product_id: int) -> None:
        body = {"id": product_id, "owner_id": SUPPLIER, "sku": f"new-{product_id}", "name": "New", "type": "stock"}
        answer = await _until_answered(self.system.admin, "/v1/products", body)
        assert answer.status == 201 or answer.body["code"] == "product_exists", answer.body

    async def change_keys(self) -> None:
        """A new API key, which is revoked."""
        path = f"/v1/companies/{SUPPLIER}/api-keys"
        made = await _until_answered(self.system.admin, path, {})
        assert made.status == 201, made.body
        while await _once(self.system.admin.delete(f"{path}/{made.body['id']}")) is None:
            await asyncio.sleep(PAUSE_SECONDS)

    async def register_endpoint(self) -> None:
        """One more endpoint. Without an answer its secret is lost: it is removed and registered anew."""
        url = f"{self.system.webhooks.url}/{next(self._numbers)}"
        retailer = self.system.retailer
        answer: Answer | None = None
        while answer is None:
            answer = await _once(retailer.post("/v1/webhook-endpoints", {"url": url}))
            if answer is None:
                self.system.webhooks.paths_without_secret.add(urlsplit(url).path)
            for endpoint in await self._endpoints() if answer is None else []:
                if endpoint["url"] == url:
                    await _once(retailer.delete(f"/v1/webhook-endpoints/{endpoint['id']}"))
        assert answer.status == 201, answer.body
        self.system.webhooks.secrets.append(answer.body["secret"])
        self.endpoint_urls.add(url)

    async def close_an_endpoint(self) -> None:
        """One more endpoint, which then says that it is gone: notifier tells of that."""
        before = set(self.endpoint_urls)
        await self.register_endpoint()
        (url,) = self.endpoint_urls - before
        self._closed.add(urlsplit(url).path)
        self.system.webhooks.answer_by(lambda call: 410 if call.path in self._closed else 204)
        await self.count_stock()

    async def _endpoints(self) -> list[dict[str, Any]]:
        while (answer := await _once(self.system.retailer.get("/v1/webhook-endpoints"))) is None:
            await asyncio.sleep(PAUSE_SECONDS)
        items: list[dict[str, Any]] = answer.body["items"]
        return items

    async def publish_batch_with_a_bad_order(self) -> None:
        """One message with four orders, of which the last is of a variant that its product does not have."""
        good = [self._operation("order", {100: -1}, {"lines": [{**PARTS[100], "quantity": 1}]}) for _ in range(3)]
        for operation in good:
            operation.sent = operation.acknowledged = 1
        bad_ref = f"bad-{next(self._numbers)}"
        bad = {"external_ref": bad_ref, "lines": [NO_SUCH_VARIANT]}
        batch = [
            {
                "specversion": "1.0",
                "id": str(data["external_ref"]),
                "source": "/shop",
                "type": "basestock.orders.order_submitted.v1",
                "data": data,
            }
            for data in [*(operation.payload() for operation in good), bad]
        ]
        body = json.dumps(batch).encode()
        await self._publish(INTAKE_EXCHANGE, "orders.submitted", body, "application/cloudevents-batch+json", bad_ref)
        self.bad_messages.add(bad_ref)

    async def publish_garbage(self, queue: str) -> None:
        """A message that nobody can read, right into a queue."""
        message_id = f"bad-{next(self._numbers)}"
        await self._publish("", queue, b"{", "application/json", message_id)
        self.bad_messages.add(message_id)

    async def _publish_twice(self, operation: Operation) -> None:
        body = json.dumps(operation.payload()).encode()
        for _ in range(2):
            operation.sent += 1
            await self._publish(INTAKE_EXCHANGE, "orders.submitted", body, "application/json", operation.reference)
            operation.acknowledged += 1

    async def _publish(self, exchange: str, topic: str, body: bytes, content_type: str, message_id: str) -> None:
        target = await self.channel.get_exchange(exchange) if exchange else self.channel.default_exchange
        message = aio_pika.Message(
            body,
            content_type=content_type,
            message_id=message_id,
            user_id=SELLER,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await target.publish(message, routing_key=topic)

    def _operation(self, kind: Any, effect: dict[int, int], body: dict[str, object]) -> Operation:  # noqa: ANN401
        company_id = SUPPLIER if kind == "adjustment" else RETAILER
        return self.journal.enter(Operation(kind, company_id, f"{kind}-{next(self._numbers)}", effect, body))

    async def dead_letters(self) -> list[str]:
        """The ids of the messages that are kept as dead letters; they are taken out, as by one who has seen to them."""
        taken: list[str] = []
        connection = await asyncpg.connect(self.plant.dsn)
        try:
            for schema in ("orders", "inventory", "notifier"):
                rows = await connection.fetch(f"delete from {schema}.dead_letters returning message_id")
                taken += [row["message_id"] for row in rows]
        finally:
            await connection.close()
        return taken


@asynccontextmanager
async def open_shop(plant: Plant) -> AsyncIterator[Shop]:
    """Start the plant and load the seeds, with one endpoint of Retailer A."""
    await plant.start()
    async with (
        with_seeds("", plant.dsn, plant.client, ADMIN_KEY, SELLER) as system,
        await aio_pika.connect(plant.broker.url) as connection,
        connection.channel() as channel,
    ):
        shop = Shop(plant, system, channel)
        await shop.register_endpoint()
        yield shop


async def _until_answered(client: Client, path: str, body: object) -> Answer:
    deadline = clock.monotonic() + ANSWER_SECONDS
    while (answer := await _once(client.post(path, body))) is None:
        assert clock.monotonic() < deadline, f"{path} is not answered within {ANSWER_SECONDS} s"
        await asyncio.sleep(PAUSE_SECONDS)
    return answer


async def _once(request: Any) -> Answer | None:  # noqa: ANN401 - a coroutine of one request
    """The answer to one request, `None` when it did not come."""
    try:
        answer: Answer = await request
    except (aiohttp.ClientError, OSError):
        return None
    return answer if answer.status < 500 else None
