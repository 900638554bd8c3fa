"""What else happens to stock in the load of `make fault`: reservations that end in every way, and items that leave."""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import aiohttp

from shared import clock
from shared.events import SINGLE, encode
from shared.events.orders import FulfillmentItem, FulfillmentRequestAssigned, FulfillmentRequestCompleted
from shared.idempotency import HEADER
from shared.messaging.bus import EVENTS_EXCHANGE
from tests.app import Answer, Client
from tests.fault.journal import ANSWER_SECONDS, PAUSE_SECONDS, Operation, submit_until_acknowledged
from tests.fault.replay import SHELF, SUPPLIER, TWICE_SHARE, Load, World

SHELF_UNITS = 5_000
WAYS = ("confirmed before its order", "confirmed after its order", "released", "left to expire")
LONG_SECONDS, SHORT_SECONDS = 600, 1


async def fill_shelf(world: World) -> None:
    """Make a location where orders allocate, with units of every product; nothing may die yet."""
    made = await world.supplier.post("/v1/locations", {"code": SHELF, "order_effect": "allocate", "priority": 1})
    assert made.status == 201, made.body
    start = Operation("adjustment", SUPPLIER, "put on the shelf", dict.fromkeys(world.stock_ids.values(), SHELF_UNITS))
    world.journal.enter(start).sent = 1
    row = {"adjustment": SHELF_UNITS, "location": SHELF, "reason": start.reference}
    written = await world.supplier.post("/v1/stock/bulk", [{"id": one, **row} for one in start.effect])
    assert written.status == 200, written.body
    start.acknowledged = 1


async def reserve(load: Load) -> None:
    """Reserve what an order is about to want, order it or not, and end the reservation in one of the ways."""
    while not load.is_stopping:
        retailer_id, client = load.chance.choice(list(load.world.retailers.items()))
        way = load.chance.choice(WAYS)
        order = _basket(load, retailer_id, is_ordered="confirmed" in way)
        with load.counted("inventory"):
            await _reserve_and_end(client, order, way)
        await load.rest("reserved")


async def _reserve_and_end(client: Client, order: Operation, way: str) -> None:
    seconds = SHORT_SECONDS if way == "left to expire" else LONG_SECONDS
    body = {"lines": order.body["lines"], "expires_in_seconds": seconds}
    made = await _until_answered(client, "POST", "/v1/reservations", body)
    assert made.status == 201 or made.body["code"] == "not_enough_stock", made.body
    path = f"/v1/reservations/{made.body['reservation_id']}" if made.status == 201 else None
    if way == "confirmed after its order":
        await submit_until_acknowledged(order, client)
    if path and "confirmed" in way:
        confirmed = await _until_answered(client, "POST", f"{path}/confirm", {"external_ref": order.reference})
        assert confirmed.status == 200, confirmed.body
    if path and way == "released":
        released = await _until_answered(client, "DELETE", path)
        assert (released.status, released.body["state"]) == (200, "released"), released.body
    if way == "confirmed before its order":
        await submit_until_acknowledged(order, client)


def _basket(load: Load, retailer_id: int, *, is_ordered: bool) -> Operation:
    """A small order, that is journalled if it is going to be made; half of them are to be taken from the shelf."""
    world, chance = load.world, load.chance
    units = {code: chance.randint(1, 5) for code in chance.sample(sorted(world.stock_ids), chance.randint(1, 3))}
    place = {"location": SHELF} if chance.random() < 0.5 else {}
    lines = [
        {"product_id": part.product_id, "variant_sku": part.variant_sku, "quantity": quantity, **place}
        for part, quantity in ((world.parts[code], quantity) for code, quantity in units.items())
    ]
    effect = {world.stock_ids[code]: -quantity for code, quantity in units.items()}
    order = Operation("order", retailer_id, f"basket {uuid4()}", effect, {"lines": lines})
    return world.journal.enter(order) if is_ordered else order


async def ship(load: Load) -> None:
    """Let units of decided orders leave: fulfillment events as orders will publish them, by one supplier's clock."""
    timestamps = count(1)
    looked_at: set[str] = set()
    while not load.is_stopping:
        shown = await _next_decided(load, looked_at)
        for line in shown["lines"] if shown else ():
            takes = [one for one in line["takes"] if one["location"] == SHELF]
            if takes:
                item = _item(shown, line, next(timestamps))
                await _publish(load, FulfillmentRequestAssigned(**item))
                await _publish(load, FulfillmentRequestCompleted(**item | {"logical_timestamp": next(timestamps)}))
        await load.rest("shipped")


async def _next_decided(load: Load, looked_at: set[str]) -> Mapping[str, Any]:
    """An order that inventory has decided and nobody has looked at; nothing where there is none."""
    for operation in list(load.world.journal.operations):
        if operation.kind == "order" and operation.ids and operation.reference not in looked_at:
            client = load.world.retailers[operation.company_id]
            with load.counted("orders"):
                shown = await _until_answered(client, "GET", f"/v1/orders/{min(operation.ids)}")
            assert shown.status == 200, shown.body
            if shown.body["decision"]:
                looked_at.add(operation.reference)
                order: Mapping[str, Any] = shown.body
                return order
    return {}


def _item(order: Mapping[str, Any], line: Mapping[str, Any], logical_timestamp: int) -> dict[str, Any]:
    return {
        "request_id": uuid4(),
        "supplier_id": SUPPLIER,
        "seller_id": order["seller_id"],
        "order_id": UUID(order["order_id"]),
        "line_id": line["line_id"],
        "product_id": line["product_id"],
        "variant_sku": line["variant_sku"],
        "quantity": 1,
        "location": SHELF,
        "external_ref": order["external_ref"],
        "logical_timestamp": logical_timestamp,
        "occurred_at": clock.utc_now(),
    }


async def _publish(load: Load, item: FulfillmentItem) -> None:
    """Publish an item until it is confirmed, some twice, as different events."""
    for _ in range(2 if load.chance.random() < TWICE_SHARE else 1):
        event_id = clock.uuid7_text()
        message = aio_pika.Message(
            encode(item, event_id, clock.utc_now(), None),
            content_type=SINGLE,
            message_id=event_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await load.publish_until_confirmed(EVENTS_EXCHANGE, item.name, message)


async def _until_answered(client: Client, method: str, path: str, body: object = None) -> Answer:
    """Send a request under one key, the same again and again, until it is answered."""
    key = str(uuid4())
    while True:
        try:
            answer = await client.call(
                method, path, body, headers={HEADER: key}, timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            if answer.status < 500:
                return answer
            await asyncio.sleep(PAUSE_SECONDS)
