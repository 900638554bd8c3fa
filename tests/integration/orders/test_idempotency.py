"""Keys of requests at orders, which are idempotent by their reference as well, and may wait for inventory."""

from shared.idempotency import HEADER, REPLAYED
from tests.integration.orders.shop import ORDER, Shop, allocated

UNDER_K1 = {HEADER: "k1"}


async def test_under_a_key_the_first_answer_comes_again_not_the_order_as_it_is_now(shop: Shop) -> None:
    async with shop.client() as retailer:
        first, second = [await retailer.post("/v1/orders", ORDER, headers=UNDER_K1) for _ in range(2)]
    assert (first.status, second.status, second.body) == (201, 201, first.body)
    assert (second.headers["Location"], second.headers[REPLAYED]) == (first.headers["Location"], "true")
    assert len(await shop.told()) == 1


async def test_whoever_waits_under_a_key_is_answered_with_the_decision(shop: Shop) -> None:
    shop.inventory.decide = allocated
    async with shop.client() as retailer:
        first = await retailer.post("/v1/orders?wait=10", ORDER, headers=UNDER_K1)
        again = await retailer.post("/v1/orders?wait=10", ORDER, headers=UNDER_K1)
    assert (first.status, first.body["status"]) == (201, "allocated")
    assert again.headers[REPLAYED] == "true", "what was kept is the answer of when the order was accepted"
    assert (again.body["order_id"], again.body["status"]) == (first.body["order_id"], "received")
