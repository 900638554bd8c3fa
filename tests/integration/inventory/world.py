"""The seeds' companies and products as inventory hears of them, and short ways to say what happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from services.inventory.domain.stock import Cause, default_location
from services.inventory.handlers import SUBSCRIPTIONS
from services.inventory.record import record
from services.inventory.store.stock import lock_stock
from shared.database import Database
from shared.events import Event, decode, types_by_wire_name
from shared.events.catalog import CompanyChanged, Component, ConnectionChanged, ProductChanged, Variant
from shared.events.inventory import OrderAllocated, OrderShort, StockChanged, StockRemoved
from shared.events.orders import (
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
    ItemsReturned,
    OrderAmended,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderLine,
    ReturnedLine,
)

SUPPLIER, RETAILER, STRANGER = 1, 2, 3
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

COMPANIES = [
    CompanyChanged(company_id=SUPPLIER, ref="supplier-a", display_name="Supplier A", role="supplier", version=1),
    CompanyChanged(company_id=RETAILER, ref="retailer-a", display_name="Retailer A", role="retailer", version=1),
    CompanyChanged(company_id=STRANGER, ref="stranger", display_name="Stranger", role="retailer", version=1),
]
CONNECTION = ConnectionChanged(connection_id=1, supplier_id=SUPPLIER, retailer_id=RETAILER, state="active", version=1)


def stock_product(product_id: int, sku: str, version: int = 1, **more: Any) -> ProductChanged:  # noqa: ANN401 - fields
    return ProductChanged(
        **{
            "product_id": product_id,
            "owner_id": SUPPLIER,
            "type": "stock",
            "sku": sku,
            "title": sku,
            "version": version,
        }
        | more
    )


def link(product_id: int, quantity: int = 1) -> Component:
    return Component(product_id=product_id, quantity=quantity)


SMALL, LARGE, CASE = stock_product(100, "T01-S"), stock_product(101, "T01-L"), stock_product(200, "S7")
SHIRT = stock_product(
    102,
    "T01",
    type="customisable",
    variants=(
        Variant(variant_id=1, sku="T01-S", components=(link(100),)),
        Variant(variant_id=2, sku="T01-L", components=(link(101),)),
    ),
)
CUSTOM_CASE = stock_product(201, "S7", type="customisable", components=(link(200),))
SHORTCUT = stock_product(202, "S7", type="stock_customisable")
OWN_VERSION = stock_product(300, "T01", owner_id=RETAILER, type="virtual", base_product_id=102)
KIT = stock_product(400, "KIT", type="customisable", components=(link(100, 2), link(200, 1)))
PRODUCTS = [SMALL, LARGE, CASE, SHIRT, CUSTOM_CASE, SHORTCUT, OWN_VERSION, KIT]

Asked = tuple[int, str | None, int]


def order(
    *asked: Asked,
    order_id: UUID | None = None,
    version: int = 1,
    seller_id: int = RETAILER,
    checked: bool = False,
    **more: Any,  # noqa: ANN401
) -> OrderCreated:
    """An order of `(product id, variant, quantity)` lines, `checked` by orders or left to inventory to check."""
    order_id = order_id or uuid4()
    lines = tuple(
        OrderLine(line_id=n, product_id=product_id, variant_sku=variant, quantity=quantity, checked=checked)
        for n, (product_id, variant, quantity) in enumerate(asked, 1)
    )
    fixed = {"order_id": order_id, "seller_id": seller_id, "external_ref": str(order_id), "source": "api"}
    return OrderCreated(**fixed | {"placed_at": MOMENT, "lines": lines, "version": version} | more)


def amended(first: OrderEvent, *lines: OrderLine, version: int = 2) -> OrderAmended:
    """The order with these lines, the others taken away."""
    return OrderAmended(**first.model_dump() | {"lines": lines, "version": version})


def cancelled(first: OrderEvent, version: int = 9) -> OrderCancelled:
    return OrderCancelled(**first.model_dump(exclude={"state"}) | {"version": version})


def line(placed: OrderEvent, line_id: int = 1, **changes: Any) -> OrderLine:  # noqa: ANN401 - fields
    """A line of an order, with changes."""
    return next(one for one in placed.lines if one.line_id == line_id).model_copy(update=changes)


def assigned(placed: OrderEvent, logical_timestamp: int, **more: Any) -> FulfillmentRequestAssigned:  # noqa: ANN401
    return FulfillmentRequestAssigned(**_item(placed, logical_timestamp) | more)


def completed(placed: OrderEvent, logical_timestamp: int, **more: Any) -> FulfillmentRequestCompleted:  # noqa: ANN401
    """One unit of the order's first line has left `main`, unless `more` says otherwise."""
    return FulfillmentRequestCompleted(**_item(placed, logical_timestamp, more.get("line_id", 1)) | more)


def failed(placed: OrderEvent, logical_timestamp: int, **more: Any) -> FulfillmentRequestFailed:  # noqa: ANN401 - fields
    return FulfillmentRequestFailed(**_item(placed, logical_timestamp, more.get("line_id", 1)) | more)


def _item(placed: OrderEvent, logical_timestamp: int, line_id: int = 1) -> dict[str, Any]:
    ordered = line(placed, line_id)
    return {
        "request_id": UUID(int=logical_timestamp),
        "supplier_id": SUPPLIER,
        "seller_id": placed.seller_id,
        "order_id": placed.order_id,
        "line_id": line_id,
        "product_id": ordered.product_id,
        "variant_sku": ordered.variant_sku,
        "quantity": 1,
        "location": ordered.location or "main",
        "external_ref": placed.external_ref,
        "logical_timestamp": logical_timestamp,
        "occurred_at": MOMENT,
    }


def returned(*asked: Asked, restock: bool = True, seller_id: int = RETAILER) -> ItemsReturned:
    """A stand-alone return of `(product id, variant, quantity)` lines."""
    return_id = uuid4()
    return ItemsReturned(
        return_id=return_id,
        seller_id=seller_id,
        external_ref=str(return_id),
        source="api",
        returned_at=MOMENT,
        lines=tuple(
            ReturnedLine(line_id=n, product_id=product_id, variant_sku=variant, quantity=quantity, restock=restock)
            for n, (product_id, variant, quantity) in enumerate(asked, 1)
        ),
    )


class World:
    """Inventory's handlers on a database of their own."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def hear(self, *events: Event, then: Exception | None = None) -> None:
        """Handle these events in one transaction, as the consumer would, and raise `then` before it commits."""
        async with self.database.transaction() as session:
            for subscription in SUBSCRIPTIONS:
                heard = [event for event in events if isinstance(event, subscription.events)]
                if heard:
                    await subscription.handle(session, heard)
            if then:
                raise then

    async def count(self, **on_hand: int) -> None:
        """`count(_100=10)`: so many units are on hand in `main`."""
        async with self.database.transaction() as session:
            wanted = {int(name.removeprefix("_")): quantity for name, quantity in on_hand.items()}
            stock = await lock_stock(session, wanted)
            for product_id, quantity in wanted.items():
                location_id = default_location(stock.locations[stock.items[product_id].supplier_id]).location_id
                level = stock.level(product_id, location_id)
                cause = Cause("manual", "key 1", "api", "key 1", "counted")
                stock.move(product_id, location_id, cause, on_hand=quantity - level.on_hand)
            await record(session, stock)

    async def locate(self, code: str, order_effect: str = "decrement", on_hand_owner: str = "internal") -> int:
        """Make or change the supplier's location of this code; returns its id."""
        ((location_id,),) = await self.rows(f"""
            insert into locations (supplier_id, code, order_effect, on_hand_owner)
            values ({SUPPLIER}, '{code}', '{order_effect}', '{on_hand_owner}')
            on conflict (supplier_id, code) do update
                set order_effect = excluded.order_effect, on_hand_owner = excluded.on_hand_owner
            returning location_id
        """)
        return int(location_id)

    async def stock_at(self, code: str, product_id: int = 100) -> tuple[int, int]:
        """On hand and allocated of a product at a location."""
        found = await self.rows(f"""
            select v.on_hand, v.allocated from stock_levels v join locations l using (location_id)
            where v.product_id = {product_id} and l.code = '{code}'
        """)
        return found[0] if found else (0, 0)

    async def move_clock(self, seconds: float) -> None:
        """Let the database's clock be so many seconds ahead."""
        async with self.database.transaction() as session:
            await session.execute(
                text(
                    "create or replace function db_now() returns timestamptz language sql volatile as "
                    f"'select clock_timestamp() + make_interval(secs => {seconds})'"
                )
            )

    async def rows(self, query: str) -> list[Any]:
        async with self.database.transaction() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def levels(self) -> dict[int, int]:
        """On hand, by product."""
        return dict(await self.rows("select product_id, cast(sum(on_hand) as bigint) from stock_levels group by 1"))

    async def told(self, *kinds: type[Event]) -> list[Any]:
        """The events that were published, in order, and forget them."""
        known = types_by_wire_name([StockChanged, StockRemoved, OrderAllocated, OrderShort])
        rows = await self.rows("delete from outbox returning created_at, message_id, content_type, body")
        events = [event for row in sorted(rows) for event in decode(row[2], row[3], known)]
        return [event for event in events if isinstance(event, kinds or Event)]

    async def assert_the_ledger_explains_every_level(self) -> None:
        """P5: the ledger's sums and its last values are the levels; what orders hold and what has left explain them."""
        drift = await self.rows("""
            select l.product_id, l.location_id from stock_levels l
            left join (select product_id, location_id, sum(on_hand_delta) as on_hand, sum(allocated_delta) as allocated,
                    sum(reserved_delta) as reserved from stock_ledger group by 1, 2) e using (product_id, location_id)
            left join (select distinct on (product_id, location_id) product_id, location_id, on_hand, allocated,
                    reserved from stock_ledger order by product_id, location_id, entry_id desc) last
                using (product_id, location_id)
            where (l.on_hand, l.allocated, l.reserved, l.on_hand, l.allocated, l.reserved) is distinct from (
                coalesce(e.on_hand, 0), coalesce(e.allocated, 0), coalesce(e.reserved, 0), coalesce(last.on_hand, 0),
                coalesce(last.allocated, 0), coalesce(last.reserved, 0))
        """)
        assert drift == []
        held = await self.rows("""
            select product_id, location_id, l.allocated, h.held from stock_levels l full join (
                select product_id, location_id, sum(quantity) as held from (
                    select product_id, location_id, quantity from takings where effect = 'allocate'
                    union all select product_id, location_id, quantity from completed_items where held) as parts
                group by 1, 2) h using (product_id, location_id)
            where coalesce(l.allocated, 0) <> coalesce(h.held, 0)
        """)
        assert held == []
        reserved = await self.rows("""
            select product_id, location_id, l.reserved, u.units from stock_levels l full join (
                select product_id, location_id, sum(quantity) as units from reserved_units group by 1, 2) u
                using (product_id, location_id)
            where coalesce(l.reserved, 0) <> coalesce(u.units, 0)
        """)
        assert reserved == []
        # Whatever is held or has left, it was taken out of what is available, once.
        untaken = await self.rows("""
            select product_id, location_id, t.taken, e.drawn from (
                select product_id, location_id, sum(quantity) as taken from (
                    select product_id, location_id, quantity from takings
                    union all select product_id, location_id, quantity from completed_items) as parts
                group by 1, 2) t
            full join (select product_id, location_id, sum(allocated_delta - on_hand_delta) as drawn from stock_ledger
                where kind like 'order%' or kind like 'fulfil%' group by 1, 2) e using (product_id, location_id)
            where coalesce(taken, 0) <> coalesce(drawn, 0)
        """)
        assert untaken == []
        versions = await self.rows("""
            select * from stock_items i where version <> coalesce(
                (select max(item_version) from stock_ledger e where e.product_id = i.product_id), 0)
        """)
        assert versions == []


@asynccontextmanager
async def an_empty_world(dsn: str) -> AsyncIterator[World]:
    """Inventory without any company or product."""
    database = Database("inventory", dsn, pool_size=8)
    try:
        yield World(database)
    finally:
        await database.close()
