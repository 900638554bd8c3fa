"""The console in a real browser, before a whole system in a process of its own, with the seeds' fixture."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, expect

from tests.app import Client
from tests.browser.chromium import Complaints, browser
from tests.browser.running import running_basestock
from tests.end_to_end.system import ADMIN_KEY, RETAILER, SUPPLIER, with_seeds

OTHER_SUPPLIER = 3
# The platform admin makes them, one for each company.
PASSWORD = "a password of the tests"
# A machine that runs other tests too takes its time.
EXPECT_MILLISECONDS, ACT_MILLISECONDS = 30_000, 60_000
expect.set_options(timeout=EXPECT_MILLISECONDS)

Open = Callable[..., Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class Console:
    """A running system with its console: its base URL, the keys by company id (0: the platform's), its database."""

    url: str
    keys: dict[int, str]
    dsn: str

    def client(self, company_id: int) -> Client:
        """A client of the API with the company's key; `async with` it."""
        return Client(self.url, self.keys[company_id])


@pytest.fixture(scope="module")
def console(shared_database_dsn: str) -> Iterator[Console]:
    """The system of all tests of a file: Supplier A with the seeds' products, connected with Retailer A; Supplier B."""
    with running_basestock(shared_database_dsn) as url:
        keys = asyncio.run(_fixture(url, shared_database_dsn))
        yield Console(url, keys, shared_database_dsn)


async def _fixture(url: str, dsn: str) -> dict[int, str]:
    async with with_seeds(url, dsn, lambda key: Client(url, key), ADMIN_KEY, "retailer-a") as system:
        assert system.supplier.key is not None
        assert system.retailer.key is not None
        body = {"id": OTHER_SUPPLIER, "ref": "supplier-b", "name": "Supplier B", "role": "supplier"}
        made = await system.admin.post("/v1/companies", body)
        assert made.status == 201, made.body
        key = (await system.admin.post(f"/v1/companies/{OTHER_SUPPLIER}/api-keys", {})).body["key"]
        for company_id, email in ((SUPPLIER, "clerk@supplier-a.example"), (RETAILER, "buyer@retailer-a.example")):
            user = {"email": email, "password": PASSWORD, "role": "owner", "company_id": company_id}
            made = await system.admin.post("/v1/users", user)
            assert made.status == 201, made.body
        return {0: ADMIN_KEY, SUPPLIER: system.supplier.key, RETAILER: system.retailer.key, OTHER_SUPPLIER: key}


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser of the test's own."""
    async with browser() as running:
        yield running


@pytest.fixture
async def open_page(console: Console, chromium: Browser) -> AsyncIterator[Open]:
    """`await open_page(company_id, address)` gives a page of that company (0: the platform), signed in with its key.

    Each in a window of its own. The test fails if a script of a page complains.
    """
    complaints: list[Complaints] = []

    async def opened(company_id: int, address: str, *, width: int = 1280, height: int = 800) -> Page:
        context = await chromium.new_context(base_url=console.url, viewport={"width": width, "height": height})
        context.set_default_timeout(ACT_MILLISECONDS)
        signed_in = await context.request.post(
            "/sign-in", form={"key": console.keys[company_id]}, headers={"Origin": console.url}, max_redirects=0
        )
        assert signed_in.status == 303
        page = await context.new_page()
        complaints.append(Complaints(page))
        await page.goto(address)
        return page

    yield opened
    assert [said for one in complaints for said in one.said] == []
