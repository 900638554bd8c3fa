"""Orders are found by who sold or supplies them, how they stand, what they hold, and when they came."""

from typing import Any

from shared.events.inventory import LineDecision, LineOutcome, OrderAllocated
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
        assert await refs(retailer, "product_id=200&status=received&external_ref=R-2") == ["R-2"]
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


async def test_orders_are_found_by_parts_of_their_references_and_the_beginning_of_their_ids(shop: Shop) -> None:
    ids = await filled(shop)
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier, shop.client(STRANGER) as stranger:
        order_id = ids["R-1"]["order_id"]
        odd = {"external_ref": "50%_OFF", "lines": [OWN]}
        await retailer.post("/v1/orders", odd)
        assert await refs(retailer, "q=r-") == ["R-2", "R-1"]
        assert await refs(retailer, "q=-1&status=allocated") == ["R-1"]
        assert await refs(retailer, "q=%25") == await refs(retailer, "q=_off") == ["50%_OFF"]
        assert await refs(retailer, f"q={order_id.upper()}") == ["R-1"]
        assert await refs(retailer, f"q={order_id[1:]}") == []
        assert await refs(retailer, "q=") == ["50%_OFF", "R-2", "R-1"]
        assert await refs(supplier, "q=r-") == []
        assert await refs(supplier, f"supplier_id={SUPPLIER}&q=-1") == ["S-1", "R-1"]
        assert await refs(stranger, "q=r-") == await refs(stranger, f"q={order_id}") == []
        assert (await retailer.get("/v1/orders?q=%00")).status == 422


async def test_several_statuses_may_be_asked_for(shop: Shop) -> None:
    await filled(shop)
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        assert await refs(retailer, "status=allocated&status=received") == ["R-2", "R-1"]
        assert await refs(retailer, "status=allocated&status=short") == ["R-1"]
        assert await refs(retailer, "status=parked&status=short") == []
        assert await refs(supplier, f"supplier_id={SUPPLIER}&status=allocated&status=short") == ["R-1"]
        wrong = await retailer.get("/v1/orders?status=allocated&status=nonsense")
        assert (wrong.status, wrong.body["errors"][0]["field"].split("[")[0]) == (422, "status")


async def test_what_waits_is_found_by_its_lines(shop: Shop) -> None:
    """Also where another line was not decided yet; not once it is cancelled, nor by the supplier of the other line."""
    outcomes: dict[str, tuple[LineOutcome, ...]] = {
        "R-1": ("allocated", "allocated"),
        "R-2": ("allocated", "short"),
        "R-3": ("parked", "allocated"),
        "R-4": ("refused", "refused"),
        "R-5": ("untracked", "allocated"),
    }
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        for ref, (first, second) in outcomes.items():
            unknown = {"product_id": 555, "quantity": 4}
            ordered = [unknown if first == "parked" else SMALL, OWN]
            await retailer.post("/v1/orders", {"external_ref": ref, "lines": ordered})
            order = next(
                event for event in await shop.told() if isinstance(event, OrderCreated) and event.external_ref == ref
            )
            lines = tuple(
                LineDecision(
                    line_id=line_id,
                    outcome=outcome,
                    supplier_id=None if outcome == "parked" else SUPPLIER,
                    shortfall=1 if outcome == "short" else 0,
                    waits_for=555 if outcome == "parked" else None,
                )
                for line_id, outcome in enumerate((first, second), 1)
            )
            await shop.inventory.tell(
                OrderAllocated(order_id=order.order_id, order_version=order.version, decision=1, lines=lines)
            )
        assert await refs(retailer, "waiting=true") == ["R-4", "R-3", "R-2"]
        assert await refs(retailer, "waiting=true&status=parked") == ["R-3"]
        assert await refs(retailer, "waiting=false") == ["R-5", "R-4", "R-3", "R-2", "R-1"]
        assert await refs(supplier, f"supplier_id={SUPPLIER}&waiting=true") == ["R-4", "R-2"]
        parked = (await retailer.get("/v1/orders?external_ref=R-3")).body["items"][0]
        assert [(line["status"], line["waits_for"]) for line in parked["lines"]] == [
            ("parked", 555),
            ("allocated", None),
        ]
        amended = {"lines": [{"line_id": 2, "quantity": 2}]}
        assert (await retailer.patch(f"/v1/orders/{parked['order_id']}", amended)).status == 200
        assert await refs(retailer, "waiting=true") == ["R-4", "R-3", "R-2"]
        assert await refs(supplier, f"supplier_id={SUPPLIER}&waiting=true") == ["R-4", "R-2"]
        cancelled = {"lines": [{"line_id": 1, "quantity": 4}]}
        assert (await retailer.post(f"/v1/orders/{parked['order_id']}/cancel", cancelled)).status == 200
        assert await refs(retailer, "waiting=true") == ["R-4", "R-2"]
