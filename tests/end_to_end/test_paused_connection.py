"""A paused connection: no new orders, no webhooks; what was accepted goes on; resumed, the last state is told."""

import asyncpg

from tests.end_to_end.copies import COPIES
from tests.end_to_end.system import System, eventually
from tests.end_to_end.test_story import order, register_webhook


async def until_heard(system: System, state: str) -> None:
    """Wait until all three services know the connection to be in this state."""

    async def heard() -> bool:
        states = [await system.rows(service, "select state from connections") for service in COPIES]
        return all(rows[0].state == state for rows in states)

    await eventually(f"orders, inventory and notifier know that the connection is {state}", heard)


async def test_paused_means_no_new_orders_and_no_webhooks_until_it_is_resumed(system: System) -> None:
    await system.set_on_hand(200, 10)
    await register_webhook(system)
    (connection,) = (await system.supplier.get("/v1/connections")).body["items"]
    path = f"/v1/connections/{connection['id']}"

    assert (await system.supplier.patch(path, {"state": "paused"})).status == 200
    await until_heard(system, "paused")
    refused = await system.retailer.post("/v1/orders", order("R-1", 201, None, 1))
    own = await system.retailer.post("/v1/orders", order("R-2", 300, "T01-S", 1))
    pos = await system.supplier.post("/v1/orders?wait=10", order("POS-1", 200, None, 1))
    await system.set_on_hand(200, 8)

    assert [(answer.status, answer.body["code"]) for answer in (refused, own)] == [(422, "order_refused")] * 2
    assert pos.body["status"] == "allocated", "the supplier's own orders go on"

    async def fanned_out() -> bool:
        known = await system.rows("inventory", "select version from stock_items where product_id = 200")
        told = await system.rows("notifier", "select fanned_out_version from stock_products where product_id = 200")
        return bool(told and told[0][0] == known[0][0])

    await eventually("notifier has heard of the change", fanned_out)
    assert system.webhooks.calls == []
    assert (await system.supplier.patch(path, {"state": "active"})).status == 200

    async def told() -> bool:
        return bool(system.webhooks.calls)

    await eventually("the retailer hears what is now", told)
    (item,) = [
        item for call in system.webhooks.calls for item in call.stock if item["linked"][0]["product"]["id"] == 200
    ]
    assert item["quantity_available"] == 8
    await until_heard(system, "active")
    assert (await system.retailer.post("/v1/orders?wait=10", order("R-1", 201, None, 1))).body["status"] == "allocated"


async def test_an_order_that_was_accepted_before_the_pause_goes_on(system: System) -> None:
    await system.set_on_hand(200, 10)
    (connection,) = (await system.supplier.get("/v1/connections")).body["items"]
    holding = await asyncpg.connect(system.dsn)
    try:
        # Inventory cannot decide while somebody else holds the item.
        async with holding.transaction():
            await holding.execute("select from inventory.stock_items where product_id = 200 for update")
            accepted = await system.retailer.post("/v1/orders", order("R-1", 201, None, 3))
            assert accepted.status == 201
            await system.supplier.patch(f"/v1/connections/{connection['id']}", {"state": "paused"})
            await until_heard(system, "paused")
            assert (await system.retailer.get(f"/v1/orders/{accepted.body['order_id']}")).body["status"] == "received"
    finally:
        await holding.close()

    async def allocated() -> bool:
        shown = await system.retailer.get(f"/v1/orders/{accepted.body['order_id']}")
        return bool(shown.body["status"] == "allocated")

    await eventually("the order takes its stock", allocated)
    assert await system.available(200) == 7
    returned = {"external_ref": "RET-1", "lines": [{"product_id": 201, "quantity": 1, "restock": True}]}
    assert (await system.retailer.post("/v1/returns", returned)).status == 201, "goods come back while it is paused"

    async def restocked() -> bool:
        return await system.available(200) == 8

    await eventually("the returned unit is back", restocked)
