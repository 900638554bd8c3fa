"""Names, SKUs, reasons and references that are written to run in somebody else's browser: they are shown, no more."""

import pytest
from playwright.async_api import Page, expect

from tests.app import Client
from tests.browser.conftest import Console, Open
from tests.browser.test_pages import sticks_out
from tests.end_to_end.system import RETAILER, SUPPLIER

SMALL_STOCK = 100
# Out of an attribute, as HTML, as a template, out of a script.
HOSTILE = (
    """" :title="window.hit='prop'" <img src=x onerror="window.hit='html'">{{constructor.constructor("""
    """"window.hit='vue'")()}}';window.hit='js';'</script><script>window.hit='page'</script>"""
)


async def made(client: Client, path: str, body: object) -> dict[str, object]:
    answer = await client.post(path, body)
    assert answer.status < 300, answer.body
    return dict(answer.body)


@pytest.fixture
async def addresses(console: Console) -> dict[int, list[str]]:
    """The pages, by company, that show what the supplier and the retailer have called things."""
    async with console.client(SUPPLIER) as supplier, console.client(RETAILER) as retailer:
        stock = await made(supplier, "/v1/products", {"sku": f"S{HOSTILE}", "name": f"N{HOSTILE}", "type": "stock"})
        link = [{"product_id": SMALL_STOCK, "quantity": 1}]
        variant = {"sku": f"V{HOSTILE}", "attributes": [{"name": f"A{HOSTILE}", "value": "1"}], "components": link}
        product = {"sku": f"P{HOSTILE}", "name": HOSTILE, "type": "customisable", "variants": [variant]}
        sold = await made(supplier, "/v1/products", {**product, "visibility": "connected"})
        line = {"product_id": sold["id"], "variant_sku": variant["sku"], "quantity": 1}
        order = await made(retailer, "/v1/orders?wait=5", {"external_ref": f"O{HOSTILE}", "lines": [line]})
        write = {"on_hand": 5, "reason": HOSTILE, "location": "main"}
        await made(supplier, f"/v1/stock/{SMALL_STOCK}/adjustments", write)
    return {
        SUPPLIER: [f"/products/{sold['id']}", f"/inventory/{SMALL_STOCK}", f"/inventory/{stock['id']}", "/", "/orders"],
        RETAILER: ["/", f"/orders/{order['order_id']}", f"/products/{sold['id']}", "/suppliers"],
        0: ["/platform/audit", f"/orders/{order['order_id']}"],
    }


async def ran(page: Page) -> object:
    """What of it ran, once the page is drawn."""
    await page.locator(".content").wait_for()
    await page.wait_for_load_state("networkidle")
    return await page.evaluate("window.hit")


async def test_what_people_call_things_runs_in_nobodys_browser(
    addresses: dict[int, list[str]], open_page: Open
) -> None:
    hits = {}
    for company_id, pages in addresses.items():
        page = await open_page(company_id, pages[0])
        for address in pages:
            opened = await page.goto(address)
            assert opened is not None
            assert opened.status == 200, address
            hits[company_id, address] = await ran(page)
    assert not {where: hit for where, hit in hits.items() if hit}


async def test_names_as_long_as_can_be_fit_into_a_tablet(console: Console, open_page: Open) -> None:
    async with console.client(SUPPLIER) as supplier:
        named = {"sku": f"LONG{'W' * 196}", "name": "W" * 200, "type": "stock", "visibility": "connected"}
        product = await made(supplier, "/v1/products", named)
        lines = [{"product_id": product["id"], "quantity": 1}]
        order = await made(supplier, "/v1/orders?wait=5", {"external_ref": "R" * 200, "lines": lines})
    page = await open_page(SUPPLIER, f"/products/{product['id']}", width=820, height=1180)
    for address in (
        f"/products/{product['id']}",
        f"/inventory/{product['id']}",
        f"/orders/{order['order_id']}",
        "/products",
    ):
        await page.goto(address)
        await expect(page.get_by_text("WWWWWWWW").first).to_be_visible()
        assert await sticks_out(page) == [], address
