"""`make screenshots`: pictures of every page of the console, light and dark, of a system with the demo's data.

`python -m tests.browser.screenshots [FOLDER]`; the folder is `build/screenshots` if none is named.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from playwright.async_api import Browser
from rich.progress import Progress

from demo.run import fill
from shared.database import Database
from shared.messaging import dead_letters
from shared.messaging.bus import Message
from tests.app import Client
from tests.browser.chromium import Complaints, browser
from tests.browser.running import ROOT, running_basestock
from tests.end_to_end.system import ADMIN_KEY, eventually
from tests.receiver import receiver
from tests.servers.postgres import postgres_server

FOLDER = ROOT / "build" / "screenshots"
ORDERS_FILE = ROOT / "demo" / "data" / "online-retail.csv"
SIZES = {"desk": (1280, 800), "tablet": (820, 1180)}
THEMES = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a key, and the pages that are photographed as theirs, by name.

    An address may have buttons behind it that are pressed first: `/webhooks/1 > Replay`.
    """

    role: str
    key: str
    pages: dict[str, str]


async def _first(client: Client, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await client.get(path)
    assert answer.status == 200, answer.body
    return answer.body["items"][0] if answer.body["items"] else None


async def _key(url: str, admin: Client, company_id: int) -> str:
    """A new key of a company that all services know."""
    answer = await admin.post(f"/v1/companies/{company_id}/api-keys", {})
    key: str = answer.body["key"]
    async with Client(url, key) as company:

        async def is_known() -> bool:
            paths = ("/v1/orders", "/v1/webhook-endpoints", "/v1/locations")
            return 401 not in [(await company.get(path)).status for path in paths]

        await eventually("all services know the key", is_known)
    return key


async def _supplier(url: str, key: str) -> Visitor:
    async with Client(url, key) as supplier:
        own_id = (await supplier.get("/v1/me")).body["company"]["id"]
        entry = await _first(supplier, "/v1/stock/ledger?kind=order&limit=1")
        product = await _first(supplier, "/v1/products?type=customisable&limit=1")
        order = (await supplier.get("/v1/orders", params={"limit": 1, "supplier_id": own_id})).body
        return Visitor(
            "supplier",
            key,
            {
                "overview": "/",
                "inventory": "/inventory",
                "inventory-backordered": "/inventory?state=backordered",
                "inventory-nothing-found": "/inventory?q=nothing-is-called-so",
                "inventory-edit": "/inventory > Change On hand",
                "item": f"/inventory/{entry['product_id']}",
                "item-settings": f"/inventory/{entry['product_id']} > Settings",
                "imports": "/inventory/imports",
                "products": "/products",
                "product": f"/products/{product['id']}",
                "product-duplicate": f"/products/{product['id']} > Duplicate",
                "new-product": "/products/new",
                "products-import": "/products/import",
                "orders": "/orders",
                "order": f"/orders/{order['items'][0]['order_id']}",
                "order-send": f"/orders/{order['items'][0]['order_id']} > Send",
                "new-order": "/orders/new",
                "orders-import": "/orders/import",
                "refused-messages": "/orders/dead-letters",
                "company": "/company",
                "webhooks": "/webhooks",
                "account": "/account",
                "not-there": "/inventory/999999999",
            },
        )


async def _retailer(url: str, key: str) -> Visitor:
    async with Client(url, key) as retailer, receiver() as shop:
        made = await retailer.post("/v1/webhook-endpoints", {"url": shop.url})
        shop.secrets.append(made.body["secret"])
        endpoint_id = made.body["id"]
        await retailer.post(f"/v1/webhook-endpoints/{endpoint_id}/test", {})

        async def was_called() -> bool:
            return bool((await retailer.get(f"/v1/webhook-endpoints/{endpoint_id}/attempts")).body["items"])

        await eventually("the sample was sent", was_called)
        attempt = await _first(retailer, f"/v1/webhook-endpoints/{endpoint_id}/attempts")
        order = await _first(retailer, "/v1/orders?limit=1")
        endpoint = f"/webhooks/{endpoint_id}"
        return Visitor(
            "retailer",
            key,
            {
                "overview": "/",
                "suppliers": "/suppliers",
                "products": "/products",
                "orders": "/orders",
                "order": f"/orders/{order['order_id']}",
                "order-cancel": f"/orders/{order['order_id']} > Cancel the order",
                "order-return": f"/orders/{order['order_id']} > Take a return",
                "company": "/company",
                "webhooks": "/webhooks",
                "new-endpoint": "/webhooks/new",
                "endpoint": endpoint,
                "endpoint-replay": f"{endpoint} > Replay",
                "endpoint-rotate": f"{endpoint} > Rotate secret",
                "attempt": f"{endpoint}/attempts/{attempt['id']}",
            },
        )


async def _dead_letter(dsn: str) -> UUID | None:
    """Something for the pages of what cannot be handled."""
    database = Database("inventory", dsn, pool_size=1)
    try:
        async with database.transaction() as session:
            message = Message(str(uuid4()), "orders.order_created", "application/json", b'{"order_id": "C-1"}')
            return await dead_letters.bury(session, "inventory.orders", message, "lines: Field required")
    finally:
        await database.close()


def _platform(company_id: int, letter_id: UUID | None) -> Visitor:
    company = f"/platform/companies/{company_id}"
    pages = ("companies", "connections", "operations", "dead-letters", "audit")
    return Visitor(
        "admin",
        ADMIN_KEY,
        {
            "overview": "/",
            "company": company,
            "company-user": f"{company} > Add a user",
            "company-key": f"{company} > Make an API key",
            "new-company": "/platform/companies > Add a company",
            "new-connection": "/platform/connections > Connect two companies",
            **{page: f"/platform/{page}" for page in pages},
            "dead-letter": f"/platform/dead-letters/inventory/{letter_id}",
        },
    )


async def _photograph(running: Browser, url: str, visitor: Visitor, size: str, theme: str, folder: Path) -> list[str]:
    width, height = SIZES[size]
    context = await running.new_context(
        base_url=url, viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light"
    )
    await context.request.post("/sign-in", form={"key": visitor.key}, headers={"Origin": url})
    page = await context.new_page()
    complaints = Complaints(page)
    for name, way in visitor.pages.items():
        address, *buttons = way.split(" > ")
        await page.goto(address)
        await page.wait_for_load_state("networkidle")
        for button in buttons:
            await page.get_by_role("button", name=button).first.click()
            await page.locator(".q-dialog__inner, .q-menu").first.wait_for()
        # What is open over a page stays where it is; on a tablet the whole of the page is seen.
        is_whole = size == "tablet" and not buttons
        picture = folder / f"{visitor.role}-{name}-{size}-{theme}.png"
        await page.screenshot(path=picture, full_page=is_whole, animations="disabled")
    await context.close()
    return complaints.said


async def _empty(running: Browser, url: str, folder: Path) -> None:
    """The first page of a system that has nothing yet, and signing in."""
    page = await running.new_page(base_url=url, viewport={"width": 1280, "height": 800})
    await page.goto("/sign-in")
    await page.screenshot(path=folder / "sign-in-desk-light.png")
    await page.goto(f"/sign-in#key={ADMIN_KEY}&go")
    await page.wait_for_url(f"{url}/")
    await page.wait_for_load_state("networkidle")
    await page.screenshot(path=folder / "admin-empty-desk-light.png")
    await page.close()


async def photograph_all(url: str, dsn: str, folder: Path) -> list[str]:
    """Fill the system at `url` and save pictures of all pages; gives what the pages' scripts complained of."""
    complaints: list[str] = []
    async with browser() as running, Client(url, ADMIN_KEY) as admin:
        await _empty(running, url, folder)
        with Progress(disable=True) as progress:
            await fill(url, ADMIN_KEY, orders_file=ORDERS_FILE, progress=progress)
        companies = (await admin.get("/v1/companies")).body["items"]
        ids = {company["ref"].split("-20")[0]: company["id"] for company in companies}
        visitors = [
            await _supplier(url, await _key(url, admin, ids["gift-wholesale"])),
            await _retailer(url, await _key(url, admin, ids["gift-shop"])),
            _platform(ids["gift-shop"], await _dead_letter(dsn)),
        ]
        for visitor in visitors:
            for size in SIZES:
                for theme in THEMES:
                    complaints += await _photograph(running, url, visitor, size, theme, folder)
    return complaints


def main() -> None:
    """Take the pictures into the folder that the command line names."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with postgres_server() as server, running_basestock(server.dsn) as url:
        complaints = asyncio.run(photograph_all(url, server.dsn, folder))
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")  # noqa: T201 - what the command says
    if complaints:
        raise SystemExit("\n".join(["Scripts complained:", *sorted(set(complaints))]))


if __name__ == "__main__":
    main()
