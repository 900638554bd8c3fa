"""The orders service on a real database and port, the catalog it has heard of, and an inventory of the tests' own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from services.orders.service import SERVICE
from shared import catalog_view, clock
from shared.access import sha256_of
from shared.database import Database
from shared.events import SINGLE, Event, decode, encode, types_by_wire_name
from shared.events.catalog import (
    ApiKeyChanged,
    Attribute,
    CompanyChanged,
    Component,
    ConnectionChanged,
    ConnectionState,
    ProductChanged,
    ProductRemoved,
    Variant,
)
from shared.events.inventory import LineDecision, LineOutcome, OrderAllocated, OrderShort
from shared.events.orders import (
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
    ItemsReturned,
    OrderAmended,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
)
from shared.messaging.bus import EVENTS_EXCHANGE, INTAKE_EXCHANGE, Message
from shared.messaging.in_process import InProcessBus
from shared.scopes import AREA_SCOPES
from shared.settings import Settings
from tests.app import Client, serving

SUPPLIER, RETAILER, STRANGER, OTHER_SUPPLIER = 1, 2, 3, 4
REFS = {SUPPLIER: "supplier-a", RETAILER: "retailer-a", STRANGER: "retailer-b", OTHER_SUPPLIER: "supplier-b"}
ADMIN_KEY = "bsk_the-admin-of-the-tests"
DEADLINE_SECONDS = 30
HEARD = types_by_wire_name(
    [
        OrderCreated,
        OrderAmended,
        OrderCancelled,
        ItemsReturned,
        FulfillmentRequestAssigned,
        FulfillmentRequestCompleted,
        FulfillmentRequestFailed,
    ]
)

SMALL = {"product_id": 102, "variant_sku": "T01-S", "quantity": 2}
ORDER: dict[str, Any] = {"external_ref": "R-1", "lines": [SMALL]}

Answering = Callable[[OrderCreated], OrderAllocated | OrderShort | None]


def key_of(company_id: int) -> str:
    return f"bsk_key-of-{company_id}"


def allocated(order: OrderEvent, decision: int = 1, outcome: LineOutcome = "allocated") -> OrderAllocated:
    """Inventory's decision that treats all lines alike."""
    lines = tuple(LineDecision(line_id=line.line_id, outcome=outcome) for line in order.lines)
    return OrderAllocated(order_id=order.order_id, order_version=order.version, decision=decision, lines=lines)


def never(_: OrderCreated) -> None:
    """An inventory that does not decide."""


@dataclass
class Inventory:
    """Hears what orders tells, in place of the real one, and answers orders as `decide` says."""

    bus: InProcessBus
    decide: Answering = never
    heard: list[Event] = field(default_factory=list)

    async def run(self) -> None:
        async with self.bus.consume("inventory.orders", prefetch=100) as inflow:
            while True:
                deliveries = await inflow.batch(100, 0)
                for delivery in deliveries:
                    for event in decode(delivery.message.content_type, delivery.message.body, HEARD):
                        self.heard.append(event)
                        if isinstance(event, OrderCreated) and (decision := self.decide(event)):
                            await self.tell(decision)
                await inflow.ack(deliveries)

    async def tell(self, event: OrderAllocated | OrderShort) -> None:
        event_id = str(clock.uuid7())
        message = Message(event_id, event.name, SINGLE, encode(event, event_id, clock.utc_now(), None))
        assert not await self.bus.publish(EVENTS_EXCHANGE, [message])


async def take_all(bus: InProcessBus, queue: str) -> None:
    """Take what comes into a queue, in place of the service that hears it: until then it is not confirmed."""
    async with bus.consume(queue, prefetch=100) as inflow:
        while True:
            await inflow.ack(await inflow.batch(100, 0))


@dataclass
class Shop:
    """All that a test of orders needs at hand."""

    url: str
    bus: InProcessBus
    database: Database
    inventory: Inventory

    def client(self, company_id: int | None = RETAILER) -> Client:
        """Calls as this company, or as the platform admin (`None`)."""
        return Client(self.url, ADMIN_KEY if company_id is None else key_of(company_id))

    async def rows(self, query: str, **values: object) -> list[Any]:
        async with self.database.transaction() as session:
            return list((await session.execute(text(query), values)).all())

    async def told(self) -> list[Event]:
        """All events that orders published, once none is on its way any more."""
        await eventually("the outbox runs empty", self._outbox_is_empty)
        return self.inventory.heard

    async def _outbox_is_empty(self) -> bool:
        return not await self.rows("select 1 from outbox")

    async def connect(self, state: ConnectionState, version: int) -> None:
        """The retailer's connection with the supplier changes."""
        connection = ConnectionChanged(
            connection_id=1, supplier_id=SUPPLIER, retailer_id=RETAILER, state=state, version=version
        )
        async with self.database.transaction() as session:
            await catalog_view.keep_connections(session, [connection])

    async def remove(self, product_id: int) -> None:
        """The supplier removes a product."""
        removed = ProductRemoved(product_id=product_id, owner_id=SUPPLIER, version=9)
        async with self.database.transaction() as session:
            await catalog_view.keep_products(session, [removed])

    async def add_version(self, product_id: int, *, of: int) -> None:
        """The retailer makes its own version of a product."""
        version = ProductChanged(
            product_id=product_id, owner_id=RETAILER, type="virtual", sku="V", title="V", base_product_id=of, version=1
        )
        async with self.database.transaction() as session:
            await catalog_view.keep_products(session, [version])

    async def add_company(self, company_id: int, ref: str) -> None:
        async with self.database.transaction() as session:
            await catalog_view.keep_companies(session, [company(company_id, ref)])

    async def submit(
        self,
        body: object,
        content_type: str = "application/json",
        *,
        sender: str | None = REFS[RETAILER],
        message_id: str | None = None,
        reply_to: str | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Publish an order message; returns once it is handled or dead-lettered."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        message_id = str(clock.uuid7()) if message_id is None else message_id
        message = Message(
            message_id,
            "orders.submitted",
            content_type,
            sent,
            user_id=sender,
            reply_to=reply_to,
            correlation_id=correlation_id,
        )
        assert not await self.bus.publish(INTAKE_EXCHANGE, [message])

    async def dead_letters(self) -> list[str]:
        """Why messages were dead-lettered."""
        return [row.reason for row in await self.rows("select reason from dead_letters order by dead_at")]


def company(company_id: int, ref: str) -> CompanyChanged:
    role = "supplier" if company_id in {SUPPLIER, OTHER_SUPPLIER} else "retailer"
    return CompanyChanged.model_validate(
        {"company_id": company_id, "ref": ref, "display_name": ref, "role": role, "version": 1}
    )


def api_key(company_id: int) -> ApiKeyChanged:
    role = "supplier" if company_id in {SUPPLIER, OTHER_SUPPLIER} else "retailer"
    return ApiKeyChanged.model_validate(
        {
            "key_id": company_id,
            "key_sha256": sha256_of(key_of(company_id)),
            "company_id": company_id,
            "role": role,
            "scopes": AREA_SCOPES,
            "version": 1,
        }
    )


def products() -> list[ProductChanged]:
    """The suite's fixture: 100 and 101 behind the variants of 102; 300 is the retailer's version of 102."""

    def variant(variant_id: int, sku: str, size: str, base: int) -> Variant:
        components = (Component(product_id=base, quantity=1),)
        attributes = (Attribute(name="Size", value=size),)
        return Variant(variant_id=variant_id, sku=sku, attributes=attributes, components=components)

    variants = (variant(1, "T01-S", "Small", 100), variant(2, "T01-L", "Large", 101))
    owned = {"owner_id": SUPPLIER, "version": 1}
    return [
        ProductChanged(product_id=100, type="stock", sku="T01-S", title="Small shirt", **owned),
        ProductChanged(product_id=101, type="stock", sku="T01-L", title="Large shirt", **owned),
        ProductChanged(product_id=102, type="customisable", sku="T01", title="Shirt", variants=variants, **owned),
        ProductChanged(product_id=200, type="stock", sku="S7", title="Mug", **owned),
        ProductChanged(
            product_id=300, owner_id=RETAILER, type="virtual", sku="T01", title="Tee", base_product_id=102, version=1
        ),
        ProductChanged(product_id=900, owner_id=OTHER_SUPPLIER, type="stock", sku="X", title="Other", version=1),
    ]


async def eventually(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `holds`; fails naming `what` past the deadline."""
    deadline = clock.monotonic() + DEADLINE_SECONDS
    while not await holds():
        assert clock.monotonic() < deadline, f"waited in vain: {what}"
        await clock.sleep(0.01)


@asynccontextmanager
async def opened(dsn: str, **settings: Any) -> AsyncIterator[Shop]:  # noqa: ANN401 - any of the settings
    """The shop, open: the retailer is connected with the supplier."""
    bus = InProcessBus(publish_timeout_seconds=20)
    given = Settings(dsn=dsn, admin_key=SecretStr(ADMIN_KEY), consumer_retry_seconds=(0.01, 0.01), **settings)
    inventory = Inventory(bus)
    database = Database("orders", dsn, pool_size=4)
    async with serving([SERVICE], given, bus) as url:
        hearing = [asyncio.create_task(part) for part in (inventory.run(), take_all(bus, "notifier.orders"))]
        try:
            async with database.transaction() as session:
                await catalog_view.keep_companies(session, [company(number, ref) for number, ref in REFS.items()])
                await catalog_view.keep_api_keys(session, [api_key(number) for number in REFS])
                await catalog_view.keep_products(session, products())
            shop = Shop(url, bus, database, inventory)
            await shop.connect("active", version=1)
            yield shop
        finally:
            for task in hearing:
                task.cancel()
            await asyncio.gather(*hearing, return_exceptions=True)
            await database.close()
    await bus.close()
