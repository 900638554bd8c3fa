"""Access over all services: what is revoked is refused, what is used is seen, and a token opens every door."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import asyncpg
import pytest

from shared import clock, key_uses
from shared.database import Database
from shared.events.catalog import ProductChanged
from shared.messaging.outbox import publish
from shared.scopes import AREA_SCOPES
from tests.app import Answer, Client
from tests.end_to_end.system import RETAILER, SUPPLIER, System, eventually

pytestmark = pytest.mark.usefixtures("cheap_passwords")

# A route of each service that reads, and one that writes what is wrong: refused for that, once the caller may.
READS = {
    "catalog": "/v1/products",
    "orders": "/v1/orders",
    "inventory": "/v1/stock",
    "notifier": "/v1/webhook-endpoints",
}
WRITES = {
    "catalog": "/v1/products",
    "orders": "/v1/orders",
    "inventory": "/v1/stock/100/adjustments",
    "notifier": "/v1/webhook-endpoints",
}
AREAS = {"catalog": "catalog", "orders": "orders", "inventory": "stock", "notifier": "webhooks"}
REVOKED_WITHIN_SECONDS = 1.0
ON_BOTH_BUSES = pytest.mark.parametrize("system", ["in-process", "rabbitmq"], indirect=True)


@pytest.fixture
def _short_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the services start: they tell uses of keys as they come."""
    monkeypatch.setattr(key_uses, "TELL_SECONDS", 0.05)


async def is_known(client: Client, path: str) -> bool:
    """Whether the service knows the key, whatever it thinks of what is asked."""
    return (await client.get(path)).status != 401


@asynccontextmanager
async def known_key(
    system: System, company_id: int, scopes: Sequence[str] = AREA_SCOPES
) -> AsyncIterator[tuple[int, Client]]:
    """A new key that all services have heard of, and a client that calls with it."""
    made = (await system.admin.post(f"/v1/companies/{company_id}/api-keys", {"scopes": list(scopes)})).body
    async with Client(system.url, made["key"]) as client:

        async def all_know_it() -> bool:
            return all([await is_known(client, path) for path in READS.values()])

        await eventually("all services know the new key", all_know_it)
        yield made["id"], client


@ON_BOTH_BUSES
async def test_a_revoked_key_is_refused_everywhere_within_a_second(system: System) -> None:
    async with known_key(system, SUPPLIER) as (key_id, client):
        assert (await system.admin.delete(f"/v1/companies/{SUPPLIER}/api-keys/{key_id}")).status == 204
        deadline = clock.monotonic() + REVOKED_WITHIN_SECONDS

        async def refused_by(path: str) -> None:
            while await is_known(client, path):
                assert clock.monotonic() < deadline, f"{path} still answers"

        await asyncio.gather(*(refused_by(path) for path in READS.values()))


@asynccontextmanager
async def catching_up(system: System, products: int = 20_000) -> AsyncIterator[None]:
    """Catalog has told of many products, which nobody can take in: they wait in queues and outbox."""
    connection, database = await asyncpg.connect(system.dsn), Database("catalog", system.dsn, pool_size=1)
    stuck = """
        select distinct application_name from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query ilike '%products%'
    """
    try:
        async with connection.transaction():
            await connection.execute("lock table orders.products, inventory.products, notifier.products")
            for first in range(10_000, 10_000 + products, 25):
                async with database.transaction() as session:
                    for product_id in range(first, first + 25):
                        publish(session, told_of(product_id))

            async def all_are_stuck() -> bool:
                return len(await connection.fetch(stuck)) >= len(READS) - 1

            await eventually("the three copies of the catalog wait", all_are_stuck)
            yield
    finally:
        await database.close()
        await connection.close()


def told_of(product_id: int) -> ProductChanged:
    sku = f"P{product_id}"
    return ProductChanged(product_id=product_id, owner_id=SUPPLIER, type="stock", sku=sku, title=sku, version=1)


@ON_BOTH_BUSES
async def test_a_revoked_key_does_not_wait_behind_products(system: System) -> None:
    async with known_key(system, SUPPLIER) as (key_id, client), catching_up(system):
        assert (await system.admin.delete(f"/v1/companies/{SUPPLIER}/api-keys/{key_id}")).status == 204
        deadline = clock.monotonic() + REVOKED_WITHIN_SECONDS
        for path in READS.values():
            while await is_known(client, path):
                assert clock.monotonic() < deadline, f"{path} still answers"


@pytest.mark.usefixtures("_short_minutes")
@ON_BOTH_BUSES
async def test_the_last_use_is_seen_wherever_it_was(system: System) -> None:
    keys = f"/v1/companies/{RETAILER}/api-keys"

    async def last_use(key_id: int) -> str | None:
        found: list[str | None] = [
            item["last_used_at"] for item in (await system.admin.get(keys)).body["items"] if item["id"] == key_id
        ]
        return found[0]

    async with known_key(system, RETAILER) as (key_id, client):
        for path in READS.values():
            before = clock.utc_now()
            await client.get(path)

            async def is_seen(since: datetime = before) -> bool:
                used_at = await last_use(key_id)
                return used_at is not None and datetime.fromisoformat(used_at) >= since

            await eventually(f"the use at {path} is seen", is_seen)


async def test_each_service_asks_for_the_scope_of_its_own_area(embedded_system: System) -> None:
    for service, area in AREAS.items():
        for verb, other, path in (("read", "write", READS[service]), ("write", "read", WRITES[service])):
            async with AsyncExitStack() as stack:
                all_but_it = [scope for scope in AREA_SCOPES if scope != f"{area}:{verb}"]
                _, without = await stack.enter_async_context(known_key(embedded_system, SUPPLIER, all_but_it))
                _, only = await stack.enter_async_context(known_key(embedded_system, SUPPLIER, [f"{area}:{verb}"]))
                refused, other_way = await ask(without, verb, path), await ask(only, other, path)
                assert (refused.status, refused.body["code"]) == (403, "missing_scope"), (service, verb)
                assert f"{area}:{verb}" in refused.body["detail"]
                assert other_way.body["code"] in {"missing_scope", "method_not_allowed"}, (service, other)
                assert not is_about_scope(await ask(only, verb, path)), (service, verb)


async def ask(client: Client, verb: str, path: str) -> Answer:
    return await (client.get(path) if verb == "read" else client.post(path, BODIES.get(path, {})))


# Bodies that are looked at only once the caller may write: wrong for another reason.
BODIES: dict[str, object] = {
    "/v1/products": {"sku": "S7", "name": "S7 again", "type": "stock"},
    "/v1/orders": {"external_ref": "X", "lines": [{"product_id": 100, "quantity": 1}], "seller_id": RETAILER},
    "/v1/stock/100/adjustments": {"adjustment": 1, "reason": "found"},
    "/v1/webhook-endpoints": {"url": "ftp://example.com"},
}


def is_about_scope(answer: Answer) -> bool:
    return answer.status == 403 and answer.body["code"] == "missing_scope"


async def test_a_token_opens_every_service_as_far_as_the_role_goes(embedded_system: System) -> None:
    password = "correct horse battery"
    body = {"email": "ann@supplier-a.example", "password": password, "role": "viewer", "company_id": SUPPLIER}
    assert (await embedded_system.admin.post("/v1/users", body)).status == 201
    async with Client(embedded_system.url) as nobody:
        session = (await nobody.post("/v1/sessions", {"email": body["email"], "password": password})).body
    async with Client(embedded_system.url, session["token"]) as viewer:
        for path in READS.values():
            answer = await viewer.get(path)
            assert (answer.status, answer.body.get("code")) in {(200, None), (403, "forbidden")}, (path, answer.body)
        for path in WRITES.values():
            assert is_about_scope(await viewer.post(path, BODIES[path])), path

    owner = (await embedded_system.admin.patch(f"/v1/users/{session['user']['id']}", {"role": "owner"})).body
    async with Client(embedded_system.url) as nobody:
        session = (await nobody.post("/v1/sessions", {"email": body["email"], "password": password})).body
    async with Client(embedded_system.url, session["token"]) as client:
        adjusted = await client.post("/v1/stock/100/adjustments", BODIES["/v1/stock/100/adjustments"])
        assert adjusted.status == 200
        (entry,) = (await client.get("/v1/stock/100/ledger")).body["items"]
        assert f"user {owner['id']}" in entry.values(), entry
