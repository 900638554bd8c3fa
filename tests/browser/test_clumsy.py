"""Clumsy hands: double clicks, numbers that cannot be, a dialog that is sent twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Console, Open
from tests.end_to_end.system import RETAILER, SUPPLIER

PRINTED, SMALL_STOCK = 102, 100


async def test_a_number_that_cannot_be_is_refused_beside_its_field_and_never_made_another(
    console: Console, open_page: Open
) -> None:
    page = await open_page(SUPPLIER, f"/inventory/{SMALL_STOCK}")
    await page.get_by_role("button", name="Settings").click()
    low, days, kept = (page.get_by_label(one) for one in ("Low at", "Lead time (days)", "Safety stock at main"))
    await low.fill("4")
    await days.fill("-3")
    await kept.fill("-2")
    await page.get_by_role("button", name="Save").click()
    await expect(_beside(page, days, "Input should be greater than or equal to 0")).to_be_visible()
    await expect(days).to_have_value("-3")
    await days.fill("1.5")
    await page.keyboard.press("Enter")
    await expect(_beside(page, days, "Input should be a valid integer")).to_be_visible()
    await days.fill("2")
    await page.keyboard.press("Enter")
    # The first of the two writes has gone through; the second is refused, and sent again alone.
    await expect(_beside(page, kept, "Input should be greater than or equal to 0")).to_be_visible()
    await kept.fill("1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    async with console.client(SUPPLIER) as supplier:
        item = (await supplier.get(f"/v1/stock/{SMALL_STOCK}")).body
    assert (item["low_stock_threshold"], item["lead_time_days"], item["levels"][0]["safety_stock"]) == (4, 2, 1)


def _beside(page: Page, field: Locator, words: str) -> Locator:
    """These words beside this field; the same words may be on their way out beside another."""
    return page.locator(".q-field", has=field).get_by_text(words)


async def test_a_double_click_is_one_click(console: Console, open_page: Open) -> None:
    async with console.client(RETAILER) as retailer:
        order = {"external_ref": "D-1", "lines": [{"product_id": PRINTED, "variant_sku": "T01-S", "quantity": 4}]}
        order_id = (await retailer.post("/v1/orders?wait=5", order)).body["order_id"]
    page = await open_page(SUPPLIER, f"/orders/{order_id}")
    await page.get_by_role("button", name="Send").dblclick()
    await expect(page.get_by_role("dialog")).to_have_count(1)
    await page.get_by_label("units, of 4").fill("2")
    await sent_twice(page, "Ask for it")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    async with console.client(SUPPLIER) as supplier:
        requests = (await supplier.get(f"/v1/fulfillment-requests?order_id={order_id}")).body["items"]
    assert [one["items"][0]["quantity"] for one in requests] == [2]


async def test_what_is_saved_is_not_asked_for_again_where_the_page_cannot_show_it(
    console: Console, open_page: Open
) -> None:
    page = await open_page(SUPPLIER, f"/inventory/{SMALL_STOCK}")
    async with console.client(SUPPLIER) as supplier, _takings_away(console.dsn):
        before = (await supplier.get(f"/v1/stock/{SMALL_STOCK}")).body["on_hand"]
        await page.get_by_label("Change On hand").click()
        await expect(page.get_by_role("textbox", name="On hand")).to_be_focused()
        await page.keyboard.type("+5")
        await page.keyboard.press("Enter")
        # Enter once more would be five units more.
        await expect(page.get_by_label("Reason")).to_be_hidden()
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_label("Low at").fill("7")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_text("It is done, but cannot be shown here").first).to_be_visible()
        item = (await supplier.get(f"/v1/stock/{SMALL_STOCK}")).body
    assert (item["on_hand"], item["low_stock_threshold"]) == (before + 5, 7)


@asynccontextmanager
async def _takings_away(dsn: str) -> AsyncIterator[None]:
    """Inventory writes, and cannot say which orders hold an item's stock."""
    database = await asyncpg.connect(dsn)
    try:
        await database.execute("alter table inventory.takings rename to takings_away")
        yield
    finally:
        await database.execute("alter table inventory.takings_away rename to takings")
        await database.close()


async def sent_twice(page: Page, name: str) -> None:
    """Send the form as a hand does that presses Enter and clicks, the second time while the dialog closes."""
    button = await page.get_by_role("button", name=name).element_handle()
    assert button is not None
    await button.evaluate(
        """async (button) => {
            const form = button.closest("form");
            form.requestSubmit();
            for (let wait = 0; wait < 40; wait++) {
                await new Promise((resolve) => setTimeout(resolve, 25));
                if (form.isConnected) form.requestSubmit();
            }
        }"""
    )
