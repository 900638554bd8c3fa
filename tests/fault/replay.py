"""The load of `make fault`: a wholesaler's real orders by HTTP and AMQP, several clients at once, all of it journalled.

A client that gets no answer sends the same again under the same reference until it is acknowledged. The file goes round
and round, under new references each time.
"""

import asyncio
import gc
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aiohttp
from rich.progress import Progress

from demo.api import Api, ApiError
from demo.expected import start_quantity
from demo.orders_file import read_orders_file
from demo.plan import Message, assortment_of, messages_of
from demo.replay import Part, create_products, set_start_levels
from shared import clock
from shared.messaging.bus import INTAKE_EXCHANGE, BusUnavailableError
from shared.messaging.rabbitmq.connection import Link, reporting_loss
from tests.app import Client
from tests.fault.journal import Journal, Operation, submit, submit_until_acknowledged
from tests.fault.plant import ADMIN_KEY, Plant
from tests.fault.settling import until_catalog_is_known
from tests.receiver import Receiver, receiver

ORDERS_FILE = Path(__file__).parent.parent.parent / "demo" / "data" / "online-retail.csv"
# The most ordered codes: enough for orders of seven lines that fight over the same items, few enough to set up quickly.
CODES = 100
SUPPLIER, RETAILERS = 1, (2, 3)
CONFIRM_SECONDS = 10
FLOW_SECONDS = 90
TWICE_SHARE = 0.15
# A location where orders allocate, and how many lines of orders name it.
SHELF = "shelf"
SHELF_SHARE = 0.2
LATELY_PUBLISHED = 200
RECONNECT_SECONDS = 0.3
COLLECT_SECONDS = 2
UNAVAILABLE = 503
VERIFY_SECONDS = 5


class PlantApi(Api):
    """The demo's client, that calls each path at the service that has it."""

    def __init__(self, plant: Plant, key: str) -> None:
        super().__init__("", key)
        self._plant = plant

    async def _call(
        self, method: str, path: str, body: object = None, query: Mapping[str, str | int] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        self._base_url = self._plant.url_of(method, path).removesuffix(path)
        deadline = clock.monotonic() + FLOW_SECONDS
        while True:
            try:
                return await super()._call(method, path, body, query)
            except ApiError as error:
                # A machine that is busy with other things: nothing was done.
                if error.status != UNAVAILABLE or clock.monotonic() > deadline:
                    raise
            await asyncio.sleep(RECONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class World:
    """One supplier with the file's most ordered products, and two connected retailers with an endpoint each.

    `parts` is how each stock code is ordered, `stock_ids` the base stock product it draws on where there is one.
    `publisher_id` is the retailer that may also publish to the broker. Keys of `retailers` are company ids.
    """

    journal: Journal
    supplier: Client
    retailers: Mapping[int, Client]
    publisher_id: int
    parts: Mapping[str, Part]
    stock_ids: Mapping[str, int]
    messages: Sequence[Message]
    receivers: Sequence[Receiver]


@asynccontextmanager
async def opened_world(plant: Plant, journal: Journal) -> AsyncIterator[World]:
    """Make the companies, the products and the endpoints through the public API; the plant must run."""
    lines = read_orders_file(ORDERS_FILE).lines
    most_ordered = {code for code, _ in Counter(line.stock_code for line in lines).most_common(CODES)}
    lines = tuple(line for line in lines if line.stock_code in most_ordered)
    assortment = assortment_of(lines)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(PlantApi(plant, ADMIN_KEY))
        keys = await _companies(admin, urlsplit(plant.broker.url).username or "guest")
        supplier = await stack.enter_async_context(PlantApi(plant, keys[SUPPLIER]))
        with Progress(disable=True) as progress:
            parts = await create_products(supplier, assortment, progress)
            await set_start_levels(supplier, assortment, progress)
        stock_ids = {item["sku"]: item["product_id"] async for item in supplier.pages("/v1/stock", limit=200)}
        start = {stock_ids[code]: start_quantity(code) for code in assortment.stock}
        journal.enter(Operation("adjustment", SUPPLIER, "start of the demo", start, sent=1, acknowledged=1))
        await until_catalog_is_known(plant.dsn)
        retailers = {one: await stack.enter_async_context(plant.client(keys[one])) for one in RETAILERS}
        yield World(
            journal=journal,
            supplier=await stack.enter_async_context(plant.client(keys[SUPPLIER])),
            retailers=retailers,
            publisher_id=RETAILERS[0],
            parts=parts,
            stock_ids=stock_ids,
            messages=messages_of(lines),
            receivers=[await stack.enter_async_context(_endpoint(client)) for client in retailers.values()],
        )


async def _companies(admin: Api, publisher: str) -> dict[int, str]:
    """Make the three companies, connected; returns a key of each. RabbitMQ's user `publisher` is the first retailer."""
    keys = {}
    refs = {SUPPLIER: "gift-wholesale", RETAILERS[0]: publisher, RETAILERS[1]: "gift-shop"}
    for company_id, ref in refs.items():
        role = "supplier" if company_id == SUPPLIER else "retailer"
        await admin.post("/v1/companies", {"id": company_id, "ref": ref, "name": ref.title(), "role": role})
        keys[company_id] = (await admin.post(f"/v1/companies/{company_id}/api-keys", {}))["key"]
    for retailer_id in RETAILERS:
        await admin.post("/v1/connections", {"supplier_id": SUPPLIER, "retailer_id": retailer_id})
    return keys


@asynccontextmanager
async def _endpoint(retailer: Client) -> AsyncIterator[Receiver]:
    """A receiver of this retailer's webhooks; leaving checks every signature."""

    async with receiver() as webhooks:
        registered = await retailer.post("/v1/webhook-endpoints", {"url": webhooks.url})
        assert registered.status == 201, registered.body
        webhooks.secrets.append(registered.body["secret"])
        yield webhooks


class Load:
    """The clients, which work until the block of `running` ends.

    `done` counts what they did by its kind; `under_way` counts requests without an answer by the service they went to,
    and publishes without a confirm as those of `broker`.
    """

    def __init__(self, plant: Plant, world: World, seed: int, *, pause_seconds: float) -> None:
        """Each client rests `pause_seconds` on average between two operations, and sends some twice."""
        self._plant, self.world, self.chance = plant, world, Random(seed)
        self._pause_seconds = pause_seconds
        self._messages = _round_and_round(world.messages)
        self.is_stopping = False
        self._link = Link(plant.broker.url, "order system", heartbeat_seconds=10)
        self.under_way: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._published: deque[str] = deque(maxlen=LATELY_PUBLISHED)

    @asynccontextmanager
    async def running(self, *more: Callable[["Load"], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Work while the block runs; after it each client goes on until its last operation is acknowledged.

        `more` are clients besides those of the replay, each of which works until `is_stopping`.
        """
        first, second = self.world.retailers
        clients = [first, first, second, second]
        async with asyncio.TaskGroup() as group:
            for retailer_id in clients:
                group.create_task(self._order_over_http(retailer_id))
            for _ in range(2):
                group.create_task(self._publish_orders())
            group.create_task(self._count_stock())
            group.create_task(self._rename_products())
            group.create_task(self._collect_garbage())
            group.create_task(self._verify_signatures())
            for client in more:
                group.create_task(client(self))
            try:
                yield
            finally:
                self.is_stopping = True
        await self._link.close()

    def lately_published(self) -> tuple[list[str], int]:
        """References of the orders that the broker confirmed last, and whose they are."""
        return list(self._published), self.world.publisher_id

    async def until_flowing(self) -> None:
        """Wait until orders of both doors are acknowledged that were not before."""
        before = self.done.copy()
        deadline = clock.monotonic() + FLOW_SECONDS
        while any(self.done[door] <= before[door] for door in ("http", "amqp")):
            assert clock.monotonic() < deadline, f"no order is acknowledged within {FLOW_SECONDS} s by each of {before}"
            await asyncio.sleep(0.02)

    async def _order_over_http(self, retailer_id: int) -> None:
        client = self.world.retailers[retailer_id]
        while not self.is_stopping:
            operation = self._enter(next(self._messages), retailer_id)
            with self.counted("orders"):
                if self.chance.random() < TWICE_SHARE:
                    await asyncio.gather(*(submit_until_acknowledged(operation, client) for _ in range(2)))
                else:
                    await submit_until_acknowledged(operation, client)
            await self.rest("http")

    async def _publish_orders(self) -> None:
        world = self.world
        while not self.is_stopping:
            message = next(one for one in self._messages if one.kind == "order")
            operation = self._enter(message, world.publisher_id)
            await self._publish_order(operation)
            if self.chance.random() < TWICE_SHARE:
                await self._publish_order(operation)
            await self.rest("amqp")

    async def _publish_order(self, operation: Operation) -> None:
        operation.sent += 1
        message = aio_pika.Message(
            json.dumps(operation.payload()).encode(),
            content_type="application/json",
            message_id=operation.reference,
            user_id=urlsplit(self._plant.broker.url).username,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self.publish_until_confirmed(INTAKE_EXCHANGE, "orders.submitted", message)
        operation.acknowledged += 1
        self._published.append(operation.reference)

    async def publish_until_confirmed(self, exchange: str, routing_key: str, message: aio_pika.Message) -> None:
        """Publish a message, the same again and again, until the broker confirms it."""
        with self.counted("broker"):
            while True:
                try:
                    async with asyncio.timeout(CONFIRM_SECONDS):
                        with reporting_loss("publishing"):
                            channel = await self._link.channel(confirms=True)
                            to = await channel.get_exchange(exchange, ensure=False)
                            await to.publish(message, routing_key)
                            await channel.close()
                except (BusUnavailableError, TimeoutError):
                    await asyncio.sleep(RECONNECT_SECONDS)
                else:
                    return

    async def _count_stock(self) -> None:
        """The supplier finds units again and again; who gets no answer does not dare to say so a second time."""
        product_ids = sorted(self.world.stock_ids.values())
        for number in count(1):
            if self.is_stopping:
                return
            units = self.chance.randrange(1, 50)
            effect = {self.chance.choice(product_ids): units}
            found = Operation("adjustment", SUPPLIER, f"found {number}", effect, {"adjustment": units})
            with self.counted("inventory"):
                await submit(self.world.journal.enter(found), self.world.supplier)
            await self.rest("found")

    async def _rename_products(self) -> None:
        """What is renamed in catalog is news to the three other services."""
        product_ids = sorted({part.product_id for part in self.world.parts.values()})
        for number in count(1):
            if self.is_stopping:
                return
            path = f"/v1/products/{self.chance.choice(product_ids)}"
            with self.counted("catalog"):
                try:
                    answer = await self.world.supplier.patch(path, {"name": f"Name {number}"})
                except (aiohttp.ClientError, TimeoutError, OSError):
                    answer = None
            assert answer is None or answer.status == 200 or answer.status >= 500, answer.body
            await self.rest("renamed")

    async def _collect_garbage(self) -> None:
        """aio-pika closes a lost connection when it is collected, and needs our loop for it: no other thread may."""
        gc.disable()
        try:
            while not self.is_stopping:
                gc.collect()
                await asyncio.sleep(COLLECT_SECONDS)
        finally:
            gc.enable()

    async def _verify_signatures(self) -> None:
        while not self.is_stopping:
            for webhooks in self.world.receivers:
                webhooks.verify()
            await asyncio.sleep(VERIFY_SECONDS)

    def _enter(self, message: Message, retailer_id: int) -> Operation:
        world = self.world
        sign = 1 if message.kind == "return" else -1
        effect: Counter[int] = Counter()
        for code, units in message.lines:
            if code in world.stock_ids:
                effect[world.stock_ids[code]] += sign * units
        lines = [
            {
                "product_id": world.parts[code].product_id,
                "variant_sku": world.parts[code].variant_sku,
                "quantity": units,
                **({"restock": True} if message.kind == "return" else {}),
                **({"location": SHELF} if message.kind == "order" and self.chance.random() < SHELF_SHARE else {}),
            }
            for code, units in message.lines
        ]
        moment = "placed_at" if message.kind == "order" else "returned_at"
        body = {"lines": lines, moment: message.placed_at.isoformat()}
        return world.journal.enter(Operation(message.kind, retailer_id, message.reference, effect, body))

    @contextmanager
    def counted(self, door: str) -> Iterator[None]:
        """Count what the block does as under way."""
        self.under_way[door] += 1
        try:
            yield
        finally:
            self.under_way[door] -= 1

    async def rest(self, door: str) -> None:
        """Count one more as done, and rest."""
        self.done[door] += 1
        await asyncio.sleep(self.chance.expovariate(1 / self._pause_seconds))


def _round_and_round(messages: Sequence[Message]) -> Iterator[Message]:
    for turn in count(1):
        for message in messages:
            yield Message(message.kind, f"{turn}:{message.reference}", message.placed_at, message.lines)
