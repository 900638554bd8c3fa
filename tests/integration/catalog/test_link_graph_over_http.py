"""The real catalog, asked the same as the model in memory: it allows and refuses the same, and ends the same."""

from random import Random
from typing import Any

from services.catalog.domain import Component, Product
from services.catalog.store.products import find_products
from shared.database import Database
from tests.app import Answer
from tests.catalog_model import ROLES, Model, Operation, faults, some_operation
from tests.integration.catalog.conftest import Catalog

OPERATIONS = 300


def link(components: tuple[Component, ...]) -> list[dict[str, int]]:
    return [{"product_id": item.product_id, "quantity": item.quantity} for item in components]


def body(product: Product) -> dict[str, Any]:
    """A product as it is sent."""
    return {
        "sku": product.sku,
        "name": product.name,
        "type": product.type,
        "base_product_id": product.base_product_id,
        "components": link(product.components),
        "variants": [{"sku": item.sku, "components": link(item.components)} for item in product.variants],
    }


async def ask(catalog: Catalog, operation: Operation, connections: dict[tuple[int, int], int]) -> Answer:
    """Send an operation as the admin."""
    admin, product, original_id = catalog.admin, operation.product, operation.original_id
    match operation.kind:
        case "connect":
            supplier_id, retailer_id = operation.pair
            answer = await admin.post("/v1/connections", {"supplier_id": supplier_id, "retailer_id": retailer_id})
            if answer.status == 201:
                connections[operation.pair] = answer.body["id"]
            return answer
        case "end":
            return await admin.delete(f"/v1/connections/{connections[operation.pair]}")
        case "remove":
            return await admin.delete(f"/v1/products/{original_id}")
    assert product is not None
    if operation.kind == "duplicate":
        copy = {"sku": product.sku, "id": product.product_id}
        return await admin.post(f"/v1/products/{original_id}/duplicate", copy)
    if operation.kind == "change":
        return await admin.patch(f"/v1/products/{product.product_id}", body(product))
    return await admin.post("/v1/products", body(product) | {"id": product.product_id, "owner_id": product.owner_id})


async def test_the_catalog_decides_as_the_model_does(catalog: Catalog) -> None:
    for company_id, role in ROLES.items():
        company = {"id": company_id, "ref": f"c{company_id}", "name": "C", "role": role}
        assert (await catalog.admin.post("/v1/companies", company)).status == 201
    chance, model, connections = Random(20261124), Model(), dict[tuple[int, int], int]()
    for number in range(OPERATIONS):
        operation = some_operation(chance, model)
        if operation.kind == "end" and operation.pair not in connections:
            continue
        answer = await ask(catalog, operation, connections)
        assert answer.status in {200, 201, 204, 404, 409, 422}, answer.body
        assert (answer.status < 300) == model.apply(operation), (number, operation, answer.body)

    database = Database("catalog", catalog.dsn, pool_size=1)
    try:
        async with database.transaction() as session:
            found = {product.product_id: product for product in await find_products(session, list(model.rows))}
    finally:
        await database.close()
    assert faults(found, model.cut) == []
    assert {item: body(product) for item, product in found.items()} == {
        item: body(product) for item, product in model.living.items()
    }
    assert len(found) > 30
