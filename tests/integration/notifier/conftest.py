"""Notifier on a real database and a real network, taken through its steps by hand, with a clock that tests move."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from services.notifier import handlers
from services.notifier.calls import Answered, Call, send
from services.notifier.claiming import claim
from services.notifier.deliver import Deliverer, delivering
from services.notifier.encryption import Vault, vault_of
from services.notifier.fan_out import ask_connected, catch_up_one, fan_out_chunk
from services.notifier.finishing import finish
from services.notifier.signing import new_secret
from services.notifier.store import endpoints as endpoint_store
from shared.catalog_view import keep_companies
from shared.database import Database
from shared.events.catalog import (
    Attribute,
    CompanyChanged,
    Component,
    ConnectionChanged,
    ConnectionState,
    ProductChanged,
    Variant,
)
from shared.events.inventory import Level, StockChanged, StockRemoved
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY
from tests.receiver import Receiver

SUPPLIER_A, RETAILER_A, RETAILER_B = 1, 2, 3
WINDOW_SECONDS = 900
TIMEOUT_SECONDS = 15


def notifier_settings(dsn: str, **changed: Any) -> Settings:  # noqa: ANN401 - any setting
    """Settings of a notifier whose retailers run on this machine."""
    values: dict[str, Any] = {
        "dsn": dsn,
        "webhook_window_seconds": WINDOW_SECONDS,
        "webhook_timeout_seconds": TIMEOUT_SECONDS,
        "webhook_allow_networks": ("127.0.0.0/8",),
        "webhook_encryption_key": ENCRYPTION_KEY,
    }
    return Settings(_env_file=None, **values | changed)


def stock_changed(product_id: int, available: int, version: int, *, previous: int = 0, **fields: Any) -> StockChanged:  # noqa: ANN401 - any field
    """A change of a base stock product, as inventory tells it, at no location unless `fields` say otherwise."""
    values: dict[str, Any] = {
        "supplier_id": SUPPLIER_A,
        "sku": {100: "T01-S", 101: "T01-L", 200: "S7"}.get(product_id, f"SKU-{product_id}"),
        "levels": (),
        "causes": ("order",),
        "occurred_at": datetime(2026, 1, 1, 12, 0, version % 60, tzinfo=UTC),
    }
    return StockChanged(
        base_stock_product_id=product_id,
        on_hand=available,
        allocated=0,
        reserved=0,
        available=available,
        previous_available=previous,
        changes=1,
        version=version,
        **values | fields,
    )


def stock_at(product_id: int, version: int, levels: Mapping[str, int], **fields: Any) -> StockChanged:  # noqa: ANN401 - any field
    """A change of a base stock product of which this much is available at each location."""
    kept = tuple(
        Level(location=location, on_hand=available, allocated=0, reserved=0, available=available)
        for location, available in levels.items()
    )
    return stock_changed(product_id, sum(levels.values()), version, levels=kept, **fields)


def stock_removed(product_id: int, version: int, *, previous: int) -> StockRemoved:
    """A base stock product is stocked nowhere any more."""
    whole = stock_changed(product_id, 0, version, previous=previous)
    kept = set(StockRemoved.model_fields)
    return StockRemoved(**whole.model_dump(include=kept) | {"causes": ("removed",)})


def connection(state: ConnectionState, version: int, retailer_id: int = RETAILER_A) -> ConnectionChanged:
    """The dropship connection of a retailer with Supplier A."""
    return ConnectionChanged(
        connection_id=10 + retailer_id,
        supplier_id=SUPPLIER_A,
        retailer_id=retailer_id,
        state=state,
        version=version,
    )


def product(product_id: int, sku: str, **fields: Any) -> ProductChanged:  # noqa: ANN401 - any field
    """A product of Supplier A, a `stock` product unless `fields` say otherwise."""
    values: dict[str, Any] = {"owner_id": SUPPLIER_A, "type": "stock", "title": sku, "version": 1}
    return ProductChanged(product_id=product_id, sku=sku, **values | fields)


def _size(variant_id: int, sku: str, size: str, stock_product_id: int) -> Variant:
    return Variant(
        variant_id=variant_id,
        sku=sku,
        attributes=(Attribute(name="Size", value=size),),
        components=(Component(product_id=stock_product_id, quantity=1),),
    )


SIZES = (_size(1, "T01-S", "Small", 100), _size(2, "T01-L", "Large", 101))

# The fixture of docs/compatibility: the products of the KornitX article.
SEEDS = (
    product(100, "T01-S"),
    product(101, "T01-L"),
    product(102, "T01", type="customisable", variants=SIZES),
    product(200, "S7"),
    product(201, "S7", type="customisable", components=(Component(product_id=200, quantity=1),)),
    product(202, "S7", type="stock_customisable"),
    product(300, "T01", type="virtual", owner_id=RETAILER_A, base_product_id=102),
)


@dataclass
class Desk:
    """Notifier's parts, and the hands that move them one step at a time."""

    database: Database
    settings: Settings
    deliverer: Deliverer
    offset_seconds: float = 0
    endpoints: list[int] = field(default_factory=list)

    @property
    def vault(self) -> Vault:
        """What the endpoints' secrets are encrypted with."""
        return vault_of(self.settings.webhook_encryption_key)

    async def learn(self) -> None:
        """The seeds' companies and products, and the connection of Retailer A with Supplier A."""
        companies = (
            (SUPPLIER_A, "supplier-a", "supplier"),
            (RETAILER_A, "retailer-a", "retailer"),
            (RETAILER_B, "retailer-b", "retailer"),
        )
        async with self.database.transaction() as session:
            await keep_companies(
                session,
                [
                    CompanyChanged(company_id=company_id, ref=ref, display_name=ref, role=role, version=1)
                    for company_id, ref, role in companies
                ],
            )
        await self.hear_connections(connection("active", 1))
        await self.catch_up()
        await self.hear_products(*SEEDS)

    async def hear_stock(self, *events: StockChanged | StockRemoved) -> None:
        """One batch of stock events."""
        async with self.database.transaction() as session:
            await handlers.keep_stock(session, events)

    async def hear_connections(self, *events: ConnectionChanged) -> None:
        """One batch of connection events."""
        async with self.database.transaction() as session:
            await handlers.copy_connections(session, events)

    async def hear_products(self, *events: ProductChanged) -> None:
        """One batch of product events."""
        async with self.database.transaction() as session:
            await handlers.copy_products(session, events)

    async def register(self, receiver: Receiver, company_id: int = RETAILER_A, *, window_seconds: int = 0) -> int:
        """An endpoint of the retailer that leads to `receiver`."""
        return await self.register_url(receiver.url, company_id, receiver, window_seconds)

    async def register_url(
        self, url: str, company_id: int, receiver: Receiver | None = None, window_seconds: int = 0
    ) -> int:
        """An endpoint with this URL, whose calls may reach `receiver`."""
        secret = new_secret()
        if receiver is not None:
            receiver.secrets.append(secret)
        async with self.database.transaction() as session:
            added = await endpoint_store.add(session, company_id, url, self.vault.encrypt(secret), window_seconds)
        return added.endpoint_id

    async def ask_for(self, endpoint_id: int, **options: object) -> None:
        """Set columns of the endpoint, as it is created with them."""
        columns = ", ".join(f'"{name}" = :{name}' for name in options)
        await self.execute(f"update endpoints set {columns} where endpoint_id = :id", id=endpoint_id, **options)

    async def ask_anew(self, endpoint_id: int, **options: object) -> None:
        """Change these columns of the endpoint, as `PATCH` and then fan-out do."""
        await self.ask_for(endpoint_id, **options, catch_up=True)
        await self.catch_up()

    async def fan_out(self) -> None:
        """All that changed."""
        while (await fan_out_chunk(self.database)).products:
            pass
        await self.catch_up()

    async def catch_up(self) -> None:
        """All endpoints that are to be told more, or told again, or to wait for less."""
        while await ask_connected(self.database):
            pass
        while await catch_up_one(self.database):
            pass

    async def claim(self) -> tuple[Call, ...]:
        """All calls that are due."""
        return (await claim(self.database, self.settings, 0, 1000)).calls

    async def send(self, calls: Sequence[Call]) -> list[Answered]:
        """Make these calls at once."""
        return list(await asyncio.gather(*(send(self.deliverer, self.vault, call) for call in calls)))

    async def tell(self) -> list[Answered]:
        """Everything from the stock to the retailers, until nothing more is due; returns the calls made."""
        await self.fan_out()
        return await self.tell_due()

    async def tell_due(self) -> list[Answered]:
        """Make calls until nothing more is due, without looking for more to tell; returns them."""
        made: list[Answered] = []
        while calls := await self.claim():
            answered = await self.send(calls)
            await finish(self.database, answered)
            made += answered
        return made

    async def move(self, seconds: float) -> None:
        """Let this much time pass for the database."""
        self.offset_seconds += seconds
        await self.execute(
            "create or replace function db_now() returns timestamptz language sql volatile as "
            f"'select clock_timestamp() + make_interval(secs => {self.offset_seconds})'"
        )

    async def enable_all(self) -> None:
        """All endpoints are active, and called as if they had never failed."""
        await self.execute(
            """update endpoints set state = 'active', reason = null, failing_since = null, failures = 0, warned = 0,
                next_call_at = '-infinity', products_per_call = 100"""
        )

    async def execute(self, statement: str, **values: object) -> list[Any]:
        """Run SQL in notifier's schema; returns the rows, if there are any."""
        async with self.database.transaction() as session:
            result = await session.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []  # type: ignore[attr-defined] # a cursor's result


@asynccontextmanager
async def a_desk(dsn: str) -> AsyncIterator[Desk]:
    """A notifier on this database that knows the seeds' companies, products and connection."""
    settings = notifier_settings(dsn)
    database = Database("notifier", dsn, pool_size=4)
    async with delivering(settings.webhook_allow_networks) as deliverer:
        seeded = Desk(database, settings, deliverer)
        await seeded.learn()
        yield seeded
    await database.close()


@pytest.fixture
async def desk(database_dsn: str) -> AsyncIterator[Desk]:
    """A notifier that knows the seeds' companies, products and connection."""
    async with a_desk(database_dsn) as seeded:
        yield seeded
