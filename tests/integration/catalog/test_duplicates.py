"""Duplicating products: the same links under another SKU, and a warning where stock would be kept twice."""

from typing import Any

import pytest

from shared.events.catalog import ProductChanged
from tests.integration.catalog.conftest import RETAILER_A, SUPPLIER_A, Catalog


async def test_a_duplicate_draws_on_the_same_stock_with_variants_of_its_own(seeds: Catalog) -> None:
    supplier = await seeds.client_of(SUPPLIER_A)
    await supplier.patch("/v1/products/102", {"barcode": "4006381333931", "visibility": "connected"})
    original = (await supplier.get("/v1/products/102")).body

    made = await supplier.post("/v1/products/102/duplicate", {"sku": "T02", "name": "Another print"})

    copy = made.body
    assert (made.status, copy["sku"], copy["name"], copy["version"], copy["warnings"]) == (
        201,
        "T02",
        "Another print",
        1,
        [],
    )
    assert (copy["barcode"], copy["visibility"]) == (None, "private")
    without_ids = [
        [{name: value for name, value in variant.items() if name != "id"} for variant in product["variants"]]
        for product in (original, copy)
    ]
    assert without_ids[0] == without_ids[1]
    assert not {variant["id"] for variant in original["variants"]} & {variant["id"] for variant in copy["variants"]}
    assert (await supplier.get("/v1/products/102")).body == original
    event = max(await seeds.published(ProductChanged), key=lambda event: event.product_id)
    assert (event.product_id, event.sku, event.version) == (copy["id"], "T02", 1)
    assert [item.components[0].product_id for item in event.variants] == [100, 101]


async def test_a_duplicate_of_the_shortcut_is_a_second_stock_product_and_the_answer_warns(seeds: Catalog) -> None:
    supplier = await seeds.client_of(SUPPLIER_A)

    shortcut = await supplier.post("/v1/products/202/duplicate", {"sku": "S8"})
    linked = await supplier.post("/v1/products/201/duplicate", {"sku": "S8"})
    stock = await supplier.post("/v1/products/200/duplicate", {"sku": "S8"})

    assert (shortcut.status, linked.status, stock.status) == (201, 201, 201)
    (warning,) = shortcut.body["warnings"]
    assert warning["code"] == "independent_stock"
    assert f"product {shortcut.body['id']} is a second stock product" in warning["detail"]
    assert "base_stock_product_id 202" in warning["detail"]
    own = (await supplier.get(f"/v1/products/{shortcut.body['id']}/stock-links")).body["parts"][0]["components"]
    assert [item["product_id"] for item in own] == [shortcut.body["id"]]
    assert (linked.body["warnings"], linked.body["base_stock_product_id"]) == ([], 200)
    assert stock.body["warnings"] == []


async def test_what_the_warning_advises_works(seeds: Catalog) -> None:
    body = {"owner_id": SUPPLIER_A, "sku": "S9", "name": "S9", "type": "customisable", "base_stock_product_id": 202}

    made = await seeds.admin.post("/v1/products", body)

    assert (made.status, made.body["base_stock_product_id"]) == (201, 202)


async def test_a_retailer_duplicates_its_own_version_and_nothing_of_its_suppliers(seeds: Catalog) -> None:
    await seeds.admin.patch("/v1/products/102", {"visibility": "connected"})
    retailer = await seeds.client_of(RETAILER_A)

    own = await retailer.post("/v1/products/300/duplicate", {"sku": "T02"})
    shown = await retailer.post("/v1/products/102/duplicate", {"sku": "T03"})

    assert (own.status, own.body["base_product_id"], own.body["owner_id"]) == (201, 102, RETAILER_A)
    assert (shown.status, shown.body["code"]) == (404, "product_not_found")


async def test_an_old_version_cannot_be_duplicated_when_its_connection_has_ended(seeds: Catalog) -> None:
    retailer = await seeds.client_of(RETAILER_A)
    (connection,) = (await retailer.get("/v1/connections")).body["items"]
    await retailer.delete(f"/v1/connections/{connection['id']}")

    refused = await retailer.post("/v1/products/300/duplicate", {"sku": "T02"})

    assert refused.status == 422
    assert [error["field"] for error in refused.body["errors"]] == ["base_product_id"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"sku": "T01"}, 409, "sku_taken"),
        ({"sku": "T02", "id": 200}, 409, "product_exists"),
        ({"name": "No SKU"}, 422, "invalid_request"),
        ({"sku": "T02", "type": "stock"}, 422, "invalid_request"),
    ],
)
async def test_a_wrong_duplicate_is_refused_and_nothing_is_made(
    seeds: Catalog, body: dict[str, Any], status: int, code: str
) -> None:
    before = len(await seeds.published(ProductChanged))

    refused = await seeds.admin.post("/v1/products/102/duplicate", body)

    assert (refused.status, refused.body["code"]) == (status, code)
    assert len(await seeds.published(ProductChanged)) == before


async def test_only_the_admin_chooses_a_duplicates_id(seeds: Catalog) -> None:
    supplier = await seeds.client_of(SUPPLIER_A)

    own = await supplier.post("/v1/products/102/duplicate", {"sku": "T02", "id": 150})
    chosen = await seeds.admin.post("/v1/products/102/duplicate", {"sku": "T02", "id": 150})

    assert (own.status, chosen.status, chosen.body["id"]) == (403, 201, 150)
