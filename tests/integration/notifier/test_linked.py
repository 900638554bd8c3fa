"""What a call lists beside the base stock product: what this retailer owns or may see and that draws on it."""

from typing import Any

from services.notifier import handlers
from shared.events.catalog import Component, ProductRemoved
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SIZES,
    SUPPLIER_A,
    Desk,
    connection,
    product,
    stock_changed,
)
from tests.receiver import receiver

SMALL = {"attribute_1": {"name": "Size", "value": "Small"}, "sku": "T01-S"}
BASE = {"product": {"id": 100, "sku": "T01-S"}, "variant": None}
OWN_VERSION = {"product": {"id": 300, "sku": "T01"}, "variant": SMALL}


async def linked(desk: Desk, product_id: int = 100, company_id: int = RETAILER_A) -> list[dict[str, Any]]:
    """What a new endpoint of the retailer is told to be linked to this product."""
    async with receiver() as shop:
        endpoint_id = await desk.register(shop, company_id)
        (row,) = await desk.execute("select coalesce(max(version), 0) + 1 as next from stock_products")
        await desk.hear_stock(stock_changed(product_id, row.next, row.next))
        await desk.tell()
        await desk.execute("delete from endpoints where endpoint_id = :id", id=endpoint_id)
        found: list[dict[str, Any]] = shop.calls[0].stock[0]["linked"]
        return found


async def test_retailer_a_reads_what_the_article_shows(desk: Desk) -> None:
    # 102 is Supplier A's own affair; 300 is Retailer A's version of it, and 101 another size.
    assert await linked(desk) == [BASE, OWN_VERSION]


async def test_the_shortcut_product_stands_for_itself_once(desk: Desk) -> None:
    assert await linked(desk, 202) == [{"product": {"id": 202, "sku": "SKU-202"}, "variant": None}]


async def test_what_the_supplier_shows_to_connected_retailers_is_listed_in_order(desk: Desk) -> None:
    await desk.hear_products(
        product(102, "T01", type="customisable", variants=SIZES, visible_to="connected", version=2)
    )
    shown = {"product": {"id": 102, "sku": "T01"}, "variant": SMALL}
    assert await linked(desk) == [BASE, shown, OWN_VERSION]


async def test_what_is_shown_to_another_retailer_is_not_listed(desk: Desk) -> None:
    await desk.hear_connections(connection("active", 1, RETAILER_B))
    await desk.hear_products(
        product(102, "T01", type="customisable", variants=SIZES, visible_to=(RETAILER_B,), version=2)
    )
    shown = {"product": {"id": 102, "sku": "T01"}, "variant": SMALL}
    assert await linked(desk, company_id=RETAILER_A) == [BASE, OWN_VERSION]
    assert await linked(desk, company_id=RETAILER_B) == [BASE, shown]


async def test_removed_products_are_not_listed(desk: Desk) -> None:
    async with desk.database.transaction() as session:
        await handlers.copy_products(session, [ProductRemoved(product_id=300, owner_id=RETAILER_A, version=2)])
    assert await linked(desk) == [BASE]


async def test_versions_of_versions_and_kits_are_found(desk: Desk) -> None:
    pair = (Component(product_id=100, quantity=2), Component(product_id=200, quantity=1))
    await desk.hear_products(
        product(301, "T01-GIFT", type="virtual", owner_id=RETAILER_A, base_product_id=300),
        product(400, "PAIR", type="customisable", components=pair),
        product(401, "MY-PAIR", type="virtual", owner_id=RETAILER_A, base_product_id=400),
    )
    kit = {"product": {"id": 401, "sku": "MY-PAIR"}, "variant": None}
    assert await linked(desk) == [BASE, OWN_VERSION, {"product": {"id": 301, "sku": "T01-GIFT"}, "variant": SMALL}, kit]
    assert await linked(desk, 200) == [{"product": {"id": 200, "sku": "S7"}, "variant": None}, kit]


async def test_chains_are_followed_eight_versions_deep(desk: Desk) -> None:
    await desk.hear_products(
        *(
            product(500 + depth, f"V{depth}", type="virtual", owner_id=RETAILER_A, base_product_id=499 + depth)
            for depth in range(1, 12)
        ),
        product(500, "V0", type="virtual", owner_id=SUPPLIER_A, base_product_id=201),
    )
    # 500 is the first version of 201, 507 the eighth.
    assert [part["product"]["id"] for part in await linked(desk, 200)] == [200, 501, 502, 503, 504, 505, 506, 507]


async def test_two_retailers_in_one_claim_each_read_their_own_list(desk: Desk) -> None:
    await desk.hear_connections(connection("active", 1, RETAILER_B))
    await desk.hear_products(product(310, "B-T01", type="virtual", owner_id=RETAILER_B, base_product_id=102))
    async with receiver() as shop_a, receiver() as shop_b:
        await desk.register(shop_a, RETAILER_A)
        await desk.register(shop_b, RETAILER_B)
        await desk.hear_stock(stock_changed(100, 10, 1))
        await desk.tell()
        listed = {
            name: [part["product"]["id"] for part in shop.calls[0].stock[0]["linked"]]
            for name, shop in (("a", shop_a), ("b", shop_b))
        }
        assert listed == {"a": [100, 300], "b": [100, 310]}
