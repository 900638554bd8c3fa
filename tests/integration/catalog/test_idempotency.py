"""Keys of requests at catalog: answers that show a secret, and requests that try more than once within."""

from shared.events.catalog import ApiKeyChanged, ProductChanged
from shared.idempotency import HEADER, REPLAYED
from tests.integration.catalog.conftest import SUPPLIER_A, Catalog

UNDER_K1 = {HEADER: "k1"}
CASE = {"sku": "CASE", "name": "case", "type": "stock", "owner_id": SUPPLIER_A}


async def test_a_secret_is_not_kept_and_not_shown_again(companies: Catalog) -> None:
    path = f"/v1/companies/{SUPPLIER_A}/api-keys"
    first, second = [await companies.admin.post(path, {}, headers=UNDER_K1) for _ in range(2)]
    assert first.status == 201
    assert (second.status, second.body["code"], second.headers[REPLAYED]) == (409, "secret_shown_once", "true")
    assert f"id {first.body['id']}." in second.body["detail"]
    (kept,) = await companies.query("select body, secret from catalog.idempotency_keys where key = 'k1'")
    assert (kept["body"], kept["secret"]) == (str(first.body["id"]).encode(), True)
    made = [event for event in await companies.published(ApiKeyChanged) if event.key_id == first.body["id"]]
    assert len(made) == 1


async def test_what_a_refused_part_would_have_published_is_not_published(companies: Catalog) -> None:
    taken = await companies.admin.post("/v1/products", CASE, headers=UNDER_K1)
    assert taken.status == 201
    refused = await companies.admin.post("/v1/products", CASE, headers={HEADER: "k2"})
    assert (refused.status, refused.body["code"]) == (409, "sku_taken")
    corrected = await companies.admin.post("/v1/products", CASE | {"sku": "CASE-2"}, headers={HEADER: "k2"})
    again = await companies.admin.post("/v1/products", CASE | {"sku": "CASE-2"}, headers={HEADER: "k2"})
    assert (corrected.status, again.body, again.headers[REPLAYED]) == (201, corrected.body, "true")
    cases = [event.sku for event in await companies.published(ProductChanged) if event.sku.startswith("CASE")]
    assert sorted(cases) == ["CASE", "CASE-2"]
