"""Finding products: each filter, each order, page by page, and nobody finds what they may not see."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from services.catalog.api import product_files
from services.catalog.store import product_lists as store
from services.catalog.store.products import find_products
from shared.database import Session
from tests.app import Client
from tests.integration.catalog.conftest import RETAILER_A, RETAILER_B, SUPPLIER_A, SUPPLIER_B, Catalog


async def ids(caller: Client, **params: Any) -> list[int]:  # noqa: ANN401 - whatever can be asked
    """The ids of a list's first page."""
    answer = await caller.get("/v1/products", params={name: str(value) for name, value in params.items()})
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.body["items"]]


async def all_pages(caller: Client, **params: Any) -> list[int]:  # noqa: ANN401 - as above
    """The ids of all pages."""
    found: list[int] = []
    asked = {name: str(value) for name, value in params.items()}
    while True:
        page = (await caller.get("/v1/products", params=asked)).body
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        asked["cursor"] = page["next_cursor"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"q": "t01"}, [100, 101, 102, 300]),  # the SKU's beginning, whatever its case
        ({"q": "T01-s"}, [100]),
        ({"q": "t-shirt"}, [100, 101, 102, 300]),  # a word of the name
        ({"q": "SHI our"}, [300]),  # all words must begin a word
        ({"q": "case yours"}, [201]),
        ({"q": "01"}, []),
        ({"q": "%"}, []),
        ({"q": "'\\ & | !"}, []),  # what means something to PostgreSQL means nothing here
        ({"name": "t01"}, []),
        ({"name": "case"}, [200, 201, 202]),
        ({"sku": "T01"}, [102, 300]),
        ({"sku": "t01"}, []),
        ({"type": "customisable"}, [102, 201]),
        ({"type": "configurable_stock"}, []),
        ({"linked_to": 100}, [102, 300]),
        ({"linked_to": 200}, [201]),
        ({"linked_to": 202}, []),
        ({"linked_to": 102}, [300]),
        ({"linked_to": 999}, []),
        ({"owner_id": RETAILER_A}, [300]),
        ({"owner_id": 999}, []),
        ({"q": "s7", "type": "stock", "owner_id": SUPPLIER_A}, [200]),
        ({"linked_to": 100, "type": "virtual"}, [300]),
        ({"barcode": "4006381333931"}, []),
        ({"unlinked": "true"}, []),
    ],
)
async def test_each_filter_finds_what_it_says(seeds: Catalog, asked: dict[str, Any], found: list[int]) -> None:
    assert await ids(seeds.admin, **asked) == found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Shirt Black/White", ["white", "black", "black/white", "shirt whi"]),
        ("Case v1.20-b_small@home", ["20", "v1.20", "b", "small", "home", "20-b"]),
        ("Mug R&D <new> +5", ["d", "new", "5", "r&d", "<new>"]),
        ("example.org/Shirts/Size_L", ["org", "shirts", "size", "l"]),
    ],
)
async def test_words_end_where_people_see_them_end(companies: Catalog, name: str, words: list[str]) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    made = await supplier.post("/v1/products", {"sku": "X", "name": name, "type": "stock"})

    for asked in words:
        assert await ids(supplier, name=asked) == await ids(supplier, q=asked) == [made.body["id"]], asked
    assert await ids(supplier, name="hite") == []


async def test_barcodes_and_missing_links_are_found(seeds: Catalog) -> None:
    await seeds.admin.patch("/v1/products/201", {"barcode": "4006381333931", "base_stock_product_id": None})
    await seeds.admin.patch("/v1/products/102", {"variants": [{"sku": "T01-S"}]})
    supplier = await seeds.client_of(SUPPLIER_A)

    assert await ids(supplier, barcode="4006381333931") == [201]
    assert await ids(supplier, unlinked="true") == await ids(seeds.admin, unlinked="true") == [102, 201]
    assert await ids(supplier, unlinked="true", type="configurable_stock") == []
    assert await ids(supplier, linked_to=200) == []
    await seeds.admin.patch("/v1/products/201", {"base_stock_product_id": 200})
    await seeds.admin.delete("/v1/products/300")
    await seeds.admin.delete("/v1/products/102")
    assert await ids(supplier, unlinked="true") == []


async def test_what_draws_on_a_product_is_found_through_versions_of_versions(seeds: Catalog) -> None:
    virtual = {"owner_id": RETAILER_A, "name": "V", "type": "virtual"}
    on_version = (await seeds.admin.post("/v1/products", virtual | {"sku": "V1", "base_product_id": 300})).body["id"]
    on_stock = (await seeds.admin.post("/v1/products", virtual | {"sku": "V2", "base_product_id": 101})).body["id"]
    supplier, retailer = await seeds.client_of(SUPPLIER_A), await seeds.client_of(RETAILER_A)

    assert await ids(seeds.admin, linked_to=101) == [102, 300, on_version, on_stock]
    assert await ids(seeds.admin, linked_to=100) == [102, 300, on_version]
    assert await ids(supplier, linked_to=101) == [102]
    assert await ids(retailer, linked_to=101) == [300, on_version, on_stock]


@pytest.mark.parametrize("sort", ["id", "sku", "name"])
@pytest.mark.parametrize("asked", [{}, {"q": "s7"}, {"owner_id": SUPPLIER_A}, {"name": "case"}])
async def test_pages_hold_every_product_once_in_one_order(seeds: Catalog, sort: str, asked: dict[str, Any]) -> None:
    whole = await seeds.admin.get("/v1/products", params={"sort": sort} | {k: str(v) for k, v in asked.items()})
    supplier = await seeds.client_of(SUPPLIER_A)
    keys = [(item[sort].lower() if sort != "id" else "", item["id"]) for item in whole.body["items"]]

    assert keys == sorted(keys)
    for limit in (1, 2, 200):
        assert await all_pages(seeds.admin, sort=sort, limit=limit, **asked) == [key[1] for key in keys]
        own = [item["id"] for item in whole.body["items"] if item["owner_id"] == SUPPLIER_A]
        assert await all_pages(supplier, sort=sort, limit=limit, **asked) == own


async def test_a_page_stays_where_it_was_when_products_come_and_go(seeds: Catalog) -> None:
    first = (await seeds.admin.get("/v1/products", params={"sort": "sku", "limit": "3"})).body
    assert [item["id"] for item in first["items"]] == [200, 201, 202]
    await seeds.admin.delete("/v1/products/202")  # the cursor's own product
    await seeds.admin.post("/v1/products", {"owner_id": SUPPLIER_A, "sku": "A", "name": "Earlier", "type": "stock"})

    second = (await seeds.admin.get("/v1/products", params={"sort": "sku", "cursor": first["next_cursor"]})).body

    assert [item["id"] for item in second["items"]] == [102, 300, 101, 100]


async def test_long_names_and_any_letters_fit_into_a_cursor(seeds: Catalog) -> None:
    name = "Ж" * 199
    for sku in ("X1", "X2"):
        body = {"owner_id": SUPPLIER_A, "sku": sku, "name": name, "type": "stock"}
        assert (await seeds.admin.post("/v1/products", body)).status == 201

    assert len(await all_pages(seeds.admin, sort="name", limit=1)) == 9
    assert len(await all_pages(seeds.admin, name="жж", limit=1)) == 2


async def test_a_cursor_belongs_to_its_order_and_filters(seeds: Catalog) -> None:
    first = (await seeds.admin.get("/v1/products", params={"q": "t01", "sort": "sku", "limit": "1"})).body[
        "next_cursor"
    ]

    same = await seeds.admin.get("/v1/products", params={"q": "t01", "sort": "sku", "limit": "2", "cursor": first})
    others = [
        await seeds.admin.get("/v1/products", params=params | {"cursor": cursor})
        for params, cursor in (
            ({"q": "t01", "sort": "name"}, first),
            ({"q": "t01"}, first),
            ({"q": "s7", "sort": "sku"}, first),
            ({"sort": "sku"}, first),
            ({"sort": "sku"}, "Ünsinn"),
            ({"sort": "sku"}, "MTAw"),
        )
    ]
    of_list, key, product_id = json.loads(base64.urlsafe_b64decode(first))
    for odd in (key + "\x00", key + "\ud800"):
        cursor = base64.urlsafe_b64encode(json.dumps([of_list, odd, product_id]).encode()).decode()
        params = {"q": "t01", "sort": "sku", "cursor": cursor}
        others.append(await seeds.admin.get("/v1/products", params=params))

    assert [item["id"] for item in same.body["items"]] == [300, 101]
    assert {(answer.status, answer.body["code"]) for answer in others} == {(422, "invalid_cursor")}
    assert {answer.body["errors"][0]["field"] for answer in others} == {"cursor"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"sort": "price"}, "sort"), ({"type": "thing"}, "type"), ({"skuu": "T01"}, "skuu"), ({"q": ""}, "q")],
)
async def test_what_no_list_understands_is_refused(seeds: Catalog, wrong: dict[str, str], field: str) -> None:
    refused = await seeds.admin.get("/v1/products", params=wrong)

    assert refused.status == 422
    assert field in str(refused.body["errors"])


async def test_nobody_finds_by_a_filter_what_the_list_does_not_show(seeds: Catalog) -> None:
    await seeds.admin.post("/v1/connections", {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_B})
    await seeds.admin.patch("/v1/products/201", {"visibility": "connected", "barcode": "1"})
    await seeds.admin.patch("/v1/products/102", {"visibility": [RETAILER_A], "barcode": "1"})
    await seeds.admin.patch("/v1/products/100", {"barcode": "1"})
    retailer_a, retailer_b = await seeds.client_of(RETAILER_A), await seeds.client_of(RETAILER_B)
    stranger = await seeds.client_of(SUPPLIER_B)
    for asked in ({"barcode": "1"}, {"q": "t01"}, {"name": "t-shirt"}, {"sku": "S7"}, {"linked_to": 100}, {}):
        for owner in ({}, {"owner_id": SUPPLIER_A}):
            for sort in ("id", "sku", "name"):
                params = asked | owner | {"sort": sort}
                assert set(await ids(retailer_a, **params)) <= {102, 201, 300}
                assert set(await ids(retailer_b, **params)) <= {201}
                assert await ids(stranger, **params) == []
    assert await ids(retailer_a, barcode="1") == [102, 201]
    assert await ids(retailer_a, owner_id=SUPPLIER_A) == [102, 201]
    assert await ids(retailer_a, owner_id=SUPPLIER_A, sort="name") == [201, 102]
    assert await ids(retailer_b) == await ids(retailer_b, sku="S7") == [201]


async def test_a_retailer_whose_connection_has_ended_finds_no_more_what_draws_on_the_suppliers_stock(
    seeds: Catalog,
) -> None:
    retailer = await seeds.client_of(RETAILER_A)
    (connection,) = (await retailer.get("/v1/connections")).body["items"]
    assert await ids(retailer, linked_to=100) == [300]

    await retailer.delete(f"/v1/connections/{connection['id']}")

    assert await ids(retailer, linked_to=100) == []
    assert await ids(retailer) == [300]


async def test_products_removed_while_a_page_is_read_are_not_the_end_of_the_list(
    seeds: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await seeds.client_of(SUPPLIER_A)
    await seeds.admin.delete("/v1/products/300")
    to_remove = [102, 202]

    async def find_late(session: Session, product_ids: Sequence[int]) -> object:
        for product_id in {*to_remove} & {*product_ids}:
            to_remove.remove(product_id)
            assert (await supplier.delete(f"/v1/products/{product_id}")).status == 204
        return await find_products(session, product_ids)

    monkeypatch.setattr(store, "find_products", find_late)
    monkeypatch.setattr(product_files, "PRODUCTS_AT_ONCE", 2)

    assert await all_pages(supplier, limit=3) == [100, 101, 200, 201]
    to_remove.append(201)
    exported = (await supplier.get("/v1/products/export", params={"format": "ndjson"})).body
    assert [line.split('"sku":"')[1].split('"')[0] for line in exported.splitlines()] == ["T01-S", "T01-L", "S7"]
