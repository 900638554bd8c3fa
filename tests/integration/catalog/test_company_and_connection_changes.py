"""Settings of companies and connections: who may change what, and what the other services are told."""

from typing import Any

import pytest

from shared.events.catalog import CompanyChanged, ConnectionChanged
from tests.app import Client
from tests.integration.catalog.conftest import RETAILER_A, RETAILER_B, SUPPLIER_A, SUPPLIER_B, Catalog


async def connection_of(caller: Client) -> dict[str, Any]:
    """The caller's first connection."""
    found: dict[str, Any] = (await caller.get("/v1/connections")).body["items"][0]
    return found


async def test_a_company_changes_its_settings_and_the_others_are_told(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A, "admin")
    path = f"/v1/companies/{SUPPLIER_A}"

    renamed = await supplier.patch(path, {"name": "Supplier A Ltd"})
    strict = await companies.admin.patch(path, {"oversell_policy": "deny", "name": "Supplier A Ltd"})
    same = await supplier.patch(path, {"oversell_policy": "deny"})
    nothing = await supplier.patch(path, {})

    assert [answer.status for answer in (renamed, strict, same, nothing)] == [200] * 4
    assert [answer.body["version"] for answer in (renamed, strict, same, nothing)] == [2, 3, 3, 3]
    assert same.body == (await supplier.get(path)).body
    events = [event for event in await companies.published(CompanyChanged) if event.company_id == SUPPLIER_A]
    assert [(event.version, event.display_name, event.oversell_policy) for event in events] == [
        (1, "Supplier A", "backorder"),
        (2, "Supplier A Ltd", "backorder"),
        (3, "Supplier A Ltd", "deny"),
    ]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": None}, "name"),
        ({"oversell_policy": "hope"}, "oversell_policy"),
        ({"ref": "x"}, "ref"),
        ({"role": "retailer"}, "role"),
    ],
)
async def test_a_wrong_setting_is_refused_with_its_field(companies: Catalog, wrong: dict[str, Any], field: str) -> None:
    refused = await companies.admin.patch(f"/v1/companies/{SUPPLIER_A}", wrong)

    assert (refused.status, [error["field"] for error in refused.body["errors"]]) == (422, [field])


async def test_nobody_changes_another_companys_settings(companies: Catalog) -> None:
    retailer = await companies.client_of(RETAILER_A, "admin")
    clerk = await companies.client_of(SUPPLIER_A)

    foreign = await retailer.patch(f"/v1/companies/{SUPPLIER_A}", {"name": "Mine"})
    unscoped = await clerk.patch(f"/v1/companies/{SUPPLIER_A}", {"name": "Mine"})
    nobody = await companies.admin.patch("/v1/companies/999", {"name": "Nobody"})

    assert (foreign.status, foreign.body["code"], nobody.status) == (403, "foreign_company", 404)
    assert (unscoped.status, unscoped.body["code"]) == (403, "missing_scope")


async def test_a_supplier_pauses_and_resumes_a_connection_and_gives_it_a_reference(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    before = await connection_of(supplier)
    path = f"/v1/connections/{before['id']}"

    paused = await supplier.patch(path, {"state": "paused"})
    same = await supplier.patch(path, {"state": "paused"})
    resumed = await companies.admin.patch(path, {"state": "active", "external_ref": "D-7", "default_location": "north"})
    cleared = await supplier.patch(path, {"default_location": None})

    assert (paused.status, paused.body) == (200, before | {"state": "paused", "version": 2})
    assert same.body == paused.body
    assert (resumed.body["state"], resumed.body["external_ref"], resumed.body["version"]) == ("active", "D-7", 3)
    assert (cleared.body["default_location"], cleared.body["external_ref"], cleared.body["version"]) == (None, "D-7", 4)
    events = await companies.published(ConnectionChanged)
    assert [(event.version, event.state, event.external_ref, event.default_location) for event in events] == [
        (1, "active", None, None),
        (2, "paused", None, None),
        (3, "active", "D-7", "north"),
        (4, "active", "D-7", None),
    ]


async def test_a_retailer_may_end_its_connection_and_change_nothing_of_it(companies: Catalog) -> None:
    retailer, stranger = await companies.client_of(RETAILER_A), await companies.client_of(SUPPLIER_B)
    path = f"/v1/connections/{(await connection_of(retailer))['id']}"

    for change in ({"state": "paused"}, {"external_ref": "X"}, {"default_location": "main"}):
        refused = await retailer.patch(path, change)
        assert (refused.status, refused.body["code"]) == (403, "forbidden")
        assert (await stranger.patch(path, change)).status == 404
    assert (await connection_of(retailer))["version"] == 1
    assert (await retailer.delete(path)).status == 204


async def test_an_ended_connection_is_not_resumed_by_a_change(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    path = f"/v1/connections/{(await connection_of(supplier))['id']}"
    await supplier.patch(path, {"state": "paused"})
    await supplier.delete(path)

    refused = await supplier.patch(path, {"state": "active"})

    assert (refused.status, refused.body["code"]) == (409, "connection_ended")
    assert (await connection_of(supplier))["version"] == 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"state": "ended"}, "state"),
        ({"state": None}, "state"),
        ({"retailer_id": 1}, "retailer_id"),
        ({"external_ref": ""}, "external_ref"),
    ],
)
async def test_a_wrong_change_of_a_connection_is_refused(companies: Catalog, wrong: dict[str, Any], field: str) -> None:
    path = f"/v1/connections/{(await connection_of(companies.admin))['id']}"

    refused = await companies.admin.patch(path, wrong)

    assert (refused.status, [error["field"] for error in refused.body["errors"]]) == (422, [field])


async def test_a_reference_means_one_connection_of_a_retailer(companies: Catalog) -> None:
    """A retailer names its connection by the reference (`dropship_ref`), and a supplier may use one for all."""
    first = await connection_of(companies.admin)

    async def connect(supplier_id: int, retailer_id: int, ref: str) -> Any:  # noqa: ANN401 - an answer
        body = {"supplier_id": supplier_id, "retailer_id": retailer_id, "external_ref": ref}
        return await companies.admin.post("/v1/connections", body)

    await companies.admin.patch(f"/v1/connections/{first['id']}", {"external_ref": "D-1"})
    same_supplier = await connect(SUPPLIER_A, RETAILER_B, "D-1")
    taken = await connect(SUPPLIER_B, RETAILER_A, "D-1")
    second = await connect(SUPPLIER_B, RETAILER_A, "D-2")
    changed = await companies.admin.patch(f"/v1/connections/{second.body['id']}", {"external_ref": "D-1"})
    await companies.admin.delete(f"/v1/connections/{first['id']}")
    free = await companies.admin.patch(f"/v1/connections/{second.body['id']}", {"external_ref": "D-1"})
    back = await connect(SUPPLIER_A, RETAILER_A, "D-1")

    assert (same_supplier.status, second.status, free.status) == (201, 201, 200)
    for refused in (taken, changed, back):
        assert (refused.status, refused.body["code"]) == (409, "external_ref_taken")
        assert refused.body["errors"][0]["field"] == "external_ref"
    assert (await companies.admin.get(f"/v1/connections/{first['id']}")).body["state"] == "ended"


async def test_the_platform_lists_the_connections_of_one_company(companies: Catalog) -> None:
    body = {"supplier_id": SUPPLIER_B, "retailer_id": RETAILER_B}
    made = (await companies.admin.post("/v1/connections", body)).body["id"]
    retailer = await companies.client_of(RETAILER_A)

    for company_id in (SUPPLIER_B, RETAILER_B):
        listed = await companies.admin.get("/v1/connections", params={"company_id": company_id})
        assert [connection["id"] for connection in listed.body["items"]] == [made]
    foreign = await retailer.get("/v1/connections", params={"company_id": RETAILER_B})
    assert (foreign.status, foreign.body["code"]) == (403, "foreign_company")
