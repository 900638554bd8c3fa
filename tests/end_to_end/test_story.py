"""The seeds' story on every bus: an order lowers base stock, the retailer hears of it, and the numbers stay right."""

import asyncio
import random

from tests.end_to_end.system import System, eventually


async def register_webhook(system: System) -> None:
    """Register once notifier has done with all earlier changes: what follows is then the first that is told."""

    async def nothing_is_under_way() -> bool:
        told = await system.rows("notifier", "select coalesce(sum(fanned_out_version), 0) from stock_products")
        known = await system.rows("inventory", "select sum(version) from stock_items")
        return bool(told[0][0] == known[0][0])

    await eventually("notifier knows of all changes", nothing_is_under_way)
    answer = await system.retailer.post("/v1/webhook-endpoints", {"url": system.webhooks.url})
    assert answer.status == 201, answer.body
    system.webhooks.secrets.append(answer.body["secret"])


def order(ref: str, product_id: int, variant_sku: str | None, quantity: int) -> dict[str, object]:
    line = {"product_id": product_id, "variant_sku": variant_sku, "quantity": quantity}
    return {"external_ref": ref, "lines": [line]}


async def test_an_order_lowers_base_stock_and_the_retailer_hears_of_it(system: System) -> None:
    await system.set_on_hand(100, 10)
    await system.set_on_hand(101, 10)
    await register_webhook(system)

    answer = await system.retailer.post("/v1/orders?wait=10", order("R-1001", 102, "T01-S", 2))
    assert answer.status == 201, answer.body
    assert answer.body["status"] == "allocated"
    assert (await system.available(100), await system.available(101)) == (8, 10), "100 and nothing else"

    ledger = (await system.supplier.get("/v1/stock/100/ledger")).body["items"]
    assert [(entry["kind"], entry["on_hand_delta"], entry["on_hand_after"]) for entry in ledger] == [
        ("order", -2, 8),
        ("manual", 10, 10),
    ]
    assert ledger[0]["reference"] == answer.body["order_id"]

    async def heard() -> bool:
        return bool(system.webhooks.calls)

    await eventually("the webhook arrives", heard)
    (told,) = [item for item in system.webhooks.calls[-1].stock if item["linked"][0]["product"]["id"] == 100]
    assert told["quantity_available"] == 8
    assert told["linked"] == [
        {"product": {"id": 100, "sku": "T01-S"}, "variant": None},
        {
            "product": {"id": 300, "sku": "T01"},
            "variant": {"attribute_1": {"name": "Size", "value": "Small"}, "sku": "T01-S"},
        },
    ], "102 is Supplier A's own and not made visible; 300 is Retailer A's version of it"


async def test_the_retailers_own_version_draws_on_the_same_stock(system: System) -> None:
    await system.set_on_hand(101, 5)
    answer = await system.retailer.post("/v1/orders?wait=10", order("R-1", 300, "T01-L", 1))
    assert answer.body["status"] == "allocated", answer.body
    assert await system.available(101) == 4


async def test_every_message_twice_and_in_random_order_ends_in_the_same_levels(system: System) -> None:
    products = [(102, "T01-S", 100), (102, "T01-L", 101), (300, "T01-S", 100), (201, None, 200), (202, None, 202)]
    chance = random.Random(20261122)
    for base in (100, 101, 200, 202):
        await system.set_on_hand(base, 1000)
    wanted = {100: 1000, 101: 1000, 200: 1000, 202: 1000}
    requests = []
    for number in range(60):
        product_id, variant, base = chance.choice(products)
        quantity = chance.randint(1, 5)
        wanted[base] -= quantity
        requests += [order(f"R-{number}", product_id, variant, quantity)] * 2
    chance.shuffle(requests)
    # As many as a busy machine's eight connections answer in time: more of them are told to come again (503).
    at_once = asyncio.Semaphore(20)

    async def place(body: object) -> int:
        async with at_once:
            return (await system.retailer.post("/v1/orders", body)).status

    assert sorted(await asyncio.gather(*map(place, requests))) == [200] * 60 + [201] * 60

    async def all_taken() -> bool:
        return {base: await system.available(base) for base in wanted} == wanted

    await eventually(f"the levels are {wanted}", all_taken)
    assert await system.rows("inventory", "select * from parked_lines") == []
    drift = """
        select l.product_id from stock_levels l left join
            (select product_id, location_id, sum(on_hand_delta) as on_hand from stock_ledger group by 1, 2) e
            using (product_id, location_id)
        where l.on_hand is distinct from coalesce(e.on_hand, 0)
    """
    assert await system.rows("inventory", drift) == [], "the ledger explains every level"


async def test_an_order_for_a_product_that_is_not_known_yet_waits_for_it(system: System) -> None:
    answer = await system.retailer.post("/v1/orders?wait=10", order("R-early", 777, None, 3))
    assert answer.body["status"] == "parked", answer.body
    assert "777" in answer.body["lines"][0]["reason"]
    product = {"id": 777, "owner_id": 1, "sku": "NEW", "name": "Brand new", "type": "stock"}
    assert (await system.admin.post("/v1/products", product)).status == 201

    async def taken() -> bool:
        found = await system.supplier.get("/v1/stock/777")
        return found.status == 200 and found.body["available"] == -3

    await eventually("the parked order has lowered the new product's stock", taken)

    async def shown() -> bool:
        found = await system.retailer.get(f"/v1/orders/{answer.body['order_id']}")
        return bool(found.body["status"] == "allocated")

    await eventually("the order shows it", shown)


async def test_a_return_restocks_only_when_it_says_so(system: System) -> None:
    await system.set_on_hand(200, 10)

    def returned(ref: str, quantity: int, *, restock: bool) -> dict[str, object]:
        return {"external_ref": ref, "lines": [{"product_id": 201, "quantity": quantity, "restock": restock}]}

    for body in (returned("RET-1", 2, restock=True), returned("RET-1", 2, restock=True)):
        assert (await system.retailer.post("/v1/returns", body)).status in {200, 201}
    assert (await system.retailer.post("/v1/returns", returned("RET-2", 5, restock=False))).status == 201

    async def restocked() -> bool:
        return await system.available(200) == 12

    await eventually("two units are back on the shelf", restocked)


async def test_the_last_state_is_told_once_the_window_is_over(system: System) -> None:
    """Ten changes make two calls: the first at once, the last state when the window has passed."""
    await register_webhook(system)
    await system.set_on_hand(200, 100)

    async def first_call() -> bool:
        return bool(system.webhooks.calls)

    await eventually("the first change is told at once", first_call)
    for number in range(9):
        await system.set_on_hand(200, 99 - number)

    async def notifier_knows() -> bool:
        return (
            await system.rows("notifier", "select 1 from stock_products where product_id = 200 and available = 91")
            != []
        )

    await eventually("the notifier has heard of the last change", notifier_knows)
    # The window passes: the database's clock is moved, nobody sleeps.
    await system.rows(
        "notifier",
        """create or replace function db_now() returns timestamptz language sql
           as $$ select clock_timestamp() + interval '16 minutes' $$""",
    )

    async def last_state_told() -> bool:
        return bool(system.webhooks.calls[-1].stock[0]["quantity_available"] == 91)

    await eventually("the last state is told", last_state_told)
    assert len(system.webhooks.calls) == 2
