"""The seeds' catalogue through the API: ids, links, refusals, and the full state that goes out with each change."""

import asyncio
from typing import Any

import asyncpg
import pytest

from shared.events.catalog import ProductChanged, ProductRemoved
from tests.app import Answer, Client
from tests.integration.catalog.conftest import (
    RETAILER_A,
    RETAILER_B,
    SEEDS,
    SUPPLIER_A,
    SUPPLIER_B,
    T01_VARIANTS,
    Catalog,
)


def draws(answer: Answer) -> dict[str | None, list[tuple[int, int]]]:
    """`{variant SKU: [(base stock product, quantity)]}` of a stock-links answer."""
    assert answer.status == 200, answer.body
    return {
        part["variant_sku"]: [(item["product_id"], item["quantity"]) for item in part["components"]]
        for part in answer.body["parts"]
    }


async def version_of(catalog: Catalog, product_id: int) -> int:
    (row,) = await catalog.query("select version from catalog.products where product_id = $1", product_id)
    version: int = row["version"]
    return version


async def test_the_seeds_products_exist_with_their_printed_ids_and_are_told_with_their_links(seeds: Catalog) -> None:
    page = await seeds.admin.get("/v1/products")

    assert [item["id"] for item in page.body["items"]] == [100, 101, 102, 200, 201, 202, 300]
    events = {event.product_id: event for event in await seeds.published(ProductChanged)}
    assert {event.version for event in events.values()} == {1}
    assert [(item.sku, item.components[0].product_id) for item in events[102].variants] == [
        ("T01-S", 100),
        ("T01-L", 101),
    ]
    assert [(item.product_id, item.quantity) for item in events[201].components] == [(200, 1)]
    assert (events[300].owner_id, events[300].base_product_id, events[300].variants) == (RETAILER_A, 102, ())
    assert {product_id for product_id, event in events.items() if event.is_tracked_stock} == {100, 101, 200, 202}


async def test_stock_links_lead_through_virtual_bases_to_the_stock(seeds: Catalog) -> None:
    retailer = await seeds.client_of(RETAILER_A)
    variants = {"T01-S": [(100, 1)], "T01-L": [(101, 1)]}

    own = await retailer.get("/v1/products/300/stock-links")

    assert draws(own) == draws(await seeds.admin.get("/v1/products/102/stock-links")) == variants
    assert (own.body["bases"], own.body["tracked"]) == ([102], True)
    assert draws(await seeds.admin.get("/v1/products/201/stock-links")) == {None: [(200, 1)]}
    assert draws(await seeds.admin.get("/v1/products/202/stock-links")) == {None: [(202, 1)]}


async def test_what_comes_out_goes_in_again_and_changes_nothing(seeds: Catalog) -> None:
    for seed in SEEDS:
        shown = (await seeds.admin.get(f"/v1/products/{seed['id']}")).body
        change = {name: value for name, value in shown.items() if name not in {"id", "owner_id", "version"}}
        change["variants"] = [
            {name: value for name, value in variant.items() if name != "id"} for variant in shown["variants"]
        ]

        answer = await seeds.admin.patch(f"/v1/products/{seed['id']}", change)

        assert (answer.status, answer.body) == (200, shown)
    assert len(await seeds.published(ProductChanged)) == len(SEEDS)


async def test_a_change_goes_out_whole_with_the_next_version_and_variants_keep_their_ids(seeds: Catalog) -> None:
    before = (await seeds.admin.get("/v1/products/102")).body
    medium = {"sku": "T01-M", "attributes": [{"name": "Size", "value": "Medium"}], "base_stock_product_id": 100}

    answer = await seeds.admin.patch(
        "/v1/products/102", {"name": "Shirt", "variants": [medium, T01_VARIANTS[1]], "visibility": [RETAILER_A]}
    )

    assert (answer.status, answer.body["version"], answer.body["sku"]) == (200, 2, "T01")
    assert answer.body["variants"][1] == before["variants"][1]
    assert answer.body["variants"][0]["id"] not in {variant["id"] for variant in before["variants"]}
    event = (await seeds.published(ProductChanged))[3]
    assert (event.product_id, event.version, event.title, event.visible_to) == (102, 2, "Shirt", (RETAILER_A,))
    assert [(item.sku, item.variant_id) for item in event.variants] == [
        (variant["sku"], variant["id"]) for variant in answer.body["variants"]
    ]


async def test_kits_name_their_components_and_quantities(seeds: Catalog) -> None:
    kit = {"owner_id": SUPPLIER_A, "sku": "KIT", "name": "Two shirts and a case", "type": "customisable"}
    components = [{"product_id": 200, "quantity": 1}, {"product_id": 100, "quantity": 2}]

    made = await seeds.admin.post("/v1/products", kit | {"components": components})
    both = await seeds.admin.post("/v1/products", kit | {"components": components, "base_stock_product_id": 100})
    plain = await seeds.admin.patch(f"/v1/products/{made.body['id']}", {"base_stock_product_id": 200})

    assert (made.status, made.body["components"], made.body["base_stock_product_id"]) == (201, components, None)
    assert draws(await seeds.admin.get(f"/v1/products/{made.body['id']}/stock-links")) == {None: [(200, 1)]}
    assert (plain.body["components"], plain.body["base_stock_product_id"]) == (
        [{"product_id": 200, "quantity": 1}],
        200,
    )
    assert both.status == 422


@pytest.mark.parametrize(
    ("product_id", "change", "field"),
    [
        (100, {"variants": T01_VARIANTS}, "variants"),
        (100, {"base_stock_product_id": 200}, "base_stock_product_id"),
        (202, {"base_stock_product_id": 200}, "base_stock_product_id"),
        (102, {"base_stock_product_id": 200}, "base_stock_product_id"),
        (102, {"variants": [T01_VARIANTS[0], {"sku": "T01-L"}]}, "variants[1].base_stock_product_id"),
        (201, {"base_stock_product_id": 102}, "base_stock_product_id"),
        (201, {"base_stock_product_id": 999}, "base_stock_product_id"),
        (201, {"base_stock_product_id": 201}, "base_stock_product_id"),
        (201, {"type": "configurable_stock", "base_stock_product_id": None}, "variants"),
        (
            102,
            {
                "type": "configurable_stock",
                "variants": [T01_VARIANTS[0], T01_VARIANTS[1] | {"base_stock_product_id": 100}],
            },
            "variants[1].base_stock_product_id",
        ),
        (201, {"base_product_id": 102}, "base_product_id"),
        (300, {"base_product_id": None}, "base_product_id"),
        (300, {"base_product_id": 300}, "base_product_id"),
        (300, {"type": "stock", "base_product_id": None}, "type"),
        (102, {"visibility": [RETAILER_B]}, "visibility[0]"),
        (102, {"sku": None}, "sku"),
        (102, {"quantity": 7}, "quantity"),
    ],
)
async def test_what_the_rules_forbid_is_refused_and_nothing_changes(
    seeds: Catalog, product_id: int, change: dict[str, Any], field: str
) -> None:
    refused = await seeds.admin.patch(f"/v1/products/{product_id}", change)

    assert refused.status == 422, refused.body
    assert [error["field"] for error in refused.body["errors"]] == [field]
    assert await version_of(seeds, product_id) == 1
    assert len(await seeds.published(ProductChanged)) == len(SEEDS)


async def test_skus_are_unique_per_owner_and_type_and_case_sensitive(seeds: Catalog) -> None:
    stock = {"owner_id": SUPPLIER_A, "name": "Another", "type": "stock"}

    same = await seeds.admin.post("/v1/products", stock | {"sku": "S7"})
    other_case = await seeds.admin.post("/v1/products", stock | {"sku": "s7"})
    other_owner = await seeds.admin.post("/v1/products", stock | {"sku": "S7", "owner_id": SUPPLIER_B})
    renamed = await seeds.admin.patch(f"/v1/products/{other_case.body['id']}", {"sku": "S7"})

    assert (same.status, same.body["code"]) == (409, "sku_taken")
    assert (other_case.status, other_owner.status) == (201, 201)
    assert (renamed.status, renamed.body["errors"][0]["field"]) == (409, "sku")


async def test_a_linked_product_is_neither_removed_nor_retyped_and_others_are_only_counted(seeds: Catalog) -> None:
    supplier = await seeds.client_of(SUPPLIER_A)

    refused = [
        await supplier.delete("/v1/products/200"),
        await supplier.patch("/v1/products/200", {"type": "stock_customisable", "sku": "S7-B"}),
        await supplier.delete("/v1/products/102"),
    ]

    assert [answer.status for answer in refused] == [409, 409, 409]
    assert [error["detail"] for error in refused[0].body["errors"]] == ["product 201 links to it"]
    assert refused[2].body["errors"] == []
    assert "1 product of other companies" in refused[2].body["detail"]
    assert "300" not in str(refused[2].body)


async def test_versions_of_retailers_whose_connection_has_ended_block_nothing(seeds: Catalog) -> None:
    supplier, retailer = await seeds.client_of(SUPPLIER_A), await seeds.client_of(RETAILER_A)
    (connection,) = (await retailer.get("/v1/connections")).body["items"]
    assert (await retailer.delete(f"/v1/connections/{connection['id']}")).status == 204

    assert (await supplier.delete("/v1/products/102")).status == 204
    left = await retailer.get("/v1/products/300/stock-links")
    renamed = await retailer.patch("/v1/products/300", {"name": "Remembered"})

    assert (left.status, left.body["tracked"], left.body["parts"]) == (200, False, [])
    assert "102" in left.body["reason"]
    assert (renamed.status, renamed.body["version"]) == (200, 2)


async def test_a_retailer_whose_connection_has_ended_reads_no_more_of_what_its_version_is_based_on(
    seeds: Catalog,
) -> None:
    supplier, retailer = await seeds.client_of(SUPPLIER_A), await seeds.client_of(RETAILER_A)
    virtual = {"sku": "SPRING", "name": "Spring shirt", "type": "virtual"}
    inner = (await supplier.post("/v1/products", virtual | {"base_product_id": 102})).body["id"]
    own = (await retailer.post("/v1/products", virtual | {"base_product_id": inner})).body["id"]
    outer = (await retailer.post("/v1/products", virtual | {"sku": "V", "base_product_id": own})).body["id"]
    path = f"/v1/products/{outer}/stock-links"
    connected = await retailer.get(path)
    (connection,) = (await retailer.get("/v1/connections")).body["items"]

    await supplier.delete(f"/v1/connections/{connection['id']}")
    ended, for_admin = await retailer.get(path), await seeds.admin.get(path)
    await seeds.admin.post("/v1/connections", {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_A})
    connected_again = await retailer.get(path)

    assert (ended.status, ended.body["parts"], ended.body["tracked"]) == (200, [], False)
    assert ended.body["bases"] == [own, inner]  # what lies beyond it is the supplier's business
    assert ended.body["reason"] == (
        f"product {inner}, which it is based on, is of a supplier you have no active connection with"
    )
    assert connected.body["reason"] is None
    assert connected.body == for_admin.body == connected_again.body
    assert draws(connected) == {"T01-S": [(100, 1)], "T01-L": [(101, 1)]}


async def test_versions_grow_across_removal_and_only_the_owner_gets_the_id_back(seeds: Catalog) -> None:
    assert (await seeds.admin.delete("/v1/products/202")).status == 204
    gone = [await seeds.admin.get("/v1/products/202"), await seeds.admin.delete("/v1/products/202")]
    seed = next(seed for seed in SEEDS if seed["id"] == 202)

    others = await seeds.admin.post("/v1/products", seed | {"owner_id": SUPPLIER_B})
    back = await seeds.admin.post("/v1/products", seed)
    taken = await seeds.admin.post("/v1/products", seed | {"sku": "S8"})

    assert [answer.status for answer in gone] == [404, 404]
    assert (back.status, back.body["version"]) == (201, 3)
    assert (others.status, taken.status, taken.body["code"]) == (409, 409, "product_exists")
    (removed,) = await seeds.published(ProductRemoved)
    assert (removed.product_id, removed.owner_id, removed.version) == (202, SUPPLIER_A, 2)
    assert [event.version for event in await seeds.published(ProductChanged) if event.product_id == 202] == [1, 3]


async def test_companies_act_on_their_own_products_only(seeds: Catalog) -> None:
    stranger, retailer = await seeds.client_of(SUPPLIER_B), await seeds.client_of(RETAILER_A)
    stock = {"sku": "X", "name": "X", "type": "stock"}

    for caller in (stranger, retailer):
        assert [
            (await caller.get("/v1/products/100")).status,
            (await caller.get("/v1/products/100/stock-links")).status,
            (await caller.patch("/v1/products/100", {"name": "Mine"})).status,
            (await caller.delete("/v1/products/100")).status,
            (await caller.post("/v1/products", stock | {"owner_id": SUPPLIER_A})).status,
            (await caller.post("/v1/products", stock | {"id": 5000})).status,
        ] == [404, 404, 404, 404, 403, 403]
    linked = await stranger.post("/v1/products", stock | {"type": "customisable", "base_stock_product_id": 100})
    based = await stranger.post("/v1/products", stock | {"type": "virtual", "base_product_id": 102})
    nowhere = await seeds.admin.post("/v1/products", stock)
    nobody = await seeds.admin.post("/v1/products", stock | {"owner_id": 999})

    assert [answer.status for answer in (linked, based, nowhere, nobody)] == [422, 422, 422, 422]
    assert (await stranger.get("/v1/products")).body["items"] == []
    assert nobody.body["errors"] == [{"field": "owner_id", "detail": "there is no company 999"}]


async def test_retailers_see_what_connected_suppliers_show_them(seeds: Catalog) -> None:
    retailer, unconnected = await seeds.client_of(RETAILER_A), await seeds.client_of(RETAILER_B)
    await seeds.admin.patch("/v1/products/201", {"visibility": "connected"})
    await seeds.admin.patch("/v1/products/102", {"visibility": [RETAILER_A]})

    page = await retailer.get("/v1/products")
    stock = await seeds.admin.get("/v1/products", params={"type": "stock", "sku": "S7", "owner_id": SUPPLIER_A})

    assert [item["id"] for item in page.body["items"]] == [102, 201, 300]
    assert (await retailer.get("/v1/products/102")).status == 200
    assert (await retailer.patch("/v1/products/102", {"name": "Mine"})).status == 404
    assert (await unconnected.get("/v1/products")).body["items"] == []
    assert [item["id"] for item in stock.body["items"]] == [200]


async def test_a_retailer_does_not_learn_who_else_is_shown_a_product(seeds: Catalog) -> None:
    await seeds.admin.post("/v1/connections", {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_B})
    supplier, retailer = await seeds.client_of(SUPPLIER_A), await seeds.client_of(RETAILER_A)
    changed = await supplier.patch("/v1/products/102", {"visibility": [RETAILER_A, RETAILER_B]})

    async def shown_to(caller: Client) -> list[object]:
        one, page = await caller.get("/v1/products/102"), await caller.get("/v1/products", params={"sku": "T01"})
        return [one.body["visibility"], *(item["visibility"] for item in page.body["items"] if item["id"] == 102)]

    assert await shown_to(retailer) == [[RETAILER_A]] * 2
    assert await shown_to(supplier) == await shown_to(seeds.admin) == [[RETAILER_A, RETAILER_B]] * 2
    assert changed.body["visibility"] == [RETAILER_A, RETAILER_B]


async def test_pages_of_products_follow_their_ids(seeds: Catalog) -> None:
    first = (await seeds.admin.get("/v1/products", params={"limit": "4"})).body
    second = (await seeds.admin.get("/v1/products", params={"limit": "4", "cursor": first["next_cursor"]})).body

    assert [item["id"] for item in first["items"]] == [100, 101, 102, 200]
    assert ([item["id"] for item in second["items"]], second["next_cursor"]) == ([201, 202, 300], None)


async def test_virtual_products_stand_on_one_another_eight_deep_and_never_in_a_circle(seeds: Catalog) -> None:
    base, made = 300, []
    for number in range(2, 10):
        body = {"owner_id": RETAILER_A, "sku": f"V{number}", "name": "V", "type": "virtual", "base_product_id": base}
        made.append(await seeds.admin.post("/v1/products", body))
        base = made[-1].body.get("id", 0)
    ids = [answer.body["id"] for answer in made[:-1]]

    circle = await seeds.admin.patch("/v1/products/300", {"base_product_id": ids[-1]})

    assert [answer.status for answer in made] == [201] * 7 + [422]
    assert draws(await seeds.admin.get(f"/v1/products/{ids[-1]}/stock-links"))["T01-S"] == [(100, 1)]
    assert (circle.status, circle.body["errors"][0]["field"]) == (422, "base_product_id")


async def test_removing_stock_and_linking_to_it_at_once_never_both_succeed(seeds: Catalog) -> None:
    for attempt in range(5):
        stock = {"owner_id": SUPPLIER_A, "sku": f"R{attempt}", "name": "Raced", "type": "stock"}
        target = (await seeds.admin.post("/v1/products", stock)).body["id"]
        link = stock | {"type": "customisable", "base_stock_product_id": target}

        linked, removed = await asyncio.gather(
            seeds.admin.post("/v1/products", link), seeds.admin.delete(f"/v1/products/{target}")
        )

        assert (linked.status, removed.status) in {(201, 409), (422, 204)}


async def test_two_changes_that_would_close_a_circle_never_both_succeed(seeds: Catalog) -> None:
    virtual = {"owner_id": RETAILER_A, "name": "V", "type": "virtual", "base_product_id": 102}
    for attempt in range(5):
        left, right = [
            (await seeds.admin.post("/v1/products", virtual | {"sku": f"{side}{attempt}"})).body["id"]
            for side in ("left", "right")
        ]

        answers = await asyncio.gather(
            seeds.admin.patch(f"/v1/products/{left}", {"base_product_id": right}),
            seeds.admin.patch(f"/v1/products/{right}", {"base_product_id": left}),
        )

        assert sorted(answer.status for answer in answers) == [200, 422]


async def test_changes_of_one_product_at_once_all_count(seeds: Catalog) -> None:
    answers = await asyncio.gather(
        seeds.admin.patch("/v1/products/201", {"name": "New name"}),
        seeds.admin.patch("/v1/products/201", {"barcode": "4006381333931"}),
        seeds.admin.patch("/v1/products/201", {"visibility": "connected"}),
    )

    after = (await seeds.admin.get("/v1/products/201")).body
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert (after["name"], after["barcode"], after["visibility"]) == ("New name", "4006381333931", "connected")
    assert after["version"] == 4


async def test_the_database_itself_refuses_links_that_break_rule_7(seeds: Catalog) -> None:
    (foreign,) = await seeds.query(
        "insert into catalog.products (product_id, owner_id, type, is_tracked, sku, title, visibility, visible_to,"
        " version) values (900, $1, 'stock', true, 'X', 'X', 'private', '{}', 1) returning product_id",
        SUPPLIER_B,
    )
    link = (
        "insert into catalog.components (product_id, owner_id, base_stock_product_id, quantity) values (201, $1, $2, 1)"
    )

    for owner_id, target in ((SUPPLIER_A, 102), (SUPPLIER_A, foreign["product_id"]), (SUPPLIER_B, 900)):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await seeds.query(link, owner_id, target)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await seeds.query("update catalog.products set removed_at = now(), is_tracked = false where product_id = 200")
