"""Each rule of the domain, 1 to 9, refused through the public API: which field, and why, in words."""

from typing import Any, NamedTuple

import pytest

from shared.events.catalog import ProductChanged
from tests.integration.catalog.conftest import RETAILER_A, SEEDS, SUPPLIER_A, SUPPLIER_B, T01_VARIANTS, Catalog


class Refused(NamedTuple):
    """A product somebody proposes, the field that is wrong with it, and part of the reason."""

    rule: str
    body: dict[str, Any]
    field: str
    reason: str


SMALL, LARGE = T01_VARIANTS
PLAIN = {"base_stock_product_id": 200}
KIT = {"components": [{"product_id": 100, "quantity": 2}, {"product_id": 200}]}
CASES = [
    Refused("2 no variants", {"type": "stock", "variants": [SMALL]}, "variants", "make a stock product for each"),
    Refused("2 no link", {"type": "stock"} | PLAIN, "base_stock_product_id", "it is one"),
    Refused("2 no kit", {"type": "stock"} | KIT, "components", "it is one"),
    Refused("2 no base", {"type": "stock", "base_product_id": 102}, "base_product_id", "only virtual products"),
    Refused(
        "3 not both", {"type": "customisable", "variants": [SMALL]} | PLAIN, "base_stock_product_id", "cannot have both"
    ),
    Refused(
        "3 all or none",
        {"type": "customisable", "variants": [SMALL, {"sku": "T01-L"}]},
        "variants[1].base_stock_product_id",
        "link all variants or none",
    ),
    Refused("4 no variants", {"type": "stock_customisable", "variants": [SMALL]}, "variants", "cannot have variants"),
    Refused("4 no link", {"type": "stock_customisable"} | PLAIN, "base_stock_product_id", "it is one"),
    Refused("5 variants", {"type": "configurable_stock"}, "variants", "must have variants"),
    Refused(
        "5 no link of its own",
        {"type": "configurable_stock", "variants": [SMALL]} | PLAIN,
        "base_stock_product_id",
        "link its variants",
    ),
    Refused(
        "5 each is linked",
        {"type": "configurable_stock", "variants": [{"sku": "T01-S"}]},
        "variants[0].base_stock_product_id",
        "needs its own",
    ),
    Refused(
        "5 each to its own",
        {"type": "configurable_stock", "variants": [SMALL, LARGE | {"base_stock_product_id": 100}]},
        "variants[1].base_stock_product_id",
        "share the stock product 100",
    ),
    Refused("6 a base", {"type": "virtual"}, "base_product_id", "must have a base product"),
    Refused(
        "6 no variants",
        {"type": "virtual", "base_product_id": 102, "variants": [SMALL]},
        "variants",
        "takes those of its base",
    ),
    Refused(
        "6 no link", {"type": "virtual", "base_product_id": 102} | PLAIN, "base_stock_product_id", "takes its base's"
    ),
    Refused(
        "6 nobody's base", {"type": "virtual", "base_product_id": 999}, "base_product_id", "there is none such among"
    ),
    Refused(
        "6 a retailer's base",
        {"type": "virtual", "base_product_id": 300},
        "base_product_id",
        "there is none such among",
    ),
    Refused(
        "6 retailers own virtual products",
        {"type": "stock", "owner_id": RETAILER_A},
        "type",
        "a retailer owns only virtual products",
    ),
    Refused(
        "7 tracked stock",
        {"type": "customisable", "base_stock_product_id": 102},
        "base_stock_product_id",
        "it is customisable, not stock",
    ),
    Refused(
        "7 of the same supplier",
        {"type": "customisable", "owner_id": SUPPLIER_B} | PLAIN,
        "base_stock_product_id",
        "this supplier has none such",
    ),
    Refused(
        "7 in a variant too",
        {"type": "customisable", "variants": [SMALL | {"base_stock_product_id": 201}]},
        "variants[0].base_stock_product_id",
        "it is customisable, not stock",
    ),
    Refused(
        "8 each component once",
        {"type": "customisable", "components": [{"product_id": 100}, {"product_id": 100}]},
        "components",
        "named twice",
    ),
    Refused(
        "8 some of each",
        {"type": "customisable", "components": [{"product_id": 100, "quantity": 0}]},
        "components[0].quantity",
        "greater than 0",
    ),
    Refused(
        "8 whole units",
        {"type": "customisable", "components": [{"product_id": 100, "quantity": 1.5}]},
        "components[0].quantity",
        "integer",
    ),
    Refused(
        "8 every component is stock",
        {"type": "customisable", "components": [{"product_id": 100}, {"product_id": 102}]},
        "components[1].product_id",
        "it is customisable, not stock",
    ),
    Refused(
        "9 variants too have SKUs of their own",
        {"type": "customisable", "variants": [SMALL, SMALL]},
        "variants[1].sku",
        "two variants with SKU 'T01-S'",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
async def test_what_a_rule_forbids_is_refused_with_field_and_reason(seeds: Catalog, case: Refused) -> None:
    body = {"owner_id": SUPPLIER_A, "sku": "NEW", "name": "New"} | case.body

    refused = await seeds.admin.post("/v1/products", body)

    assert (refused.status, refused.headers["Content-Type"]) == (422, "application/problem+json")
    reasons = {error["field"]: error["detail"] for error in refused.body["errors"]}
    assert case.reason in reasons[case.field], reasons
    assert len(await seeds.published(ProductChanged)) == len(SEEDS)


async def test_rule_1_stock_is_tracked_from_the_moment_it_exists_and_no_longer_when_retyped(seeds: Catalog) -> None:
    made = await seeds.admin.post(
        "/v1/products", {"owner_id": SUPPLIER_A, "sku": "NEW", "name": "New", "type": "stock_customisable"}
    )
    await seeds.admin.patch(f"/v1/products/{made.body['id']}", {"type": "customisable"} | PLAIN)

    events = [event for event in await seeds.published(ProductChanged) if event.product_id == made.body["id"]]
    assert [event.is_tracked_stock for event in events] == [True, False]


async def test_rule_6_depth_and_circles_name_the_base(seeds: Catalog) -> None:
    base, last = 300, 0
    for number in range(7):
        body = {"owner_id": RETAILER_A, "sku": f"V{number}", "name": "V", "type": "virtual", "base_product_id": base}
        base = last = (await seeds.admin.post("/v1/products", body)).body["id"]

    ninth = await seeds.admin.post(
        "/v1/products", {"owner_id": RETAILER_A, "sku": "V9", "name": "V", "type": "virtual", "base_product_id": last}
    )
    circle = await seeds.admin.patch("/v1/products/300", {"base_product_id": last})

    assert [(error["field"], error["detail"]) for error in ninth.body["errors"]] == [
        ("base_product_id", "product 'V9' would make a chain of 9 virtual products; at most 8 are allowed")
    ]
    assert [error["field"] for error in circle.body["errors"]] == ["base_product_id"]
    assert "cannot be based on itself" in circle.body["detail"]


@pytest.mark.parametrize(("product_id", "needed_by"), [(100, 102), (200, 201), (102, 300)])
async def test_rule_7_what_is_needed_is_neither_removed_nor_retyped(
    seeds: Catalog, product_id: int, needed_by: int
) -> None:
    retyped = {"type": "virtual", "base_product_id": 201, "variants": [], "components": []}

    removed = await seeds.admin.delete(f"/v1/products/{product_id}")
    changed = await seeds.admin.patch(f"/v1/products/{product_id}", retyped | {"sku": "OTHER"})

    for refused in (removed, changed):
        assert (refused.status, refused.body["code"]) == (409, "product_linked")
        assert [error["field"] for error in refused.body["errors"]] == [f"products[{needed_by}]"]


async def test_rule_9_a_sku_names_one_product_of_its_owner_and_type(seeds: Catalog) -> None:
    body = {"owner_id": SUPPLIER_A, "sku": "S7", "name": "New", "type": "stock"}

    refused = await seeds.admin.post("/v1/products", body)

    assert (refused.status, refused.body["code"]) == (409, "sku_taken")
    assert [error["field"] for error in refused.body["errors"]] == ["sku"]
    assert "another product of this type and SKU: stock 'S7'" in refused.body["detail"]


async def test_a_change_names_one_link_and_quantities_are_numbers(seeds: Catalog) -> None:
    both = await seeds.admin.patch("/v1/products/201", {"base_stock_product_id": 200, "components": []})
    true = await seeds.admin.patch("/v1/products/201", {"components": [{"product_id": 200, "quantity": True}]})

    assert [(answer.status, answer.body["code"]) for answer in (both, true)] == [(422, "invalid_request")] * 2
    assert [error["field"] for error in true.body["errors"]] == ["components[0].quantity"]
    assert (await seeds.admin.patch("/v1/products/201", {"base_stock_product_id": 200})).status == 200
