"""API keys: what each may do, who makes them, and when they were last used."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from services.catalog.handlers import note_key_uses
from services.catalog.service import SERVICE
from shared import clock
from shared.database import Database
from shared.events.catalog import ApiKeyChanged
from shared.events.inventory import ApiKeyUsedAtInventory
from shared.events.key_use import ApiKeyUse
from shared.events.orders import ApiKeyUsedAtOrders
from shared.messaging.in_process import InProcessBus
from shared.scopes import AREA_SCOPES
from shared.settings import Settings
from tests.app import Answer, Client, serving
from tests.integration.catalog.conftest import RETAILER_A, SUPPLIER_A, Catalog

SHIRT = {"sku": "T01-S", "name": "T-shirt, small", "type": "stock"}
KEYS = f"/v1/companies/{SUPPLIER_A}/api-keys"


@asynccontextmanager
async def with_scopes(catalog: Catalog, scopes: Sequence[str], company_id: int = SUPPLIER_A) -> AsyncIterator[Client]:
    """A client with a new key of this company that has these scopes."""
    made = await catalog.admin.post(f"/v1/companies/{company_id}/api-keys", {"scopes": list(scopes)})
    assert made.status == 201, made.body
    async with Client(catalog.url, made.body["key"]) as client:
        yield client


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.status >= 400, f"{answer.status} is no refusal: {answer.body}"
    return answer.status, answer.body["code"]


async def test_a_key_that_reads_does_not_write_and_one_that_writes_does_not_read(companies: Catalog) -> None:
    async with (
        with_scopes(companies, ["catalog:read"]) as reader,
        with_scopes(companies, ["catalog:write"]) as writer,
        with_scopes(companies, [scope for scope in AREA_SCOPES if "catalog" not in scope]) as elsewhere,
    ):
        assert (await reader.get("/v1/products")).status == 200
        assert (await reader.call("HEAD", "/v1/products")).status != 403
        written = await reader.post("/v1/products", SHIRT)
        assert problem(written) == (403, "missing_scope")
        assert "catalog:write" in written.body["detail"]
        assert (await writer.post("/v1/products", SHIRT)).status == 201
        read = await writer.get("/v1/products")
        assert problem(read) == (403, "missing_scope")
        assert "catalog:read" in read.body["detail"]
        assert problem(await elsewhere.get("/v1/products")) == (403, "missing_scope")


async def test_a_key_made_without_scopes_has_all_but_admin(companies: Catalog) -> None:
    made = await companies.admin.post(KEYS, {"label": "shop floor"})

    assert made.status == 201
    assert (made.body["label"], made.body["scopes"]) == ("shop floor", list(AREA_SCOPES))
    assert (made.body["last_used_at"], made.body["revoked_at"]) == (None, None)
    async with Client(companies.url, made.body["key"]) as client:
        assert problem(await client.get(KEYS)) == (403, "missing_scope")


async def test_a_companys_admin_manages_its_own_keys_and_no_others(companies: Catalog) -> None:
    async with with_scopes(companies, ["admin"]) as supplier:
        made = await supplier.post(KEYS, {"scopes": ["orders:write", "admin"], "label": "till"})
        assert (made.status, made.body["scopes"]) == (201, ["orders:write", "admin"])
        listed = (await supplier.get(KEYS)).body["items"]
        assert [item["label"] for item in listed] == [None, "till"]
        assert (await supplier.post("/v1/products", SHIRT)).status == 201, "admin implies every scope of the company"
        assert (await supplier.delete(f"{KEYS}/{made.body['id']}")).status == 204
        async with Client(companies.url, made.body["key"]) as till:
            assert problem(await till.get(KEYS)) == (401, "unknown_key")

        of_the_retailer = await companies.admin.post(f"/v1/companies/{RETAILER_A}/api-keys")
        others = f"/v1/companies/{RETAILER_A}/api-keys"
        assert problem(await supplier.post(others)) == (403, "foreign_company")
        assert problem(await supplier.get(others)) == (403, "foreign_company")
        assert problem(await supplier.delete(f"{others}/{of_the_retailer.body['id']}")) == (403, "foreign_company")
        under_own = await supplier.delete(f"{KEYS}/{of_the_retailer.body['id']}")
        assert problem(under_own) == (404, "api_key_not_found")
        assert problem(await supplier.post("/v1/companies", {})) == (422, "invalid_request")
        body = {"ref": "x", "name": "X", "role": "supplier"}
        assert problem(await supplier.post("/v1/companies", body)) == (403, "forbidden")


async def test_who_may_do_everything_but_manage_makes_no_key(companies: Catalog) -> None:
    async with with_scopes(companies, AREA_SCOPES) as supplier:
        for answer in (
            await supplier.post(KEYS, {"scopes": ["catalog:read"]}),
            await supplier.get(KEYS),
            await supplier.delete(f"{KEYS}/1"),
        ):
            assert problem(answer) == (403, "missing_scope")
            assert "admin" in answer.body["detail"]
    assert len((await companies.admin.get(KEYS)).body["items"]) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"scopes": []}, "scopes"), ({"scopes": ["catalog:rule"]}, "scopes[0]"), ({"label": ""}, "label")],
)
async def test_a_wrong_key_is_refused_with_the_field(companies: Catalog, wrong: dict[str, object], field: str) -> None:
    refused = await companies.admin.post(KEYS, wrong)

    assert refused.status == 422
    assert [error["field"] for error in refused.body["errors"]] == [field]


async def test_several_keys_live_at_once_and_one_that_expired_is_refused(companies: Catalog) -> None:
    old, new = [(await companies.admin.post(KEYS)).body for _ in range(2)]
    async with Client(companies.url, old["key"]) as before, Client(companies.url, new["key"]) as after:
        assert [(await client.get("/v1/products")).status for client in (before, after)] == [200, 200]
        # The database's clock decides: for it the moment has come.
        expire = "update catalog.api_keys set expires_at = clock_timestamp() where key_id = $1"
        await companies.query(expire, old["id"])
        assert problem(await before.get("/v1/products")) == (401, "unknown_key")
        assert (await after.get("/v1/products")).status == 200


async def test_the_databases_clock_decides_whether_a_new_key_would_have_expired(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.utc_now()
    monkeypatch.setattr("shared.clock.utc_now", lambda: now - timedelta(days=365))

    made = await companies.admin.post(KEYS, {"expires_at": (now - timedelta(days=1)).isoformat()})

    assert problem(made) == (422, "invalid_api_key")
    assert await companies.published(ApiKeyChanged) == []


async def test_who_calls_is_told_to_any_key(companies: Catalog) -> None:
    made = (await companies.admin.post(KEYS, {"scopes": ["stock:read"]})).body
    async with Client(companies.url, made["key"]) as key:
        me = (await key.get("/v1/me")).body
    assert me["actor"] == f"key {made['id']}"
    assert (me["role"], me["scopes"], me["key_id"], me["user"]) == ("supplier", ["stock:read"], made["id"], None)
    assert (me["company"]["id"], me["company"]["ref"]) == (SUPPLIER_A, "supplier-a")

    admin = (await companies.admin.get("/v1/me")).body
    assert (admin["actor"], admin["company"], admin["key_id"]) == ("platform admin", None, None)


async def test_a_company_has_so_many_keys_at_a_time(companies: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.catalog.api.api_keys.KEYS_PER_COMPANY", 2)
    answers = await asyncio.gather(*(companies.admin.post(KEYS) for _ in range(4)))
    made = [answer.body["id"] for answer in answers if answer.status == 201]
    assert len(made) == 2
    assert {problem(answer) for answer in answers if answer.status != 201} == {(409, "too_many_api_keys")}
    assert (await companies.admin.delete(f"{KEYS}/{made[0]}")).status == 204
    assert (await companies.admin.post(KEYS)).status == 201
    assert (await companies.admin.post(f"/v1/companies/{RETAILER_A}/api-keys")).status == 201


async def test_what_a_process_knows_of_uses_is_kept_when_it_ends(companies: Catalog) -> None:
    made = (await companies.admin.post(KEYS)).body
    before = clock.utc_now()
    settings, bus = Settings(dsn=companies.dsn), InProcessBus(publish_timeout_seconds=0.1)
    async with serving([SERVICE], settings, bus) as replica, Client(replica, made["key"]) as supplier:
        assert [(await supplier.get("/v1/products")).status for _ in range(2)] == [200, 200]
        assert (await companies.admin.get(KEYS)).body["items"][0]["last_used_at"] is None
    await bus.close()

    (key,) = (await companies.admin.get(KEYS)).body["items"]
    assert before < datetime.fromisoformat(key["last_used_at"]) < clock.utc_now()


async def test_the_latest_use_counts_whatever_is_told_when(companies: Catalog) -> None:
    first, second = [(await companies.admin.post(KEYS)).body["id"] for _ in range(2)]
    noon = clock.utc_now().replace(microsecond=0)
    database = Database("catalog", companies.dsn, pool_size=1)
    told: list[list[ApiKeyUse]] = [
        [
            ApiKeyUsedAtOrders(key_id=second, used_at=noon),
            ApiKeyUsedAtOrders(key_id=first, used_at=noon - timedelta(minutes=2)),
            ApiKeyUsedAtOrders(key_id=first, used_at=noon - timedelta(minutes=3)),
        ],
        [ApiKeyUsedAtInventory(key_id=second, used_at=noon - timedelta(hours=1))],
        [ApiKeyUsedAtInventory(key_id=12345, used_at=noon)],
    ]
    for events in told:
        async with database.transaction() as session:
            await note_key_uses(session, events)
    await database.close()

    rows = await companies.query("select last_used_at, version from catalog.api_keys order by key_id")
    assert [(row["last_used_at"], row["version"]) for row in rows] == [(noon - timedelta(minutes=2), 1), (noon, 1)]
