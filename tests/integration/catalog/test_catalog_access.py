"""Companies, keys and connections: who may do what, and what the other services are told."""

import asyncio

import pytest
from pydantic import SecretStr

from services.catalog.service import SERVICE, make_admin_key
from shared.access import sha256_of
from shared.database import Database
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from shared.settings import Settings
from tests.app import Client, serving
from tests.integration.catalog.conftest import ADMIN_KEY, RETAILER_A, RETAILER_B, SUPPLIER_A, SUPPLIER_B, Catalog


async def test_without_a_key_there_is_no_answer(catalog: Catalog) -> None:
    for key, code in ((None, "no_key"), ("bsk_guessed", "unknown_key")):
        async with Client(catalog.url, key) as stranger:
            for path in ("/v1/companies", "/v1/connections", "/v1/products", "/v1/products/100/stock-links"):
                refused = await stranger.get(path)

                assert (refused.status, refused.body["code"]) == (401, code)
                assert refused.headers["Content-Type"] == "application/problem+json"


async def test_a_company_is_made_once_and_told_to_the_others(catalog: Catalog) -> None:
    body = {"id": 7, "ref": "acme", "name": "Acme", "role": "supplier", "oversell_policy": "deny"}

    made = await catalog.admin.post("/v1/companies", body)
    same_ref = await catalog.admin.post("/v1/companies", body | {"id": 8})
    same_id = await catalog.admin.post("/v1/companies", body | {"ref": "acme-2"})

    assert (made.status, made.body) == (201, body | {"version": 1})
    assert (same_ref.status, same_id.status) == (409, 409)
    (event,) = await catalog.published(CompanyChanged)
    assert event.model_dump() == {
        "company_id": 7,
        "ref": "acme",
        "display_name": "Acme",
        "role": "supplier",
        "oversell_policy": "deny",
        "version": 1,
    }


async def test_ids_that_the_admin_chose_are_never_given_again(catalog: Catalog) -> None:
    chosen = (2, 4, 3)
    for company_id in chosen:
        body = {"id": company_id, "ref": f"chosen-{company_id}", "name": "Chosen", "role": "supplier"}
        assert (await catalog.admin.post("/v1/companies", body)).status == 201

    given = [
        (await catalog.admin.post("/v1/companies", {"ref": f"given-{n}", "name": "G", "role": "retailer"})).body["id"]
        for n in range(3)
    ]

    assert given == [5, 6, 7]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"ref": "with:colon"}, "ref"),
        ({"name": "nul\x00"}, "name"),
        ({"role": "admin"}, "role"),
        ({"id": 0}, "id"),
        ({"nmae": "x"}, "nmae"),
    ],
)
async def test_a_wrong_company_is_refused_with_the_field(
    catalog: Catalog, wrong: dict[str, object], field: str
) -> None:
    body = {"ref": "acme", "name": "Acme", "role": "supplier"} | wrong

    refused = await catalog.admin.post("/v1/companies", body)

    assert refused.status == 422
    assert [error["field"] for error in refused.body["errors"]] == [field]


async def test_a_company_sees_itself_and_no_other(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)

    own = await supplier.get(f"/v1/companies/{SUPPLIER_A}")
    foreign = await supplier.get(f"/v1/companies/{RETAILER_A}")
    unknown = await supplier.get("/v1/companies/999")
    lists = [await supplier.get("/v1/companies"), await supplier.get(f"/v1/companies/{SUPPLIER_A}/api-keys")]
    makes = [
        await supplier.post("/v1/companies", {"ref": "x", "name": "X", "role": "supplier"}),
        await supplier.post(f"/v1/companies/{SUPPLIER_A}/api-keys"),
        await supplier.post("/v1/connections", {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_B}),
    ]

    assert (own.status, own.body["name"]) == (200, "Supplier A")
    assert (foreign.status, unknown.status) == (403, 403)
    assert [answer.status for answer in lists + makes] == [403] * 5


async def test_a_key_is_shown_once_and_refused_once_revoked(companies: Catalog) -> None:
    made = await companies.admin.post(f"/v1/companies/{SUPPLIER_A}/api-keys")
    key, key_id = made.body["key"], made.body["id"]
    path = f"/v1/companies/{SUPPLIER_A}/api-keys"

    async with Client(companies.url, key) as supplier:
        before = await supplier.get("/v1/products")
        listed = await companies.admin.get(path)
        foreign = await companies.admin.delete(f"/v1/companies/{RETAILER_A}/api-keys/{key_id}")
        revoked = [await companies.admin.delete(f"{path}/{key_id}") for _ in range(2)]
        afterwards = await supplier.get("/v1/products")

    assert (made.status, key[:4], made.body["role"]) == (201, "bsk_", "supplier")
    assert [item["id"] for item in listed.body["items"]] == [key_id]
    assert key not in str(listed.body)
    assert sha256_of(key) not in str(listed.body)
    assert (before.status, foreign.status, [answer.status for answer in revoked]) == (200, 404, [204, 204])
    assert (afterwards.status, afterwards.body["code"]) == (401, "unknown_key")
    events = await companies.published(ApiKeyChanged)
    assert [(event.version, event.key_sha256, event.revoked_at is None) for event in events] == [
        (1, sha256_of(key), True),
        (2, sha256_of(key), False),
    ]


async def test_a_key_that_would_have_expired_is_not_made(companies: Catalog) -> None:
    path = f"/v1/companies/{SUPPLIER_A}/api-keys"

    expired = await companies.admin.post(path, {"expires_at": "2020-01-01T00:00:00Z"})
    far = await companies.admin.post(path, {"expires_at": "9999-12-31T23:59:59-12:00"})
    made = await companies.admin.post(path, {"expires_at": "2999-01-01T01:00:00+01:00"})

    assert (expired.status, far.status) == (422, 422)
    assert (made.status, made.body["expires_at"]) == (201, "2999-01-01T00:00:00Z")


async def test_a_connection_is_made_ended_and_made_again_under_its_id(companies: Catalog) -> None:
    body = {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_A, "external_ref": "D-1", "default_location": "main"}
    (before,) = (await companies.admin.get("/v1/connections")).body["items"]

    twice = await companies.admin.post("/v1/connections", body)
    ended = [await companies.admin.delete(f"/v1/connections/{before['id']}") for _ in range(2)]
    again = await companies.admin.post("/v1/connections", body)

    assert twice.status == 409
    assert [answer.status for answer in ended] == [204, 204]
    names = {"supplier_name": "Supplier A", "retailer_name": "Retailer A"}
    assert (again.status, again.body) == (201, body | names | {"id": before["id"], "state": "active", "version": 3})
    events = await companies.published(ConnectionChanged)
    assert [(event.version, event.state) for event in events] == [(1, "active"), (2, "ended"), (3, "active")]


async def test_a_connection_needs_a_supplier_and_a_retailer(companies: Catalog) -> None:
    refused = await companies.admin.post("/v1/connections", {"supplier_id": RETAILER_A, "retailer_id": 999})

    assert refused.status == 422
    assert [error["field"] for error in refused.body["errors"]] == ["supplier_id", "retailer_id"]


async def test_companies_see_their_own_connections_only_and_may_end_them(companies: Catalog) -> None:
    (connection,) = (await companies.admin.get("/v1/connections")).body["items"]
    path = f"/v1/connections/{connection['id']}"
    stranger, retailer = await companies.client_of(SUPPLIER_B), await companies.client_of(RETAILER_A)

    assert (await stranger.get("/v1/connections")).body == {"items": [], "next_cursor": None}
    assert [(await stranger.get(path)).status, (await stranger.delete(path)).status] == [404, 404]
    assert (await retailer.get("/v1/connections")).body["items"] == [connection]
    assert (await retailer.delete(path)).status == 204
    assert (await retailer.get(path)).body["state"] == "ended"


async def test_both_sides_read_both_names_as_they_are_now(companies: Catalog) -> None:
    (connection,) = (await companies.admin.get("/v1/connections")).body["items"]
    path = f"/v1/connections/{connection['id']}"
    supplier, retailer = await companies.client_of(SUPPLIER_A), await companies.client_of(RETAILER_A)
    await companies.admin.patch(f"/v1/companies/{SUPPLIER_A}", {"name": "Supplier A Ltd"})

    shown = [
        await supplier.get(path),
        await retailer.get(path),
        await supplier.patch(path, {"external_ref": "D-1"}),
    ]
    listed = [(await side.get("/v1/connections")).body["items"][0] for side in (supplier, retailer)]

    assert {(one["supplier_name"], one["retailer_name"]) for one in [*(answer.body for answer in shown), *listed]} == {
        ("Supplier A Ltd", "Retailer A")
    }


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("supplier", [SUPPLIER_A, SUPPLIER_B]),
        ("LIER b", [SUPPLIER_B]),
        ("er-a", [SUPPLIER_A, RETAILER_A]),
        ("%", []),
        ("_", []),
        ("nobody", []),
    ],
)
async def test_companies_are_found_by_parts_of_their_refs_and_names(
    companies: Catalog, q: str, found: list[int]
) -> None:
    page = (await companies.admin.get("/v1/companies", params={"q": q, "limit": "1"})).body
    whole = [item["id"] for item in page["items"]]
    while page["next_cursor"]:
        page = (await companies.admin.get("/v1/companies", params={"q": q, "cursor": page["next_cursor"]})).body
        whole += [item["id"] for item in page["items"]]

    assert whole == found


async def test_pages_hold_every_company_once(companies: Catalog) -> None:
    seen: list[int] = []
    cursor = None
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await companies.admin.get("/v1/companies", params=params)).body
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    nonsense = await companies.admin.get("/v1/companies", params={"cursor": "Ünsinn"})

    assert seen == [SUPPLIER_A, SUPPLIER_B, RETAILER_A, RETAILER_B]
    assert (nonsense.status, nonsense.body["code"]) == (422, "invalid_cursor")


async def test_replicas_that_start_without_an_admin_key_make_one_and_tell_it_once(
    database_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_admin_key in SERVICE.workers
    settings = Settings(dsn=database_dsn, admin_key=None)
    bus = InProcessBus(publish_timeout_seconds=0.1)
    replicas = [Context("catalog", settings, Database("catalog", database_dsn, pool_size=2), bus) for _ in range(3)]

    await asyncio.gather(*(make_admin_key(replica) for replica in replicas))
    for replica in replicas:
        await replica.database.close()
    told = capsys.readouterr().err

    sentence, key = told.splitlines()[0].rsplit(" ", 1)
    assert (sentence, len(told.splitlines())) == ("The platform admin's API key, shown only this once:", 1)
    async with serving([SERVICE], settings, bus) as url, Client(url, key) as admin:
        assert (await admin.get("/v1/companies")).status == 200
        lines = (await admin.get("/v1/audit")).body["items"]
    assert [(line["actor"], line["action"], line["company_id"]) for line in lines] == [
        ("system", "api_key_created", None)
    ]
    assert "bsk_" not in capsys.readouterr().err
    await bus.close()


async def test_a_key_that_is_set_ends_those_that_were_generated(
    database_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    generated = Settings(dsn=database_dsn, admin_key=None, _env_file=None)
    chosen = Settings(dsn=database_dsn, admin_key=SecretStr(ADMIN_KEY), _env_file=None)
    bus = InProcessBus(publish_timeout_seconds=0.1)
    revoked = "select 1 from catalog.api_keys where role = 'admin' and revoked_at is not null and version = 2"
    async with serving([SERVICE], generated, bus) as url:
        async with asyncio.timeout(10):
            while "bsk_" not in (told := capsys.readouterr().err):
                await asyncio.sleep(0.01)
        key = told.splitlines()[0].rsplit(" ", 1)[1]
        async with Client(url, key) as admin:
            made = await admin.post("/v1/companies", {"ref": "a", "name": "A", "role": "supplier"})
            company_key = (await admin.post(f"/v1/companies/{made.body['id']}/api-keys")).body["key"]
    async with serving([SERVICE], chosen, bus) as url:
        catalog = Catalog(url, database_dsn, Client(url), Client)  # type: ignore[arg-type] # only asked for rows
        async with asyncio.timeout(10):
            while not await catalog.query(revoked):
                await asyncio.sleep(0.01)
        async with Client(url, key) as before, Client(url, company_key) as company, Client(url, ADMIN_KEY) as admin:
            refused = await before.get("/v1/companies")
            assert (refused.status, refused.body["code"]) == (401, "unknown_key")
            assert (await company.get("/v1/products")).status == (await admin.get("/v1/companies")).status == 200
        told_of = [event for event in await catalog.published(ApiKeyChanged) if event.role == "admin"]
        assert [event.revoked_at is None for event in told_of] == [True, False]
    await bus.close()


async def test_no_admin_key_is_made_where_one_is_set(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    assert await catalog.query("select 1 from catalog.api_keys") == []
    assert "bsk_" not in capsys.readouterr().err
