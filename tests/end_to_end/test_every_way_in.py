"""Whichever way an order comes in, it lowers the base products behind its T-shirts once, and says which way it came."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import System, eventually
from tests.end_to_end.test_intake import cloudevent
from tests.end_to_end.test_intake import send as publish

Order = dict[str, Any]
# Sends orders of Retailer A, in this order.
Send = Callable[[System, Sequence[Order]], Awaitable[None]]

START = 1000
BASES = (100, 101, 200, 202)
# Every product that can be ordered: `(product id, variant sku, base product that it draws on)`.
ORDERED = (
    (102, "T01-S", 100),
    (102, "T01-L", 101),
    (200, None, 200),
    (201, None, 200),
    (202, None, 202),
    (300, "T01-S", 100),
    (300, "T01-L", 101),
)


@dataclass(frozen=True, slots=True)
class Way:
    """A way in, and the source that its orders are recorded with."""

    source: str
    send: Send


async def post_one_by_one(source: str | None, system: System, orders: Sequence[Order]) -> None:
    for order in orders:
        answer = await system.retailer.post("/v1/orders", order if source is None else order | {"source": source})
        assert answer.status in {200, 201}, answer.body


async def post_array(system: System, orders: Sequence[Order]) -> None:
    answer = await system.retailer.post("/v1/orders/bulk", list(orders))
    assert (answer.status, answer.body["accepted"]) == (200, len(orders)), answer.body


async def post_lines(system: System, orders: Sequence[Order]) -> None:
    lines = "".join(f"{json.dumps(order)}\n" for order in orders).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await system.retailer.post("/v1/orders/bulk", data=lines, headers=headers)
    assert (answer.status, answer.body["accepted"]) == (200, len(orders)), answer.body


async def import_files(system: System, orders: Sequence[Order]) -> None:
    """Each order as a file of its own: within one file, all rows of a reference are one order."""
    for order in orders:
        rows = [
            f"{order['external_ref']},{line['product_id']},{line.get('variant_sku') or ''},{line['quantity']}\n"
            for line in order["lines"]
        ]
        content = "external_ref,product_id,variant_sku,quantity\n" + "".join(rows)
        answer = await system.retailer.post("/v1/orders/imports", data=content.encode())
        assert answer.status == 202, answer.body
        await import_is_done(system, answer.headers["Location"])


async def import_is_done(system: System, path: str) -> None:
    async def is_done() -> bool:
        job = (await system.retailer.get(path)).body
        assert job["refused"] == 0, job
        return bool(job["state"] == "done")

    await eventually(f"{path} is done", is_done)


async def publish_plain(broker: Broker, _: System, orders: Sequence[Order]) -> None:
    for order in orders:
        await publish(broker, json.dumps(order).encode(), "application/json", message_id=order["external_ref"])


async def publish_events(broker: Broker, _: System, orders: Sequence[Order]) -> None:
    for order in orders:
        event = cloudevent(order["external_ref"], order)
        await publish(broker, json.dumps(event).encode(), "application/cloudevents+json")


async def publish_batch(broker: Broker, _: System, orders: Sequence[Order]) -> None:
    """Each time an order is sent it is an event of its own: only its reference says that it is the same."""
    events = [cloudevent(f"{number} {order['external_ref']}", order) for number, order in enumerate(orders)]
    await publish(broker, json.dumps(events).encode(), "application/cloudevents-batch+json")


OVER_HTTP: Mapping[str, Way] = {
    "POST, unnamed": Way("api", partial(post_one_by_one, None)),
    **{f"POST, {name}": Way(name, partial(post_one_by_one, name)) for name in ("api", "pos", "integration", "console")},
    "bulk, array": Way("api", post_array),
    "bulk, NDJSON": Way("api", post_lines),
    "CSV import": Way("import", import_files),
}
OVER_AMQP: Mapping[str, Callable[[Broker, System, Sequence[Order]], Awaitable[None]]] = {
    "AMQP, plain JSON": publish_plain,
    "AMQP, CloudEvents": publish_events,
    "AMQP, batch": publish_batch,
}


def order_of_everything(ref: str) -> tuple[Order, Counter[int]]:
    """An order of 1, 2, 3, ... units of all that can be ordered, and the units it draws from each base product."""
    lines, units = [], Counter[int]()
    for quantity, (product_id, variant_sku, base) in enumerate(ORDERED, 1):
        lines.append({"product_id": product_id, "variant_sku": variant_sku, "quantity": quantity})
        units[base] += quantity
    return {"external_ref": ref, "lines": lines}, units


async def come_in(system: System, name: str, way: Way) -> Counter[int]:
    """Send an order of everything three times, and see that it counts once; returns the units that were sold."""
    before = {base: await system.available(base) for base in BASES}
    order, units = order_of_everything(f"{name}: all")
    # What is sent last is dealt with last: whatever counts twice has done so by then.
    last = {"external_ref": f"{name}: last", "lines": [{"product_id": 202, "quantity": 1}]}
    await way.send(system, [order, order])
    await way.send(system, [order, last])
    order_ids = [await allocated_order(system, sent, name, way.source) for sent in (order, last)]
    sold = units + Counter({202: 1})
    after = {base: await system.available(base) for base in BASES}
    assert after == {base: before[base] - sold[base] for base in BASES}, name
    for base in BASES:
        ledger = (await system.supplier.get(f"/v1/stock/{base}/ledger", params={"limit": "200"})).body["items"]
        entered = [entry["on_hand_delta"] for entry in ledger if entry["reference"] in order_ids]
        assert -sum(entered) == sold[base], (name, base, entered)
    return sold


async def allocated_order(system: System, sent: Order, name: str, source: str) -> str:
    """Wait until the one order of this reference is allocated; returns its id."""
    query = {"external_ref": sent["external_ref"]}

    async def is_allocated() -> bool:
        found = (await system.retailer.get("/v1/orders", params=query)).body["items"]
        return [one["status"] for one in found] == ["allocated"]

    await eventually(f"{sent['external_ref']!r} is allocated", is_allocated)
    (found,) = (await system.retailer.get("/v1/orders", params=query)).body["items"]
    assert found["source"] == source, name
    order_id: str = found["order_id"]
    return order_id


async def walk(system: System, ways: Mapping[str, Way]) -> None:
    for base in BASES:
        await system.set_on_hand(base, START)
    sold = Counter[int]()
    for name, way in ways.items():
        sold += await come_in(system, name, way)
    assert {base: await system.available(base) for base in BASES} == {base: START - sold[base] for base in BASES}
    orders = await system.rows("orders", "select count(*) from orders")
    assert orders[0][0] == 2 * len(ways), "what was sent again is the same order"
    assert await system.rows("orders", "select reason from dead_letters") == []


async def test_every_way_in_lowers_the_base_products_once(rabbit_system: System, broker: Broker) -> None:
    over_amqp = {name: Way("amqp", partial(send, broker)) for name, send in OVER_AMQP.items()}
    await walk(rabbit_system, {**OVER_HTTP, **over_amqp})


async def test_so_does_every_way_in_without_a_broker(embedded_system: System) -> None:
    await walk(embedded_system, OVER_HTTP)
