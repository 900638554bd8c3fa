"""A key or a user that asks too often is told so, and when it may go on; others do not notice."""

import re
from collections.abc import AsyncIterator

import pytest

from services.catalog.service import SERVICE as CATALOG
from services.orders.service import SERVICE as ORDERS
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from tests.app import Answer, Client, serving

pytestmark = pytest.mark.usefixtures("cheap_passwords")

ADMIN_KEY = "bsk_the-admin-of-the-tests"
PASSWORD = "correct horse battery"
# So few, in so long a time, that none is filled in while the test runs.
REQUESTS, WINDOW_SECONDS = 5, 36_000


@pytest.fixture
async def url(database_dsn: str) -> AsyncIterator[str]:
    settings = Settings(
        dsn=database_dsn,
        admin_key=ADMIN_KEY,
        token_secret="the secret of these tests' tokens",
        rate_limit_requests=REQUESTS,
        rate_limit_window_seconds=WINDOW_SECONDS,
        _env_file=None,
    )
    async with serving([CATALOG, ORDERS], settings, InProcessBus(publish_timeout_seconds=5)) as url:
        yield url


def standing(answer: Answer) -> tuple[int, int]:
    """How many requests may follow, and in how many seconds all may, to the hundred: the test takes some itself."""
    told = re.fullmatch(r'"default";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert told, answer.headers
    return int(told[1]), round(int(told[2]), -2)


async def test_a_key_that_asks_too_often_is_told_when_it_may_go_on(url: str) -> None:
    async with Client(url, ADMIN_KEY) as admin:
        made = await admin.post("/v1/companies", {"ref": "supplier-a", "name": "Supplier A", "role": "supplier"})
        company = f"/v1/companies/{made.body['id']}"
        assert made.headers["RateLimit-Policy"] == '"default";q=5;w=36000'
        assert standing(made) == (4, 7200)
        key = (await admin.post(f"{company}/api-keys")).body["key"]
        unknown = await admin.get("/v1/products/100")
        assert (unknown.status, standing(unknown)) == (404, (2, 21600)), "problems tell it too"
        await admin.get("/v1/products")
        last = await admin.get("/v1/orders")  # services in one process count together
        assert (last.status, standing(last)) == (200, (0, 36000))

        refused = await admin.post("/v1/companies", {"ref": "supplier-b", "name": "Supplier B", "role": "supplier"})
        assert (refused.status, refused.body["code"]) == (429, "rate_limited")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert round(int(refused.headers["Retry-After"]), -2) == 7200
        assert standing(refused) == (0, 36000)
        assert f"{REQUESTS} requests" in refused.body["detail"]

    async with Client(url, key) as supplier:
        answer = await supplier.get(company)
        assert (answer.status, standing(answer)) == (200, (4, 7200))


async def test_a_users_sessions_are_counted_together_and_apart_from_others(url: str) -> None:
    async with Client(url, ADMIN_KEY) as admin:
        made = await admin.post("/v1/companies", {"ref": "supplier-a", "name": "Supplier A", "role": "supplier"})
        for name in ("ann", "bob"):
            user = {"email": f"{name}@supplier-a.example", "password": PASSWORD, "role": "viewer"}
            assert (await admin.post("/v1/users", user | {"company_id": made.body["id"]})).status == 201

    async def session_of(name: str) -> str:
        async with Client(url) as nobody:
            body = {"email": f"{name}@supplier-a.example", "password": PASSWORD}
            answer = await nobody.post("/v1/sessions", body)
        assert (answer.status, "RateLimit" in answer.headers) == (201, False), "who signs in is not known yet"
        token: str = answer.body["token"]
        return token

    async with Client(url, await session_of("ann")) as desk, Client(url, await session_of("ann")) as phone:
        for client in (desk, phone, desk, phone):
            assert (await client.get("/v1/products")).status == 200
        assert standing(await desk.get("/v1/orders")) == (0, 36000)
        refused = await phone.post("/v1/sessions/refresh")
        assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    async with Client(url, await session_of("bob")) as bob:
        assert standing(await bob.get("/v1/products")) == (4, 7200)


async def test_who_has_no_valid_key_is_not_counted(url: str) -> None:
    async with Client(url, "bsk_guessed") as guesser, Client(url, "forged") as forger, Client(url) as nobody:
        for client in (guesser, forger) * (REQUESTS + 1):
            answer = await client.get("/v1/products")
            assert (answer.status, "RateLimit" in answer.headers) == (401, False)
        assert (await nobody.get("/livez")).status == 200
    async with Client(url, ADMIN_KEY) as admin:
        assert standing(await admin.get("/v1/products")) == (4, 7200)
