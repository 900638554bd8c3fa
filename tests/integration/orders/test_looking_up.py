"""Orders are found by who sold or supplies them, how they stand, what they hold, and when they came."""

from typing import Any

from shared.events.orders import OrderCreated
from tests.app import Client
from tests.integration.orders.shop import (
    OTHER_SUPPLIER,
    RETAILER,
    SMALL,
    STRANGER,
    SUPPLIER,
    Shop,
    allocated,
)

OWN = {"product_id": 200, "quantity": 1}


async def refs(client: Client, query: str) -> list[str]:
    answer = await client.get(f"/v1/orders?{query}")
    assert answer.status == 200, answer.body
    return [order["external_ref"] for order in answer.body["items"]]


async def filled(shop: Shop) -> dict[str, Any]:
    """R-1 and R-2 of the retailer, of which R-1 is decided; S-1 is the supplier's own."""
    ids = {}
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        ids["R-1"] = (await retailer.post("/v1/orders", {"external_ref": "R-1", "lines": [SMALL]})).body
        ids["R-2"] = (await retailer.post("/v1/orders", {"external_ref": "R-2", "lines": [OWN], "source": "pos"})).body
        ids["S-1"] = (await supplier.post("/v1/orders", {"external_ref": "S-1", "lines": [OWN]})).body
    first = next(
        event for event in await shop.told() if isinstance(event, OrderCreated) and event.external_ref == "R-1"
    )
    await shop.inventory.tell(allocated(first))
    return ids


async def test_a_seller_finds_its_own_orders(shop: Shop) -> None:
    await filled(shop)
    async with shop.client() as retailer:
        assert await refs(retailer, "") == ["R-2", "R-1"]
        assert await refs(retailer, f"supplier_id={SUPPLIER}") == ["R-2", "R-1"]
        assert await refs(retailer, f"supplier_id={OTHER_SUPPLIER}") == []
        assert await refs(retailer, "status=allocated") == ["R-1"]
        assert await refs(retailer, "status=received") == ["R-2"]
        assert await refs(retailer, "product_id=102") == ["R-1"]
        assert await refs(retailer, "source=pos") == ["R-2"]
        assert await refs(retailer, "product_id=200&status=received&source=pos&external_ref=R-2") == ["R-2"]
        assert await refs(retailer, "product_id=900") == []


async def test_a_supplier_finds_what_it_has_to_send_and_sees_its_own_lines_only(shop: Shop) -> None:
    ids = await filled(shop)
    foreign = {"external_ref": "R-4", "lines": [OWN, {"product_id": 555, "quantity": 4}]}
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        await retailer.post("/v1/orders", foreign)
        assert await refs(supplier, "") == ["S-1"]
        assert await refs(supplier, f"supplier_id={SUPPLIER}") == ["R-4", "S-1", "R-2", "R-1"]
        assert await refs(supplier, f"supplier_id={SUPPLIER}&status=allocated") == ["R-1"]
        assert await refs(supplier, f"supplier_id={SUPPLIER}&seller_id={RETAILER}&product_id=200") == ["R-4", "R-2"]
        mixed = (await supplier.get(f"/v1/orders?supplier_id={SUPPLIER}")).body["items"][0]
        assert [line["product_id"] for line in mixed["lines"]] == [200]
        one = (await supplier.get(f"/v1/orders/{ids['R-1']['order_id']}")).body
        assert (one["seller_id"], one["status"], len(one["lines"])) == (RETAILER, "allocated", 1)
        history = (await supplier.get(f"/v1/orders/{ids['R-1']['order_id']}/history")).body["items"]
        assert [change["kind"] for change in history] == ["received", "decided"]


async def test_strangers_find_nothing(shop: Shop) -> None:
    ids = await filled(shop)
    for company_id in (STRANGER, OTHER_SUPPLIER):
        async with shop.client(company_id) as stranger:
            assert await refs(stranger, f"supplier_id={company_id}") == []
            assert await refs(stranger, f"supplier_id={SUPPLIER}") == []
            assert (await stranger.get(f"/v1/orders?seller_id={RETAILER}")).status == 403
            for path in ("", "/history"):
                assert (await stranger.get(f"/v1/orders/{ids['R-1']['order_id']}{path}")).status == 404


async def test_the_platform_admin_finds_all(shop: Shop) -> None:
    await filled(shop)
    async with shop.client(None) as admin:
        assert await refs(admin, "") == ["S-1", "R-2", "R-1"]
        assert await refs(admin, f"seller_id={RETAILER}&status=allocated") == ["R-1"]
        assert await refs(admin, f"supplier_id={SUPPLIER}&product_id=200") == ["S-1", "R-2"]


async def test_orders_are_found_by_when_they_came(shop: Shop) -> None:
    ids = await filled(shop)
    middle = ids["R-2"]["received_at"]
    async with shop.client() as retailer:
        assert await refs(retailer, f"received_from={middle}") == ["R-2"]
        assert await refs(retailer, f"received_before={middle}") == ["R-1"]
        assert await refs(retailer, "received_from=2000-01-01T00:00:00Z") == ["R-2", "R-1"]
        naive = await retailer.get("/v1/orders?received_from=2026-01-01T00:00:00")
        assert (naive.status, naive.body["errors"][0]["field"]) == (422, "received_from")
        assert (await retailer.get("/v1/orders?status=nonsense")).status == 422
        assert (await retailer.get("/v1/orders?external_ref=%00")).status == 422


async def test_pages_go_on_where_the_one_before_ended(shop: Shop) -> None:
    await filled(shop)
    async with shop.client(SUPPLIER) as supplier:
        seen, cursor = [], ""
        while True:
            page = (await supplier.get(f"/v1/orders?supplier_id={SUPPLIER}&limit=1{cursor}")).body
            seen += [order["external_ref"] for order in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["S-1", "R-2", "R-1"]
